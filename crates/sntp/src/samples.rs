//! Samples of a server's clock: the one with the shortest way there and back has the smallest error.
use crate::Reply;

/// What one answer says of our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// By how many nanoseconds the server's clock is ahead.
    pub offset_ns: i64,
    /// How long request and answer were on their way, in nanoseconds.
    pub delay_ns: i64,
    /// The largest error of the server's clock, in nanoseconds.
    pub distance_ns: i64,
    /// See [`Reply::leap`].
    pub leap: i8,
}

impl Sample {
    /// Of a clock that the machine tells together with ours, both in nanoseconds since 1970. None if they are centuries apart.
    pub fn of_pair(theirs_ns: u64, ours_ns: u64) -> Option<Sample> {
        let offset_ns = i64::try_from(i128::from(theirs_ns) - i128::from(ours_ns)).ok()?;
        Some(Sample { offset_ns, delay_ns: 0, distance_ns: PAIR_ERROR_NS, leap: 0 })
    }

    /// Of an answer to a request that was sent at `sent_ns` since 1970 by our clock, and answered `elapsed_ns` later. None if the server would have had it
    /// for longer than that.
    pub fn new(reply: &Reply, sent_ns: i64, elapsed_ns: i64) -> Option<Sample> {
        let held_ns = reply.sent_ns.checked_sub(reply.received_ns)?;
        let delay_ns = elapsed_ns.checked_sub(held_ns).filter(|delay| *delay >= 0)?;
        let there = reply.received_ns.checked_sub(sent_ns)?;
        let back = reply.sent_ns.checked_sub(sent_ns.checked_add(elapsed_ns)?)?;
        let offset_ns = there / 2 + back / 2 + (there % 2 + back % 2) / 2;
        Some(Sample { offset_ns, delay_ns, distance_ns: reply.distance_ns, leap: reply.leap })
    }
}

/// By how much two clocks may be apart that were read together, beside their offset.
const PAIR_ERROR_NS: i64 = 1000;

/// Delays that are remembered.
const REMEMBERED: usize = 8;
/// An answer that took this many times as long as the quickest, and so much longer, is asked for again.
const SPIKE: i64 = 2;
const SPIKE_NS: i64 = 2_000_000;

/// The samples of a poll, and the delays of those before.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    best: Option<Sample>,
    delays: [i64; REMEMBERED],
    count: usize,
}

impl Samples {
    /// None.
    pub const fn new() -> Samples {
        Samples { best: None, delays: [0; REMEMBERED], count: 0 }
    }

    /// Takes a sample. Returns whether another one is worth asking for: this one's way was much longer than usual.
    pub fn take(&mut self, sample: Sample) -> bool {
        let known = &self.delays[..self.count.min(REMEMBERED)];
        let is_spike = known.iter().min().is_some_and(|least| {
            sample.delay_ns > least.saturating_mul(SPIKE).max(least.saturating_add(SPIKE_NS))
        });
        self.delays[self.count % REMEMBERED] = sample.delay_ns;
        // The remainder stays the same.
        self.count = if self.count == 2 * REMEMBERED { REMEMBERED + 1 } else { self.count + 1 };
        if self.best.is_none_or(|best| sample.delay_ns < best.delay_ns) {
            self.best = Some(sample);
        }
        is_spike
    }

    /// The sample with the shortest delay since the last call.
    pub fn take_best(&mut self) -> Option<Sample> {
        self.best.take()
    }
}
