//! The state of the clock, second by second.
use crate::timex::{Timex, mode, state, status};

/// Rates and offsets are in nanoseconds times 2^32 (Linux's NTP_SCALE_SHIFT).
const SCALE_SHIFT: u32 = 32;
const MICROSECOND_NS: i64 = 1000;
const SECOND_US: i64 = 1_000_000;
/// The largest phase, in nanoseconds: half a second.
const PHASE_MOST_NS: i64 = 500_000_000;
/// The largest frequency: 500 parts per million.
const FREQUENCY_MOST: i64 = 500_000 << SCALE_SHIFT;
/// By how much adjtime(3) slews, in microseconds for each second.
const SLEW_US: i64 = 500;
/// What the largest error grows by in a second, and where the clock counts as not synchronised, in microseconds.
const ERROR_GROWTH_US: i64 = 500;
const ERROR_MOST_US: i64 = 16_000_000;
/// Gains of the loops (SHIFT_PLL, SHIFT_FLL).
const PLL_SHIFT: u32 = 2;
const FLL_SHIFT: u32 = 2;
/// The largest time constant, and what a program that counts microseconds leaves out of it.
const CONSTANT_MOST: i64 = 10;
const CONSTANT_OF_MICRO: i64 = 4;
/// Intervals from which the frequency may be set by the mode for long ones, and always is, in seconds.
const FLL_FROM_S: i64 = 256;
const FLL_ALWAYS_S: i64 = 2048;
/// A tick, whose length a program may change, in microseconds; and how many are in a second.
const TICK_US: i64 = 10_000;
const TICKS: i64 = 100;
/// The largest difference of TAI from UTC, in seconds.
const TAI_MOST: i64 = 100_000;
const DAY_S: i64 = 86_400;

/// The time at a request, by the real-time clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: i64,
}

/// The discipline of one clock.
#[derive(Clone, Debug)]
pub struct Discipline {
    /// The second of the real-time clock that runs; none before the first call.
    second: Option<i64>,
    status: i32,
    state: usize,
    leap_at: Option<i64>,
    max_error_us: i64,
    estimated_error_us: i64,
    constant: i64,
    tick_us: i64,
    /// Scaled nanoseconds in a second.
    frequency: i64,
    /// What is left of the phase, scaled nanoseconds.
    offset: i64,
    /// What is left of adjtime(3)'s, microseconds.
    adjust_us: i64,
    /// What the running second is longer by for the two, scaled nanoseconds.
    slew: i64,
    /// When the phase was set last.
    reference: i64,
    tai: i64,
}

impl Discipline {
    /// A clock that runs by itself.
    pub const fn new() -> Discipline {
        Discipline {
            second: None,
            status: status::UNSYNC,
            state: state::OK,
            leap_at: None,
            max_error_us: ERROR_MOST_US,
            estimated_error_us: ERROR_MOST_US,
            constant: PLL_SHIFT as i64,
            tick_us: TICK_US,
            frequency: 0,
            offset: 0,
            adjust_us: 0,
            slew: 0,
            reference: 0,
            tai: 0,
        }
    }

    /// By how much the clock is to run faster: nanoseconds times 2^32 for each second of the undisciplined clock. It lies within a quarter of a second.
    pub fn adjustment(&self) -> i64 {
        (((self.tick_us - TICK_US) * TICKS * MICROSECOND_NS) << SCALE_SHIFT) + self.frequency + self.slew
    }

    /// Whether the beginning of the next second changes the rate or the time, so that it must not be missed.
    pub fn needs_seconds(&self) -> bool {
        self.slew != 0
            || self.offset != 0
            || self.adjust_us != 0
            || self.state != state::OK
            || self.status & (status::INSERT | status::DELETE) != 0
    }

    /// By how many seconds TAI is ahead of UTC.
    pub fn tai(&self) -> i64 {
        self.tai
    }

    /// The second `now` of the real-time clock runs, if none earlier. Returns by how many seconds the clock has to be stepped for a leap second.
    pub fn advance(&mut self, now: i64) -> i64 {
        let mut now = now;
        let mut leaps = 0;
        while let Some(second) = self.second.filter(|&second| second < now) {
            if !self.needs_seconds() {
                self.grow_error(now - second);
                break;
            }
            let leap = self.begin(second + 1);
            self.second = Some(second + 1 + leap);
            now += leap;
            leaps += leap;
        }
        self.second = Some(now);
        leaps
    }

    fn grow_error(&mut self, seconds: i64) {
        self.max_error_us = self.max_error_us.saturating_add(seconds.saturating_mul(ERROR_GROWTH_US));
        if self.max_error_us > ERROR_MOST_US {
            self.max_error_us = ERROR_MOST_US;
            self.status |= status::UNSYNC;
        }
    }

    /// A second begins; returns the leap.
    fn begin(&mut self, second: i64) -> i64 {
        let leap = self.leap(second);
        self.grow_error(1);
        // Toward zero, as Linux's shift_right(). What is less than a nanosecond is left out.
        let part = self.offset / (1 << (PLL_SHIFT + self.constant as u32));
        self.offset -= part;
        if self.offset.abs() < 1 << SCALE_SHIFT {
            self.offset = 0;
        }
        let adjust = self.adjust_us.clamp(-SLEW_US, SLEW_US);
        self.adjust_us -= adjust;
        self.slew = part + ((adjust * MICROSECOND_NS) << SCALE_SHIFT);
        leap
    }

    fn leap(&mut self, second: i64) -> i64 {
        let is_set = |bit: i32| self.status & bit != 0;
        let end_of_day = |from: i64| second + DAY_S - from.rem_euclid(DAY_S);
        match self.state {
            state::OK if is_set(status::INSERT) => {
                self.leap_at = Some(end_of_day(second));
                self.state = state::INSERT;
            }
            state::OK if is_set(status::DELETE) => {
                self.leap_at = Some(end_of_day(second + 1));
                self.state = state::DELETE;
            }
            state::INSERT if !is_set(status::INSERT) => self.forget_leap(state::OK),
            state::DELETE if !is_set(status::DELETE) => self.forget_leap(state::OK),
            state::INSERT if self.leap_at == Some(second) => {
                self.state = state::IN_PROGRESS;
                self.tai += 1;
                return -1;
            }
            state::DELETE if self.leap_at == Some(second) => {
                self.forget_leap(state::WAIT);
                self.tai -= 1;
                return 1;
            }
            state::IN_PROGRESS => self.forget_leap(state::WAIT),
            state::WAIT if !is_set(status::INSERT | status::DELETE) => self.state = state::OK,
            _ => {}
        }
        0
    }

    fn forget_leap(&mut self, state: usize) {
        self.leap_at = None;
        self.state = state;
    }

    /// The clock was stepped, by whatever call: what it was slewed by is void, and nothing is known of its error.
    pub fn was_set(&mut self) {
        self.second = None;
        (self.offset, self.adjust_us, self.slew) = (0, 0, 0);
        self.status |= status::UNSYNC;
        (self.max_error_us, self.estimated_error_us) = (ERROR_MOST_US, ERROR_MOST_US);
        self.leap_at = None;
    }

    /// Does what a request asks for, which has been [checked](Timex::check), and whose [step](Timex::step_ns) has been made; fills in
    /// the answer, and returns one of [`state`]. [`Self::advance`] has been called for the same second.
    pub fn adjust(&mut self, timex: &mut Timex, now: Now) -> usize {
        if timex.has(mode::ADJTIME) {
            let left = self.adjust_us;
            if !timex.has(mode::READ_ONLY) {
                self.adjust_us = timex.offset;
            }
            timex.offset = left;
        } else {
            self.change(timex, now.seconds);
            timex.offset = self.offset / (1 << SCALE_SHIFT);
            if self.status & status::NANO == 0 {
                timex.offset /= MICROSECOND_NS;
            }
        }
        timex.set_frequency(self.frequency);
        timex.max_error = self.max_error_us;
        timex.estimated_error = self.estimated_error_us;
        timex.status = self.status;
        timex.constant = self.constant;
        timex.tick = self.tick_us;
        timex.tai = self.tai as i32;
        let unit = if self.status & status::NANO == 0 { MICROSECOND_NS } else { 1 };
        timex.time = [now.seconds, now.nanoseconds / unit];
        if self.status & (status::UNSYNC | status::CLOCKERR) != 0 { state::ERROR } else { self.state }
    }

    fn change(&mut self, timex: &Timex, second: i64) {
        if timex.has(mode::STATUS) {
            self.set_status(timex.status, second);
        }
        if timex.has(mode::NANO) {
            self.status |= status::NANO;
        }
        if timex.has(mode::MICRO) {
            self.status &= !status::NANO;
        }
        if timex.has(mode::FREQUENCY) {
            self.frequency = timex.scaled_frequency().clamp(-FREQUENCY_MOST, FREQUENCY_MOST);
        }
        if timex.has(mode::MAXERROR) {
            self.max_error_us = timex.max_error.clamp(0, ERROR_MOST_US);
        }
        if timex.has(mode::ESTERROR) {
            self.estimated_error_us = timex.estimated_error.clamp(0, ERROR_MOST_US);
        }
        if timex.has(mode::TIMECONST) {
            let more = if self.status & status::NANO == 0 { CONSTANT_OF_MICRO } else { 0 };
            self.constant = (timex.constant.clamp(0, CONSTANT_MOST) + more).min(CONSTANT_MOST);
        }
        if timex.has(mode::TAI) && (0..=TAI_MOST).contains(&timex.constant) {
            self.tai = timex.constant;
        }
        if timex.has(mode::OFFSET) && self.status & status::PLL != 0 {
            self.set_offset(timex.offset, second);
        }
        if timex.has(mode::TICK) {
            self.tick_us = timex.tick;
        }
    }

    fn set_status(&mut self, new: i32, second: i64) {
        let had_pll = self.status & status::PLL != 0;
        let has_pll = new & status::PLL != 0;
        if had_pll && !has_pll {
            self.forget_leap(state::OK);
            self.status = status::UNSYNC;
        }
        if !had_pll && has_pll {
            self.reference = second;
        }
        self.status = (self.status & status::READ_ONLY) | (new & !status::READ_ONLY);
    }

    /// Takes a phase, by which the frequency is corrected, too.
    fn set_offset(&mut self, offset: i64, second: i64) {
        let offset_ns = match self.status & status::NANO {
            0 => offset.clamp(-SECOND_US, SECOND_US) * MICROSECOND_NS,
            _ => offset,
        }
        .clamp(-PHASE_MOST_NS, PHASE_MOST_NS);
        let mut interval = second.saturating_sub(self.reference).clamp(0, i64::from(u32::MAX));
        if self.status & status::FREQHOLD != 0 {
            interval = 0;
        }
        self.reference = second;
        self.status &= !status::MODE;
        let mut change = 0;
        if interval >= FLL_FROM_S && (self.status & status::FLL != 0 || interval > FLL_ALWAYS_S) {
            self.status |= status::MODE;
            change = (offset_ns << (SCALE_SHIFT - FLL_SHIFT)) / interval;
        }
        let constant = self.constant as u32;
        // A long silence must not make the loop unstable.
        let counted = interval.min(1 << (PLL_SHIFT + 1 + constant));
        change += (offset_ns * counted) << (SCALE_SHIFT - 2 * (PLL_SHIFT + 2 + constant));
        self.frequency = (self.frequency + change).clamp(-FREQUENCY_MOST, FREQUENCY_MOST);
        self.offset = offset_ns << SCALE_SHIFT;
    }
}

impl Default for Discipline {
    fn default() -> Self {
        Discipline::new()
    }
}
