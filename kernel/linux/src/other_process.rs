//! Calls that look into another process: its memory, its descriptors, and what it shares.
use super::call::Call;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_core::mm::user_buf::MAX_PIECES;
use coracle_core::task::pid_space;
use coracle_core::task::process::{self, Process};
use coracle_core::task::{long_call, look_into, oom};
use coracle_hal::sync::atomic::Ordering::Relaxed;

/// Bytes moved at a time between two processes.
const CHUNK: usize = 1024;

/// The process with this id, or of the thread with this id. ESRCH.
pub(super) fn process_of(number: i32) -> Result<Arc<Process>, Errno> {
    numbered(pid_space::named(number).ok_or(Errno::SRCH)?)
}

/// That which a descriptor of `me` stands for (pidfd_open(2)); EBADF, ESRCH if it has ended.
pub(super) fn process_of_descriptor(me: &Process, fd: i32) -> Result<Arc<Process>, Errno> {
    numbered(coracle_core::ipc::pidfd::pid_of(me, fd)?)
}

fn numbered(pid: i32) -> Result<Arc<Process>, Errno> {
    let thread = || process::thread_by_tid(pid).map(|thread| thread.process.clone());
    process::by_pid(pid).filter(|process| !process.dead.load(Relaxed)).or_else(thread).ok_or(Errno::SRCH)
}

/// The pieces of an iovec array, one after the other.
pub(super) struct Iovecs {
    /// Where the next entry is, and how many are left.
    at: usize,
    left: usize,
    /// What is left of the present piece.
    address: usize,
    len: usize,
}

impl Iovecs {
    /// EINVAL if there are too many.
    pub fn new(at: usize, count: usize) -> Result<Iovecs, Errno> {
        if count > MAX_PIECES {
            return Err(Errno::INVAL);
        }
        Ok(Iovecs { at, left: count, address: 0, len: 0 })
    }
    /// Address and length of the next bytes, at least one; `None` at the end. EFAULT, EINVAL.
    pub fn next(&mut self) -> Result<Option<(usize, usize)>, Errno> {
        const ENTRY_BYTES: usize = 16;
        while self.len == 0 {
            if self.left == 0 {
                return Ok(None);
            }
            let [address, len] = user::read_words(self.at)?;
            if len > isize::MAX as u64 {
                return Err(Errno::INVAL);
            }
            (self.address, self.len) = (address as usize, len as usize);
            self.at = self.at.wrapping_add(ENTRY_BYTES);
            self.left -= 1;
        }
        Ok(Some((self.address, self.len)))
    }
    /// The first `by` bytes of the present piece are done.
    pub fn advance(&mut self, by: usize) {
        self.address = self.address.wrapping_add(by);
        self.len -= by;
    }
}

/// Copies between the running program and another, in the direction of `writes`. What was copied before an error counts.
fn copy(call: &Call, writes: bool) -> SysResult {
    let mut own = Iovecs::new(call.usize(1), call.usize(2))?;
    let mut other = Iovecs::new(call.usize(3), call.usize(4))?;
    if call.raw(5) != 0 {
        return Err(Errno::INVAL);
    }
    if own.left == 0 || other.left == 0 {
        return Ok(0);
    }
    let target = process_of(call.i32(0))?;
    look_into::check(&target)?;
    let memory = target.memory();
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    loop {
        let mut step = || -> Result<usize, Errno> {
            if done > 0 {
                long_call::pause_unless_killed()?;
            }
            let (Some((here, room)), Some((there, len))) = (own.next()?, other.next()?) else { return Ok(0) };
            let part = &mut chunk[..room.min(len).min(CHUNK)];
            memory.check_not_secret(there, part.len()).map_err(|_| Errno::FAULT)?;
            if writes {
                user::read(part, here)?;
                memory.write(there, part).map_err(|_| Errno::FAULT)?;
            } else {
                memory.read(there, part).map_err(|_| Errno::FAULT)?;
                user::write(here, part)?;
            }
            own.advance(part.len());
            other.advance(part.len());
            Ok(part.len())
        };
        match step() {
            Ok(0) => return Ok(done),
            Ok(part) => done += part,
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        }
    }
}

/// process_vm_readv(2).
pub fn process_vm_readv(call: &Call) -> SysResult {
    copy(call, false)
}

/// process_vm_writev(2).
pub fn process_vm_writev(call: &Call) -> SysResult {
    copy(call, true)
}

/// Kinds of objects (linux/kcmp.h).
const KCMP_FILE: u32 = 0;
const KCMP_VM: u32 = 1;
const KCMP_FILES: u32 = 2;
const KCMP_FS: u32 = 3;
const KCMP_SIGHAND: u32 = 4;
const KCMP_IO: u32 = 5;
const KCMP_SYSVSEM: u32 = 6;
const KCMP_EPOLL_TFD: u32 = 7;

/// kcmp(2). Gives 0 where both are the same object, else 1 or 2 by an order that lasts as long as the objects.
pub fn kcmp(call: &Call) -> SysResult {
    let (one, other) = (process_of(call.i32(0))?, process_of(call.i32(1))?);
    look_into::check(&one)?;
    look_into::check(&other)?;
    let address = |object: *const u8| object as usize;
    let pair = match call.u32(2) {
        KCMP_FILE => {
            let (a, b) = (one.descriptors.get(call.i32(3))?, other.descriptors.get(call.i32(4))?);
            (address(Arc::as_ptr(&a).cast()), address(Arc::as_ptr(&b).cast()))
        }
        KCMP_VM => (address(Arc::as_ptr(&one.memory()).cast()), address(Arc::as_ptr(&other.memory()).cast())),
        KCMP_FILES => (
            address(Arc::as_ptr(&one.descriptors.table()).cast()),
            address(Arc::as_ptr(&other.descriptors.table()).cast()),
        ),
        KCMP_FS => (address(Arc::as_ptr(&one.fs).cast()), address(Arc::as_ptr(&other.fs).cast())),
        KCMP_SIGHAND => {
            // One after the other: both may be the same process.
            let actions = |process: &Process| process.signals.lock().actions_address();
            (actions(&one), actions(&other))
        }
        KCMP_EPOLL_TFD => {
            let own = one.descriptors.get(call.i32(3))?.identity();
            // `struct kcmp_epoll_slot`: the set, the number of a member, and which of those that have it.
            let mut slot = [0; 12];
            user::read(&mut slot, call.usize(4))?;
            let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| slot[at + i]));
            let set = other.descriptors.get(word(0).cast_signed())?;
            let epoll = set.file.as_epoll().ok_or(Errno::INVAL)?;
            (own, epoll.description(word(4).cast_signed(), word(8) as usize).ok_or(Errno::NOENT)?)
        }
        // Contexts of input and output, and lists of semaphore undos, there are none.
        KCMP_IO | KCMP_SYSVSEM => (0, 0),
        _ => return Err(Errno::INVAL),
    };
    // The addresses themselves are no business of programs.
    let order = (pair.0 ^ kcmp_key()).cmp(&(pair.1 ^ kcmp_key()));
    Ok(match order {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}

/// What hides the order of addresses in memory.
fn kcmp_key() -> usize {
    static KEY: coracle_hal::once::Once<usize> = coracle_hal::once::Once::new();
    *KEY.call_once(|| coracle_core::random::u64() as usize)
}

/// process_mrelease(2).
pub fn process_mrelease(call: &Call) -> SysResult {
    if call.u32(1) != 0 {
        return Err(Errno::INVAL);
    }
    oom::release(&*process_of_descriptor(&call.thread().process, call.i32(0))?)?;
    Ok(0)
}

/// pidfd_getfd(2): a descriptor of its own for another process's open file.
pub fn pidfd_getfd(call: &Call) -> SysResult {
    if call.u32(2) != 0 {
        return Err(Errno::INVAL);
    }
    let target = process_of_descriptor(&call.thread().process, call.i32(0))?;
    look_into::check(&target)?;
    let open = target.descriptors.get(call.i32(1))?;
    Ok(call.thread().process.descriptors.insert(open, true, 0)? as usize)
}
