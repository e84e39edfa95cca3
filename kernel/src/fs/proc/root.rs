//! The root of /proc: processes by number, and what is about the system.
use super::process::{self, Subject};
use super::{net, settings, system};
use crate::errno::Errno;
use crate::fs::inode::{Inode, Link};
use crate::fs::stat::device_number;
use crate::fs::synthetic::{Directory, FsId, Item, Kind, Listed, Node, Table, TakeName, list_after_table};
use crate::task::process as tasks;
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// f_type of procfs (statfs(2)).
const MAGIC: u64 = 0x9fa0;

const FS: FsId = FsId { device: device_number(0, 18), magic: MAGIC };

/// The root directory.
pub fn filesystem() -> Arc<dyn Inode> {
    Node::root(FS, Box::new(Root))
}

/// A file of its own with a text that is made when it is read, to be mounted over another.
pub fn text_file(text: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Arc<dyn Inode> {
    Node::file(FS, Box::new(text))
}

struct Root;

static FILES: Table<()> = &[
    (
        "self",
        Item::Link(|()| Ok(Link::Path(crate::this::with(|t| format!("{}", t.process.pid).into_bytes())))),
    ),
    (
        "thread-self",
        Item::Link(|()| {
            Ok(Link::Path(crate::this::with(|t| format!("{}/task/{}", t.process.pid, t.tid).into_bytes())))
        }),
    ),
    ("cpuinfo", Item::Text(|()| system::cpuinfo())),
    ("meminfo", Item::Text(|()| system::meminfo())),
    ("stat", Item::Text(|()| system::stat())),
    ("uptime", Item::Text(|()| system::uptime())),
    ("loadavg", Item::Text(|()| system::loadavg())),
    ("version", Item::Text(|()| system::version())),
    ("cmdline", Item::Text(|()| system::cmdline())),
    ("filesystems", Item::Text(|()| system::filesystems())),
    ("devices", Item::Text(|()| system::devices())),
    ("partitions", Item::Text(|()| b"major minor  #blocks  name\n\n".to_vec())),
    ("swaps", Item::Text(|()| b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec())),
    ("interrupts", Item::Text(|()| system::interrupts())),
    ("vmstat", Item::Text(|()| system::vmstat())),
    ("mounts", Item::Link(|()| Ok(Link::Path(b"self/mounts".to_vec())))),
    ("net", Item::Link(|()| Ok(Link::Path(b"self/net".to_vec())))),
    ("sys", Item::Directory(settings::SYS)),
];

/// The directory /proc/PID/net.
pub fn net_directory() -> Box<dyn Directory> {
    Box::new(Listed { table: net::FILES, context: () })
}

fn number(name: &[u8]) -> Option<i32> {
    if name.is_empty() || name[0] == b'0' || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}

impl Directory for Root {
    fn lookup(&self, name: &[u8]) -> Option<Kind> {
        match number(name) {
            Some(id) => {
                let process = tasks::by_pid(id)
                    .or_else(|| tasks::thread_by_tid(id).map(|thread| thread.process.clone()))?;
                Some(Kind::Directory(process::directory(Subject { process, thread: None })))
            }
            None => Listed { table: FILES, context: () }.lookup(name),
        }
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        list_after_table(&Listed { table: FILES, context: () }, from, take, "", tasks::next_pid)
    }
}
