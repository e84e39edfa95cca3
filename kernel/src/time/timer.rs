//! Timers: per CPU, a queue ordered by deadline, and the one-shot interrupt for the earliest.
//!
//! A thread that sleeps with a deadline leaves its entry in the queue when it wakes early, and moves it only if the next
//! deadline is earlier: a server that always waits "at most a second" costs one entry a second, not one per wait.
use crate::task::sched;
use crate::task::thread::Thread;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use coracle_hal::percpu::PerCpu;
use coracle_hal::{cpu, time};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use spin::Mutex;

/// Something that a timer calls.
pub trait Timed: Send + Sync {
    /// The deadline has passed; `now_ns` is the time since boot. Called with no lock held, on any CPU.
    fn expired(&self, now_ns: u64);
}

/// A timer that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    deadline_ns: u64,
    sequence: u64,
    cpu: usize,
}

enum Target {
    Sleeper(Weak<Thread>),
    Call(Arc<dyn Timed>),
}

struct Queue {
    entries: BTreeMap<(u64, u64), Target>,
}

static QUEUES: PerCpu<Mutex<Queue>> = PerCpu::new(|_| Mutex::new(Queue { entries: BTreeMap::new() }));
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// Calls `target` once, when `deadline_ns` (nanoseconds since boot) has passed.
pub fn add(deadline_ns: u64, target: Arc<dyn Timed>) -> TimerId {
    insert(deadline_ns, Target::Call(target))
}

/// Removes a timer; false if it has run or is about to.
pub fn cancel(id: TimerId) -> bool {
    let removed = QUEUES.of(id.cpu).lock().entries.remove(&(id.deadline_ns, id.sequence));
    removed.is_some()
}

fn insert(deadline_ns: u64, target: Target) -> TimerId {
    let sequence = SEQUENCE.fetch_add(1, Relaxed);
    let mut queue = QUEUES.get().lock();
    queue.entries.insert((deadline_ns, sequence), target);
    time::interrupt_by(deadline_ns);
    TimerId { deadline_ns, sequence, cpu: cpu::id() }
}

/// Runs this CPU's timers if its one-shot timer has gone off; tells whether it has.
#[inline]
pub fn run_expired() -> bool {
    let expired = time::take_expired();
    if expired {
        run();
    }
    expired
}

fn run() {
    let queue = QUEUES.get();
    let mut now = time::now_ns();
    loop {
        let due = {
            let mut queue = queue.lock();
            match queue.entries.first_key_value().map(|(&key, _)| key) {
                Some(key) if key.0 <= now => queue.entries.remove(&key),
                Some(key) => {
                    time::interrupt_by(key.0);
                    None
                }
                None => None,
            }
        };
        match due {
            Some(Target::Sleeper(thread)) => {
                if let Some(thread) = thread.upgrade() {
                    thread.sched.sleep_timer.expire(&thread, now);
                }
            }
            Some(Target::Call(target)) => target.expired(now),
            None => break,
        }
        now = time::now_ns();
    }
}

/// The timer of a thread's sleeps.
pub struct SleepTimer {
    /// The deadline of the current sleep; `u64::MAX`: none.
    wanted: AtomicU64,
    /// The deadline of the current sleep has passed.
    fired: AtomicBool,
    /// The entry in a queue.
    queued: Mutex<Option<TimerId>>,
}

impl SleepTimer {
    /// Not set.
    pub const fn new() -> Self {
        SleepTimer {
            wanted: AtomicU64::new(u64::MAX),
            fired: AtomicBool::new(false),
            queued: Mutex::new(None),
        }
    }

    /// Wakes `thread`, whose timer this is, at `deadline_ns`.
    pub fn set(&self, thread: &Arc<Thread>, deadline_ns: u64) {
        self.fired.store(false, Relaxed);
        self.wanted.store(deadline_ns, SeqCst);
        let mut queued = self.queued.lock();
        match *queued {
            Some(id) if id.deadline_ns <= deadline_ns => return,
            Some(id) => {
                cancel(id);
            }
            None => {}
        }
        *queued = Some(insert(deadline_ns, Target::Sleeper(Arc::downgrade(thread))));
    }

    /// The sleep is over.
    pub fn clear(&self) {
        self.wanted.store(u64::MAX, Relaxed);
    }

    /// True if the sleep ended because its deadline passed.
    pub fn fired(&self, deadline_ns: u64) -> bool {
        self.fired.load(Relaxed) && time::now_ns() >= deadline_ns
    }

    fn expire(&self, thread: &Arc<Thread>, now: u64) {
        let mut queued = self.queued.lock();
        *queued = None;
        match self.wanted.load(SeqCst) {
            u64::MAX => {}
            wanted if wanted <= now => {
                drop(queued);
                self.fired.store(true, Relaxed);
                sched::unpark(thread);
            }
            later => *queued = Some(insert(later, Target::Sleeper(Arc::downgrade(thread)))),
        }
    }
}
