//! What Coracle promises to reach, and whether this run shows it.

use crate::arch::Arch;
use crate::guest::Guest;
use crate::report::figure;
use crate::results::{Metric, Results};

/// A promise about one figure.
enum Bound {
    /// No more than this.
    AtMost(f64),
    /// So many times better than Linux beside it.
    TimesLinux(f64),
    /// No more than this many times the same guest's figure for another load.
    Of(&'static str, f64),
}

use Bound::{AtMost, Of, TimesLinux};

const BOTH: &[Guest] = &[Guest::Unikernel, Guest::Microvm];
const UNIKERNEL: &[Guest] = &[Guest::Unikernel];
const PROTECTED: &[Guest] = &[Guest::Protected];
const MICROVM: &[Guest] = &[Guest::Microvm];

/// Every promise: load, metric, bound, and the guests it is made for.
const TARGETS: &[(&str, Metric, Bound, &[Guest])] = &[
    ("memcached-64", Metric::Instructions, AtMost(6600.0), BOTH),
    ("memcached-64", Metric::Instructions, TimesLinux(4.0), BOTH),
    ("memcaslap-64", Metric::Instructions, TimesLinux(4.0), BOTH),
    ("memcaslap-1", Metric::Instructions, TimesLinux(4.0), BOTH),
    ("memcached-64", Metric::Rate, TimesLinux(3.0), BOTH),
    ("memcached-64", Metric::Doorbells, AtMost(0.2), BOTH),
    ("memcached-64", Metric::Interrupts, AtMost(0.2), BOTH),
    ("memcached-1", Metric::Instructions, AtMost(9300.0), BOTH),
    ("memcached-1", Metric::P99, TimesLinux(3.0), BOTH),
    ("redis-get-50", Metric::Instructions, AtMost(6400.0), BOTH),
    ("redis-set-50", Metric::Instructions, AtMost(7900.0), BOTH),
    ("nginx-612", Metric::Instructions, AtMost(18_900.0), BOTH),
    ("nginx-100k", Metric::Instructions, TimesLinux(5.0), BOTH),
    ("postgres-tpcb-8", Metric::Instructions, TimesLinux(2.0), BOTH),
    ("redis-aof-set-50", Metric::Instructions, TimesLinux(3.0), BOTH),
    ("sqlite-wal", Metric::Instructions, TimesLinux(2.0), BOTH),
    ("disk-read-4k", Metric::Instructions, TimesLinux(3.0), BOTH),
    ("fio-read-4k-32", Metric::Instructions, TimesLinux(3.0), BOTH),
    ("fio-read-4k-32", Metric::Doorbells, AtMost(0.2), BOTH),
    ("fio-read-4k-32", Metric::Interrupts, AtMost(0.2), BOTH),
    ("disk-read-1m", Metric::Instructions, TimesLinux(3.0), BOTH),
    ("disk-write-1m", Metric::Instructions, TimesLinux(3.0), BOTH),
    ("cached-read-4k", Metric::Instructions, TimesLinux(2.0), BOTH),
    ("cached-fault", Metric::Instructions, TimesLinux(2.0), BOTH),
    ("tcp-to-guest", Metric::Instructions, TimesLinux(1.5), BOTH),
    ("tcp-from-guest", Metric::Instructions, TimesLinux(1.5), BOTH),
    ("memcached-16-idle-10000", Metric::Instructions, Of("memcached-16-idle-10", 1.05), BOTH),
    ("null-syscall", Metric::Instructions, AtMost(60.0), UNIKERNEL),
    ("null-syscall", Metric::Instructions, AtMost(120.0), PROTECTED),
    ("call-null-traced", Metric::Instructions, Of("call-null", 2.0), UNIKERNEL),
    ("call-null-traced", Metric::Instructions, Of("call-null", 2.0), PROTECTED),
    ("call-pipe-traced", Metric::Instructions, Of("call-pipe", 2.0), UNIKERNEL),
    ("call-open-traced", Metric::Instructions, Of("call-open", 2.0), UNIKERNEL),
    ("memcached-64-traced", Metric::Instructions, Of("memcached-64", 2.0), UNIKERNEL),
    ("hello", Metric::MainInstructions, AtMost(3e6), MICROVM),
    ("memcached", Metric::ReadyInstructions, AtMost(20e6), MICROVM),
    ("memory-hello", Metric::SmallestMemory, AtMost(4.0), MICROVM),
    ("memory-memcached", Metric::SmallestMemory, AtMost(16.0), MICROVM),
    ("hello", Metric::KernelBytes, AtMost(600e3), UNIKERNEL),
    // memcached and redis wake up by themselves, many times a second; this server does not.
    ("udp", Metric::Idle, AtMost(1000.0), BOTH),
];

/// One promise beside what was measured.
pub struct Verdict {
    /// Load, guest and metric in words.
    pub what: String,
    /// The most, or for rates the least, that keeps the promise.
    pub target: f64,
    /// What was measured.
    pub measured: f64,
    /// Whether it is kept.
    pub kept: bool,
}

/// The verdict on every promise for which there are figures.
pub fn verdicts(results: &Results) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    // Numbers of instructions are promised of one architecture, proportions of each.
    let is_of_all = |bound: &Bound| results.arch() == Arch::X86_64 || !matches!(bound, AtMost(_));
    for (load, metric, bound, guests) in TARGETS.iter().filter(|(_, _, bound, _)| is_of_all(bound)) {
        for guest in *guests {
            let Some(measured) = results.median(load, *metric, *guest) else { continue };
            let target = match bound {
                AtMost(most) => Some(*most),
                TimesLinux(times) => results
                    .median(load, *metric, Guest::Linux)
                    .map(|linux| if metric.more_is_better() { linux * times } else { linux / times }),
                Of(other, times) => results.median(other, *metric, *guest).map(|base| base * times),
            };
            if let Some(target) = target {
                let kept = if metric.more_is_better() { measured >= target } else { measured <= target };
                verdicts.push(Verdict {
                    what: format!("{load}, {}: {}", guest.name(), metric.heading()),
                    target,
                    measured,
                    kept,
                });
            }
        }
    }
    verdicts
}

/// The verdicts as text, a line each.
pub fn table(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{:<66} {:>12} {:>12}\n", "targets", "target", "measured");
    for verdict in verdicts {
        let mark = if verdict.kept { "kept" } else { "missed" };
        text += &format!(
            "  {:<64} {:>12} {:>12}  {mark}\n",
            verdict.what,
            figure(verdict.target),
            figure(verdict.measured)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_must_be_higher_and_a_count_lower() {
        let mut results = Results::default();
        results.add("memcached-64", Metric::Rate, Guest::Linux, 100.0);
        results.add("memcached-64", Metric::Rate, Guest::Unikernel, 299.0);
        results.add("memcached-64", Metric::Instructions, Guest::Unikernel, 6600.0);
        results.add("memcached-16-idle-10", Metric::Instructions, Guest::Microvm, 100.0);
        results.add("memcached-16-idle-10000", Metric::Instructions, Guest::Microvm, 104.0);
        let kept: Vec<_> = verdicts(&results).iter().map(|verdict| verdict.kept).collect();
        assert_eq!(kept, [true, false, true]);
    }
}
