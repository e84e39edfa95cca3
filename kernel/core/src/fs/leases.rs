//! Leases (fcntl(2), "Leases"): their holder hears of an open(2) or truncate(2) that conflicts, which waits until the holder has given way.
use super::access::{self, capability};
use super::file::{File, OpenFile};
use super::locks::{FileId, file_id};
use super::signal_io::Sender;
use crate::errno::Errno;
use crate::ipc::poll::{Events, PollSource, block_on};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};
use coracle_hal::time;
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general::{
    F_RDLCK, F_UNLCK, F_WRLCK, O_ACCMODE, O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY, S_IFMT, S_IFREG,
};

/// Seconds that a holder has to give way; 0: as long as it likes (/proc/sys/fs/lease-break-time).
pub static BREAK_TIME_S: AtomicU32 = AtomicU32::new(45);
/// 0: no further lease is given (/proc/sys/fs/leases-enable).
pub static ENABLED: AtomicU32 = AtomicU32::new(1);

const NANOS: u64 = 1_000_000_000;

/// The lease of an open file description.
struct Lease {
    /// Its identity.
    description: usize,
    /// F_RDLCK or F_WRLCK.
    kind: u32,
    /// It is to go, and does so at this time since boot in nanoseconds.
    ends_at: Option<u64>,
    /// It is to become one for reading, in the same way.
    shrinks_at: Option<u64>,
    sender: Arc<Sender>,
    /// The descriptor by which it was asked for.
    fd: i32,
}

static TABLE: Mutex<SortedMap<FileId, Vec<Lease>>> = Mutex::new(SortedMap::new());
/// Files in [`TABLE`]: opening looks no further while it is 0.
static LEASED: AtomicUsize = AtomicUsize::new(0);
/// Told when a lease gives way.
static GIVEN_UP: PollSource = PollSource::new();

impl Lease {
    fn conflicts(&self, writes: bool) -> bool {
        writes || self.kind == F_WRLCK
    }
    /// As F_GETLEASE returns it: what it is to become.
    fn shown(&self) -> u32 {
        match self {
            Lease { ends_at: Some(_), .. } => F_UNLCK,
            Lease { shrinks_at: Some(_), .. } => F_RDLCK,
            _ => self.kind,
        }
    }
    /// Asks the holder to give way, once.
    fn ask(&mut self, writes: bool) {
        if self.ends_at.is_some() || (!writes && self.shrinks_at.is_some()) {
            return;
        }
        let place = if writes { &mut self.ends_at } else { &mut self.shrinks_at };
        *place = Some(match BREAK_TIME_S.load(Relaxed) {
            0 => u64::MAX,
            seconds => time::now_ns() + u64::from(seconds) * NANOS,
        });
        self.sender.announce_change(self.fd);
    }
}

/// Has leases whose time is over give way.
fn expire(leases: &mut Vec<Lease>) {
    let now_ns = time::now_ns();
    let is_over = |at: Option<u64>| at.is_some_and(|at| at <= now_ns);
    leases.retain_mut(|lease| {
        if is_over(lease.shrinks_at) {
            (lease.kind, lease.shrinks_at) = (F_RDLCK, None);
        }
        let stays = !is_over(lease.ends_at);
        if !stays {
            lease.sender.reset();
        }
        stays
    });
}

/// Runs `f` on the leases of a file.
fn with_leases<R>(id: FileId, f: impl FnOnce(&mut Vec<Lease>) -> R) -> Result<R, Errno> {
    let mut table = TABLE.lock();
    let leases = table.get_or_insert_with(id, Vec::new)?;
    expire(leases);
    let result = f(leases);
    if leases.is_empty() {
        table.remove(&id);
    }
    LEASED.store(table.len(), SeqCst);
    Ok(result)
}

/// A file was opened: waits until no lease is in the way. EWOULDBLOCK with O_NONBLOCK; ERESTARTSYS.
#[inline(always)]
pub fn opened(open: &OpenFile) -> Result<(), Errno> {
    if LEASED.load(SeqCst) > 0 { opened_leased(open) } else { Ok(()) }
}

#[cold]
#[inline(never)]
fn opened_leased(open: &OpenFile) -> Result<(), Errno> {
    if open.flags() & O_PATH != 0 || open.file.openers().is_none() {
        return Ok(());
    }
    make_way(file_id(&*open.file)?, open.flags())
}

/// The same for a file that is about to be truncated by its path.
pub fn truncated(id: FileId) -> Result<(), Errno> {
    if LEASED.load(SeqCst) > 0 { make_way(id, O_WRONLY) } else { Ok(()) }
}

/// Asks the holders of leases that conflict with an open(2) with `flags` to give way, and waits until they have (Linux's `__break_lease`).
fn make_way(id: FileId, flags: u32) -> Result<(), Errno> {
    let writes = flags & O_ACCMODE != O_RDONLY;
    let (mut is_first, mut deadline) = (true, None);
    let mut attempt = |deadline: &mut Option<u64>| {
        with_leases(id, |leases| {
            let in_the_way = || leases.iter().any(|lease| lease.conflicts(writes));
            if !in_the_way() {
                return Ok(());
            }
            if core::mem::take(&mut is_first) {
                leases.iter_mut().filter(|lease| lease.conflicts(writes)).for_each(|lease| lease.ask(writes));
            }
            let gives_way =
                |lease: &Lease| lease.ends_at.or(lease.shrinks_at).filter(|_| lease.conflicts(writes));
            *deadline = leases.iter().filter_map(gives_way).min().filter(|&at| at != u64::MAX);
            Err(Errno::AGAIN)
        })?
    };
    let mut result = attempt(&mut deadline);
    while result == Err(Errno::AGAIN) && flags & O_NONBLOCK == 0 {
        let until = deadline;
        result = block_on(&GIVEN_UP, false, until, || attempt(&mut deadline));
    }
    result
}

/// EAGAIN if others have the file open in a way that a lease excludes (Linux's `check_conflicting_open`). EINVAL where there are no leases.
fn check_openers(open: &OpenFile, kind: u32) -> Result<(), Errno> {
    let [readers, writers] = open.file.openers().ok_or(Errno::INVAL)?;
    let own = [open.check_writable().is_err(), open.check_writable().is_ok()].map(u32::from);
    let is_free = if kind == F_RDLCK { writers == 0 } else { [readers, writers] == own };
    if is_free { Ok(()) } else { Err(Errno::AGAIN) }
}

/// F_SETLEASE by the descriptor `fd`. EACCES for another's file without CAP_LEASE; EAGAIN, EINVAL, ENOMEM.
pub fn set(open: &OpenFile, fd: i32, kind: u32) -> Result<(), Errno> {
    let stat = open.file.stat()?;
    if !matches!(kind, F_RDLCK | F_WRLCK | F_UNLCK) || stat.st_mode & S_IFMT != S_IFREG {
        return Err(Errno::INVAL);
    }
    if !access::is_callers(stat.st_uid) {
        access::check_capability(capability::LEASE).map_err(|_| Errno::ACCES)?;
    }
    let (id, description) = (file_id(&*open.file)?, open.identity());
    if kind == F_UNLCK {
        return if remove(id, description)? { Ok(()) } else { Err(Errno::AGAIN) };
    }
    let sender = open.signal_io.sender()?;
    check_openers(open, kind)?;
    let is_new = with_leases(id, |leases| {
        let mut others = leases.iter().filter(|lease| lease.description != description);
        if others.any(|other| kind == F_WRLCK || other.ends_at.is_some()) {
            return Err(Errno::AGAIN);
        }
        let own = leases.iter_mut().find(|lease| lease.description == description);
        let is_new = own.is_none();
        match own {
            Some(lease) => {
                (lease.kind, lease.fd) = (kind, fd);
                if kind == F_RDLCK {
                    lease.shrinks_at = None;
                }
            }
            None if ENABLED.load(Relaxed) == 0 => return Err(Errno::INVAL),
            None => {
                leases.make_room(1)?;
                leases.push_reserved(Lease {
                    description,
                    kind,
                    ends_at: None,
                    shrinks_at: None,
                    sender,
                    fd,
                });
            }
        }
        open.sender_of_changes()?;
        Ok(is_new)
    })??;
    GIVEN_UP.notify(Events::IN);
    match check_openers(open, kind) {
        // An open(2) counts first, and looks for leases then.
        Err(error) if is_new => remove(id, description).and(Err(error)),
        _ => Ok(()),
    }
}

/// F_GETLEASE.
pub fn get(open: &OpenFile) -> Result<u32, Errno> {
    if open.file.openers().is_none() {
        return Ok(F_UNLCK);
    }
    let description = open.identity();
    with_leases(file_id(&*open.file)?, |leases| {
        let own = leases.iter().find(|lease| lease.description == description);
        own.map_or(F_UNLCK, Lease::shown)
    })
}

/// Removes the lease of a description, and with it the owner and the signal that are set (Linux's `lease_modify`). False: there was none.
fn remove(id: FileId, description: usize) -> Result<bool, Errno> {
    let removed = with_leases(id, |leases| {
        let place = leases.iter().position(|lease| lease.description == description)?;
        let lease = leases.swap_remove(place);
        lease.sender.reset();
        Some(lease)
    })?;
    GIVEN_UP.notify(Events::IN);
    Ok(removed.is_some())
}

/// The description of `file` with this identity is closed.
pub fn description_closed(file: &dyn File, identity: usize) {
    if LEASED.load(SeqCst) > 0
        && file.openers().is_some()
        && let Ok(id) = file_id(file)
        // Without a lease the list would be made anew, which may take memory.
        && TABLE.lock().contains_key(&id)
    {
        let _ = remove(id, identity);
    }
}
