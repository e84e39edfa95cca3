//! The retransmission time-out from measured round-trip times (RFC 6298). All times are in ns.

/// Before any measurement (RFC 6298, 2.1).
pub const RTO_INITIAL: u64 = 1_000_000_000;
/// Linux's `TCP_RTO_MIN`; RFC 6298 requires a second, which every common system undercuts.
pub const RTO_MIN: u64 = 200_000_000;
/// Linux's `TCP_RTO_MAX`.
pub const RTO_MAX: u64 = 120_000_000_000;

/// Estimate of the round-trip time.
#[derive(Clone, Copy, Debug)]
pub struct Rtt {
    /// Smoothed time, eighths of ns (0: no measurement yet).
    smoothed8: u64,
    /// Mean deviation, quarters of ns.
    deviation4: u64,
    /// The time-out, without back-off.
    base: u64,
    /// Exponent of the back-off.
    backoff: u32,
    /// The time-out now: `base`, backed off.
    timeout: u64,
}

impl Default for Rtt {
    fn default() -> Self {
        Rtt { smoothed8: 0, deviation4: 0, base: RTO_INITIAL, backoff: 0, timeout: RTO_INITIAL }
    }
}

impl Rtt {
    /// Takes a measurement (RFC 6298, 2.2 and 2.3).
    #[inline(always)]
    pub fn measure(&mut self, sample: u64) {
        let sample = sample.max(1);
        if self.smoothed8 == 0 {
            self.smoothed8 = sample << 3;
            self.deviation4 = sample << 1;
        } else {
            let difference = (self.smoothed8 >> 3).abs_diff(sample);
            self.deviation4 = self.deviation4 - (self.deviation4 >> 2) + difference;
            self.smoothed8 = self.smoothed8 - (self.smoothed8 >> 3) + sample;
        }
        // The deviation part is bounded below as in Linux, so that a steady round trip of any length keeps a margin.
        self.base = ((self.smoothed8 >> 3) + self.deviation4.max(RTO_MIN)).min(RTO_MAX);
        self.backoff = 0;
        self.timeout = self.base;
    }

    /// The time-out now.
    #[inline(always)]
    pub fn timeout(&self) -> u64 {
        self.timeout
    }

    /// Doubles the time-out (RFC 6298, 5.5).
    pub fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(16);
        self.timeout = (self.base << self.backoff).min(RTO_MAX);
    }

    /// Forgets the back-off: the peer has acknowledged new data.
    #[inline(always)]
    pub fn reset_backoff(&mut self) {
        if self.backoff != 0 {
            self.backoff = 0;
            self.timeout = self.base;
        }
    }

    /// Smoothed time in ns, 0 before the first measurement.
    pub fn smoothed(&self) -> u64 {
        self.smoothed8 >> 3
    }

    /// Mean deviation in ns.
    pub fn deviation(&self) -> u64 {
        self.deviation4 >> 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_rfc_6298() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), RTO_INITIAL);
        rtt.measure(100_000_000);
        assert_eq!(rtt.timeout(), 300_000_000); // SRTT + 4 * RTT/2
        for _ in 0..100 {
            rtt.measure(100_000_000);
        }
        assert_eq!(rtt.smoothed(), 100_000_000);
        assert_eq!(rtt.timeout(), 300_000_000); // the floor of the deviation part
        rtt.back_off();
        assert_eq!(rtt.timeout(), 600_000_000);
        for _ in 0..40 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), RTO_MAX);
        rtt.reset_backoff();
        assert_eq!(rtt.timeout(), 300_000_000);
    }
}
