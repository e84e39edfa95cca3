//! The root of /proc: processes by number, and what is about the system.
use super::descriptors::number;
use super::process::{self, Subject};
use super::{mounts, net, settings, system};
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Inode, Link};
use coracle_core::fs::locks;
use coracle_core::fs::stat::device_number;
use coracle_core::task::keys;
use coracle_core::task::pid_space::{self, PidSpace};
use coracle_core::task::process as tasks;
use coracle_core::time::discipline;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, text, try_box};
use coracle_fs::memory::next_device;
use coracle_fs::synthetic::{
    Directory, FsId, Item, Kind, Listed, Made, Node, Table, TakeName, list_after_table,
};
use coracle_ipc::sysv::tables;

/// f_type of procfs (statfs(2)).
const MAGIC: u64 = 0x9fa0;

const FS: FsId = FsId { device: device_number(0, 18), magic: MAGIC };

/// The root directory of the file system that shows the processes of a PID namespace; `None` is the first. ENOMEM.
pub fn filesystem(space: Option<Arc<PidSpace>>) -> Result<Arc<dyn Inode>, NoMemory> {
    let fs = if space.is_some() { FsId { device: next_device(), ..FS } } else { FS };
    Ok(Node::root(fs, try_box(Root(space))?)?)
}

/// A file of its own, to be mounted over another. ENOMEM.
pub fn made_file(made: impl Made + 'static) -> Result<Arc<dyn Inode>, NoMemory> {
    Ok(Node::file(FS, try_box(made)?)?)
}

/// See [`filesystem`].
struct Root(Option<Arc<PidSpace>>);

/// /proc/self and /proc/thread-self of a namespace.
struct Own {
    space: Arc<PidSpace>,
    of_thread: bool,
}

impl Made for Own {
    /// ENOENT for a program that is not in the namespace.
    fn link(&self) -> Result<Link, Errno> {
        let (pid, tid) = coracle_core::this::with(|me| (me.process.pid, me.tid()));
        let (pid, tid) = (self.space.inside(pid), self.space.inside(tid));
        if pid == 0 {
            return Err(Errno::NOENT);
        }
        let path = if self.of_thread {
            text(format_args!("{pid}/task/{tid}"))?
        } else {
            text(format_args!("{pid}"))?
        };
        Ok(Link::Path(path.into_bytes()))
    }
}

static FILES: Table<()> = &[
    (
        "self",
        Item::Link(|()| {
            let pid = coracle_core::this::with(|thread| thread.process.pid);
            Ok(Link::Path(text(format_args!("{pid}"))?.into_bytes()))
        }),
    ),
    (
        "thread-self",
        Item::Link(|()| {
            let (pid, tid) = coracle_core::this::with(|thread| (thread.process.pid, thread.tid()));
            Ok(Link::Path(text(format_args!("{pid}/task/{tid}"))?.into_bytes()))
        }),
    ),
    ("cpuinfo", Item::Text(|(), text| system::cpuinfo(text))),
    ("meminfo", Item::Text(|(), text| system::meminfo(text))),
    ("stat", Item::Text(|(), text| system::stat(text))),
    ("locks", Item::Text(|(), text| locks::describe(text, pid_space::seen))),
    ("keys", Item::Text(|(), text| keys::list(text))),
    ("key-users", Item::Text(|(), text| keys::list_users(text))),
    ("uptime", Item::Text(|(), text| system::uptime(text))),
    ("loadavg", Item::Text(|(), text| system::loadavg(text))),
    ("version", Item::Text(|(), text| system::version(text))),
    ("cmdline", Item::Text(|(), text| system::cmdline(text))),
    ("filesystems", Item::Fixed(system::FILESYSTEMS)),
    ("devices", Item::Text(|(), text| system::devices(text))),
    ("partitions", Item::Text(|(), text| system::partitions(text))),
    ("diskstats", Item::Text(|(), text| system::diskstats(text))),
    ("swaps", Item::Fixed("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")),
    ("interrupts", Item::Text(|(), text| system::interrupts(text))),
    ("vmstat", Item::Text(|(), text| system::vmstat(text))),
    ("mounts", Item::Link(|()| Ok(Link::Path(b"self/mounts".try_to_vec()?)))),
    ("net", Item::Link(|()| Ok(Link::Path(b"self/net".try_to_vec()?)))),
    ("fs", Item::Directory(&[("volumes", Item::Text(|(), text| mounts::volumes(text)))])),
    ("driver", Item::Directory(&[("clock", Item::Text(|(), text| discipline::describe(text)))])),
    ("sys", Item::Directory(settings::SYS)),
    (
        "sysvipc",
        Item::Directory(&[
            ("msg", Item::Pieces(|(), from, text| tables::messages(from, text))),
            ("sem", Item::Pieces(|(), from, text| tables::semaphores(from, text))),
            ("shm", Item::Pieces(|(), from, text| tables::segments(from, text))),
        ]),
    ),
];

/// The directory /proc/PID/net. ENOMEM.
pub fn net_directory() -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Listed { table: net::FILES, context: () })?)
}

impl Directory for Root {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        let space = &self.0;
        if let (Some(space), b"self" | b"thread-self") = (space, name) {
            let (space, of_thread) = (space.clone(), name != b"self");
            return Ok(Some(Kind::Link(try_box(Own { space, of_thread })?)));
        }
        match number(name).filter(|&pid| pid != 0) {
            Some(id) => {
                let machine = match space {
                    None => Some(id),
                    Some(space) => space.machine(id),
                };
                let Some(id) = machine else { return Ok(None) };
                let process = tasks::by_pid(id)
                    .or_else(|| tasks::thread_by_tid(id).map(|thread| thread.process.clone()));
                let Some(process) = process else { return Ok(None) };
                Ok(Some(Kind::Directory(process::directory(Subject {
                    process,
                    thread: None,
                    space: space.clone(),
                })?)))
            }
            None => Listed { table: FILES, context: () }.lookup(name),
        }
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        list_after_table(&Listed { table: FILES, context: () }, from, take, "", |from| match &self.0 {
            None => tasks::next_pid(from),
            Some(space) => space.next(from),
        })
    }
}
