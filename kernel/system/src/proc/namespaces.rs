//! /proc/PID/ns (namespaces(7)): one namespace of each kind, which every process is in.
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::Link;
use coracle_core::fs::stat::{Metadata, device_number};
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_fs::synthetic::{Item, Table};
use core::any::Any;
use linux_raw_sys::general::{S_IFREG, stat as Stat};

use super::process::Subject;

/// A namespace: its kind, and the number of its inode, as Linux numbers the first ones (include/linux/proc_ns.h).
struct Namespace(&'static str, u32);

/// Kinds by the names of their links.
macro_rules! namespaces {
    ($($link:literal $kind:literal $inode:literal)*) => {
        pub(super) static NAMESPACES: Table<Subject> = &[$(($link, Item::Link(|_| open($kind, $inode)))),*];
    };
}
namespaces! {
    "cgroup" "cgroup" 0xefff_fffb
    "ipc" "ipc" 0xefff_ffff
    "mnt" "mnt" 0xf000_0000
    "net" "net" 0xf000_0001
    "pid" "pid" 0xefff_fffc
    "pid_for_children" "pid" 0xefff_fffc
    "time" "time" 0xefff_fffa
    "time_for_children" "time" 0xefff_fffa
    "user" "user" 0xefff_fffd
    "uts" "uts" 0xefff_fffe
}

fn open(kind: &'static str, inode: u32) -> Result<Link, Errno> {
    let file: Arc<dyn File> = try_arc(Namespace(kind, inode))?;
    Ok(Link::File(file))
}

impl File for Namespace {
    fn stat(&self) -> Result<Stat, Errno> {
        /// The number of the file system of namespaces.
        const DEVICE: u64 = device_number(0, 4);
        let metadata = Metadata {
            device: DEVICE,
            inode: self.1.into(),
            mode: S_IFREG | 0o444,
            links: 1,
            ..Metadata::default()
        };
        Ok(metadata.stat())
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        write!(text, "{}:[{}]", self.0, self.1)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
