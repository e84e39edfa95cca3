//! Advisory locks: flock(2), and the record locks of fcntl(2), those of processes and those of open file descriptions.
use super::file::OpenFile;
use super::inode::Inode;
use super::memory::MemoryFile;
use crate::errno::Errno;
use crate::ipc::poll::{Events, PollSource, block_on};
use alloc::sync::Arc;
use coracle_fallible::NoMemory;
use coracle_hal::frame::{self, Watermark};
use coracle_sorted_map::SortedMap;
use coracle_vfs_core::locks::{Lock, Locks};
use core::sync::atomic::{AtomicUsize, Ordering};
use spin::Mutex;

/// Which file: device and inode number.
type FileId = (u64, u64);

/// The two kinds of lock, which don't see each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// flock(2): whole files.
    Whole,
    /// fcntl(2): byte ranges.
    Record,
}

/// Locks of all files that have any. Few programs lock, so one table will do.
static TABLE: Mutex<SortedMap<(Kind, FileId), Locks>> = Mutex::new(SortedMap::new());
/// Files in [`TABLE`]: closing a file looks no further while it is 0.
static LOCKED: AtomicUsize = AtomicUsize::new(0);
/// Told whenever locks are released.
static RELEASED: PollSource = PollSource::new();

fn file_id(open: &OpenFile) -> Result<FileId, Errno> {
    match open.file.as_any().downcast_ref::<MemoryFile>() {
        Some(file) => Ok(file.node().identity()),
        None => open.file.stat().map(|stat| (stat.st_dev, stat.st_ino)),
    }
}

/// Whether any file has locks.
pub fn any() -> bool {
    LOCKED.load(Ordering::Acquire) > 0
}

/// The owner that a process is: even numbers, descriptions being odd.
pub fn process_owner(pid: i32) -> u64 {
    (pid as u64) << 1
}
/// The owner that an open file description is.
pub fn description_owner(open: &OpenFile) -> u64 {
    core::ptr::from_ref(open) as u64 | 1
}

/// Sets `lock`, waiting for those in the way if `wait`, else EAGAIN.
pub fn set(open: &OpenFile, kind: Kind, lock: Lock, wait: bool) -> Result<(), Errno> {
    let id = file_id(open)?;
    if frame::is_below(Watermark::High) {
        return Err(Errno::NOLCK);
    }
    block_on(&RELEASED, !wait, None, || {
        let mut table = TABLE.lock();
        let locks = table.get_or_insert_with((kind, id), Locks::default).map_err(|_| Errno::NOLCK)?;
        let result = match locks.conflict(&lock) {
            Some(_) => Err(Errno::AGAIN),
            None => locks.set(lock).map_err(|_| Errno::NOLCK),
        };
        if locks.is_empty() {
            table.remove(&(kind, id));
        }
        // A lock taken shared in place of an exclusive one may let others go on.
        LOCKED.store(table.len(), Ordering::Release);
        drop(table);
        if result.is_ok() && !lock.exclusive {
            RELEASED.notify(Events::IN);
        }
        result
    })
}

/// The lock that is in the way of `lock`.
pub fn conflict(open: &OpenFile, kind: Kind, lock: &Lock) -> Result<Option<Lock>, Errno> {
    let id = file_id(open)?;
    Ok(TABLE.lock().get(&(kind, id)).and_then(|locks| locks.conflict(lock)))
}

/// Releases what `owner` holds in a range.
pub fn clear(open: &OpenFile, kind: Kind, owner: u64, first: u64, last: u64) -> Result<(), Errno> {
    let id = file_id(open)?;
    change(kind, id, |locks| locks.clear(owner, first, last)).map_err(|_| Errno::NOLCK)
}

fn change(
    kind: Kind,
    id: FileId,
    f: impl FnOnce(&mut Locks) -> Result<(), NoMemory>,
) -> Result<(), NoMemory> {
    let mut table = TABLE.lock();
    let mut result = Ok(());
    if let Some(locks) = table.get_mut(&(kind, id)) {
        result = f(locks);
        if locks.is_empty() {
            table.remove(&(kind, id));
        }
    }
    LOCKED.store(table.len(), Ordering::Release);
    drop(table);
    RELEASED.notify(Events::IN);
    result
}

/// Releases all that `owner` holds, which takes no memory.
fn clear_owner(kind: Kind, id: FileId, owner: u64) {
    let _ = change(kind, id, |locks| {
        locks.clear_owner(owner);
        Ok(())
    });
}

/// The process `pid` closed a descriptor of this file: its record locks on it are gone (fcntl(2)).
pub fn descriptor_closed(open: &Arc<OpenFile>, pid: i32) {
    if any()
        && let Ok(id) = file_id(open)
    {
        clear_owner(Kind::Record, id, process_owner(pid));
    }
}

/// The last descriptor of a description was closed: its own locks are gone.
pub fn description_closed(open: &OpenFile) {
    if any()
        && let Ok(id) = file_id(open)
    {
        let owner = description_owner(open);
        for kind in [Kind::Whole, Kind::Record] {
            clear_owner(kind, id, owner);
        }
    }
}
