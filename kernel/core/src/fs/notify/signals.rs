//! Signals for what happens in a directory (F_NOTIFY of fcntl(2), "File and directory change notification").
use super::marks::{self, Listener, Mark, RENAMED};
use crate::errno::Errno;
use crate::fs::file::{File, OpenFile};
use crate::fs::signal_io::Sender;
use alloc::sync::Arc;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicI32, Ordering::Relaxed};
use linux_raw_sys::general as abi;

/// What a process has asked for by a descriptor of a directory.
pub(super) struct Request {
    /// That of the open file description.
    sender: Arc<Sender>,
    /// The process.
    pid: i32,
    /// The descriptor by which it asked last.
    fd: AtomicI32,
}

impl Request {
    /// Something happened.
    pub(super) fn announce(&self) {
        self.sender.announce_change(self.fd.load(Relaxed));
    }

    pub(super) fn same(&self, other: &Request) -> bool {
        Arc::ptr_eq(&self.sender, &other.sender) && self.pid == other.pid
    }

    /// What is asked for again is asked for by this descriptor.
    pub(super) fn asked_by(&self, other: &Request) {
        self.fd.store(other.fd.load(Relaxed), Relaxed);
    }
}

/// DN_* and the events that each stands for.
const KINDS: [(u32, u32); 6] = [
    (abi::DN_ACCESS, abi::IN_ACCESS),
    (abi::DN_MODIFY, abi::IN_MODIFY),
    (abi::DN_CREATE, abi::IN_CREATE | abi::IN_MOVED_TO),
    (abi::DN_DELETE, abi::IN_DELETE | abi::IN_MOVED_FROM),
    (abi::DN_RENAME, RENAMED),
    (abi::DN_ATTRIB, abi::IN_ATTRIB),
];

/// F_NOTIFY by descriptor `fd` of process `pid`: once, or until `kinds` is 0 with DN_MULTISHOT. ENOTDIR, ENOMEM.
pub fn request(open: &OpenFile, pid: i32, fd: i32, kinds: u32) -> Result<(), Errno> {
    if kinds & !abi::DN_MULTISHOT == 0 {
        descriptor_closed(open, pid);
        return Ok(());
    }
    let inode = open.file.place().map(|place| place.path.inode.clone()).filter(|inode| inode.is_directory());
    let identity = inode.ok_or(Errno::NOTDIR)?.identity();
    let sender = open.sender_of_changes()?;
    let request = try_arc(Request { sender, pid, fd: AtomicI32::new(fd) })?;
    let events = KINDS.iter().filter(|(kind, _)| kinds & kind != 0).fold(0, |all, (_, events)| all | events);
    let once = if kinds & abi::DN_MULTISHOT == 0 { abi::IN_ONESHOT } else { 0 };
    marks::ask(
        identity,
        Mark { listener: Listener::Signals(request), mask: events | once, ignored: 0, is_gone: false },
    )
}

/// Process `pid` closes a descriptor: what it has asked for by that ends.
pub fn descriptor_closed(open: &OpenFile, pid: i32) {
    if marks::is_on() {
        end(&*open.file, open.signal_io.sender_if_any(), Some(pid));
    }
}

/// The description of `file` with this sender is closed.
pub(in crate::fs) fn description_closed(file: &dyn File, sender: Option<Arc<Sender>>) {
    if marks::is_on() {
        end(file, sender, None);
    }
}

#[cold]
#[inline(never)]
fn end(file: &dyn File, sender: Option<Arc<Sender>>, pid: Option<i32>) {
    let (Some(place), Some(sender)) = (file.place(), sender) else { return };
    marks::remove(place.path.inode.identity(), |listener| match listener {
        Listener::Signals(request) => {
            Arc::ptr_eq(&request.sender, &sender) && pid.is_none_or(|pid| pid == request.pid)
        }
        Listener::Events(..) => false,
    });
}
