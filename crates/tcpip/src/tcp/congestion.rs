//! Congestion control: CUBIC (RFC 9438) with slow start (RFC 5681, RFC 6928), in integers.

/// Initial window (RFC 6928), segments.
const INITIAL_WINDOW: u32 = 10;
/// The greatest window we ever use, bytes (that of window scaling).
const MAX_WINDOW: u32 = 1 << 30;

/// State of congestion control of one connection. Windows in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cubic {
    window: u32,
    threshold: u32,
    mss: u32,
    /// Window before the last reduction (W_max).
    max_window: u32,
    /// Start of the present congestion avoidance phase, ms; 0 if it has not begun.
    epoch: u64,
    /// Time from the epoch to W_max (K), ms.
    rise: u64,
    /// What Reno would have reached (W_est).
    reno_window: u32,
    /// Acknowledged bytes not yet turned into growth.
    credit: u32,
    reno_credit: u32,
}

impl Cubic {
    /// A new connection.
    pub fn new(mss: u32) -> Self {
        Cubic {
            window: INITIAL_WINDOW * mss,
            threshold: MAX_WINDOW,
            mss,
            max_window: 0,
            epoch: 0,
            rise: 0,
            reno_window: 0,
            credit: 0,
            reno_credit: 0,
        }
    }

    /// The congestion window.
    #[inline(always)]
    pub fn window(&self) -> u32 {
        self.window
    }

    /// The slow start threshold.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The segment size has become known or has changed.
    pub fn set_mss(&mut self, mss: u32) {
        if self.window == INITIAL_WINDOW * self.mss {
            self.window = INITIAL_WINDOW * mss;
        }
        self.mss = mss;
        self.window = self.window.max(mss);
    }

    /// New data was acknowledged while the window was what held us back. `rtt` and `now` in ns.
    pub fn acknowledged(&mut self, mut bytes: u32, now: u64, rtt: u64) {
        if self.window < self.threshold {
            let growth = bytes.min(self.threshold - self.window);
            self.window = (self.window + growth).min(MAX_WINDOW);
            bytes -= growth;
            if bytes == 0 {
                return;
            }
        }
        let now = now / 1_000_000;
        if self.epoch == 0 {
            self.start_epoch(now);
        }
        // The window of the cubic function one round trip ahead (RFC 9438, 4.2), approached over this round trip.
        let target =
            self.cubic(now + rtt / 1_000_000).clamp(self.window, self.window.saturating_add(self.window / 2));
        let step = target - self.window;
        self.credit = self.credit.saturating_add(bytes);
        let growth = (u64::from(step) * u64::from(self.credit) / u64::from(self.window)) as u32;
        if growth > 0 {
            self.credit = 0;
        }
        // The Reno-friendly region (4.3): alpha = 3 * (1 - 0.7) / (1 + 0.7) = 9/17, and 1 above W_max.
        self.reno_credit = self.reno_credit.saturating_add(bytes);
        let (numerator, denominator) = if self.reno_window < self.max_window { (9, 17) } else { (1, 1) };
        let gain = u64::from(self.mss) * u64::from(self.reno_credit) * numerator
            / (denominator * u64::from(self.window));
        if gain > 0 {
            self.reno_credit = 0;
        }
        self.reno_window = (self.reno_window + gain as u32).min(MAX_WINDOW);
        self.window = (self.window + growth).max(self.reno_window).min(MAX_WINDOW);
    }

    /// A loss was found by duplicate or selective acknowledgements: reduces the window (4.6, 4.7).
    pub fn lost(&mut self, in_flight: u32) {
        self.max_window = if self.window < self.max_window {
            (u64::from(self.window) * 17 / 20) as u32 // fast convergence: (1 + 0.7) / 2
        } else {
            self.window
        };
        self.threshold =
            ((u64::from(self.window.min(in_flight.max(self.mss))) * 7 / 10) as u32).max(2 * self.mss);
        self.window = self.threshold;
        self.epoch = 0;
        self.credit = 0;
        self.reno_credit = 0;
    }

    /// A retransmission time-out: back to one segment (RFC 5681, 3.1).
    pub fn timed_out(&mut self, in_flight: u32) {
        self.lost(in_flight);
        self.window = self.mss;
    }

    /// A retransmission has timed out too: the threshold stays, the window is one segment.
    pub fn collapse(&mut self) {
        self.window = self.mss;
        self.epoch = 0;
    }

    /// The connection sends again after a pause longer than the time-out (RFC 5681, 4.1).
    pub fn restart(&mut self) {
        self.window = self.window.min(INITIAL_WINDOW * self.mss);
        self.epoch = 0;
    }

    fn start_epoch(&mut self, now: u64) {
        self.epoch = now.max(1);
        self.reno_window = self.window;
        if self.max_window > self.window {
            let segments = u64::from((self.max_window - self.window) / self.mss);
            // K = cbrt((W_max - cwnd) / 0.4) seconds
            self.rise = cube_root(segments * 2_500_000_000);
        } else {
            self.max_window = self.window;
            self.rise = 0;
        }
    }

    /// W_cubic(t) = 0.4 * (t - K)^3 + W_max (4.1)
    fn cubic(&self, now: u64) -> u32 {
        /// Beyond this the cube would overflow; the window is at its bound long before.
        const FAR: u64 = 500_000;
        let time = now.saturating_sub(self.epoch);
        let distance = time.abs_diff(self.rise).min(FAR);
        let segments = distance * distance * distance / 2_500_000_000;
        let bytes = (segments * u64::from(self.mss)).min(u64::from(MAX_WINDOW)) as u32;
        if time < self.rise {
            self.max_window.saturating_sub(bytes)
        } else {
            self.max_window.saturating_add(bytes)
        }
    }
}

/// The integer part of the cube root.
fn cube_root(number: u64) -> u64 {
    let mut root = 0u64;
    for bit in (0..22).rev() {
        let next = root | 1 << bit;
        if next * next * next <= number {
            root = next;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn slow_start_doubles_per_round() {
        let mut cubic = Cubic::new(1000);
        assert_eq!(cubic.window(), 10_000);
        cubic.acknowledged(10_000, 100 * MS, 10 * MS);
        assert_eq!(cubic.window(), 20_000);
    }

    #[test]
    fn returns_to_the_old_window_after_k() {
        let mut cubic = Cubic::new(1000);
        cubic.acknowledged(990_000, MS, MS);
        assert_eq!(cubic.window(), 1_000_000);
        cubic.lost(1_000_000);
        assert_eq!(cubic.window(), 700_000);
        // K = cbrt(300 / 0.4) = 9.086 s; with a round trip of 100 ms
        let mut now = 1000 * MS;
        while now < 10_086 * MS {
            let window = cubic.window();
            cubic.acknowledged(window, now, 100 * MS);
            now += 100 * MS;
        }
        assert!((980_000..1_030_000).contains(&cubic.window()), "{}", cubic.window());
    }

    #[test]
    fn timeout_goes_back_to_one_segment() {
        let mut cubic = Cubic::new(1000);
        cubic.timed_out(10_000);
        assert_eq!((cubic.window(), cubic.threshold()), (1000, 7000));
    }

    proptest! {
        #[test]
        fn cube_root_is_exact(n in 0u64..1 << 62) {
            let r = cube_root(n) as u128;
            prop_assert!(r * r * r <= n as u128 && (r + 1) * (r + 1) * (r + 1) > n as u128);
        }

        #[test]
        fn never_below_a_segment_nor_beyond_the_bound(events in proptest::collection::vec((0u8..4, 1u32..100_000), 0..300)) {
            let mut cubic = Cubic::new(1448);
            let mut now = 5 * MS;
            for (event, amount) in events {
                now += u64::from(amount) * 1000;
                match event {
                    0 | 1 => cubic.acknowledged(amount, now, 3 * MS),
                    2 => cubic.lost(amount),
                    _ => cubic.timed_out(amount),
                }
                prop_assert!(cubic.window() >= 1448 && cubic.window() <= MAX_WINDOW);
            }
        }
    }
}
