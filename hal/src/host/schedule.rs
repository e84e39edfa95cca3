//! What the machine asks of the scheduler of its threads.
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};

/// Set when a run has failed: CPUs that wait for one another must stop.
pub(super) static BROKEN: AtomicBool = AtomicBool::new(false);

/// A CPU's thread, to be woken.
pub(super) type Waker = Thread;

/// The running thread.
pub(super) fn current() -> Waker {
    thread::current()
}

/// Sleeps until the thread is woken, or was since it slept last. May return without reason.
pub(super) fn park() {
    thread::park();
}

/// Wakes a thread.
pub(super) fn unpark(thread: &Waker) {
    thread.unpark();
}

/// Starts a thread.
pub(super) fn spawn(code: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::spawn(code)
}

/// A CPU waits for what another one does: lets that run.
#[inline(never)]
pub fn spin() {
    if BROKEN.load(Ordering::Relaxed) {
        super::cpus::abandon();
    }
    thread::yield_now();
}

/// A point at which another CPU may do something.
#[inline]
pub fn point() {}
