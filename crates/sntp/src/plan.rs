//! When a server is asked, and what becomes of an offset.
use crate::Sample;

/// Requests of the first poll and of one after a step, and the seconds between them.
pub const BURST: u32 = 4;
/// See [`BURST`].
pub const BURST_INTERVAL_S: u64 = 2;
/// Polls are 2^6 to 2^10 seconds apart; after a failure, at first 2^4.
const LEAST_POLL: u32 = 6;
const MOST_POLL: u32 = 10;
const FIRST_RETRY: u32 = 4;
/// An offset below which polls become rarer, and one beyond which they become more frequent, in nanoseconds.
const SMALL_NS: u64 = 8_000_000;
const LARGE_NS: u64 = 50_000_000;
/// The discipline's time constant is that of the interval, less this.
const CONSTANT_LESS: u32 = 4;
/// An offset beyond which the clock is stepped: adjtimex(2) slews no more.
const STEP_NS: u64 = 500_000_000;

/// The intervals between polls.
#[derive(Clone, Debug)]
pub struct Plan {
    poll: u32,
    least: u32,
    retry: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { poll: LEAST_POLL, least: LEAST_POLL, retry: FIRST_RETRY }
    }
}

impl Plan {
    /// A poll gave this offset. Returns the seconds until the next.
    pub fn succeeded(&mut self, offset_ns: i64) -> u64 {
        self.retry = FIRST_RETRY;
        match offset_ns.unsigned_abs() {
            0..SMALL_NS => self.poll = (self.poll + 1).min(MOST_POLL),
            LARGE_NS.. => self.poll = (self.poll - 1).max(self.least),
            _ => {}
        }
        1 << self.poll
    }

    /// No server gave an answer. Returns the seconds until the next poll: longer each time.
    pub fn failed(&mut self) -> u64 {
        let retry = self.retry.max(self.least - (LEAST_POLL - FIRST_RETRY));
        self.retry = (retry + 1).min(MOST_POLL);
        1 << retry
    }

    /// A server was asked too often.
    pub fn slow_down(&mut self) {
        self.least = (self.least + 1).min(MOST_POLL);
        self.poll = self.poll.max(self.least);
    }

    /// The time constant of the clock's discipline at this interval.
    pub fn constant(&self) -> i64 {
        (self.poll - CONSTANT_LESS).into()
    }
}

/// What is done about an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// The clock is set.
    Step,
    /// It runs faster or slower for a while.
    Slew,
}

/// The clock is set if it is off by more than half a second, whether for the first time or later.
pub fn correction(sample: &Sample) -> Correction {
    if sample.offset_ns.unsigned_abs() > STEP_NS { Correction::Step } else { Correction::Slew }
}
