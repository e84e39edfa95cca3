//! Breakpoints in programs, and places that are watched.
use super::session::{attached, check};
use crate::arch::debug as arch;
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::mm::memory::Memory;
use crate::task::process::Process;
use crate::task::thread::{Thread, Work};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_hal::breakpoint;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::*};

/// Places that can be watched at a time.
pub const WATCHPOINTS: usize = breakpoint::WATCHPOINTS;

/// A breakpoint that is set.
#[derive(Clone, Copy)]
pub struct Breakpoint {
    address: usize,
    /// What was there before.
    original: [u8; arch::BREAKPOINT.len()],
}

/// Whether there ever was one.
static EVER_SET: AtomicBool = AtomicBool::new(false);

/// The processes whose places are watched.
static WATCHES: Mutex<[Option<(i32, u64)>; WATCHPOINTS]> = Mutex::new([None; WATCHPOINTS]);

/// Whether there ever was a breakpoint.
pub(super) fn is_any() -> bool {
    EVER_SET.load(Relaxed)
}

/// Whether the breakpoint that a thread has reached was taken away meanwhile.
pub(super) fn is_gone(process: &Process, address: usize) -> bool {
    let mut now = arch::BREAKPOINT;
    process.memory().read(address, &mut now).is_ok() && now != arch::BREAKPOINT
}

pub(super) fn is_set(process: &Process, address: usize) -> bool {
    process.debug.breakpoints.lock().iter().any(|one| one.address == address)
}

/// Sets a breakpoint in an attached process, or takes it away. EFAULT, ENOMEM.
pub fn set_breakpoint(process: &Process, address: u64, set: bool) -> Result<(), Errno> {
    check(process)?;
    let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let memory = process.memory();
    let all = &process.debug.breakpoints;
    // Only the thread that answers requests changes the list, but for execve(2), which empties it.
    let known = all.lock().iter().find(|one| one.address == address).copied();
    match (known, set) {
        (None, true) => {
            let mut original = arch::BREAKPOINT;
            memory.read(address, &mut original).map_err(|_| Errno::FAULT)?;
            all.lock().try_push(Breakpoint { address, original })?;
            EVER_SET.store(true, Relaxed);
            if memory.poke(address, &arch::BREAKPOINT).is_err() {
                forget_one(process, address);
                return Err(Errno::FAULT);
            }
        }
        (Some(Breakpoint { original, .. }), false) => {
            restore(&memory, address, original);
            forget_one(process, address);
        }
        _ => {}
    }
    Ok(())
}

fn forget_one(process: &Process, address: usize) {
    process.debug.breakpoints.lock().retain(|one| one.address != address);
}

/// Puts back what a breakpoint replaced, unless the program has changed it since.
fn restore(memory: &Memory, address: usize, original: [u8; arch::BREAKPOINT.len()]) -> bool {
    let mut now = original;
    memory.read(address, &mut now).is_ok()
        && now == arch::BREAKPOINT
        && memory.poke(address, &original).is_ok()
}

/// Takes away all of a process.
pub(super) fn forget(process: &Process) {
    let memory = process.memory();
    let all: Vec<Breakpoint> = core::mem::take(&mut *process.debug.breakpoints.lock());
    for Breakpoint { address, original } in all {
        restore(&memory, address, original);
    }
    let mut watches = WATCHES.lock();
    for (place, watch) in
        watches.iter_mut().enumerate().filter(|(_, watch)| watch.is_some_and(|own| own.0 == process.pid))
    {
        *watch = None;
        breakpoint::watch(place, None, Work::HOLD);
    }
}

/// A child has a copy of its parent's memory: takes the parent's breakpoints out of it.
pub fn leave_child(parent: &Process, child: &Memory) {
    if attached(parent) {
        let nth = |index| parent.debug.breakpoints.lock().get(index).copied();
        for Breakpoint { address, original } in (0..).map_while(nth) {
            restore(child, address, original);
        }
    }
}

/// A breakpoint that a process has reached which shares the memory of an attached one (vfork(2)): it is taken away, and the debugger
/// sets it again when it lets its process go on the next time.
pub(super) fn take_foreign(thread: &Thread, address: usize) -> bool {
    if attached(&thread.process) {
        return false;
    }
    let memory = thread.process.memory();
    let owner = crate::task::process::all()
        .find(|other| attached(other) && other.memory_id() == memory.id && is_set(other, address));
    owner.is_some_and(|owner| set_breakpoint(&owner, address as u64, false).is_ok())
}

/// Watches a place in an attached process, or no longer; each CPU has to be told ([`breakpoint::use_watches`]). EINVAL, ENOSPC.
pub fn set_watchpoint(
    process: &Process,
    (address, len): (u64, u16),
    reads: bool,
    set: bool,
) -> Result<(), Errno> {
    check(process)?;
    let mut watches = WATCHES.lock();
    let wanted = if set { None } else { Some((process.pid, address)) };
    let place = watches.iter().position(|own| *own == wanted).ok_or(Errno::NOSPC)?;
    let watch =
        if set { Some(breakpoint::Watch::new(address, len, reads).ok_or(Errno::INVAL)?) } else { None };
    if let Some(own) = watches.get_mut(place) {
        *own = set.then_some((process.pid, address));
    }
    breakpoint::watch(place, watch, Work::HOLD);
    Ok(())
}

/// The watched place that `hits` are about.
pub(super) fn watched(hits: u64) -> Option<u64> {
    let place = (0..WATCHPOINTS).find(|place| hits & breakpoint::hit(*place) != 0)?;
    WATCHES.lock().get(place).copied().flatten().map(|(_, address)| address)
}

/// The watched place that the kernel has touched for the running thread, if it has.
pub(super) fn take_kernel_hit() -> Option<u64> {
    watched(breakpoint::take_kernel_hits())
}
