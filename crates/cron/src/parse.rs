//! Reading a schedule (crontab(5)).
use crate::schedule::{ANY_DAY, AT_START, Schedule, WILD};
use alloc::format;
use alloc::string::{String, ToString as _};
use core::str::FromStr;

/// The first three letters of months and days, which name them in any case.
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Words in place of the five fields.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A field: its name in messages, its values, and names for them.
struct Field {
    what: &'static str,
    first: u8,
    last: u8,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { what: "minute", first: 0, last: 59, names: &[] },
    Field { what: "hour", first: 0, last: 23, names: &[] },
    Field { what: "day of the month", first: 1, last: 31, names: &[] },
    Field { what: "month", first: 1, last: 12, names: &MONTHS },
    Field { what: "day of the week", first: 0, last: 7, names: &DAYS },
];

impl FromStr for Schedule {
    type Err = String;

    /// Reads five fields between blanks, or a word such as `@daily`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("@reboot") {
            let (minutes, hours, days, months, weekdays) = (0, 0, 0, 0, 0);
            return Ok(Schedule { minutes, hours, days, months, weekdays, flags: AT_START });
        }
        let nickname = NICKNAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        let text = match nickname {
            Some((_, fields)) => fields,
            None if text.starts_with('@') => {
                return Err(format!(
                    "`{text}` is none of @reboot, @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly"
                ));
            }
            None => text,
        };
        let mut words = text.split_ascii_whitespace();
        let mut sets = [0u64; 5];
        let mut stars = [false; 5];
        for ((field, set), star) in FIELDS.iter().zip(&mut sets).zip(&mut stars) {
            let word = words.next().ok_or_else(|| {
                format!("a schedule has five fields, and `{text}` has none for the {}", field.what)
            })?;
            *set = field.read(word)?;
            *star = word.starts_with('*');
        }
        if let Some(more) = words.next() {
            return Err(format!("a schedule has five fields, and `{more}` follows them"));
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let any_day = if stars[2] || stars[4] { ANY_DAY } else { 0 };
        let wild = if stars[0] || stars[1] { WILD } else { 0 };
        let schedule = Schedule {
            minutes,
            hours: hours as u32,
            days: days as u32,
            months: months as u16,
            // Sunday is 0 and 7.
            weekdays: (weekdays & 0x7f | weekdays >> 7) as u8,
            flags: any_day | wild,
        };
        match schedule.next(0) {
            Some(_) => Ok(schedule),
            None => Err(format!("`{text}` is never due: no year has such a day")),
        }
    }
}

impl Field {
    /// The values that a word stands for: elements between commas.
    fn read(&self, word: &str) -> Result<u64, String> {
        word.split(',').try_fold(0, |set, element| Ok(set | self.element(element)?))
    }

    /// `*`, a value or a range, and after a slash the step.
    fn element(&self, text: &str) -> Result<u64, String> {
        let what = self.what;
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<u8>().ok().filter(|&step| step > 0);
                let step =
                    step.ok_or_else(|| format!("the step of `{text}` ({what}) is no number above 0"))?;
                (range, Some(step))
            }
            None => (text, None),
        };
        let (first, last) = if range == "*" {
            (self.first, self.last)
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(first)?, self.value(last)?)
        } else if step.is_some() {
            return Err(format!("the step of `{text}` ({what}) has no range; write {range}-{}/…", self.last));
        } else {
            let value = self.value(range)?;
            (value, value)
        };
        if first > last {
            return Err(format!("the range `{range}` ({what}) ends before it begins"));
        }
        Ok((first..=last).step_by(step.unwrap_or(1).into()).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        if let Some(place) = named {
            return Ok(self.first + place as u8);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse().ok().filter(|value| is_number && (self.first..=self.last).contains(value));
        value.ok_or_else(|| {
            let (Field { what, first, last, names }, also) = (self, " or a name's first three letters");
            let also = if names.is_empty() { "" } else { also };
            format!("`{text}` is no {what}: it is a number from {first} to {last}{also}").to_string()
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::Moment;
    use crate::civil::day_of;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn minute(year: i64, month: u8, day: u8, hour: i64, minute: i64) -> i64 {
        day_of(year, month, day) * 1440 + hour * 60 + minute
    }

    #[test]
    fn known_schedules() {
        let from = minute(2026, 11, 29, 18, 5);
        for (text, next) in [
            ("* * * * *", minute(2026, 11, 29, 18, 6)),
            ("*/15 * * * *", minute(2026, 11, 29, 18, 15)),
            ("@hourly", minute(2026, 11, 29, 19, 0)),
            ("@daily", minute(2026, 11, 30, 0, 0)),
            ("@weekly", minute(2026, 12, 6, 0, 0)),
            ("@monthly", minute(2026, 12, 1, 0, 0)),
            ("@yearly", minute(2027, 1, 1, 0, 0)),
            ("5 4 * * sun", minute(2026, 12, 6, 4, 5)),
            ("0 0 * * 7", minute(2026, 12, 6, 0, 0)),
            ("0 22 * * 1-5", minute(2026, 11, 30, 22, 0)),
            ("23 0-23/2 * * *", minute(2026, 11, 29, 18, 23)),
            // Either day is enough, if both are given.
            ("30 4 1,15 * 5", minute(2026, 12, 1, 4, 30)),
            ("0 0 29 2 *", minute(2028, 2, 29, 0, 0)),
            ("0 0 */2 * mon", minute(2026, 12, 7, 0, 0)),
            ("0 0 1 JAN,jul *", minute(2027, 1, 1, 0, 0)),
            // Both days have to fit.
            ("0 0 29 2 */7", minute(2032, 2, 29, 0, 0)),
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().next(from), Some(next), "{text}");
        }
        let leap_sunday: Schedule = "0 0 29 2 */7".parse().unwrap();
        assert_eq!(
            leap_sunday.next(minute(2088, 3, 1, 0, 0)),
            Some(minute(2128, 2, 29, 0, 0)),
            "the longest wait"
        );
        assert!("@reboot".parse::<Schedule>().unwrap().is_at_start());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, why) in [
            ("* * * *", "none for the day of the week"),
            ("* * * * * x", "`x` follows them"),
            ("60 * * * *", "from 0 to 59"),
            ("* 24 * * *", "from 0 to 23"),
            ("* * 0 * *", "from 1 to 31"),
            ("* * * 13 *", "first three letters"),
            ("* * * * 8", "from 0 to 7"),
            ("5-3 * * * *", "ends before it begins"),
            ("*/0 * * * *", "no number above 0"),
            ("5/10 * * * *", "has no range"),
            ("0 0 31 2 *", "never due"),
            ("+1 * * * *", "from 0 to 59"),
            (", * * * *", "from 0 to 59"),
            ("@never", "is none of"),
            ("", "none for the minute"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    /// A field as it may be written, and the values that it stands for, found value by value.
    #[derive(Clone, Debug)]
    struct Written {
        text: String,
        values: Vec<bool>,
    }

    fn field(first: u8, last: u8) -> impl Strategy<Value = Written> {
        let element = (first..=last, first..=last, prop::option::of(1u8..70), 0u8..3).prop_map(
            move |(one, other, step, kind)| {
                let (low, high) = (one.min(other), one.max(other));
                let (text, low, high) = match kind {
                    0 => ("*".to_string(), first, last),
                    1 => (format!("{low}-{high}"), low, high),
                    _ => (format!("{low}"), low, low),
                };
                let step = step.filter(|_| kind < 2);
                let text = step.map_or(text.clone(), |step| format!("{text}/{step}"));
                let step = step.unwrap_or(1);
                let is_in = |value| (low..=high).contains(&value) && (value - low) % step == 0;
                (text, (0..=last).map(is_in).collect::<Vec<_>>())
            },
        );
        prop::collection::vec(element, 1..4).prop_map(|elements| Written {
            text: elements.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(","),
            values: (0..elements[0].1.len())
                .map(|value| elements.iter().any(|(_, values)| values[value]))
                .collect(),
        })
    }

    /// crontab(5), read slowly.
    fn is_due(fields: &[Written; 5], moment: &Moment) -> bool {
        let [minutes, hours, days, months, weekdays] = fields;
        let is = |field: &Written, value: u8| field.values[usize::from(value)];
        let weekday = is(weekdays, moment.weekday) || (moment.weekday == 0 && is(weekdays, 7));
        let is_any = |field: &Written| field.text.starts_with('*');
        let day = match is_any(days) || is_any(weekdays) {
            true => is(days, moment.day) && weekday,
            false => is(days, moment.day) || weekday,
        };
        is(minutes, moment.minute) && is(hours, moment.hour) && is(months, moment.month) && day
    }

    fn fields() -> impl Strategy<Value = [Written; 5]> {
        (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
            .prop_map(|(a, b, c, d, e)| [a, b, c, d, e])
    }

    proptest! {
        #[test]
        fn schedules_are_due_as_a_slow_reference_says(fields in fields(), from in 0i64..60_000_000) {
            let text = fields.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" ");
            let Ok(schedule) = text.parse::<Schedule>() else {
                // Such as 31 February: no day of many years.
                for day in 0..3000 {
                    for minute in (day * 1440..(day + 1) * 1440).step_by(7) {
                        prop_assert!(!is_due(&fields, &Moment::of(minute)), "{}", text);
                    }
                }
                return Ok(());
            };
            let stored = schedule.encode();
            prop_assert_eq!(Schedule::decode(&stored), Some((schedule, &[][..])));
            let next = schedule.next(from);
            for minute in from + 1..from + 3000 {
                let due = is_due(&fields, &Moment::of(minute));
                prop_assert_eq!(schedule.is_due(minute), due, "{} at {}", text, minute);
                if due {
                    prop_assert_eq!(next, Some(minute), "{}", text);
                    break;
                }
                prop_assert_ne!(next, Some(minute), "{}", text);
            }
            let next = next.expect("it is due some time");
            prop_assert!(next > from && is_due(&fields, &Moment::of(next)), "{} at {}", text, next);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-*/,0-9a-z@ ]{0,40}") {
            let _ = text.parse::<Schedule>();
        }

        #[test]
        fn any_bytes_are_a_schedule(bytes in prop::collection::vec(any::<u8>(), 0..40), minute in -1_000_000i64..100_000_000) {
            if let Some((schedule, _)) = Schedule::decode(&bytes) {
                schedule.is_due(minute);
                if let Some(next) = schedule.next(minute) {
                    prop_assert!(schedule.is_due(next));
                }
            }
        }
    }
}
