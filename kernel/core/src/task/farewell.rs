//! What the other processes get when the first one has ended: a moment to end in order, as init(8) gives it before the
//! machine goes off.
use super::process::{self, Process};
use super::sched::{self, Wake};
use super::signal::{SigInfo, send_to_process};
use crate::ipc::poll::Events;
use alloc::sync::Arc;
use coracle_hal::sync::atomic::Ordering;
use coracle_hal::time;
use linux_raw_sys::general::{SIGCONT, SIGKILL, SIGTERM};

/// How long they may take to end after SIGTERM, and how long the kernel may take to end them after SIGKILL.
const STEPS: [(u32, u64); 2] = [(SIGTERM, 2_000_000_000), (SIGKILL, 1_000_000_000)];

/// Ends all processes but `first`, by whose last thread this is called. Those that are stopped go on, to see their end.
pub fn end_others(first: &Arc<Process>) {
    for (signal, patience_ns) in STEPS {
        if is_alone(first) {
            return;
        }
        for process in others(first) {
            send_to_process(&process, SigInfo::kernel(signal));
            send_to_process(&process, SigInfo::kernel(SIGCONT));
        }
        wait_for_others(first, time::now_ns() + patience_ns);
    }
}

/// Waits until `first` is alone, or until the deadline. The last of the others is a child of the first by then, so that
/// its end is announced there.
fn wait_for_others(first: &Arc<Process>, deadline_ns: u64) {
    let source = &first.child_events;
    // Without memory to wait there, they get no time.
    let Ok(id) = source.subscribe_thread(crate::this::with(Arc::clone), Events::IN) else { return };
    while !is_alone(first) && sched::park(Some(deadline_ns), false) != Wake::TimedOut {}
    source.unsubscribe(id);
}

/// Whether all other processes have ended.
fn is_alone(first: &Arc<Process>) -> bool {
    others(first).next().is_none()
}

/// The processes that have not ended, but for the first.
fn others(first: &Arc<Process>) -> impl Iterator<Item = Arc<Process>> {
    process::all()
        .filter(move |process| !Arc::ptr_eq(process, first) && !process.dead.load(Ordering::Acquire))
}
