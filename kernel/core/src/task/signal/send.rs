//! Sending signals, and taking those that wait.
use super::charge::Charge;
use super::info::{FIRST_REALTIME, MAX_SIGNAL, SI_USER, SigInfo, bit};
use super::state::{DEFAULT, DefaultAction, ProcessSignals, Slot, Taken, ThreadSignals, default_action};
use crate::errno::Errno;
use crate::ipc::poll::Events;
use crate::task::exit;
use crate::task::process::{self, ExitStatus, Process};
use crate::task::thread::{Thread, Work};
use crate::time::posix_timer::{PosixTimer, TimerSignal};
use alloc::sync::Arc;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use linux_raw_sys::general as abi;

/// Signals that stop a process.
const STOPS: u64 = bit(abi::SIGSTOP) | bit(abi::SIGTSTP) | bit(abi::SIGTTIN) | bit(abi::SIGTTOU);

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It waits, or one of its kind did already.
    Waits,
    /// The process ignores it.
    Ignored,
    /// As many wait as RLIMIT_SIGPENDING allows.
    Refused,
}

impl Sent {
    /// EAGAIN if it was refused (sigqueue(3), tgkill(2)).
    pub fn check(self) -> Result<(), Errno> {
        if self == Sent::Refused { Err(Errno::AGAIN) } else { Ok(()) }
    }
}

/// Sends a signal to a process: some thread of it that doesn't block it takes it.
pub fn send_to_process(process: &Arc<Process>, info: SigInfo) -> Sent {
    send(process, None, info, slot(process, &info))
}

/// Sends a signal to one thread.
pub fn send_to_thread(thread: &Arc<Thread>, info: SigInfo) -> Sent {
    send(&thread.process, Some(thread), info, slot(&thread.process, &info))
}

/// Sends a timer's signal to a process, or to the thread of it that is given.
pub fn send_timer(process: &Arc<Process>, target: Option<&Arc<Thread>>, info: SigInfo, timer: TimerSignal) {
    send(process, target, info, Some(Slot::Timer(timer)));
}

/// Forgets the signal that a timer of `process` sent before it was set anew or deleted, if it waits (Linux's `posix_timer_cleanup_ignored`
/// and `posixtimer_deliver_signal`; timer_delete(2) leaves it open).
pub fn discard_of_timer(process: &Process, timer: &Arc<PosixTimer>) {
    let threads = process.threads.lock();
    process.signals.lock().pending.discard_timers(Some(timer));
    for thread in threads.iter() {
        thread.signals.lock().pending.discard_timers(Some(timer));
    }
}

/// The place in which `info` waits for `process`. Standard signals get one beyond the limit if the kernel or kill(2) sends
/// them, as on Linux (`kernel/signal.c`, `__send_signal_locked`).
fn slot(process: &Process, info: &SigInfo) -> Option<Slot> {
    let unlimited = info.signal < FIRST_REALTIME && info.code >= SI_USER;
    let charge = if unlimited { Charge::beyond_limit(process) } else { Charge::of(process) };
    charge.map(Slot::Charged)
}

/// Sends a signal to all processes of a group; ESRCH if it has none.
pub fn send_to_group(group: i32, info: SigInfo) -> Result<(), Errno> {
    let mut found = Err(Errno::SRCH);
    for process in process::of_group(group) {
        send_to_process(&process, info);
        found = Ok(());
    }
    found
}

/// SIGPIPE and its like: sent to the running thread by a call that failed.
pub fn raise(signal: u32) {
    crate::this::with(|thread| {
        send_to_thread(thread, SigInfo::user(signal, SI_USER, thread.process.own_pid(), 0))
    });
}

fn send(process: &Arc<Process>, target: Option<&Arc<Thread>>, info: SigInfo, slot: Option<Slot>) -> Sent {
    debug_assert!((1..=MAX_SIGNAL).contains(&info.signal));
    let (sent, resumed) = {
        let threads = process.threads.lock();
        let mut shared = process.signals.lock();
        if bit(info.signal) & STOPS != 0 {
            shared.pending.discard(bit(abi::SIGCONT));
        }
        if info.signal == abi::SIGCONT {
            shared.pending.discard(STOPS);
            threads.iter().for_each(|thread| thread.signals.lock().pending.discard(STOPS));
        }
        let sent = add(process, &threads, &mut shared, target, info, slot);
        (sent, info.signal == abi::SIGCONT && process.resume(&threads, &shared))
    };
    if resumed {
        process.tell_parent_of_stop(abi::CLD_CONTINUED as i32, abi::SIGCONT as i32);
    }
    if sent == Sent::Waits {
        process.signal_source.notify(Events::IN);
    }
    sent
}

/// Makes a signal wait for `target` or for a process, whose threads and signals are locked, and has a thread look at it.
fn add(
    process: &Process,
    threads: &[Arc<Thread>],
    shared: &mut ProcessSignals,
    target: Option<&Arc<Thread>>,
    info: SigInfo,
    slot: Option<Slot>,
) -> Sent {
    let signal = bit(info.signal);
    let blocked = |thread: &Arc<Thread>| {
        let own = thread.signals.lock();
        (own.mask | own.saved_mask.unwrap_or(0) | own.waiting) & signal != 0
    };
    let is_traced = |thread: &Arc<Thread>| thread.debug.traced.is_on();
    let is_immune = shared.action(info.signal).handler == DEFAULT && process.is_immune(&info);
    if (shared.ignores(info.signal) || is_immune)
        && !target.or(threads.first()).is_some_and(|thread| blocked(thread) || is_traced(thread))
    {
        return Sent::Ignored;
    }
    // A real-time signal that carries something isn't sent without it.
    if slot.is_none() && info.signal >= FIRST_REALTIME && !info.is_from_kernel() && info.code != SI_USER {
        return Sent::Refused;
    }
    match target {
        Some(thread) => thread.signals.lock().pending.add(info, slot),
        None => shared.pending.add(info, slot),
    }
    let accepts = |thread: &&Arc<Thread>| thread.signals.lock().accepted() & signal != 0;
    let mut takers = threads.iter().filter(accepts);
    let taker = match target {
        Some(target) => takers.find(|thread| Arc::ptr_eq(thread, target)),
        None => takers.next(),
    };
    match taker {
        Some(taker) if is_fatal(process, shared, taker, info.signal) => {
            exit::end_threads(process, threads, ExitStatus::Killed(info.signal, false));
        }
        Some(taker) => taker.add_work(Work::SIGNAL),
        None => {}
    }
    Sent::Waits
}

/// Whether a signal that `taker` accepts ends its process at once (Linux's `complete_signal`): its default action is to end it
/// without a core dump. SIGKILL always is; another one waits while the process is stopped, or for its tracer, and where sigtimedwait(2) takes
/// a signal that is blocked.
///
/// The whole process is marked when the signal is sent, not when a thread looks at it: no other thread of it runs its
/// program meanwhile, nor stays in a call that only the end of the process may interrupt.
fn is_fatal(process: &Process, shared: &ProcessSignals, taker: &Thread, signal: u32) -> bool {
    shared.action(signal).handler == DEFAULT
        && (signal == abi::SIGKILL || !process.is_protected.load(Relaxed))
        && default_action(signal) == DefaultAction::Terminate { crash: false }
        && taker.signals.lock().mask & bit(signal) == 0
        && (signal == abi::SIGKILL || process.stopped.load(Relaxed) == 0 && !taker.debug.traced.is_on())
}

/// Has other threads take the signals `which` of their process that `leaving` will no longer take: it blocks them now, or ends
/// (Linux's `retarget_shared_pending`).
pub fn retarget(leaving: &Thread, which: u64) {
    let threads = leaving.process.threads.lock();
    let mut left = leaving.process.signals.lock().pending.set() & which;
    for thread in threads.iter().filter(|thread| !core::ptr::eq(Arc::as_ptr(thread), leaving)) {
        let accepted = thread.signals.lock().accepted();
        if left & accepted != 0 {
            thread.add_work(Work::SIGNAL);
        }
        left &= !accepted;
    }
}

/// Takes a signal of `allowed` that waits for `thread`, whose own and whose process's state is given: the thread's first.
pub fn take(
    thread: &Thread,
    shared: &mut ProcessSignals,
    own: &mut ThreadSignals,
    allowed: u64,
) -> Option<Taken> {
    own.pending.take(allowed).or_else(|| {
        let taken = shared.pending.take(allowed)?;
        thread.process.timers.signal_taken(taken.0.signal);
        Some(taken)
    })
}

/// A signal that the running instruction of `thread` caused: it can't be blocked or ignored; then it kills.
pub fn force(thread: &Arc<Thread>, info: SigInfo) {
    let slot = Charge::beyond_limit(&thread.process).map(Slot::Charged);
    let mut shared = thread.process.signals.lock();
    let mut own = thread.signals.lock();
    let mut action = shared.action(info.signal);
    if own.mask & bit(info.signal) != 0 || shared.ignores(info.signal) {
        action.handler = DEFAULT;
        shared.set_action(info.signal, action);
        own.mask &= !bit(info.signal);
    }
    if action.handler == DEFAULT {
        thread.process.is_protected.store(false, Relaxed);
    }
    own.pending.add(info, slot);
    thread.work().set(Work::SIGNAL);
}
