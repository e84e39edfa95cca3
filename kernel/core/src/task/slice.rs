//! Slices of time: how long a thread runs when others want its CPU, and who need not wait for that.
use super::devices::devices;
use super::run_queue::{CPUS, Cpu, IDLE, bring_one_without_rank, kick_helper};
use super::sched;
use super::thread::Thread;
use crate::this;
use crate::time::timer;
use alloc::sync::Arc;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::{AtomicI32, AtomicU64, Ordering::*};
use coracle_hal::time;
use coracle_sched_policy::policy;

/// How long a thread runs while another waits for its CPU, in nanoseconds.
pub const SLICE_NS: u64 = 4_000_000;
/// How long a thread waits for a busy CPU while another CPU is idle, before that one is asked to take it.
const BALANCE_NS: u64 = 500_000;
/// How long a thread runs undisturbed by one whose timer goes off: most that were woken sleep again sooner.
const BURST_NS: u64 = 200_000;
/// Slices after which threads without a real-time priority have had one, and how many of them are of those that have one.
const REAL_TIME_SLICES: [u64; 2] = [20, 19];
/// The same as microseconds: a period, and the part of it (/proc/sys/kernel/sched_rt_period_us and sched_rt_runtime_us).
pub const REAL_TIME_US: (u64, u64) =
    (REAL_TIME_SLICES[0] * SLICE_NS / 1000, REAL_TIME_SLICES[1] * SLICE_NS / 1000);
/// No slice is running.
pub(super) const NO_SLICE: u64 = u64::MAX;
/// The CPU is in its idle loop, which looks at the queue by itself.
pub(super) const IN_IDLE_LOOP: u64 = 0;
/// The slice is over, at whatever time.
pub(super) const OVER: u64 = 1;

/// What threads that were let in before their turn owe to those that they displaced, on one CPU.
pub(super) struct Debt {
    /// The thread ([`Thread::tid`]) that was displaced, until it runs again; 0: none.
    displaced: AtomicI32,
    /// How much longer others have run in place of displaced threads than those have since.
    owed_ns: AtomicU64,
}

impl Debt {
    /// None.
    pub const fn new() -> Debt {
        Debt { displaced: AtomicI32::new(0), owed_ns: AtomicU64::new(0) }
    }
    /// `thread` has run for `ran_ns`.
    pub fn count(&self, thread: &Thread, ran_ns: u64) {
        let owed_ns = self.owed_ns.load(Relaxed);
        let displaced = self.displaced.load(Relaxed);
        let in_place_of_another = displaced != 0 && displaced != thread.tid();
        let owed_ns = if in_place_of_another { owed_ns + ran_ns } else { owed_ns.saturating_sub(ran_ns) };
        self.owed_ns.store(owed_ns, Relaxed);
    }
    /// `thread` goes on.
    pub fn resume(&self, thread: &Thread) {
        if self.displaced.load(Relaxed) == thread.tid() {
            self.displaced.store(0, Relaxed);
        }
    }
    /// Nobody wants the CPU.
    pub fn forget(&self) {
        self.displaced.store(0, Relaxed);
        self.owed_ns.store(0, Relaxed);
    }
    /// `thread` makes room.
    fn displace(&self, thread: &Thread) {
        if self.displaced.load(Relaxed) == 0 {
            self.displaced.store(thread.tid(), Relaxed);
        }
    }
    /// Whether threads have to wait for their turn until some of it is given back.
    fn is_full(&self) -> bool {
        self.owed_ns.load(Relaxed) >= SLICE_NS
    }
}

/// Makes sure that the running thread will be interrupted, since another waits. It has run already, so its nice value does not count.
pub(super) fn arm_slice() {
    arm(SLICE_NS);
}

/// The same for a thread that begins to run.
pub(super) fn arm_slice_of(thread: &Thread) {
    arm(thread.scheduling().slice_ns(SLICE_NS));
}

fn arm(slice_ns: u64) {
    let here = CPUS.get();
    if here.slice_end.load(Relaxed) != NO_SLICE {
        return;
    }
    let idle = IDLE.load(Relaxed);
    let end = time::now_ns() + if idle != 0 { BALANCE_NS } else { slice_ns };
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

/// The program was interrupted: does what timers and devices are there for, and lets a thread run that has waited for that
/// if it should not wait for the end of the running one's slice as well.
///
/// Who waits for a packet runs at once: had the running thread been at packets itself, they would not interrupt. Who waits
/// for time lets a thread finish that has just begun. So a server answers soon beside a thread that computes; what this
/// takes from the latter, beyond a slice, has to be given back first (`Debt`).
pub fn interrupted() {
    let here = CPUS.get();
    let waiting = || here.waiting.load(Relaxed);
    let queued = waiting();
    timer::run_expired();
    let by_timers = waiting() > queued;
    let before = waiting();
    let interrupting = (devices().poll_if_due)();
    let by_devices = waiting() > before;
    if interrupting && !by_devices {
        (devices().settle)();
    }
    if (by_timers || by_devices) && !here.debt.is_full() {
        let now = time::now_ns();
        let displaced = this::with(|me| {
            me.rank() == 0
                && (by_devices || me.sched.stretch_ns(now) > BURST_NS)
                && displace(me, here, queued, now)
        });
        if displaced {
            return;
        }
    }
    preempt(here);
}

/// Runs the threads in this CPU's queue from index `first` on, then `me` for the rest of its slice, then the others. False
/// if another CPU has taken them.
fn displace(me: &Arc<Thread>, here: &Cpu, first: usize, now: u64) -> bool {
    let slice_end = here.slice_end.load(Relaxed);
    let has_had_its_share = slice_end <= now;
    let next = {
        let mut queue = here.queue.lock();
        let Some(others) = queue.len().checked_sub(first + 1) else { return false };
        queue.rotate_left(first);
        let Some(next) = queue.pop_front() else { return false };
        let place = if has_had_its_share { queue.len() } else { others };
        // There is room: one was taken. It goes from the end to its place.
        queue.push_back_reserved(me.clone());
        for index in (place + 1..queue.len()).rev() {
            queue.swap(index, index - 1);
        }
        next
    };
    if has_had_its_share {
        end_slice(here);
        arm_slice();
    } else {
        here.debt.displace(me);
        // The timer that went off may have been set for that.
        time::interrupt_by(slice_end);
    }
    me.sched.switches[1].fetch_add(1, Relaxed);
    me.disturbed();
    sched::switch_to(me, next, now);
    true
}

/// A thread of a higher priority was queued on this CPU: lets it run.
pub fn give_way() {
    preempt(CPUS.get());
}

/// If the running thread had its share and another waits, that one runs now.
fn preempt(here: &Cpu) {
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
    this::with(|me| {
        // Threads under SCHED_FIFO make room for higher ranks alone.
        let own = me.scheduling();
        let mut rank = me.rank();
        if rank != 0 {
            rank += u32::from(own.policy == policy::FIFO);
            if leaves_a_turn(here) {
                rank = 0;
            }
        }
        if sched::yield_to(me, rank, now) {
            me.disturbed();
            me.sched.switches[1].fetch_add(1, Relaxed);
        } else {
            arm_slice();
        }
    });
}

/// A slice of a thread with a rank is over: whether one without has its turn now. As on Linux, threads that compute at real-time priority
/// leave the others a twentieth of the time (sched(7), "Limiting the CPU usage of real-time and deadline processes").
#[cold]
#[inline(never)]
fn leaves_a_turn(here: &Cpu) -> bool {
    let urgent_ns = here.urgent_ns.load(Relaxed) + SLICE_NS;
    let turn = urgent_ns >= REAL_TIME_SLICES[1] * SLICE_NS && bring_one_without_rank(here);
    here.urgent_ns.store(if turn { 0 } else { urgent_ns }, Relaxed);
    turn
}
