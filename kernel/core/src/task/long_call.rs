//! Pauses of long system calls.
//!
//! Kernel code runs with interrupts off, and nothing preempts it. So a system call whose length the program chooses pauses
//! after each piece of its work, a page as a rule: the CPU takes the interrupts that wait for it, runs the timers and looks at
//! the devices that these are for, lets another thread run if the slice is over, and answers other CPUs that wait for it to
//! drop translations. Linux has `cond_resched` for that.
//!
//! No lock is held at a pause, and nothing that one protects is half changed, because any other thread may run meanwhile.
//! Where that can't be, [`crate::mm`] has the threads wait that want the memory which is being changed.
//!
//! A pause costs a few instructions if nothing waits. Calls of one piece make none.
use super::slice;
use super::thread::Work;
use crate::errno::Errno;
use crate::this;
use coracle_hal::cpu;

/// Lets what waits for this CPU have it. Hold no lock.
#[inline(always)]
pub fn pause() {
    if cpu::take_interrupts() {
        act();
    }
}

#[cold]
#[inline(never)]
fn act() {
    slice::interrupted();
}

/// [`pause`] for a call that can end early.
///
/// # Errors
/// EINTR if the process is about to end, as by SIGKILL: the call ends with what it has done, which no program sees.
#[inline(never)]
pub fn pause_unless_killed() -> Result<(), Errno> {
    pause();
    if this::with(|me| me.work().any(Work::EXIT)) { Err(Errno::INTR) } else { Ok(()) }
}

/// [`pause`] for a call that any signal interrupts.
///
/// # Errors
/// EINTR if a signal is to be delivered: the call returns what it has done, or this error.
#[inline(never)]
pub fn pause_unless_interrupted() -> Result<(), Errno> {
    pause();
    if this::with(|me| me.interrupted()) { Err(Errno::INTR) } else { Ok(()) }
}
