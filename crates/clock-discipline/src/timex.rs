//! `struct timex` (adjtimex(2), <linux/timex.h>), and which of them are in order.

/// Words of 64 bits in a `struct timex`.
pub const WORDS: usize = 26;

/// Bits of `modes`: what is to be changed.
pub mod mode {
    /// The phase: [`Timex::offset`](super::Timex::offset).
    pub const OFFSET: u32 = 0x1;
    /// The frequency.
    pub const FREQUENCY: u32 = 0x2;
    /// The largest error.
    pub const MAXERROR: u32 = 0x4;
    /// The estimated error.
    pub const ESTERROR: u32 = 0x8;
    /// The status.
    pub const STATUS: u32 = 0x10;
    /// The time constant of the loop.
    pub const TIMECONST: u32 = 0x20;
    /// The difference of TAI from UTC, in `constant`.
    pub const TAI: u32 = 0x80;
    /// The time is stepped by `time`.
    pub const SETOFFSET: u32 = 0x100;
    /// Microseconds from now on.
    pub const MICRO: u32 = 0x1000;
    /// Nanoseconds from now on.
    pub const NANO: u32 = 0x2000;
    /// Microseconds in a tick of 10 ms.
    pub const TICK: u32 = 0x4000;
    /// adjtime(3) is meant, together with [`OFFSET`].
    pub const ADJTIME: u32 = 0x8000;
    /// Beside [`ADJTIME`]: only what is left is asked for.
    pub const READ_ONLY: u32 = 0x2000;
}

/// Bits of `status`.
pub mod status {
    /// Offsets steer the frequency, too.
    pub const PLL: i32 = 0x1;
    /// They do so by the mode for long intervals.
    pub const FLL: i32 = 0x8;
    /// A leap second is inserted at the end of the day.
    pub const INSERT: i32 = 0x10;
    /// A second is left out at the end of the day.
    pub const DELETE: i32 = 0x20;
    /// The clock is not synchronised.
    pub const UNSYNC: i32 = 0x40;
    /// Offsets leave the frequency alone.
    pub const FREQHOLD: i32 = 0x80;
    /// The clock's hardware fails.
    pub const CLOCKERR: i32 = 0x1000;
    /// Times are in nanoseconds.
    pub const NANO: i32 = 0x2000;
    /// The mode for long intervals is in use.
    pub const MODE: i32 = 0x4000;
    /// Bits that ADJ_STATUS leaves as they are: those of a pulse per second, and 0x8000 for the source.
    pub const READ_ONLY: i32 = 0xff00;
}

/// What adjtimex(2) returns.
pub mod state {
    /// Nothing is ahead.
    pub const OK: usize = 0;
    /// A second will be inserted at the end of this day.
    pub const INSERT: usize = 1;
    /// A second will be left out at the end of this day.
    pub const DELETE: usize = 2;
    /// The inserted second runs.
    pub const IN_PROGRESS: usize = 3;
    /// The leap is over; the bit in the status is still set.
    pub const WAIT: usize = 4;
    /// The clock is not synchronised.
    pub const ERROR: usize = 5;
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EINVAL.
    Invalid,
    /// EPERM: CAP_SYS_TIME is wanted.
    NotPermitted,
}

/// A `struct timex`. What it says of a pulse per second, which Coracle has no device for, is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timex {
    /// Bits of [`mode`].
    pub modes: u32,
    /// Nanoseconds or microseconds.
    pub offset: i64,
    /// Parts per million, times 2^16.
    pub frequency: i64,
    /// Microseconds.
    pub max_error: i64,
    /// Microseconds.
    pub estimated_error: i64,
    /// Bits of [`status`].
    pub status: i32,
    /// The loop's time constant, or the difference of TAI in seconds.
    pub constant: i64,
    /// Seconds, and nanoseconds or microseconds.
    pub time: [i64; 2],
    /// Microseconds.
    pub tick: i64,
    /// Seconds by which TAI is ahead of UTC.
    pub tai: i32,
}

/// The clock's resolution in microseconds, and the largest frequency that is accepted, in parts per million times 2^16.
const PRECISION: u64 = 1;
const TOLERANCE: u64 = 500 << 16;

/// Positions of words.
const CONSTANT: usize = 6;
const TIME: usize = 9;
const TICK: usize = 11;
const TAI: usize = 20;

const MICROSECONDS: i64 = 1_000_000;
const NANOSECONDS: i64 = 1_000_000_000;
/// Microseconds in a tick: a tenth more or less than 10 ms.
const TICKS: core::ops::RangeInclusive<i64> = 9_000..=11_000;
/// Units of the frequency in the discipline, for one of [`Timex::frequency`].
const FREQUENCY_SCALE: i64 = 1000 << 16;

impl Timex {
    /// From a program's memory.
    pub fn from_words(words: &[u64; WORDS]) -> Timex {
        let word = |at: usize| words[at] as i64;
        Timex {
            modes: words[0] as u32,
            offset: word(1),
            frequency: word(2),
            max_error: word(3),
            estimated_error: word(4),
            status: words[5] as i32,
            constant: word(CONSTANT),
            time: [word(TIME), word(TIME + 1)],
            tick: word(TICK),
            tai: words[TAI] as i32,
        }
    }

    /// As a program sees it.
    pub fn to_words(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        let signed = [self.offset, self.frequency, self.max_error, self.estimated_error];
        words[0] = self.modes.into();
        words[1..5].copy_from_slice(&signed.map(|value| value as u64));
        words[5] = (self.status as u32).into();
        words[CONSTANT] = self.constant as u64;
        words[CONSTANT + 1] = PRECISION;
        words[CONSTANT + 2] = TOLERANCE;
        words[TIME..TICK].copy_from_slice(&self.time.map(|value| value as u64));
        words[TICK] = self.tick as u64;
        words[TAI] = (self.tai as u32).into();
        words
    }

    pub(crate) fn has(&self, mode: u32) -> bool {
        self.modes & mode != 0
    }

    /// Whether anything is asked for beside what there is.
    pub fn changes(&self) -> bool {
        self.modes != 0 && !(self.has(mode::ADJTIME) && self.has(mode::READ_ONLY))
    }

    /// Checks what is asked for, in Linux's order. `is_privileged`: the caller has CAP_SYS_TIME.
    pub fn check(&self, is_privileged: bool) -> Result<(), Refusal> {
        let permitted = |ok: bool| if ok || is_privileged { Ok(()) } else { Err(Refusal::NotPermitted) };
        let valid = |ok: bool| if ok { Ok(()) } else { Err(Refusal::Invalid) };
        if self.has(mode::ADJTIME) {
            valid(self.has(mode::OFFSET))?;
            permitted(self.has(mode::READ_ONLY))?;
        } else {
            permitted(self.modes == 0)?;
            valid(!self.has(mode::TICK) || TICKS.contains(&self.tick))?;
        }
        if self.has(mode::SETOFFSET) {
            permitted(false)?;
            let most = if self.has(mode::NANO) { NANOSECONDS } else { MICROSECONDS };
            valid((0..most).contains(&self.time[1]))?;
        }
        let most = i64::MAX / FREQUENCY_SCALE;
        valid(!self.has(mode::FREQUENCY) || (-most..=most).contains(&self.frequency))
    }

    /// By how many nanoseconds the clock is to be stepped, if it is.
    pub fn step_ns(&self) -> Option<i64> {
        let scale = if self.has(mode::NANO) { 1 } else { NANOSECONDS / MICROSECONDS };
        let [seconds, rest] = self.time;
        let step = seconds.saturating_mul(NANOSECONDS).saturating_add(rest.saturating_mul(scale));
        self.has(mode::SETOFFSET).then_some(step)
    }

    /// The frequency in the discipline's units.
    pub(crate) fn scaled_frequency(&self) -> i64 {
        self.frequency.saturating_mul(FREQUENCY_SCALE)
    }

    /// The opposite of [`Self::scaled_frequency`], to the nearest unit.
    pub(crate) fn set_frequency(&mut self, scaled: i64) {
        let half = FREQUENCY_SCALE / 2 * scaled.signum();
        self.frequency = scaled.saturating_add(half) / FREQUENCY_SCALE;
    }
}
