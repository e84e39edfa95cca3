//! Advisory locks: flock(2), and the record locks of fcntl(2), those of processes and those of open file descriptions.
use super::file::{File, OpenFile};
use super::stat::split_device;
use crate::errno::Errno;
use crate::ipc::poll::{Events, PollSource, block_on};
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::frame::{self, Watermark};
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicUsize, Ordering};
use coracle_sorted_map::SortedMap;
use coracle_vfs_core::locks::{Lock, Locks};

/// Which file: device and inode number.
pub(super) type FileId = (u64, u64);

/// The two kinds of lock, which don't see each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// flock(2): whole files.
    Whole,
    /// fcntl(2): byte ranges.
    Record,
}

/// The locks of all files, and the waits for them.
struct Table {
    /// Files that have locks. Few programs lock, so one table will do.
    files: SortedMap<(Kind, FileId), Locks>,
    /// What each waiting thread waits for, by its tid.
    waits: SortedMap<i32, Wait>,
}

/// A wait for another's lock.
struct Wait {
    kind: Kind,
    file: FileId,
    /// What it wants.
    lock: Lock,
    /// The owner of a lock that is in the way.
    holder: u64,
}

/// Waits that are followed from one process to the next at most, as Linux's MAX_DEADLK_ITERATIONS.
const LONGEST_CIRCLE: usize = 10;

static TABLE: Mutex<Table> = Mutex::new(Table { files: SortedMap::new(), waits: SortedMap::new() });
/// Files in [`TABLE`]: closing a file looks no further while it is 0.
static LOCKED: AtomicUsize = AtomicUsize::new(0);
/// Told whenever locks are released.
static RELEASED: PollSource = PollSource::new();

/// Which file it is.
pub(super) fn file_id(file: &dyn File) -> Result<FileId, Errno> {
    match file.place() {
        Some(place) => Ok(place.path.inode.identity()),
        None => file.stat().map(|stat| (stat.st_dev, stat.st_ino)),
    }
}

/// /proc/locks (proc(5)): the locks that are held, each with those that wait for it. `seen` is a process's number for the reader: 0 if the reader's
/// PID namespace doesn't have it, and its locks are left out.
pub fn describe(text: &mut Text, seen: impl Fn(i32) -> i32) -> Result<(), NoMemory> {
    let table = TABLE.lock();
    let mut number = 0;
    for (&(kind, file), locks) in table.files.iter() {
        // By the places of the locks: of several that are in its way, a wait is listed below the first.
        let mut waits = SortedMap::new();
        for (&tid, wait) in table.waits.iter().filter(|(_, wait)| wait.kind == kind && wait.file == file) {
            if let Some(first) = locks.conflict(&wait.lock) {
                waits.insert((first.owner, first.first, tid), &wait.lock)?;
            }
        }
        let mut waits = waits.iter().peekable();
        // By their owners and first bytes.
        for lock in locks.iter() {
            number += 1;
            let pid = shown_pid(kind, &lock, &seen);
            if pid != 0 {
                write!(text, "{number}: ")?;
                line(text, kind, file, &lock, pid)?;
            }
            while let Some((_, wanted)) =
                waits.next_if(|(place, _)| (place.0, place.1) <= (lock.owner, lock.first))
            {
                if pid != 0 {
                    write!(text, "{number}: -> ")?;
                    line(text, kind, file, wanted, shown_pid(kind, wanted, &seen))?;
                }
            }
        }
    }
    Ok(())
}

/// The lines of /proc/PID/fdinfo (proc_pid_fdinfo(5)) about the locks that process `pid` has on the file of `open`, or that description.
pub fn describe_of(
    open: &OpenFile,
    pid: i32,
    text: &mut Text,
    seen: impl Fn(i32) -> i32,
) -> Result<(), NoMemory> {
    if !any() {
        return Ok(());
    }
    let Ok(file) = file_id(&*open.file) else { return Ok(()) };
    let (of_process, of_description) = (process_owner(pid), description_owner(open));
    let table = TABLE.lock();
    let mut number = 0;
    for kind in [Kind::Whole, Kind::Record] {
        let Some(locks) = table.files.get(&(kind, file)) else { continue };
        for lock in locks.iter().filter(|lock| lock.owner == of_process || lock.owner == of_description) {
            number += 1;
            write!(text, "lock:\t{number}: ")?;
            line(text, kind, file, &lock, shown_pid(kind, &lock, &seen))?;
        }
    }
    Ok(())
}

/// The process of a lock as a reader of /proc sees it; -1 for that of an open file description.
fn shown_pid(kind: Kind, lock: &Lock, seen: &impl Fn(i32) -> i32) -> i32 {
    if kind == Kind::Record && !is_process(lock.owner) { -1 } else { seen(lock.pid) }
}

/// What is told about a lock, behind its number.
fn line(text: &mut Text, kind: Kind, (device, inode): FileId, lock: &Lock, pid: i32) -> Result<(), NoMemory> {
    let name = match kind {
        Kind::Whole => "FLOCK ",
        Kind::Record if is_process(lock.owner) => "POSIX ",
        Kind::Record => "OFDLCK",
    };
    let access = if lock.exclusive { "WRITE" } else { "READ" };
    let (major, minor) = split_device(device);
    write!(text, "{name} ADVISORY  {access} {pid} {major:02x}:{minor:02x}:{inode} {} ", lock.first)?;
    match lock.last {
        u64::MAX => text.push(b"EOF\n"),
        last => writeln!(text, "{last}"),
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
/// Whether an owner is a process, not a description.
fn is_process(owner: u64) -> bool {
    owner & 1 == 0
}
/// The owner that an open file description is.
pub fn description_owner(open: &OpenFile) -> u64 {
    owner_of(open.identity())
}

impl Table {
    /// Whether `owner` would wait for itself if it waited for `holder` (fcntl(2), EDEADLK; Linux's `posix_locks_deadlock`).
    /// Of a process several of whose threads wait, the wait of one is followed.
    fn is_circle(&self, owner: u64, mut holder: u64) -> bool {
        for _ in 0..LONGEST_CIRCLE {
            // A description waits for nothing by itself.
            let follows = |wait: &&Wait| wait.kind == Kind::Record && wait.lock.owner == holder;
            let Some(wait) = self.waits.values().find(follows) else { return false };
            holder = wait.holder;
            if holder == owner {
                return true;
            }
        }
        false
    }

    /// Notes what the thread `tid` waits for. EDEADLK if the wait could never end, ENOLCK.
    fn begin_wait(&mut self, tid: i32, wait: Wait) -> Result<(), Errno> {
        let may_be_circular = wait.kind == Kind::Record && is_process(wait.lock.owner);
        if may_be_circular && self.is_circle(wait.lock.owner, wait.holder) {
            return Err(Errno::DEADLK);
        }
        self.waits.insert(tid, wait).map_err(|_| Errno::NOLCK)?;
        Ok(())
    }

    /// Forgets the file's entry if it has no locks any more (`is_empty`), and the waits that are over, whether or not their threads have
    /// seen that: their circles are none. Waits that can't be circular stay until their threads have seen it.
    fn note_change(&mut self, kind: Kind, file: FileId, is_empty: bool) {
        if kind == Kind::Record && !self.waits.is_empty() {
            let locks = self.files.get(&(kind, file));
            self.waits.retain(|_, wait| {
                if wait.file != file || wait.kind != kind || !is_process(wait.lock.owner) {
                    return true;
                }
                match locks.and_then(|locks| locks.conflict(&wait.lock)) {
                    Some(held) => wait.holder = held.owner,
                    None => return false,
                }
                true
            });
        }
        if is_empty {
            self.files.remove(&(kind, file));
        }
        LOCKED.store(self.files.len(), Ordering::Release);
    }
}

/// Sets `lock`, waiting for those in the way if `wait`, else EAGAIN. EDEADLK if a process would wait for itself by way of
/// others; the locks of descriptions are not looked at for that, as on Linux. ENOLCK.
pub fn set(open: &OpenFile, kind: Kind, lock: Lock, wait: bool) -> Result<(), Errno> {
    let id = file_id(&*open.file)?;
    if frame::is_below(Watermark::High) {
        return Err(Errno::NOLCK);
    }
    let tid = crate::this::with(|thread| thread.tid());
    let mut waits = false;
    let result = block_on(&RELEASED, !wait, None, || {
        let mut table = TABLE.lock();
        let locks = table.files.get_or_insert_with((kind, id), Locks::default).map_err(|_| Errno::NOLCK)?;
        let in_the_way = locks.conflict(&lock);
        let result = match in_the_way {
            Some(_) => Err(Errno::AGAIN),
            None => locks.set(lock).map_err(|_| Errno::NOLCK),
        };
        let is_empty = locks.is_empty();
        if in_the_way.is_none() {
            table.note_change(kind, id, is_empty);
        }
        if let Some(held) = in_the_way
            && wait
        {
            table.begin_wait(tid, Wait { kind, file: id, lock, holder: held.owner })?;
            waits = true;
        }
        drop(table);
        // A lock taken shared in place of an exclusive one may let others go on.
        if result.is_ok() && !lock.exclusive {
            RELEASED.notify(Events::IN);
        }
        result
    });
    if waits {
        TABLE.lock().waits.remove(&tid);
    }
    result
}

/// The lock that is in the way of `lock`.
pub fn conflict(open: &OpenFile, kind: Kind, lock: &Lock) -> Result<Option<Lock>, Errno> {
    let id = file_id(&*open.file)?;
    Ok(TABLE.lock().files.get(&(kind, id)).and_then(|locks| locks.conflict(lock)))
}

/// The first lock that `owner` holds in a range (F_OFD_GETLK with F_UNLCK).
pub fn held(open: &OpenFile, kind: Kind, owner: u64, first: u64, last: u64) -> Result<Option<Lock>, Errno> {
    let id = file_id(&*open.file)?;
    Ok(TABLE.lock().files.get(&(kind, id)).and_then(|locks| locks.held(owner, first, last)))
}

/// Releases what `owner` holds in a range.
pub fn clear(open: &OpenFile, kind: Kind, owner: u64, first: u64, last: u64) -> Result<(), Errno> {
    let id = file_id(&*open.file)?;
    change(kind, id, |locks| locks.clear(owner, first, last).map(|()| true)).map_err(|_| Errno::NOLCK)
}

/// Changes a file's locks; `f` returns whether others may go on.
fn change(
    kind: Kind,
    id: FileId,
    f: impl FnOnce(&mut Locks) -> Result<bool, NoMemory>,
) -> Result<(), NoMemory> {
    let mut table = TABLE.lock();
    let Some(locks) = table.files.get_mut(&(kind, id)) else { return Ok(()) };
    let released = f(locks)?;
    let is_empty = locks.is_empty();
    table.note_change(kind, id, is_empty);
    drop(table);
    if released {
        RELEASED.notify(Events::IN);
    }
    Ok(())
}

/// Releases all that `owner` holds, which takes no memory.
fn clear_owner(kind: Kind, id: FileId, owner: u64) {
    let _ = change(kind, id, |locks| Ok(locks.clear_owner(owner)));
}

/// The process `pid` closed a descriptor of this file: its record locks on it are gone (fcntl(2)).
pub fn descriptor_closed(open: &Arc<OpenFile>, pid: i32) {
    if any()
        && let Ok(id) = file_id(&*open.file)
    {
        clear_owner(Kind::Record, id, process_owner(pid));
    }
}

fn owner_of(identity: usize) -> u64 {
    identity as u64 | 1
}

/// The description of `file` with this identity is closed: its own locks are gone.
pub fn description_closed(file: &dyn File, identity: usize) {
    if any()
        && let Ok(id) = file_id(file)
    {
        let owner = owner_of(identity);
        for kind in [Kind::Whole, Kind::Record] {
            clear_owner(kind, id, owner);
        }
    }
}
