//! Requests that end together: a thread waits for them, or something is told of their end.
use super::device::Outcome;
use super::disk::Count;
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::events::{self, bit, kind};
use coracle_core::fs::file::Ending;
use coracle_core::task::sched::{self, Wake};
use coracle_core::task::thread::Thread;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use core::ops::Range;

/// The requests, of which each has a reference until it is done.
pub struct Batch {
    /// Those that are not done, and one more until [`Batch::wait`] or [`Batch::all_added`].
    left: AtomicUsize,
    /// How bad the worst outcome was.
    worst: AtomicU8,
    told: Told,
}

/// What is told when the last one is done.
enum Told {
    /// It is woken.
    Thread(Arc<Thread>),
    Ending(Transfer),
}

/// What keeps pages of the range that a transfer is about.
pub trait Cached: Send + Sync {
    /// A transfer past it is over, which has written these pages if it was a write.
    fn transferred(&self, written: Option<Range<u64>>);
}

/// What is told of the end of a transfer that nothing waits for, in this order.
pub struct After {
    /// Where pages are kept.
    pub cached: Arc<dyn Cached>,
    /// The pages that are written.
    pub written: Option<Range<u64>>,
    /// What has begun the transfer.
    pub ending: Box<dyn Ending>,
}

/// A transfer that nothing waits for.
pub(super) struct Transfer {
    pub after: After,
    pub bytes: usize,
    /// Where it is counted, and when it began (nanoseconds since boot).
    pub count: &'static Count,
    pub since_ns: u64,
}

/// Values of `worst`.
const DONE: u8 = 0;
const UNSUPPORTED: u8 = 1;
const FAILED: u8 = 2;
const NO_MEMORY: u8 = 3;

impl Batch {
    /// No requests yet, for the running thread. ENOMEM.
    pub fn new() -> Result<Arc<Batch>, NoMemory> {
        Batch::telling(Told::Thread(coracle_core::this::with(Arc::clone)))
    }

    /// The same for a transfer that nothing waits for: [`Batch::all_added`] takes the place of [`Batch::wait`].
    pub(super) fn of(transfer: Transfer) -> Result<Arc<Batch>, NoMemory> {
        Batch::telling(Told::Ending(transfer))
    }

    fn telling(told: Told) -> Result<Arc<Batch>, NoMemory> {
        try_arc(Batch { left: AtomicUsize::new(1), worst: AtomicU8::new(DONE), told })
    }

    /// What tells its requests in events from those of others, in the upper half of a word.
    pub(super) fn word(&self) -> u64 {
        (core::ptr::from_ref(self) as u64) << 32
    }

    /// One more request.
    pub fn add(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is done. What is told of the end takes locks, but none of a device's.
    pub fn finish(&self, outcome: Outcome) {
        let worst = match outcome {
            Outcome::Done => DONE,
            Outcome::Unsupported => UNSUPPORTED,
            Outcome::Failed => FAILED,
        };
        self.worst.fetch_max(worst, Ordering::Relaxed);
        events::note(bit::BLOCK, || (kind::BLOCK_DONE, worst.into(), 0, self.word()));
        self.one_less();
    }

    fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        match &self.told {
            Told::Thread(thread) => sched::unpark(thread),
            Told::Ending(Transfer { after, bytes, count, since_ns }) => {
                count.add_transfer(*bytes, *since_ns);
                after.cached.transferred(after.written.clone());
                after.ending.ended(self.outcome().map(|()| *bytes));
            }
        }
    }

    /// All requests were added; an error says that some are missing.
    pub(super) fn all_added(&self, submitted: Result<(), Errno>) {
        if submitted.is_err() {
            self.worst.fetch_max(NO_MEMORY, Ordering::Relaxed);
        }
        self.one_less();
    }

    /// How the worst one ended.
    fn outcome(&self) -> Result<(), Errno> {
        match self.worst.load(Ordering::Relaxed) {
            DONE => Ok(()),
            UNSUPPORTED => Err(Errno::OPNOTSUPP),
            NO_MEMORY => Err(Errno::NOMEM),
            _ => Err(Errno::IO),
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
        self.outcome()
    }
}
