//! A timer that goes off once or again and again, as timerfd_settime(2), timer_settime(2) and setitimer(2) set it.
//!
//! A periodic timer that has gone off stays off until its owner has passed the expiry on: a descriptor was read, a signal
//! was delivered. Only then the missed expiries are counted and the next one is set, as Linux does it
//! (`fs/timerfd.c`, `kernel/time/posix-timers.c`). So a period that is shorter than the work of an expiry costs
//! what the program makes of it, and never more than one interrupt for each expiry that the program takes.
use super::clock;
use super::timer::{Timed, Timer};
use crate::errno::Errno;
use alloc::sync::Weak;

/// When it goes off, and every how long after that.
pub struct IntervalTimer {
    /// The first expiry that isn't counted yet, nanoseconds since boot; 0: disarmed.
    next_ns: u64,
    /// 0: it goes off once.
    interval_ns: u64,
    /// It has gone off and waits for [`Self::restart`].
    expired: bool,
    timer: Timer,
}

impl IntervalTimer {
    /// Disarmed. ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        Ok(IntervalTimer { next_ns: 0, interval_ns: 0, expired: false, timer: Timer::new()? })
    }

    /// Sets it to go off at `first_ns` since boot (0: never) and to call `owner` then, if there is one: without, the timer
    /// is only asked. Returns what [`Self::remaining`] was.
    pub fn set(
        &mut self,
        first_ns: u64,
        interval_ns: u64,
        owner: Option<&Weak<impl Timed + 'static>>,
    ) -> (u64, u64) {
        let old = self.remaining();
        self.next_ns = first_ns;
        self.interval_ns = interval_ns;
        self.expired = false;
        match owner {
            Some(owner) if first_ns != 0 => self.timer.set(first_ns, owner),
            _ => self.timer.cancel(),
        }
        old
    }

    /// Nanoseconds left (0: disarmed), and the interval.
    pub fn remaining(&self) -> (u64, u64) {
        let now_ns = clock::monotonic_ns();
        let left = if self.next_ns == 0 || (self.expired && self.interval_ns == 0) {
            0
        } else if let Some(left) = self.next_ns.checked_sub(now_ns).filter(|&left| left > 0) {
            left
        } else if let Some(since) = (now_ns - self.next_ns).checked_rem(self.interval_ns) {
            self.interval_ns - since
        } else {
            // Due, but not gone off yet.
            1
        };
        (left, self.interval_ns)
    }

    /// For the owner's [`Timed::expired`]: true if it goes off now.
    pub fn expire(&mut self, now_ns: u64) -> bool {
        if self.next_ns == 0 || self.next_ns > now_ns || self.expired {
            return false;
        }
        self.expired = true;
        true
    }

    /// True if it has gone off and waits for [`Self::restart`].
    pub fn has_expired(&self) -> bool {
        self.expired
    }

    /// The program has taken the expiry: returns how many there were until `now_ns`, and sets the next one, to come not
    /// before `lead_ns` from now. 0 if it hasn't gone off.
    pub fn restart(&mut self, now_ns: u64, lead_ns: u64, owner: &Weak<impl Timed + 'static>) -> u64 {
        if !core::mem::take(&mut self.expired) {
            return 0;
        }
        let since_ns = now_ns.saturating_sub(self.next_ns);
        let Some(missed) = since_ns.checked_div(self.interval_ns) else {
            self.next_ns = 0;
            return 1;
        };
        let next_after =
            |from_ns: u64, intervals: u64| from_ns.saturating_add(intervals.saturating_mul(self.interval_ns));
        self.next_ns = next_after(self.next_ns, missed + 1);
        // On the grid of the interval, so that the expiries up to there are counted as missed when it goes off.
        let skipped = now_ns.saturating_add(lead_ns).saturating_sub(self.next_ns).div_ceil(self.interval_ns);
        self.timer.set(next_after(self.next_ns, skipped), owner);
        missed + 1
    }
}
