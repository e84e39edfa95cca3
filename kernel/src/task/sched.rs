//! Scheduling: who runs next, sleeping and waking.
use super::thread::Thread;
use alloc::sync::Arc;

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Somebody called [`unpark`].
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal is to be delivered.
    Interrupted,
}

/// Sleeps until [`unpark`] was called for this thread (also if it was called since the last park), the deadline
/// (nanoseconds since boot) or, if `interruptible`, a signal. Before it really sleeps it looks at the devices itself.
pub fn park(deadline_ns: Option<u64>, interruptible: bool) -> Wake {
    let _ = (deadline_ns, interruptible);
    todo!()
}

/// Lets `thread` go on.
pub fn unpark(thread: &Arc<Thread>) {
    let _ = thread;
    todo!()
}
