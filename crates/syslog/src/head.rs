//! The header of a message (RFC 5424, section 6).
use core::fmt::{self, Write};

/// Most characters of a host's name and of a program's.
const HOST_MOST: usize = 255;
const APP_MOST: usize = 48;

const SECOND_NS: u64 = 1_000_000_000;
const MICROSECOND_NS: u64 = 1000;
const DAY_S: u64 = 86_400;

/// The number of a facility and a severity.
pub fn number_of(facility: u8, severity: u8) -> u8 {
    facility * 8 + severity
}

/// What stands before a message's text, blank included.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// See [`number_of`].
    pub priority: u8,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// The host.
    pub host: &'a [u8],
    /// The program.
    pub app: &'a [u8],
    /// The process.
    pub pid: Option<u32>,
    /// What kind of message it is.
    pub id: &'a str,
}

/// A field: printable characters of ASCII without blanks; `-` if there are none.
struct Field<'a>(&'a [u8], usize);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printable = self.0.iter().filter(|byte| byte.is_ascii_graphic()).take(self.1).peekable();
        if printable.peek().is_none() {
            return f.write_char('-');
        }
        printable.try_for_each(|byte| f.write_char(char::from(*byte)))
    }
}

/// A time as RFC 3339 has it, in UTC with microseconds.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / SECOND_NS;
        let (year, month, day) = date(seconds / DAY_S);
        let of_day = seconds % DAY_S;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let micros = self.0 % SECOND_NS / MICROSECOND_NS;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// The Gregorian date that is so many days after 1970-01-01. Years are counted from March, so that a leap day ends one.
fn date(days: u64) -> (u64, u64, u64) {
    const TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = days + TO_1970;
    let of_era = days % ERA;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (days / ERA * 400 + year_of_era + u64::from(month <= 2), month, day)
}

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, app) = (Field(self.host, HOST_MOST), Field(self.app, APP_MOST));
        write!(f, "<{}>1 {} {host} {app} ", self.priority, Time(self.time_ns))?;
        match self.pid {
            Some(pid) => write!(f, "{pid}")?,
            None => f.write_char('-')?,
        }
        write!(f, " {} - ", self.id)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString as _;

    #[test]
    fn headers_have_their_form() {
        let head = Head {
            priority: number_of(16, 3),
            time_ns: 1_796_148_300_123_456_789,
            host: b"web 1",
            app: b"",
            pid: Some(7),
            id: "stdout",
        };
        assert_eq!(head.to_string(), "<131>1 2026-12-01T18:05:00.123456Z web1 - 7 stdout - ");
        let days =
            [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (47_540, (2100, 2, 28)), (47_541, (2100, 3, 1))];
        for (days, wanted) in days {
            assert_eq!(date(days), wanted);
        }
    }

    proptest! {
        #[test]
        fn days_follow_each_other(days in 0..200_000u64) {
            let (today, tomorrow) = (date(days), date(days + 1));
            let same_month = (today.0, today.1, today.2 + 1) == tomorrow;
            let next_month = tomorrow.2 == 1 && (28..=31).contains(&today.2)
                && (tomorrow.0 * 12 + tomorrow.1) - (today.0 * 12 + today.1) == 1;
            prop_assert!(same_month || next_month);
        }
    }
}
