//! Signal masks of threads.
use super::info::UNBLOCKABLE;
use super::send::retarget;
use super::state::{ProcessSignals, ThreadSignals};
use crate::task::thread::{Thread, Work};

/// Sets the running thread's mask; what is deliverable now is delivered when the call ends.
pub fn set_mask(thread: &Thread, mask: u64) {
    change(thread, |own| own.mask = mask);
}

/// Replaces the running thread's mask until the system call ends (sigsuspend(2), ppoll(2), epoll_pwait(2)): a handler
/// that runs then returns to the mask from before.
pub fn set_temporary_mask(thread: &Thread, mask: u64) {
    change(thread, |own| {
        own.saved_mask = Some(own.mask);
        own.mask = mask;
        thread.work().set(Work::RESTORE_MASK);
    });
}

/// Puts back the mask that [`set_temporary_mask`] replaced.
pub fn restore_mask(thread: &Thread) {
    change(thread, |own| {
        if let Some(mask) = own.saved_mask.take() {
            own.mask = mask;
        }
        thread.work().clear(Work::RESTORE_MASK);
    });
}

/// Changes the running thread's mask by `set`. Signals of the process that it blocks from now on are left to other threads.
pub(super) fn change(thread: &Thread, set: impl FnOnce(&mut ThreadSignals)) {
    let blocked = {
        let shared = thread.process.signals.lock();
        let mut own = thread.signals.lock();
        let before = own.mask;
        set(&mut own);
        own.mask &= !UNBLOCKABLE;
        note(thread, &shared, &own);
        shared.pending.set() & own.mask & !before
    };
    if blocked != 0 {
        retarget(thread, blocked);
    }
}

/// Has `thread` look at the signals that wait and that it doesn't block, if there are any.
pub fn note(thread: &Thread, shared: &ProcessSignals, own: &ThreadSignals) {
    if (shared.pending.set() | own.pending.set()) & !own.mask != 0 {
        thread.work().set(Work::SIGNAL);
    }
}
