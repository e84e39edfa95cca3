//! Requests that a thread waits for together.
use super::device::Outcome;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::events::{self, bit, kind};
use coracle_core::task::sched::{self, Wake};
use coracle_core::task::thread::Thread;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The requests, of which each has a reference until it is done.
pub struct Batch {
    /// Those that are not done, and one more until [`Batch::wait`].
    left: AtomicUsize,
    /// How bad the worst outcome was.
    worst: AtomicU8,
    /// Woken when the last one is done.
    thread: Arc<Thread>,
}

/// Values of `worst`.
const DONE: u8 = 0;
const UNSUPPORTED: u8 = 1;
const FAILED: u8 = 2;

impl Batch {
    /// No requests yet, for the running thread. ENOMEM.
    pub fn new() -> Result<Arc<Batch>, NoMemory> {
        let thread = coracle_core::this::with(Arc::clone);
        try_arc(Batch { left: AtomicUsize::new(1), worst: AtomicU8::new(DONE), thread })
    }

    /// What tells its requests in events from those of others, in the upper half of a word.
    pub(super) fn word(&self) -> u64 {
        (core::ptr::from_ref(self) as u64) << 32
    }

    /// One more request.
    pub fn add(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is done.
    pub fn finish(&self, outcome: Outcome) {
        let worst = match outcome {
            Outcome::Done => DONE,
            Outcome::Unsupported => UNSUPPORTED,
            Outcome::Failed => FAILED,
        };
        self.worst.fetch_max(worst, Ordering::Relaxed);
        events::note(bit::BLOCK, || (kind::BLOCK_DONE, worst.into(), 0, self.word()));
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            sched::unpark(&self.thread);
        }
    }

    /// Waits for all requests, for so long at most (nanoseconds since boot). Called once. Signals do not end the wait: what is
    /// half written is of no use. Hold no lock.
    ///
    /// # Errors
    /// EIO if one failed; EOPNOTSUPP if the device knows no such requests; ETIMEDOUT.
    pub fn wait(&self, deadline_ns: Option<u64>) -> Result<(), Errno> {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            while self.left.load(Ordering::Acquire) != 0 {
                if sched::park_aside(deadline_ns) == Wake::TimedOut && self.left.load(Ordering::Acquire) != 0
                {
                    return Err(Errno::TIMEDOUT);
                }
            }
        }
        match self.worst.load(Ordering::Relaxed) {
            DONE => Ok(()),
            UNSUPPORTED => Err(Errno::OPNOTSUPP),
            _ => Err(Errno::IO),
        }
    }
}
