//! Signal masks of threads.
use super::info::UNBLOCKABLE;
use super::state::{ProcessSignals, ThreadSignals};
use crate::task::thread::{Thread, Work};
use alloc::sync::Arc;

/// Sets the running thread's mask; what is deliverable now is delivered when the call ends.
pub fn set_mask(thread: &Arc<Thread>, mask: u64) {
    let shared = thread.process.signals.lock();
    let mut own = thread.signals.lock();
    own.mask = mask & !UNBLOCKABLE;
    note(thread, &shared, &own);
}

/// Replaces the running thread's mask until the system call ends (sigsuspend(2), ppoll(2), epoll_pwait(2)): a handler
/// that runs then returns to the mask from before.
pub fn set_temporary_mask(thread: &Arc<Thread>, mask: u64) {
    let shared = thread.process.signals.lock();
    let mut own = thread.signals.lock();
    own.saved_mask = Some(own.mask);
    own.mask = mask & !UNBLOCKABLE;
    thread.work().set(Work::RESTORE_MASK);
    note(thread, &shared, &own);
}

/// Puts back the mask that [`set_temporary_mask`] replaced.
pub fn restore_mask(thread: &Arc<Thread>) {
    let shared = thread.process.signals.lock();
    let mut own = thread.signals.lock();
    if let Some(mask) = own.saved_mask.take() {
        own.mask = mask;
    }
    thread.work().clear(Work::RESTORE_MASK);
    note(thread, &shared, &own);
}

fn note(thread: &Thread, shared: &ProcessSignals, own: &ThreadSignals) {
    if (shared.pending.set() | own.pending.set()) & !own.mask != 0 {
        thread.work().set(Work::SIGNAL);
    }
}
