//! Slices of time: how long a thread runs when others want its CPU.
use super::run_queue::{CPUS, Cpu, IDLE, kick_helper};
use super::sched;
use crate::this;
use coracle_hal::time;
use core::sync::atomic::Ordering::*;

/// How long a thread runs while another waits for its CPU, in nanoseconds.
pub const SLICE_NS: u64 = 4_000_000;
/// How long a thread waits for a busy CPU while another CPU is idle, before that one is asked to take it.
const BALANCE_NS: u64 = 500_000;
/// No slice is running.
pub(super) const NO_SLICE: u64 = u64::MAX;
/// The CPU is in its idle loop, which looks at the queue by itself.
pub(super) const IN_IDLE_LOOP: u64 = 0;

/// Makes sure that the running thread will be interrupted, since another waits.
pub(super) fn arm_slice() {
    let here = CPUS.get();
    if here.slice_end.load(Relaxed) != NO_SLICE {
        return;
    }
    let idle = IDLE.load(Relaxed);
    let end = time::now_ns() + if idle != 0 { BALANCE_NS } else { SLICE_NS };
    here.slice_end.store(end, Relaxed);
    time::interrupt_by(end);
}

/// No slice runs any more on this CPU. True if a thread is in the queue: then one has to be set.
///
/// A CPU that queues a thread here interrupts us only if it sees no slice. It looks at `slice_end` after the thread is in
/// the queue; we look at the queue after the change of `slice_end`: one sees the other.
pub(super) fn end_slice(here: &Cpu) -> bool {
    here.slice_end.swap(NO_SLICE, SeqCst);
    here.waiting.load(SeqCst) != 0
}

/// The program was interrupted: if the running thread had its share and another waits, that one runs now.
pub fn preempt() {
    let here = CPUS.get();
    let end = here.slice_end.load(Relaxed);
    if end == NO_SLICE {
        if here.waiting.load(Relaxed) != 0 {
            // A thread was queued here by another CPU.
            arm_slice();
        }
        return;
    }
    let now = time::now_ns();
    if end > now {
        // The timer went off for something else, and may have been set to what is due next.
        return time::interrupt_by(end);
    }
    if !end_slice(here) {
        return;
    }
    kick_helper(u64::MAX);
    // The slice of the one that comes next: we wait behind it.
    arm_slice();
    this::with(|me| {
        me.sched.switches[1].fetch_add(1, Relaxed);
        sched::yield_as(me, now);
    });
}
