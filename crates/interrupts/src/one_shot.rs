//! The state of a CPU's one-shot timer, independent of the hardware.
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The deadline of a timer that is not set.
pub const NEVER: u64 = u64::MAX;

/// What one CPU's timer is set to, and whether it went off. Only that CPU uses it, its interrupt handler included: the
/// atomics are for the handler's sake, and need no order.
#[derive(Debug)]
pub struct OneShot {
    /// What the hardware is set to (ns since boot), or [`NEVER`].
    armed: AtomicU64,
    /// It went off, and nothing was done about that yet.
    expired: AtomicBool,
}

impl Default for OneShot {
    fn default() -> Self {
        Self::new()
    }
}

impl OneShot {
    /// Not set.
    pub const fn new() -> Self {
        OneShot { armed: AtomicU64::new(NEVER), expired: AtomicBool::new(false) }
    }

    /// Requests an interrupt at `deadline_ns`. True: the hardware has to be set to that; false: it fires earlier
    /// already, and a waiter for a later deadline sets it again then.
    #[inline(always)]
    #[must_use]
    pub fn set(&self, deadline_ns: u64) -> bool {
        self.set_between(deadline_ns, deadline_ns)
    }

    /// [`OneShot::set`] for any time from `earliest_ns` to `latest_ns`: an interrupt that arrives by then serves. True: the
    /// hardware has to be set to `earliest_ns`.
    #[inline(always)]
    #[must_use]
    pub fn set_between(&self, earliest_ns: u64, latest_ns: u64) -> bool {
        let is_sooner = latest_ns < self.armed.load(Relaxed);
        if is_sooner {
            self.armed.store(earliest_ns, Relaxed);
        }
        is_sooner
    }

    /// What the hardware is set to, or [`NEVER`].
    pub fn deadline_ns(&self) -> u64 {
        self.armed.load(Relaxed)
    }

    /// The handler: the hardware went off.
    #[inline(always)]
    pub fn fire(&self) {
        self.armed.store(NEVER, Relaxed);
        self.expired.store(true, Relaxed);
    }

    /// Whether it went off, and nothing was done about that.
    #[inline(always)]
    pub fn is_expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    /// True once after it went off: the caller runs what is due, and asks for the next.
    #[inline(always)]
    pub fn take_expired(&self) -> bool {
        let expired = self.is_expired();
        if expired {
            self.expired.store(false, Relaxed);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_touches_the_hardware() {
        let timer = OneShot::new();
        assert!(timer.set(100));
        assert!(!timer.set(100) && !timer.set(200));
        assert!(timer.set(50));
        assert!(!timer.set_between(10, 50) && timer.set_between(10, 40));
        assert!(!timer.set(20));
    }

    #[test]
    fn an_expiry_is_taken_once() {
        let timer = OneShot::new();
        assert!(timer.set(100) && !timer.take_expired());
        timer.fire();
        assert!(timer.is_expired() && timer.take_expired() && !timer.take_expired());
        assert!(timer.set(200));
    }
}
