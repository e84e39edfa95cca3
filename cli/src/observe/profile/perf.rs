//! A profile as `perf script` prints it (perf-script(1)), which many tools read.

use std::fmt::Write as _;

use super::output::{Measure, Profile};

/// The text.
pub fn script(profile: &Profile) -> String {
    const SECOND: u64 = 1_000_000_000;
    const MICROSECOND: u64 = 1_000;
    let mut text = String::new();
    let (event, _) = profile.measure.words();
    // Of samples each stands for the time between two.
    let period = match profile.measure {
        Measure::Samples => SECOND / u64::from(profile.frequency.max(1)),
        _ => 1,
    };
    for found in &profile.found {
        let (pid, tid, name) = &found.thread;
        let (seconds, rest) = (found.time_ns / SECOND, found.time_ns % SECOND / MICROSECOND);
        let weight = found.weight * period;
        let _ = writeln!(
            text,
            "{name} {pid}/{tid} [{:03}] {seconds}.{rest:06}: {weight:>10} {event}: ",
            found.cpu
        );
        for frame in &found.frames {
            let _ = writeln!(
                text,
                "\t{:>16x} {}+{:#x} ({})",
                frame.address, frame.function, frame.distance, frame.file
            );
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::example;

    #[test]
    fn as_perf_prints_it() {
        let text = super::script(&example());
        let first = "worker;1 1/2 [000] 1.500000:   10101010 cpu-clock: \n\
                     \t              20 read+0x4 ([kernel])\n\
                     \t            1004 main+0x4 (web)\n\n";
        assert!(text.starts_with(first), "{text}");
    }
}
