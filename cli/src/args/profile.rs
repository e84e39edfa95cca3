//! `coracle profile`

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// `coracle profile`
#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// Name of the guest
    pub name: String,

    /// How long: seconds, or with s, m or h behind; Ctrl-C ends it earlier [default: 10s, unless --samples is given]
    #[arg(short, long, value_name = "TIME")]
    pub time: Option<Time>,

    /// Samples per second
    #[arg(short = 'F', long, value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub frequency: u32,

    /// Take a sample in every N instructions of the guest, in place of by time; it must run with `--count-instructions`
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1000003",
        value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000_000),
        conflicts_with_all = ["frequency", "off_cpu"]
    )]
    pub instructions: Option<u64>,

    /// End after so many samples of programs and their calls
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "off_cpu")]
    pub samples: Option<u64>,

    /// Profile one process only
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Show where threads sleep, in place of where they compute
    #[arg(long)]
    pub off_cpu: bool,

    /// Write the profile to FILE: .svg is a flame graph, .pb.gz for pprof, .txt as `perf script` prints it, .folded stacks in lines
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// A length of time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time(pub f64);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.char_indices().next_back() {
            Some((at, 's')) => (&text[..at], 1.0),
            Some((at, 'm')) => (&text[..at], 60.0),
            Some((at, 'h')) => (&text[..at], 3600.0),
            _ => (text, 1.0),
        };
        const MOST: f64 = 86400.0;
        match number.parse::<f64>() {
            Ok(number) if number > 0.0 && number * unit <= MOST => Ok(Time(number * unit)),
            _ => {
                Err("a time is a number above 0, of seconds, or with s, m or h behind; a day at most"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!("10s".parse(), Ok(Time(10.0)));
        assert_eq!("0.5".parse(), Ok(Time(0.5)));
        assert_eq!("2m".parse(), Ok(Time(120.0)));
        for wrong in ["", "s", "-1", "0", "1d", "nan", "inf", "25h"] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
    }
}
