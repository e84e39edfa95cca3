//! Sending signals, and taking those that wait.
use super::charge::Charge;
use super::info::{FIRST_REALTIME, MAX_SIGNAL, SI_USER, SigInfo, UNBLOCKABLE, bit};
use super::state::{DEFAULT, DefaultAction, ProcessSignals, Slot, ThreadSignals, default_action};
use crate::errno::Errno;
use crate::ipc::poll::Events;
use crate::task::process::{self, Process};
use crate::task::thread::{Thread, Work};
use crate::time::posix_timer::{PosixTimer, TimerSignal};
use alloc::sync::Arc;
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

/// Forgets the signal of a timer of `process` that is no more, if it waits (Linux's `posix_timer_cleanup_ignored` and
/// `posixtimer_deliver_signal`; timer_delete(2) leaves it open).
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
    crate::this::with(|thread| send_to_thread(thread, SigInfo::user(signal, SI_USER, thread.process.pid, 0)));
}

fn send(process: &Arc<Process>, target: Option<&Arc<Thread>>, info: SigInfo, slot: Option<Slot>) -> Sent {
    debug_assert!((1..=MAX_SIGNAL).contains(&info.signal));
    let signal = bit(info.signal);
    if info.signal == abi::SIGCONT {
        process.resume();
    }
    let taker = {
        let threads = process.threads.lock();
        let mut shared = process.signals.lock();
        if signal & STOPS != 0 {
            shared.pending.discard(bit(abi::SIGCONT));
        }
        if info.signal == abi::SIGCONT {
            shared.pending.discard(STOPS);
            threads.iter().for_each(|thread| thread.signals.lock().pending.discard(STOPS));
        }
        let accepts = |thread: &Arc<Thread>| {
            let own = thread.signals.lock();
            own.mask & signal == 0 || own.waiting & signal != 0 || signal & UNBLOCKABLE != 0
        };
        let blocked = |thread: &Arc<Thread>| {
            let own = thread.signals.lock();
            (own.mask | own.saved_mask.unwrap_or(0) | own.waiting) & signal != 0
        };
        let first = target.or(threads.first());
        if shared.ignores(info.signal) && !first.is_some_and(blocked) {
            return Sent::Ignored;
        }
        // A real-time signal that carries something isn't sent without it.
        if slot.is_none() && info.signal >= FIRST_REALTIME && !info.is_from_kernel() && info.code != SI_USER {
            return Sent::Refused;
        }
        match target {
            Some(thread) => {
                thread.signals.lock().pending.add(info, slot);
                accepts(thread).then(|| thread.clone())
            }
            None => {
                shared.pending.add(info, slot);
                threads.iter().find(|thread| accepts(thread)).cloned()
            }
        }
    };
    if let Some(thread) = taker {
        thread.add_work(Work::SIGNAL);
    }
    process.signal_source.notify(Events::IN);
    Sent::Waits
}

/// Takes a signal of `allowed` that waits for `thread`, whose own and whose process's state is given: the thread's first.
pub fn take(
    thread: &Thread,
    shared: &mut ProcessSignals,
    own: &mut ThreadSignals,
    allowed: u64,
) -> Option<SigInfo> {
    own.pending.take(allowed).or_else(|| {
        let info = shared.pending.take(allowed)?;
        thread.process.timers.signal_taken(info.signal);
        Some(info)
    })
}

/// True if SIGKILL waits for `thread`.
pub fn is_killed(thread: &Thread) -> bool {
    let waiting = thread.process.signals.lock().pending.set() | thread.signals.lock().pending.set();
    waiting & bit(abi::SIGKILL) != 0
}

/// A signal that waits for `thread`, ends its process and leaves no core dump (Linux's `complete_signal` makes SIGKILL of
/// it).
pub fn ending(thread: &Thread) -> Option<u32> {
    let shared = thread.process.signals.lock();
    let own = thread.signals.lock();
    let waiting = (shared.pending.set() | own.pending.set()) & (!own.mask | UNBLOCKABLE);
    (1..=MAX_SIGNAL).filter(|&signal| waiting & bit(signal) != 0).find(|&signal| {
        shared.action(signal).handler == DEFAULT
            && default_action(signal) == DefaultAction::Terminate { crash: false }
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
    own.pending.add(info, slot);
    thread.work().set(Work::SIGNAL);
}
