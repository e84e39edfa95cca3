//! A timer over the CPU time of a process or a thread: ITIMER_VIRTUAL and ITIMER_PROF (setitimer(2)), timers of CPU clocks
//! (timer_create(2)) and RLIMIT_CPU (getrlimit(2)).
//!
//! There is no tick that could look at the clock. The timer is set to the earliest time at which the CPU time can be reached, with all
//! threads running, and looks again then. While all threads sleep it is not set at all: the first one that goes back to the program
//! looks at it (`Work::CPU_TIMER`).
//!
//! Its owner's lock guards it. Reading the clock takes the lock of the process's threads, so the owner does that before.
use super::timer::{Timed, Timer};
use crate::errno::Errno;
use alloc::sync::Weak;
use coracle_hal::time;

/// How exact the timer is at best, in nanoseconds: Linux looks with each tick, every 4 ms at CONFIG_HZ=250.
const RESOLUTION_NS: u64 = 1_000_000;

/// What a CPU clock shows.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Nanoseconds.
    pub used_ns: u64,
    /// By how much it can advance in a nanosecond.
    pub rate: u64,
    /// It does not advance, and a thread that has it advance again looks at the timer.
    pub rests: bool,
}

/// A CPU time to be reached, and a period.
pub struct CpuTimer {
    /// The first expiry that isn't counted yet; none: disarmed.
    next_ns: Option<u64>,
    /// 0: it expires once.
    interval_ns: u64,
    /// It has expired and waits for [`Self::restart`].
    expired: bool,
    /// The clock when it was looked at last.
    seen: Reading,
    timer: Timer,
}

impl CpuTimer {
    /// Disarmed. ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        let seen = Reading { used_ns: 0, rate: 1, rests: false };
        Ok(CpuTimer { next_ns: None, interval_ns: 0, expired: false, seen, timer: Timer::new()? })
    }

    /// Sets it to expire when the clock shows `first_ns` (none: never).
    pub fn set(
        &mut self,
        first_ns: Option<u64>,
        interval_ns: u64,
        now: Reading,
        owner: &Weak<impl Timed + 'static>,
    ) {
        (self.next_ns, self.interval_ns, self.expired) = (first_ns, interval_ns, false);
        // A time that has passed expires by the timer, too: the caller may hold locks. The caller runs, so the clock does.
        self.look_later(Reading { rests: false, ..now }, owner);
    }

    /// It never expires.
    pub fn disarm(&mut self) {
        self.next_ns = None;
        self.expired = false;
        self.timer.cancel();
    }

    /// True if it has gone off and waits for [`Self::restart`].
    pub fn has_expired(&self) -> bool {
        self.expired
    }

    /// Its period; 0: it expires once.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// Nanoseconds left (0: disarmed), and the interval. `due`: what is left of one that is due, but has not gone off yet.
    pub fn remaining(&self, now: Reading, due: u64) -> (u64, u64) {
        let left = match self.next_ns {
            Some(next_ns) if !self.expired || self.interval_ns != 0 => match next_ns.checked_sub(now.used_ns)
            {
                Some(left) if left > 0 => left,
                _ => (now.used_ns - next_ns)
                    .checked_rem(self.interval_ns)
                    .map_or(due, |since_ns| self.interval_ns - since_ns),
            },
            _ => 0,
        };
        (left, self.interval_ns)
    }

    /// True if it expires now. If it is ahead, looks again when it may be due.
    pub fn expire(&mut self, now: Reading, owner: &Weak<impl Timed + 'static>) -> bool {
        let Some(next_ns) = self.next_ns.filter(|_| !self.expired) else { return false };
        if next_ns > now.used_ns {
            self.look_later(now, owner);
            return false;
        }
        self.seen = now;
        self.expired = true;
        true
    }

    /// The program has taken the expiry: returns how many there were until `now` (none: until it was noticed), and sets the next one.
    /// 0 if it hasn't gone off.
    pub fn restart(&mut self, now: Option<Reading>, owner: &Weak<impl Timed + 'static>) -> u64 {
        let Some(expired_ns) = self.next_ns.filter(|_| core::mem::take(&mut self.expired)) else { return 0 };
        self.seen = now.unwrap_or(self.seen);
        let since_ns = self.seen.used_ns.saturating_sub(expired_ns);
        let Some(missed) = since_ns.checked_div(self.interval_ns) else {
            self.next_ns = None;
            return 1;
        };
        let ahead_ns = (missed + 1).saturating_mul(self.interval_ns);
        self.next_ns = Some(expired_ns.saturating_add(ahead_ns));
        self.look_later(Reading { rests: false, ..self.seen }, owner);
        missed + 1
    }

    fn look_later(&mut self, now: Reading, owner: &Weak<impl Timed + 'static>) {
        self.seen = now;
        match self.next_ns {
            Some(next_ns) if !now.rests => {
                let left_ns = next_ns.saturating_sub(now.used_ns).div_ceil(now.rate).max(RESOLUTION_NS);
                self.timer.set(time::now_ns().saturating_add(left_ns), owner);
            }
            _ => self.timer.cancel(),
        }
    }
}
