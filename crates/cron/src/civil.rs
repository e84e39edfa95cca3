//! Minutes and dates of the Gregorian calendar.

/// Minutes of an hour.
pub(crate) const MINUTES: i64 = 60;
/// Minutes of a day.
pub(crate) const DAY_MINUTES: i64 = 24 * MINUTES;
/// The weekday of 1970-01-01, Sunday being 0: a Thursday.
const FIRST_WEEKDAY: i64 = 4;

/// A minute as a clock and a calendar show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The year.
    pub year: i64,
    /// The month, from 1 on.
    pub month: u8,
    /// The day of the month, from 1 on.
    pub day: u8,
    /// The day of the week, Sunday being 0.
    pub weekday: u8,
    /// The hour.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
}

impl Moment {
    /// The minute `minutes` after 1970-01-01 00:00.
    pub fn of(minutes: i64) -> Moment {
        let (days, rest) = (minutes.div_euclid(DAY_MINUTES), minutes.rem_euclid(DAY_MINUTES));
        let (year, month, day) = date(days);
        Moment {
            year,
            month,
            day,
            weekday: (days + FIRST_WEEKDAY).rem_euclid(7) as u8,
            hour: (rest / MINUTES) as u8,
            minute: (rest % MINUTES) as u8,
        }
    }
}

/// Days of an era of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01. Years that begin in March have their leap day at the end.
const EPOCH: i64 = 719_468;

/// Year, month and day of a day, counted from 1970-01-01 on (Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: i64) -> (i64, u8, u8) {
    let shifted = days + EPOCH;
    let (era, of_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

/// The day of a date, counted from 1970-01-01 on.
pub fn day_of(year: i64, month: u8, day: u8) -> i64 {
    let (month, year) = (i64::from(month), year - i64::from(month <= 2));
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + i64::from(day) - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - EPOCH
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dates_are_those_of_another_calendar(minutes in -60_000_000i64..2_000_000_000) {
            let there = jiff::Timestamp::from_second(minutes * 60).unwrap();
            let there = jiff::tz::TimeZone::UTC.to_datetime(there);
            let here = Moment::of(minutes);
            prop_assert_eq!(here.year, i64::from(there.year()));
            prop_assert_eq!((here.month as i8, here.day as i8), (there.month(), there.day()));
            prop_assert_eq!(here.weekday as i8, there.weekday().to_sunday_zero_offset());
            prop_assert_eq!((here.hour as i8, here.minute as i8), (there.hour(), there.minute()));
            prop_assert_eq!(day_of(here.year, here.month, here.day), minutes.div_euclid(DAY_MINUTES));
        }
    }
}
