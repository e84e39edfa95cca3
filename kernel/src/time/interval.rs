//! A timer that goes off once or again and again, as timerfd_settime(2), timer_settime(2) and setitimer(2) set it.
use super::clock;
use super::timer::{Timed, Timer};
use alloc::sync::Weak;

/// When it goes off, and every how long after that.
#[derive(Default)]
pub struct IntervalTimer {
    /// When it goes off next, nanoseconds since boot; 0: disarmed.
    next_ns: u64,
    /// 0: it goes off once.
    interval_ns: u64,
    timer: Timer,
}

impl IntervalTimer {
    /// Sets it to go off at `first_ns` since boot (0: never) and to call `owner` then; gives what [`Self::remaining`] was.
    pub fn set(&mut self, first_ns: u64, interval_ns: u64, owner: &Weak<impl Timed + 'static>) -> (u64, u64) {
        let old = self.remaining();
        self.next_ns = first_ns;
        self.interval_ns = interval_ns;
        if first_ns != 0 {
            self.timer.set(first_ns, owner);
        } else {
            self.timer.cancel();
        }
        old
    }

    /// Nanoseconds left (0: disarmed), and the interval.
    pub fn remaining(&self) -> (u64, u64) {
        let left =
            if self.next_ns == 0 { 0 } else { self.next_ns.saturating_sub(clock::monotonic_ns()).max(1) };
        (left, self.interval_ns)
    }

    /// For the owner's [`Timed::expired`]: how often it has gone off by now since it was last asked, at least once, and
    /// sets it anew; `None` if it is not time.
    pub fn expire(&mut self, now_ns: u64, owner: &Weak<impl Timed + 'static>) -> Option<u64> {
        if self.next_ns == 0 || self.next_ns > now_ns {
            return None;
        }
        match (now_ns - self.next_ns).checked_div(self.interval_ns) {
            None => {
                self.next_ns = 0;
                Some(1)
            }
            Some(missed) => {
                self.next_ns += (missed + 1) * self.interval_ns;
                self.timer.set(self.next_ns, owner);
                Some(missed + 1)
            }
        }
    }
}
