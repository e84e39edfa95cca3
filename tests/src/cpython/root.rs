//! The root directory that both sides run in: Debian's packages of Python 3.11 and its tests, unpacked.
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{DRIVER, USER};
use crate::command::output;
use crate::paths;

/// What is unpacked. The essential packages that Python's tests start programs of are among them.
const PACKAGES: &str = "python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11-testsuite \
    libc6 libc-bin libgcc-s1 libbz2-1.0 libcom-err2 libcrypt1 libdb5.3 libexpat1 libffi8 libgdbm6 libgdbm-compat4 \
    libgssapi-krb5-2 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 liblzma5 libncursesw6 libnsl2 libreadline8 \
    libsqlite3-0 libssl3 libtinfo6 libtirpc3 libtirpc-common libuuid1 zlib1g media-types net-tools base-files netbase dash \
    bash coreutils libacl1 libattr1 libgmp10 libselinux1 libpcre2-8-0 libmd0 libzstd1 tzdata openssl ca-certificates";

/// Folders at the top that are links into /usr, as Debian's installer makes them; the packages of Debian 12 hold them as folders.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Files of /etc that no package brings.
const FILES: [(&str, &str); 5] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         user:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n"),
    ("shadow", "root:*:19000:0:99999:7:::\nuser:*:19000:0:99999:7:::\n"),
    ("hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 coracle\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"),
];

/// The root directory, from an earlier run or made of downloaded packages.
///
/// # Errors
/// If it can't be made.
pub fn root() -> Result<PathBuf, String> {
    let root = paths::work().join("cpython/root");
    if !root.is_dir() {
        // Under another name first: a run that is cut short leaves no half of it.
        let new = root.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        make(&new)?;
        fs::rename(&new, &root).map_err(|e| e.to_string())?;
    }
    fs::write(root.join("drive.py"), DRIVER).map_err(|e| e.to_string())?;
    Ok(root)
}

fn make(root: &Path) -> Result<(), String> {
    let folder = root.with_extension("download");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    eprintln!("downloading Python 3.11 and its tests");
    output(
        Command::new("apt-get")
            .args(["-q", "download"])
            .args(PACKAGES.split_whitespace())
            .current_dir(&folder),
    )?;
    for archive in fs::read_dir(&folder).map_err(|e| e.to_string())? {
        let archive = archive.map_err(|e| e.to_string())?.path();
        output(Command::new("dpkg").arg("-x").arg(archive).arg(root))?;
    }
    for name in MERGED {
        let (top, merged) = (root.join(name), root.join("usr").join(name));
        if top.is_dir() {
            output(Command::new("cp").arg("-aT").arg(&top).arg(&merged))?;
            fs::remove_dir_all(&top).map_err(|e| e.to_string())?;
        }
        symlink(Path::new("usr").join(name), top).map_err(|e| e.to_string())?;
    }
    for (name, text) in FILES {
        fs::write(root.join("etc").join(name), text).map_err(|e| e.to_string())?;
    }
    let only_root = fs::Permissions::from_mode(0o640);
    fs::set_permissions(root.join("etc/shadow"), only_root).map_err(|e| e.to_string())?;
    let home = root.join("home/user");
    fs::create_dir_all(&home).map_err(|e| e.to_string())?;
    chown(&home, Some(USER), Some(USER)).map_err(|e| e.to_string())?;
    output(Command::new("chroot").arg(root).arg("ldconfig"))?;
    // What the packages' scripts do when they are installed. Some of the tests' own files are meant not to compile.
    let compile = ["/usr/bin/python3.11", "-m", "compileall", "-q", "/usr/lib/python3.11"];
    let _ = Command::new("chroot").arg(root).args(compile).output();
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}
