//! Orphaned process groups: those in which no process has a parent outside of the group in the same session, where a shell
//! could let it go on once it was stopped (POSIX.1-2017, section 3.264; setpgid(2)).
use super::process::{Process, of_group};
use super::signal::{SigInfo, send_to_group};
use alloc::sync::Arc;
use coracle_hal::sync::atomic::{AtomicUsize, Ordering::*};
use linux_raw_sys::general as abi;

/// Processes that are stopped: while there are none, the end of a process needs no look at the others.
static STOPPED: AtomicUsize = AtomicUsize::new(0);

/// Counts a process that stops (`before`: the signal it was stopped by already, or 0) or goes on.
pub fn count(before: u32, now: u32) {
    match (before, now) {
        (0, 0) => {}
        (0, _) => _ = STOPPED.fetch_add(1, Relaxed),
        (_, 0) => _ = STOPPED.fetch_sub(1, Relaxed),
        _ => {}
    }
}

/// Whether `parent`, as that of `process`, keeps the group of that from being orphaned.
fn connects(parent: &Process, process: &Process) -> bool {
    parent.group.load(Relaxed) != process.group.load(Relaxed)
        && parent.session.load(Relaxed) == process.session.load(Relaxed)
}

/// Whether the group is orphaned.
pub fn is_orphaned(group: i32) -> bool {
    of_group(group)
        .filter(|process| !process.dead.load(SeqCst))
        .all(|process| process.parent().is_none_or(|parent| !connects(&parent, &process)))
}

/// `parent` has ended, or `process` has, whose parent it is: if this orphaned the group of `process` and one in it is stopped, all
/// get SIGHUP and then SIGCONT, since nothing else would let it go on (_exit(2), POSIX.1-2017, "Consequences of Process
/// Termination").
pub fn connection_lost(parent: &Process, process: &Arc<Process>) {
    if STOPPED.load(Relaxed) == 0 || !connects(parent, process) {
        return;
    }
    let group = process.group.load(Relaxed);
    let is_stopped = |member: &Arc<Process>| !member.dead.load(SeqCst) && member.stopped.load(Relaxed) != 0;
    if is_orphaned(group) && of_group(group).any(|member| is_stopped(&member)) {
        for signal in [abi::SIGHUP, abi::SIGCONT] {
            // A group that is gone needs no signal.
            let _ = send_to_group(group, SigInfo::kernel(signal));
        }
    }
}
