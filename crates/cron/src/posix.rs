//! Reading a time zone (POSIX.1-2024, the variable TZ; RFC 9636, section 3.3.1).
use crate::zone::{Rule, Summer, Zone};
use core::str::FromStr;

/// Seconds of an hour.
const HOUR_S: i32 = 3600;
/// When a change happens unless it is said.
const TWO_O_CLOCK: i32 = 2 * HOUR_S;

/// The text is no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoZone;

/// Takes fields off the front of a text.
struct Text<'a>(&'a str);

impl FromStr for Zone {
    type Err = NoZone;

    /// Reads a zone such as `CET-1CEST,M3.5.0,M10.5.0/3`.
    fn from_str(text: &str) -> Result<Zone, NoZone> {
        let mut text = Text(text);
        text.name()?;
        // It is what is added to local time to get UTC.
        let offset_s = -text.time()?;
        if text.0.is_empty() {
            return Ok(Zone { offset_s, summer: None });
        }
        text.name()?;
        let summer_s = if text.0.starts_with(',') { offset_s + HOUR_S } else { -text.time()? };
        let (begin, end) = (text.rule()?, text.rule()?);
        if !text.0.is_empty() {
            return Err(NoZone);
        }
        Ok(Zone { offset_s, summer: Some(Summer { offset_s: summer_s, begin, end }) })
    }
}

impl Text<'_> {
    /// At least three letters; or others between angle brackets.
    fn name(&mut self) -> Result<(), NoZone> {
        let (end, least) = match self.0.strip_prefix('<') {
            Some(rest) => (rest.find('>').ok_or(NoZone)? + 2, 5),
            None => (self.0.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.0.len()), 3),
        };
        self.0 = self.0.get(end..).filter(|_| end >= least).ok_or(NoZone)?;
        Ok(())
    }

    fn number(&mut self, most: u16) -> Result<u16, NoZone> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits.parse().ok().filter(|&number| number <= most).ok_or(NoZone)
    }

    fn take(&mut self, mark: char) -> bool {
        let rest = self.0.strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Hours, minutes and seconds, which a sign may precede; hours up to a week.
    fn time(&mut self) -> Result<i32, NoZone> {
        let is_negative = self.take('-') || {
            self.take('+');
            false
        };
        let mut seconds = i32::from(self.number(167)?) * HOUR_S;
        for unit in [60, 1] {
            if !self.take(':') {
                break;
            }
            seconds += i32::from(self.number(59)?) * unit;
        }
        Ok(if is_negative { -seconds } else { seconds })
    }

    /// `,Mm.w.d`, `,Jn` or `,n`, and a time after a slash.
    fn rule(&mut self) -> Result<Rule, NoZone> {
        if !self.take(',') {
            return Err(NoZone);
        }
        let mut rule = if self.take('M') {
            let month = self.number(12)? as u8;
            let week = if self.take('.') { self.number(5)? as u8 } else { 0 };
            let day = if self.take('.') { self.number(6)? } else { return Err(NoZone) };
            if month == 0 || week == 0 {
                return Err(NoZone);
            }
            Rule { month, week, day, time_s: TWO_O_CLOCK }
        } else if self.take('J') {
            let day = self.number(365)?.checked_sub(1).ok_or(NoZone)?;
            Rule { month: 0, week: 1, day, time_s: TWO_O_CLOCK }
        } else {
            Rule { month: 0, week: 0, day: self.number(365)?, time_s: TWO_O_CLOCK }
        };
        if self.take('/') {
            rule.time_s = self.time()?;
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    const ZONES: [&str; 12] = [
        "UTC0",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "AEST-10AEDT,M10.1.0,M4.1.0/3",
        "<+0545>-5:45",
        "<-03>3",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "EET-2EEST,M3.4.4/50,M10.4.4/50",
        "NZST-12NZDT,M9.5.0,M4.1.0/3",
        "XST3XDT,J60,J300/1:30",
        "XST-3XDT-4,59/3,299",
    ];

    proptest! {
        #[test]
        fn offsets_are_those_of_another_reader(zone in prop::sample::select(&ZONES[..]), seconds in 0i64..4_000_000_000) {
            let here: Zone = zone.parse().unwrap();
            let there = TimeZone::posix(zone).unwrap();
            let at = Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(here.offset_at(seconds), there.to_offset(at).seconds(), "{} at {}", zone, at);
            let stored = here.encode();
            prop_assert_eq!(Zone::decode(&stored), Some((here, &[][..])));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Z<>+,./:MJ0-9-]{0,30}", seconds in 0i64..4_000_000_000) {
            if let Ok(zone) = text.parse::<Zone>() {
                zone.minute_at(seconds);
            }
        }

        #[test]
        fn any_bytes_are_a_zone(bytes in prop::collection::vec(any::<u8>(), 0..40), seconds in -100_000_000_000i64..100_000_000_000) {
            if let Some((zone, _)) = Zone::decode(&bytes) {
                zone.minute_at(seconds);
            }
        }
    }

    #[test]
    fn what_is_no_zone() {
        for wrong in
            ["", "X5", "CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.1.0,M1.1.0", "<A5", "CET-1x"]
        {
            assert_eq!(wrong.parse::<Zone>(), Err(NoZone), "{wrong}");
        }
    }
}
