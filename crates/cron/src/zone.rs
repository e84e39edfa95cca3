//! Time zones, as a rule for every year (POSIX.1-2024, the variable TZ).
use crate::civil::{DAY_MINUTES, Moment, day_of};

/// Seconds of a day.
const DAY_S: i64 = DAY_MINUTES * 60;

/// A day of every year, and a time of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The month, from 1 on; 0: `day` counts from the beginning of the year on.
    pub month: u8,
    /// The week of the month, from 1 on, 5 being the last. Without a month, 0 counts leap days, 1 does not.
    pub week: u8,
    /// The day of the week, Sunday being 0; or that of the year, from 0 on.
    pub day: u16,
    /// Seconds after the beginning of the day, which may be those of another.
    pub time_s: i32,
}

/// A time of the year with another offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summer {
    /// What is added to UTC then, in seconds.
    pub offset_s: i32,
    /// When it begins, by the time that held before.
    pub begin: Rule,
    /// When it ends, by the time that held before.
    pub end: Rule,
}

/// A time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// What is added to UTC, in seconds.
    pub offset_s: i32,
    /// What holds in a part of the year.
    pub summer: Option<Summer>,
}

impl Rule {
    const BYTES: usize = 8;

    fn encode(&self) -> [u8; Rule::BYTES] {
        let (day, time) = (self.day.to_le_bytes(), self.time_s.to_le_bytes());
        [self.month, self.week, day[0], day[1], time[0], time[1], time[2], time[3]]
    }

    fn decode(bytes: [u8; Rule::BYTES]) -> Rule {
        let [month, week, low, high, ..] = bytes;
        let time = bytes.last_chunk().copied().unwrap_or_default();
        Rule { month, week, day: u16::from_le_bytes([low, high]), time_s: i32::from_le_bytes(time) }
    }

    /// Seconds from 1970-01-01 00:00 to this in a year, by its own clock.
    fn in_year(&self, year: i64) -> i64 {
        let first = day_of(year, self.month.clamp(1, 12), 1);
        let day = if self.month == 0 {
            let leap = day_of(year + 1, 1, 1) - first == 366;
            // Without leap days, 1 March is always the day 59.
            first + i64::from(self.day) + i64::from(self.week == 1 && leap && self.day >= 59)
        } else {
            let weekday = i64::from(Moment::of(first * DAY_MINUTES).weekday);
            let day = first + (i64::from(self.day) - weekday).rem_euclid(7) + 7 * (i64::from(self.week) - 1);
            let next_month = first + 31;
            // The fifth is the last, which may be the fourth.
            let is_beyond = Moment::of(day * DAY_MINUTES).month != self.month;
            if is_beyond || day > next_month { day - 7 } else { day }
        };
        day * DAY_S + i64::from(self.time_s)
    }
}

impl Zone {
    /// Its bytes as it is stored.
    pub const BYTES: usize = 4 + 1 + 4 + 2 * Rule::BYTES;

    /// As it is stored.
    pub fn encode(&self) -> [u8; Zone::BYTES] {
        let summer = self.summer.unwrap_or_default();
        let mut bytes = [0; Zone::BYTES];
        bytes[..4].copy_from_slice(&self.offset_s.to_le_bytes());
        bytes[4] = u8::from(self.summer.is_some());
        bytes[5..9].copy_from_slice(&summer.offset_s.to_le_bytes());
        bytes[9..17].copy_from_slice(&summer.begin.encode());
        bytes[17..].copy_from_slice(&summer.end.encode());
        bytes
    }

    /// From the front of `bytes`, and what follows; `None` if there are too few.
    pub fn decode(bytes: &[u8]) -> Option<(Zone, &[u8])> {
        let (own, rest) = bytes.split_first_chunk::<{ Zone::BYTES }>()?;
        let summer = Summer {
            offset_s: i32::from_le_bytes(*own[5..].first_chunk()?),
            begin: Rule::decode(*own[9..].first_chunk()?),
            end: Rule::decode(*own[17..].first_chunk()?),
        };
        let offset_s = i32::from_le_bytes(*own.first_chunk()?);
        Some((Zone { offset_s, summer: (own[4] != 0).then_some(summer) }, rest))
    }

    /// What is added to UTC at a time, in seconds since 1970.
    pub fn offset_at(&self, utc_s: i64) -> i32 {
        let Some(summer) = &self.summer else { return self.offset_s };
        let year = Moment::of((utc_s + i64::from(self.offset_s)).div_euclid(60)).year;
        let begin = summer.begin.in_year(year) - i64::from(self.offset_s);
        let end = summer.end.in_year(year) - i64::from(summer.offset_s);
        let is_summer =
            if begin < end { (begin..end).contains(&utc_s) } else { !(end..begin).contains(&utc_s) };
        if is_summer { summer.offset_s } else { self.offset_s }
    }

    /// The minute that its clocks show at a time, counted from 1970-01-01 00:00 on. `utc_s`: seconds since 1970 in UTC.
    pub fn minute_at(&self, utc_s: i64) -> i64 {
        (utc_s + i64::from(self.offset_at(utc_s))).div_euclid(60)
    }
}
