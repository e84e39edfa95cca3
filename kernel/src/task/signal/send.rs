//! Sending signals.
use super::info::{MAX_SIGNAL, SigInfo, UNBLOCKABLE, bit};
use super::state::DEFAULT;
use crate::errno::Errno;
use crate::ipc::poll::Events;
use crate::task::process::{self, Process};
use crate::task::thread::{Thread, Work};
use alloc::sync::Arc;
use linux_raw_sys::general as abi;

/// Signals that stop a process.
const STOPS: u64 = bit(abi::SIGSTOP) | bit(abi::SIGTSTP) | bit(abi::SIGTTIN) | bit(abi::SIGTTOU);

/// Sends a signal to a process: some thread of it that doesn't block it takes it.
pub fn send_to_process(process: &Arc<Process>, info: SigInfo) {
    send(process, None, info);
}

/// Sends a signal to one thread.
pub fn send_to_thread(thread: &Arc<Thread>, info: SigInfo) {
    send(&thread.process, Some(thread), info);
}

/// Sends a signal to all processes of a group; ESRCH if it has none.
pub fn send_to_group(group: i32, info: SigInfo) -> Result<(), Errno> {
    let members = process::of_group(group);
    members.iter().for_each(|process| send_to_process(process, info));
    if members.is_empty() { Err(Errno::SRCH) } else { Ok(()) }
}

/// SIGPIPE and its like: sent to the running thread by a call that failed.
pub fn raise(signal: u32) {
    crate::this::with(|thread| {
        send_to_thread(thread, SigInfo::user(signal, super::info::SI_USER, thread.process.pid, 0))
    });
}

fn send(process: &Arc<Process>, target: Option<&Arc<Thread>>, info: SigInfo) {
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
            return;
        }
        match target {
            Some(thread) => {
                thread.signals.lock().pending.add(info);
                accepts(thread).then(|| thread.clone())
            }
            None => {
                shared.pending.add(info);
                threads.iter().find(|thread| accepts(thread)).cloned()
            }
        }
    };
    if let Some(thread) = taker {
        thread.add_work(Work::SIGNAL);
    }
    process.signal_source.notify(Events::IN);
}

/// A signal that the running instruction of `thread` caused: it can't be blocked or ignored; then it kills.
pub fn force(thread: &Arc<Thread>, info: SigInfo) {
    let mut shared = thread.process.signals.lock();
    let mut own = thread.signals.lock();
    let mut action = shared.action(info.signal);
    if own.mask & bit(info.signal) != 0 || shared.ignores(info.signal) {
        action.handler = DEFAULT;
        shared.set_action(info.signal, action);
        own.mask &= !bit(info.signal);
    }
    own.pending.add(info);
    thread.work().set(Work::SIGNAL);
}
