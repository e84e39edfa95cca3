//! Timers and sleeps with an absolute time of the real-time clock, which are re-evaluated when the clock is set
//! (clock_settime(2), timerfd_create(2), timer_settime(2), clock_nanosleep(2), futex(2)).
use super::clock;
use super::timer::Timed;
use crate::errno::Errno;
use crate::lock::Mutex;
use alloc::sync::Weak;
use coracle_hal::sync::atomic::{AtomicU64, Ordering};
use coracle_hal::time;
use coracle_sorted_map::SortedMap;

/// The timers that follow it, in the order in which they began to.
static FOLLOWERS: Mutex<SortedMap<u64, Weak<dyn Timed>>> = Mutex::new(SortedMap::new());
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// A time of a clock that a sleep ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// Nanoseconds since boot.
    Boot(u64),
    /// Nanoseconds since 1970, by the clock as it is then.
    Wall(u64),
}

impl Deadline {
    /// Nanoseconds since boot, by the clock as it is now.
    #[inline]
    pub fn boot_ns(self) -> u64 {
        match self {
            Deadline::Boot(ns) => ns,
            Deadline::Wall(ns) => ns.saturating_sub(clock::wall_offset_ns()),
        }
    }

    /// How long it has passed at `now_ns` since boot, nanoseconds; `Err`: how long it is ahead. Exact also if it lies before
    /// boot, as it may when the clock was set.
    pub fn passed_at(self, now_ns: u64) -> Result<u64, u64> {
        let (ns, now_ns) = match self {
            Deadline::Boot(ns) => (ns, now_ns),
            Deadline::Wall(ns) => (ns, now_ns.saturating_add(clock::wall_offset_ns())),
        };
        now_ns.checked_sub(ns).ok_or(ns.saturating_sub(now_ns))
    }

    /// `ns` nanoseconds later by the same clock.
    pub fn later(self, ns: u64) -> Deadline {
        match self {
            Deadline::Boot(at) => Deadline::Boot(at.saturating_add(ns)),
            Deadline::Wall(at) => Deadline::Wall(at.saturating_add(ns)),
        }
    }
}

/// The registration of a timer that follows the clock; dropping it ends that.
pub struct Following(u64);

impl Following {
    /// Registers `timer`, so that its [`Timed::clock_was_set`] is called. ENOMEM.
    pub fn new(timer: Weak<dyn Timed>) -> Result<Self, Errno> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        FOLLOWERS.lock().insert(id, timer)?;
        Ok(Following(id))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let timer = FOLLOWERS.lock().remove(&self.0);
        drop(timer);
    }
}

coracle_hal::hook! {
    $
    /// Wakes the threads that sleep until a time of the real-time clock, so that they look at it again.
    wake_wall_sleepers: fn() = "coracle_wake_wall_sleepers", given by give_wake_wall_sleepers
}

/// Sets what is added to the time since boot, and has everything that follows the clock look at it again.
pub fn set_offset_ns(offset_ns: u64) {
    time::set_wall_offset_ns(offset_ns);
    let mut last = None;
    loop {
        // A timer takes locks of its own, and its drop takes this one.
        let followers = FOLLOWERS.lock();
        let next = match last {
            None => followers.iter().next(),
            Some(last) => followers.after(&last),
        };
        let Some((id, timer)) = next.map(|(id, timer)| (*id, timer.upgrade())) else { break };
        drop(followers);
        last = Some(id);
        if let Some(timer) = timer {
            timer.clock_was_set();
        }
    }
    wake_wall_sleepers()();
}
