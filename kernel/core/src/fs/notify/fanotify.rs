//! What fanotify(7) does otherwise than inotify: which marks hear of an event, and what is read of it.
use super::instance::{Event, Inotify};
use super::marks::{self, EVENTS, Happened, Identity, OF_FILE_SYSTEM, OF_MOUNT, OPENED_TO_EXECUTE};
use crate::errno::{Errno, SysResult};
use crate::fs::handle;
use crate::fs::mount::Path;
use crate::fs::open::open_unnoticed;
use crate::mm::user_buf::UserBuf;
use alloc::sync::Arc;
use linux_raw_sys::general as abi;

/// Events that a mark may report.
pub const FAN_EVENTS: u32 = EVENTS | OPENED_TO_EXECUTE;
/// Those of files that are reached by a path, which can be opened when they are read.
pub const WITH_PATHS: u32 =
    abi::IN_ACCESS | abi::IN_MODIFY | abi::IN_CLOSE | abi::IN_OPEN | OPENED_TO_EXECUTE;
/// FAN_ONDIR: events of directories count, too. Its bit in an event is that of IN_ISDIR.
pub const ONDIR: u32 = abi::IN_ISDIR;
/// FAN_EVENT_ON_CHILD: so do those of the files in a marked directory.
pub const EVENT_ON_CHILD: u32 = 0x0800_0000;
/// In a mark's mask: what it ignores is ignored after changes of the file, too (FAN_MARK_IGNORED_SURV_MODIFY).
pub const IGNORES_FOR_GOOD: u32 = 0x0200_0000;
/// Among an open description's flags: what is done with it is not reported (Linux's FMODE_NONOTIFY).
pub const UNNOTICED: u32 = 0x0400_0000;

/// Flags of fanotify_init(2) that count later.
const UNLIMITED_QUEUE: u32 = 0x10;
const UNLIMITED_MARKS: u32 = 0x20;
const REPORT_TID: u32 = 0x100;
const REPORT_FID: u32 = 0x200;

/// Size of `struct fanotify_event_metadata`, and its version.
pub(super) const HEADER: usize = 24;
const VERSION: u32 = 3;
/// In the place of a descriptor (FAN_NOFD).
const NO_DESCRIPTOR: u32 = u32::MAX;
/// Size and type of `struct fanotify_event_info_fid`: four bytes of header, the file system's id, and a handle.
const FID_BYTES: usize = 4 + 8 + 8 + handle::BYTES;
const FID_TYPE: u32 = 1;
/// An event is told together with one of the same file and process among so many last ones (Linux's FANOTIFY_MAX_MERGE_EVENTS).
pub(super) const MERGED_AMONG: usize = 128;

/// What an instance reports.
pub struct Fan {
    /// Flags of fanotify_init(2).
    pub flags: u32,
    /// Flags of open(2) for the files of events.
    pub open_flags: u32,
    /// It was made without CAP_SYS_ADMIN: it learns nothing of other processes.
    pub is_unprivileged: bool,
    /// A process's number as the caller sees it (pid_namespaces(7)).
    pub seen: fn(i32) -> i32,
}

/// What an event is of.
#[derive(Clone)]
pub(super) enum Object {
    /// A file, to be opened.
    Path(Path),
    /// A file, to be named by its handle.
    Id(Identity),
}

impl Object {
    /// Bytes that are read of it behind the event.
    pub(super) fn size(&self) -> usize {
        if matches!(self, Object::Id(_)) { FID_BYTES } else { 0 }
    }

    pub(super) fn same(&self, other: &Object) -> bool {
        match (self, other) {
            (Object::Path(one), Object::Path(other)) => one.same(other),
            (Object::Id(one), Object::Id(other)) => one == other,
            _ => false,
        }
    }
}

impl Fan {
    pub(super) fn has_unlimited_queue(&self) -> bool {
        self.flags & UNLIMITED_QUEUE != 0
    }
    pub(super) fn has_unlimited_marks(&self) -> bool {
        self.flags & UNLIMITED_MARKS != 0
    }
    /// Whether files are named by handles (FAN_REPORT_FID).
    pub fn reports_ids(&self) -> bool {
        self.flags & REPORT_FID != 0
    }

    /// The event that a mark with this mask makes of what happened.
    pub(super) fn event(&self, own: &Inotify, watched: u32, happened: &Happened) -> Option<Event> {
        let is_child = happened.path.is_some() && happened.name.is_some();
        let mut mask = happened.mask & watched & FAN_EVENTS;
        let wanted = (if is_child { EVENT_ON_CHILD } else { 0 }) | happened.mask & ONDIR;
        if mask == 0 || wanted & !watched != 0 || marks::is_ignored(own, mask, &happened.marked()) {
            return None;
        }
        let object = if self.reports_ids() {
            mask |= happened.mask & ONDIR;
            Object::Id(happened.subject)
        } else {
            Object::Path(happened.path?.clone())
        };
        let process = crate::this::with(|thread| match self.flags & REPORT_TID {
            0 => thread.process.pid,
            _ => thread.tid(),
        });
        Some(Event { wd: 0, mask, cookie: process as u32, name: None, object: Some(object) })
    }

    /// Copies an event as it is read, and opens its file.
    pub(super) fn write(&self, event: Event, dst: &mut UserBuf) -> Result<(), Errno> {
        let mut words = [0; (HEADER + FID_BYTES) / 4];
        let (mut len, mut fd) = (HEADER, NO_DESCRIPTOR);
        match &event.object {
            Some(Object::Path(path)) => fd = self.open(path)? as u32,
            Some(Object::Id(identity)) => {
                len += FID_BYTES;
                words[HEADER / 4] = FID_TYPE | (FID_BYTES as u32) << 16;
                let [head, inode, device] = handle::words(*identity);
                let parts = [identity.0, head, inode, device].into_iter().flat_map(|part| [part, part >> 32]);
                for (word, part) in words[HEADER / 4 + 1..].iter_mut().zip(parts) {
                    *word = part as u32;
                }
            }
            None => {}
        }
        let process = event.cookie as i32;
        let is_own = || crate::this::with(|thread| thread.process.pid == process);
        let seen = if process == 0 || self.is_unprivileged && !is_own() { 0 } else { (self.seen)(process) };
        let head = [len as u32, VERSION | (HEADER as u32) << 16, event.mask, 0, fd, seen as u32];
        words[..head.len()].copy_from_slice(&head);
        let mut bytes = [0; HEADER + FID_BYTES];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        dst.put_all(&bytes[..len]).inspect_err(|_| {
            let _ = crate::this::with(|thread| thread.process.descriptors.remove(fd as i32));
        })
    }

    /// Opens the file of an event for the caller.
    #[inline(never)]
    fn open(&self, path: &Path) -> Result<i32, Errno> {
        let open = open_unnoticed(path, self.open_flags & !abi::O_CLOEXEC)?;
        let closes = self.open_flags & abi::O_CLOEXEC != 0;
        crate::this::with(|thread| thread.process.descriptors.insert(open, closes, 0))
    }
}

/// What a mark is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// A file or directory.
    Inode,
    /// A mount.
    Mount,
    /// A file system.
    FileSystem,
}

impl MarkKind {
    fn key(self, path: &Path) -> Identity {
        let identity = path.inode.identity();
        match self {
            MarkKind::Inode => identity,
            MarkKind::Mount => (OF_MOUNT, path.mount.id),
            MarkKind::FileSystem => (OF_FILE_SYSTEM, identity.0),
        }
    }

    fn is_of(self, key: &Identity) -> bool {
        let found = match key.0 {
            OF_MOUNT => MarkKind::Mount,
            OF_FILE_SYSTEM => MarkKind::FileSystem,
            _ => MarkKind::Inode,
        };
        self == found
    }
}

impl Inotify {
    /// Adds events to a mark, and to what it ignores (FAN_MARK_ADD). ENOSPC, ENOMEM.
    pub fn mark(self: &Arc<Self>, kind: MarkKind, path: &Path, (mask, ignored): (u32, u32)) -> SysResult {
        self.watch_or_change(kind.key(path), (mask, ignored), &mut |mark| {
            mark.mask |= mask;
            mark.ignored |= ignored;
            Ok(())
        })?;
        Ok(0)
    }

    /// Takes events from a mark, and from what it ignores (FAN_MARK_REMOVE). `kept`: bits that alone make no mark. ENOENT.
    pub fn unmark(
        self: &Arc<Self>,
        kind: MarkKind,
        path: &Path,
        (mask, ignored): (u32, u32),
        kept: u32,
    ) -> SysResult {
        let key = kind.key(path);
        let mut is_empty = false;
        let wd = marks::change(key, self, &mut |mark| {
            mark.mask &= !mask;
            mark.ignored &= !ignored;
            is_empty = (mark.mask | mark.ignored) & !(kept | IGNORES_FOR_GOOD) == 0;
            Ok(())
        })?;
        let wd = wd.ok_or(Errno::NOENT)?;
        if is_empty {
            self.forget(wd, key);
        }
        Ok(0)
    }

    /// Takes all marks of a kind away (FAN_MARK_FLUSH).
    pub fn flush_marks(&self, kind: MarkKind) {
        while let Some((wd, key)) = self.any_watch(|key| kind.is_of(key)) {
            self.forget(wd, key);
        }
    }
}
