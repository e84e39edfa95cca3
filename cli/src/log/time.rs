//! Times as docker's options take them.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time: RFC 3339, with the zone of this machine if it names none; a day; seconds since 1970; or a duration before now, such as
/// `10m` or `1h30m`.
///
/// # Errors
/// What is wrong.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let fail = || {
        format!(
            "`{text}` is no time: write one as 2026-11-29T18:05:00Z, a day as 2026-11-29, seconds since 1970, or a duration \
             before now as 10m or 1h30m"
        )
    };
    if let Some(duration) = duration(text) {
        let duration = SignedDuration::try_from(duration).map_err(|_| fail())?;
        return Timestamp::now().checked_sub(duration).map_err(|_| fail());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some(time) = seconds(text) {
        return Ok(time);
    }
    let local = text.parse::<DateTime>().map_err(|_| fail())?;
    TimeZone::system().to_timestamp(local).map_err(|_| fail())
}

/// Seconds since 1970, with a fraction.
fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(whole.parse().ok()?, nanoseconds).ok()
}

/// A duration as Go writes it: numbers with units.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, value) = UNITS.iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        sum += number * value;
        rest = &rest[digits + unit.len()..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(sum).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations() {
        assert_eq!(duration("10m"), Some(Duration::from_secs(600)));
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("1.5s250ms"), Some(Duration::from_millis(1750)));
        assert_eq!((duration(""), duration("10"), duration("m"), duration("5x")), (None, None, None, None));
        let time = |text: &str| parse(text).map(|time| time.to_string());
        assert_eq!(time("2026-11-29T18:05:00.5Z").unwrap(), "2026-11-29T18:05:00.5Z");
        assert_eq!(time("2026-11-29T18:05:00+01:00").unwrap(), "2026-11-29T17:05:00Z");
        assert_eq!(time("1700000000.25").unwrap(), "2023-11-14T22:13:20.25Z");
        assert!(time("2026-11-29").is_ok() && time("2026-11-29T10:00:00").is_ok());
        assert!(parse("10m").unwrap() < Timestamp::now());
        for wrong in ["", "now", "10", "2026-13-01", "1e5h", "-5m", "1700000000.1234567890"] {
            assert!(parse(wrong).is_err() == (wrong != "10"), "{wrong}");
        }
    }
}
