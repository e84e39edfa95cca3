//! Timers: a wheel for each CPU, and the one-shot interrupt for the earliest deadline.
//!
//! A thread that sleeps with a deadline leaves its timer set when it wakes early, and moves it only if the next deadline
//! is earlier: a server that always waits "at most a second" moves its timer once a second, not once per wait.
//!
//! A timer is in the wheel of the CPU that set it last. Each wheel has a lock, under which nothing is called. Room in all
//! wheels is made with the timer, so setting one never allocates. A long run of expired timers is followed by a rest, so that
//! programs make progress however many timers they set.
use crate::errno::Errno;
use crate::events::{self, bit, kind};
use crate::task::sched;
use crate::task::thread::Thread;
use alloc::sync::{Arc, Weak};
use coracle_fallible::Room;
use coracle_hal::percpu::PerCpu;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use coracle_hal::{cpu, time};
use coracle_timer_wheel::{TimerId, Wheel};

/// Something that a timer calls.
pub trait Timed: Send + Sync {
    /// The deadline has passed; `now_ns` is the time since boot. Called with no lock held, on any CPU. It may be called although
    /// the timer was moved or cancelled just before, so the owner checks the time.
    fn expired(&self, now_ns: u64);

    /// The real-time clock was set. Called with no lock held, for timers that follow it ([`super::wall::Following`]).
    fn clock_was_set(&self) {}
}

/// What is called. A timer does not keep its owner alive.
#[derive(Clone)]
enum Target {
    Sleeper(Weak<Thread>),
    Call(Weak<dyn Timed>),
}

/// The timers of a CPU.
#[derive(Default)]
struct Timers {
    wheel: Mutex<Wheel<Target>>,
    /// The end of their rest, in nanoseconds since boot.
    rest_until_ns: AtomicU64,
}

static TIMERS: PerCpu<Timers> = PerCpu::new(|_| Timers::default());

/// Room for all timers in the wheels of all CPUs, so that setting one never takes memory.
static ROOM: Room = Room::new();

/// A timer, which its owner sets as often as it likes.
pub struct Timer {
    /// The wheel that it is in, set or not; none before it is set first.
    place: Option<(usize, TimerId)>,
}

impl Timer {
    /// Not set. ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        ROOM.take(|timers| {
            (0..cpu::possible()).try_for_each(|cpu| TIMERS.of(cpu).wheel.lock().make_room_for(timers))
        })?;
        Ok(Timer { place: None })
    }

    /// Calls `owner`, whose timer this is, once when `deadline_ns` (nanoseconds since boot) has passed. Replaces an earlier
    /// deadline.
    pub fn set(&mut self, deadline_ns: u64, owner: &Weak<impl Timed + 'static>) {
        events::note(bit::TIMER, || (kind::TIMER_SET, 0, deadline_ns, 0));
        self.set_for(deadline_ns, || Target::Call(owner.clone()));
    }

    #[inline(always)]
    fn set_for(&mut self, deadline_ns: u64, target: impl FnOnce() -> Target) {
        let id = match self.place {
            Some((cpu, id)) if cpu == cpu::id() => id,
            // Its wheel is of another CPU, whose interrupt can't be set from here.
            _ => self.move_here(target()),
        };
        set_here(id, deadline_ns);
    }

    /// Puts it into the wheel of this CPU.
    #[cold]
    #[inline(never)]
    fn move_here(&mut self, target: Target) -> TimerId {
        self.remove();
        let inserted = TIMERS.get().wheel.lock().insert(target);
        // There is room for it in each wheel.
        let Ok(id) = inserted else { unreachable!("a timer without room") };
        self.place = Some((cpu::id(), id));
        id
    }

    /// It is not wanted any more.
    pub fn cancel(&mut self) {
        if let Some((cpu, id)) = self.place {
            TIMERS.of(cpu).wheel.lock().unset(id);
        }
    }

    fn remove(&mut self) {
        if let Some((cpu, id)) = self.place.take() {
            // The target is dropped after the lock is released.
            let _target = TIMERS.of(cpu).wheel.lock().remove(id);
        }
    }
}

/// Sets a timer of this CPU's wheel.
#[inline(never)]
fn set_here(id: TimerId, deadline_ns: u64) {
    TIMERS.get().wheel.lock().set(id, deadline_ns);
    time::interrupt_by(deadline_ns);
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.remove();
        ROOM.give(|timers| {
            (0..cpu::possible()).for_each(|cpu| TIMERS.of(cpu).wheel.lock().keep_room_for(timers));
        });
    }
}

/// Runs this CPU's timers if its one-shot timer has expired; returns whether it has.
#[inline(always)]
pub fn run_expired() -> bool {
    let expired = time::take_expired();
    if expired {
        run();
    }
    expired
}

/// A run of timers that takes longer is followed by a rest as long, so that programs make headway however many timers they set.
/// Linux's hrtimer_interrupt() guards against the same.
const LONG_RUN_NS: u64 = 100_000;
/// The longest rest.
const LONGEST_REST_NS: u64 = 100_000_000;

fn run() {
    let timers = TIMERS.get();
    let start_ns = time::now_ns();
    let rest_until_ns = timers.rest_until_ns.load(Relaxed);
    if start_ns < rest_until_ns {
        return time::interrupt_by(rest_until_ns);
    }
    let mut now = start_ns;
    loop {
        let due = {
            let mut wheel = timers.wheel.lock();
            // Those that are set anew meanwhile wait for the next run.
            let due = wheel.pop(start_ns);
            if due.is_none()
                && let Some(next) = wheel.next()
            {
                time::interrupt_by(next);
            }
            due
        };
        match due {
            Some(Target::Sleeper(thread)) => {
                if let Some(thread) = thread.upgrade() {
                    events::note(bit::TIMER, || (kind::TIMER_FIRED, 0, sched::who(&thread), 0));
                    thread.sched.sleep_timer.expired(&thread, now);
                }
            }
            Some(Target::Call(owner)) => {
                if let Some(owner) = owner.upgrade() {
                    events::note(bit::TIMER, || (kind::TIMER_FIRED, 0, 0, 0));
                    owner.expired(now);
                }
            }
            None => break,
        }
        now = time::now_ns();
    }
    let spent_ns = now - start_ns;
    if spent_ns > LONG_RUN_NS {
        timers.rest_until_ns.store(now + spent_ns.min(LONGEST_REST_NS), Relaxed);
    }
}

/// The timer of a thread's sleeps.
pub struct SleepTimer {
    /// The deadline of the current sleep; [`NEVER`]: none.
    wanted: AtomicU64,
    /// The deadline of the current sleep has passed.
    fired: AtomicBool,
    /// The current sleep ends at a time of the real-time clock.
    wall: AtomicBool,
    queued: Mutex<Queued>,
}

/// The entry in a wheel.
struct Queued {
    timer: Timer,
    /// What it is set to; [`NEVER`]: it isn't.
    deadline_ns: u64,
}

const NEVER: u64 = u64::MAX;

impl SleepTimer {
    /// Not set. ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        Ok(SleepTimer {
            wanted: AtomicU64::new(NEVER),
            fired: AtomicBool::new(false),
            wall: AtomicBool::new(false),
            queued: Mutex::new(Queued { timer: Timer::new()?, deadline_ns: NEVER }),
        })
    }

    /// Wakes `thread`, whose timer this is, at `deadline_ns`.
    pub fn set(&self, thread: &Arc<Thread>, deadline_ns: u64) {
        self.fired.store(false, Relaxed);
        self.wanted.store(deadline_ns, SeqCst);
        let mut queued = self.queued.lock();
        if deadline_ns < queued.deadline_ns {
            queued.set(thread, deadline_ns);
        }
    }

    /// Sets whether the thread is to be woken when the real-time clock is set.
    pub fn follow_wall(&self, follow: bool) {
        self.wall.store(follow, SeqCst);
    }

    /// What [`Self::follow_wall`] said.
    pub fn follows_wall(&self) -> bool {
        self.wall.load(SeqCst)
    }

    /// When the current sleep ends at the latest, in nanoseconds since boot; `u64::MAX`: it has no deadline.
    pub fn deadline_ns(&self) -> u64 {
        self.wanted.load(Relaxed)
    }

    /// The sleep is over.
    pub fn clear(&self) {
        self.wanted.store(NEVER, Relaxed);
    }

    /// True if the sleep ended because its deadline passed.
    pub fn fired(&self, deadline_ns: u64) -> bool {
        self.fired.load(Relaxed) && time::now_ns() >= deadline_ns
    }

    fn expired(&self, thread: &Arc<Thread>, now: u64) {
        let mut queued = self.queued.lock();
        queued.deadline_ns = NEVER;
        match self.wanted.load(SeqCst) {
            NEVER => {}
            wanted if wanted <= now => {
                drop(queued);
                self.fired.store(true, Relaxed);
                sched::unpark(thread);
            }
            later => queued.set(thread, later),
        }
    }
}

impl Queued {
    fn set(&mut self, thread: &Arc<Thread>, deadline_ns: u64) {
        self.deadline_ns = deadline_ns;
        events::note(bit::TIMER, || (kind::TIMER_SET, 0, deadline_ns, sched::who(thread)));
        self.timer.set_for(deadline_ns, || Target::Sleeper(Arc::downgrade(thread)));
    }
}
