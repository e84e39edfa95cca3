//! What a guest's clock is kept by.

use std::fmt;

use serde::Serialize;

use super::client::Client;
use crate::error::Result;

/// Parts of a second, and of one part per million, in the guest's file.
const NANOSECONDS: f64 = 1e9;
const MICROSECONDS: f64 = 1e6;
const FREQUENCY_UNIT: f64 = 65_536.0;

/// A guest's clock.
#[derive(Clone, Debug, Serialize)]
pub struct Clock {
    /// What keeps it, or has set it: `ntp HOST:PORT`, `kvm`, `kvmclock`, `rtc` or `none`.
    pub source: String,
    /// By how many seconds the source was ahead when it was asked last.
    pub offset_seconds: Option<f64>,
    /// By how much the clock's own frequency is corrected, in parts per million.
    pub frequency_ppm: f64,
    /// By how much the clock runs faster at present, in parts per million: this correction, and what makes up for the offset.
    pub rate_ppm: f64,
    /// Whether the clock is synchronised, as adjtimex(2) has it.
    pub is_synchronised: bool,
    /// The largest error, in seconds, as far as it is known.
    pub max_error_seconds: f64,
}

impl Clock {
    /// Asks a guest.
    pub fn ask(client: &mut Client) -> Result<Clock> {
        Ok(Clock::read(&client.system_text("/proc/driver/clock")?))
    }

    fn read(text: &str) -> Clock {
        let rest = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default()
        };
        let number = |name: &str| rest(name).parse::<f64>().ok();
        Clock {
            source: rest("source").to_owned(),
            offset_seconds: number("measured_offset_ns").map(|ns| ns / NANOSECONDS),
            frequency_ppm: number("frequency").unwrap_or_default() / FREQUENCY_UNIT,
            rate_ppm: number("rate_ns_per_s").unwrap_or_default() / (NANOSECONDS / MICROSECONDS),
            is_synchronised: rest("synchronised") == "1",
            max_error_seconds: number("max_error_us").unwrap_or_default() / MICROSECONDS,
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MILLISECONDS: f64 = 1e3;
        f.write_str(&self.source)?;
        if let Some(offset) = self.offset_seconds {
            write!(f, " {:+.3} ms, {:+.3} ppm", offset * MILLISECONDS, self.frequency_ppm)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_file_is_read() {
        let clock = Clock::read(
            "source ntp time.example:123\nmeasured_offset_ns -2500000\nsynchronised 1\nfrequency -98304\nmax_error_us 1500\nrate_ns_per_s 4000\ntai 0\n",
        );
        assert_eq!(clock.source, "ntp time.example:123");
        assert_eq!((clock.offset_seconds, clock.frequency_ppm, clock.rate_ppm), (Some(-0.0025), -1.5, 4.0));
        assert!(clock.is_synchronised);
        assert_eq!(Clock::read("source rtc\n").offset_seconds, None);
    }
}
