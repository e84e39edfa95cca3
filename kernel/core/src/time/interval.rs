//! A timer that expires once or periodically, as timerfd_settime(2), timer_settime(2) and setitimer(2) set it.
//!
//! A periodic timer that has expired stays off until its owner has passed the expiry on: a descriptor was read, a signal
//! was delivered. Only then the missed expiries are counted and the next one is set, as on Linux
//! (`fs/timerfd.c`, `kernel/time/posix-timers.c`). So a period that is shorter than the handling of an expiry costs no more
//! than one interrupt for each expiry that the program takes.
//!
//! The owner's lock guards it.
use super::clock;
use super::timer::{Timed, Timer};
use super::wall::{Deadline, Following};
use crate::errno::Errno;
use alloc::sync::Weak;

/// A deadline and a period.
pub struct IntervalTimer {
    /// The first expiry that isn't counted yet; none: disarmed.
    next: Option<Deadline>,
    /// 0: it expires once.
    interval_ns: u64,
    /// It has expired and waits for [`Self::restart`].
    expired: bool,
    timer: Timer,
    /// While `next` is a time of the real-time clock.
    following: Option<Following>,
}

impl IntervalTimer {
    /// Disarmed. ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        Ok(IntervalTimer {
            next: None,
            interval_ns: 0,
            expired: false,
            timer: Timer::new()?,
            following: None,
        })
    }

    /// Sets it to expire at `first` (none: never) and, if `announce`, to call `owner` then; otherwise the timer is only polled.
    /// ENOMEM for a time of the real-time clock.
    pub fn set(
        &mut self,
        first: Option<Deadline>,
        interval_ns: u64,
        owner: &Weak<impl Timed + 'static>,
        announce: bool,
    ) -> Result<(), Errno> {
        if let Some(Deadline::Wall(_)) = first
            && self.following.is_none()
        {
            self.following = Some(Following::new(owner.clone())?);
        }
        self.next = first;
        self.interval_ns = interval_ns;
        self.expired = false;
        match first {
            Some(first) if announce => self.timer.set(due_ns(first), owner),
            _ => self.timer.cancel(),
        }
        Ok(())
    }

    /// It never expires.
    pub fn disarm(&mut self) {
        self.next = None;
        self.expired = false;
        self.timer.cancel();
    }

    /// Its period; 0: it expires once.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// For the owner's [`Timed::clock_was_set`].
    pub fn clock_was_set(&mut self, owner: &Weak<impl Timed + 'static>, announce: bool) {
        if let Some(next @ Deadline::Wall(_)) = self.next
            && announce
            && !self.expired
        {
            self.timer.set(due_ns(next), owner);
        }
    }

    /// Nanoseconds left (0: disarmed), and the interval. `due`: what is left of one that is due, but has not gone off yet.
    pub fn remaining(&self, due: u64) -> (u64, u64) {
        let now_ns = clock::monotonic_ns();
        let left = match self.next {
            Some(next) if !self.expired || self.interval_ns != 0 => match next.passed_at(now_ns) {
                Err(left) => left,
                Ok(since) => {
                    since.checked_rem(self.interval_ns).map_or(due, |since| self.interval_ns - since)
                }
            },
            _ => 0,
        };
        (left, self.interval_ns)
    }

    /// For the owner's [`Timed::expired`]: true if it expires now.
    pub fn expire(&mut self, now_ns: u64) -> bool {
        if self.expired || self.next.is_none_or(|next| next.passed_at(now_ns).is_err()) {
            return false;
        }
        self.expired = true;
        true
    }

    /// True if it has gone off and waits for [`Self::restart`].
    pub fn has_expired(&self) -> bool {
        self.expired
    }

    /// Forgets that it has gone off. A periodic timer doesn't go on then.
    pub fn forget_expiry(&mut self) {
        self.expired = false;
    }

    /// The program has taken the expiry: returns how many there were until `now_ns`, and sets the next one, to come not
    /// before `lead_ns` from now. 0 if it hasn't gone off.
    pub fn restart(&mut self, now_ns: u64, lead_ns: u64, owner: &Weak<impl Timed + 'static>) -> u64 {
        let Some(expired) = self.next.filter(|_| core::mem::take(&mut self.expired)) else { return 0 };
        let since_ns = expired.passed_at(now_ns).unwrap_or(0);
        let Some(missed) = since_ns.checked_div(self.interval_ns) else {
            self.next = None;
            return 1;
        };
        let after = |from: Deadline, intervals: u64| from.later(intervals.saturating_mul(self.interval_ns));
        let next = after(expired, missed + 1);
        self.next = Some(next);
        // On the grid of the interval, so that the expiries up to there are counted as missed when it expires.
        let skipped =
            next.passed_at(now_ns.saturating_add(lead_ns)).map_or(0, |late| late.div_ceil(self.interval_ns));
        self.timer.set(due_ns(after(next, skipped)), owner);
        missed + 1
    }
}

/// When a timer expires, nanoseconds since boot; a time before boot has passed.
fn due_ns(deadline: Deadline) -> u64 {
    deadline.boot_ns().max(1)
}
