//! The right to look into another process (ptrace(2), "Ptrace access mode checking").
use super::process::Process;
use super::user_space::same;
use crate::errno::Errno;
use crate::fs::access::{capability, check_capability_in};
use alloc::sync::Arc;
use coracle_hal::sync::atomic::Ordering::Relaxed;

/// EPERM unless the running program may look into `target`: itself, a process of the same user and group that may be dumped, or any
/// with CAP_SYS_PTRACE.
pub fn check(target: &Arc<Process>) -> Result<(), Errno> {
    let may = crate::this::with(|thread| {
        let me = &thread.process;
        if Arc::ptr_eq(me, target) {
            return true;
        }
        let own = me.credentials.lock().ids();
        let other = target.credentials.lock();
        // In another user namespace the same ids may have other rights.
        let same_space = same(own.space.as_ref(), other.space.as_ref());
        own.has_all_ids_of(&other) && same_space && target.dumpable.load(Relaxed) == 1
    });
    if may {
        return Ok(());
    }
    let space = target.credentials.lock().space.clone();
    check_capability_in(space.as_ref(), capability::SYS_PTRACE)
}
