//! Who decides which CPU goes on: the host, or a scheduler that a test brings, which then tries interleavings.
//!
//! CPUs tell where another one may go on in their place: at each use of a lock or an atomic value ([`crate::sync`]), at each access to a
//! program's memory, and where they wait. Under the host's own scheduler these are nothing.
use crate::arch::base;
use std::boxed::Box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

/// Runs the CPUs, and decides which of them goes on.
pub trait Scheduler: Sync {
    /// Starts a thread; what is returned waits for its end.
    fn spawn(&self, code: Box<dyn FnOnce() + Send>) -> Join;
    /// What wakes the running thread from [`Scheduler::park`].
    fn waker(&self) -> Waker;
    /// Sleeps until the thread is woken, or was since it slept last. May return without reason.
    fn park(&self);
    /// The running thread waits for what another one does.
    fn wait(&self);
    /// Another thread may go on.
    fn point(&self);
}

/// Waits for the end of a thread.
pub type Join = Box<dyn FnOnce() -> thread::Result<()>>;
/// Wakes a thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The host's scheduler: CPUs run side by side.
pub struct Host;

impl Scheduler for Host {
    fn spawn(&self, code: Box<dyn FnOnce() + Send>) -> Join {
        let thread = thread::spawn(code);
        Box::new(|| thread.join())
    }

    fn waker(&self) -> Waker {
        let thread = thread::current();
        Arc::new(move || thread.unpark())
    }

    fn park(&self) {
        thread::park();
    }

    fn wait(&self) {
        thread::yield_now();
    }

    fn point(&self) {}
}

static SCHEDULER: RwLock<&dyn Scheduler> = RwLock::new(&Host);
/// Whether points mean anything.
static HAS_POINTS: AtomicBool = AtomicBool::new(false);
/// Set when a run has failed: CPUs that wait for one another must stop.
pub(super) static BROKEN: AtomicBool = AtomicBool::new(false);

/// Has this scheduler run the next run; `has_points`: it has to be asked at points.
pub(super) fn choose(scheduler: &'static dyn Scheduler, has_points: bool) {
    *SCHEDULER.write().unwrap_or_else(PoisonError::into_inner) = scheduler;
    HAS_POINTS.store(has_points, Relaxed);
}

fn scheduler() -> &'static dyn Scheduler {
    *SCHEDULER.read().unwrap_or_else(PoisonError::into_inner)
}

/// Calls a function of the scheduler's. It may run other CPUs meanwhile, in this very thread of the host, which comes back as this one.
fn away<R>(f: impl FnOnce(&'static dyn Scheduler) -> R) -> R {
    let here = base::leave();
    let result = f(scheduler());
    base::come_back(here);
    result
}

pub(super) fn spawn(code: impl FnOnce() + Send + 'static) -> Join {
    scheduler().spawn(Box::new(code))
}

pub(super) fn waker() -> Waker {
    scheduler().waker()
}

pub(super) fn wake(waker: &Waker) {
    away(|_| waker());
}

pub(super) fn park() {
    away(|scheduler| scheduler.park());
}

/// A CPU waits for what another one does: lets that run.
#[inline(never)]
pub fn spin() {
    if BROKEN.load(Relaxed) {
        super::cpus::abandon();
    }
    away(|scheduler| scheduler.wait());
}

/// A point at which another CPU may do something.
#[inline]
pub fn point() {
    if HAS_POINTS.load(Relaxed) {
        away(|scheduler| scheduler.point());
    }
}
