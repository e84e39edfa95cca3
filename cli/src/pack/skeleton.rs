//! What every Linux program expects to find: a few directories, and a small `/etc`.

use std::path::Path;

use coracle_image::User;
use coracle_image::write::{Meta, Node};

use super::files::Collector;
use crate::error::Result;

/// Home of the ordinary user.
pub const HOME: &str = "/home/user";

/// Directories, with their permissions.
const DIRECTORIES: [(&str, u32); 12] = [
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/home", 0o755),
    (HOME, 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
];

/// Links that programs count on.
const LINKS: [(&str, &str); 2] = [("/var/run", "/run"), ("/etc/mtab", "/proc/self/mounts")];

/// Files. The kernel puts the name servers that the network announces in place of `resolv.conf`.
const FILES: [(&str, &str); 7] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("/etc/group", "root:x:0:\nuser:x:1000:\nwww-data:x:33:\nnogroup:x:65534:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n"),
    ("/etc/resolv.conf", "# No network, no name server.\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    ("/etc/protocols", "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n"),
    (
        "/etc/services",
        "ftp 21/tcp\nssh 22/tcp\nsmtp 25/tcp\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nntp 123/udp\nhttps 443/tcp\n",
    ),
];

/// The time zone of guests without another: UTC, as a file of version 1 with one type and no change (tzfile(5)).
fn utc() -> Vec<u8> {
    /// Version, reserved bytes, and the counts that are zero: UT and standard indicators, leap seconds, changes.
    const ZEROS: [u8; 32] = [0; 32];
    const ABBREVIATION: &[u8] = b"UTC\0";
    let types = 1_u32.to_be_bytes();
    let letters = (ABBREVIATION.len() as u32).to_be_bytes();
    /// Offset 0, no summer time, abbreviation 0.
    const TYPE: [u8; 6] = [0; 6];
    [b"TZif", &ZEROS[..], &types, &letters, &TYPE, ABBREVIATION].concat()
}

/// Links of the host's root that its paths run through.
const ROOT_LINKS: [&str; 4] = ["/bin", "/sbin", "/lib", "/lib64"];

/// Puts in the links of a merged `/usr`, before anything else: files must land where they lead.
pub fn root_links(collector: &mut Collector) -> Result<()> {
    for link in ROOT_LINKS {
        if let Ok(target) = std::fs::read_link(link) {
            let node = Node::Symlink(Meta::root(0o777), target.into_os_string().into_encoded_bytes());
            collector.insert(Path::new(link), node)?;
        }
    }
    Ok(())
}

/// Puts in what is not there yet.
/// `user`: the user that the program runs as, and the owner of its home.
pub fn fill(collector: &mut Collector, user: User, hostname: Option<&str>) -> Result<()> {
    let own = |permissions| {
        Node::Directory(Meta { uid: user.uid, gid: user.gid, ..Meta::root(permissions) }, Default::default())
    };
    let directory = |permissions| Node::Directory(Meta::root(permissions), Default::default());
    let text = |text: &[u8]| Node::File(Meta::root(0o644), text.to_vec().into());
    let missing = |collector: &Collector, path: &str| collector.tree.get(path.as_bytes()).is_none();
    for (path, permissions) in DIRECTORIES {
        if missing(collector, path) {
            let node = if path == HOME { own(permissions) } else { directory(permissions) };
            collector.insert(Path::new(path), node)?;
        }
    }
    for (path, target) in LINKS {
        if missing(collector, path) {
            collector.insert(Path::new(path), Node::Symlink(Meta::root(0o777), target.into()))?;
        }
    }
    for (path, content) in FILES {
        if missing(collector, path) {
            collector.insert(Path::new(path), text(content.as_bytes()))?;
        }
    }
    if missing(collector, "/etc/localtime") {
        collector.insert(Path::new("/etc/localtime"), text(&utc()))?;
    }
    if let Some(name) = hostname.filter(|_| missing(collector, "/etc/hostname")) {
        collector.insert(Path::new("/etc/hostname"), text(format!("{name}\n").as_bytes()))?;
    }
    Ok(())
}
