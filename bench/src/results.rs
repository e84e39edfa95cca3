//! The figures of a run, by load, metric and guest; medians; the file they are kept in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::guest::Guest;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Guest instructions per operation.
    Instructions,
    /// Of these, single repetitions of string instructions.
    Repetitions,
    /// Operations per second.
    Rate,
    /// Median latency, microseconds.
    P50,
    /// 99th percentile of the latency, microseconds.
    P99,
    /// Virtio doorbells per operation.
    Doorbells,
    /// Virtio interrupts per operation.
    Interrupts,
    /// Instructions from the machine's first until `main`.
    MainInstructions,
    /// Seconds from the start of QEMU until `main`.
    MainSeconds,
    /// Instructions until the program serves, or has ended.
    ReadyInstructions,
    /// Seconds until then.
    ReadySeconds,
    /// Instructions per second while nothing is asked.
    Idle,
    /// MiB of the host that the guest's RAM takes.
    GuestRam,
    /// MiB of the host that all of QEMU takes.
    HostMemory,
    /// Bytes loaded to boot.
    ImageBytes,
    /// Of these, the kernel's.
    KernelBytes,
    /// MiB of the smallest machine that does the work.
    SmallestMemory,
}

impl Metric {
    /// Whether the figure does not depend on how busy the machine is, so that it may be kept as a baseline.
    pub fn exact(self) -> bool {
        matches!(
            self,
            Self::Instructions
                | Self::MainInstructions
                | Self::ReadyInstructions
                | Self::ImageBytes
                | Self::KernelBytes
                | Self::SmallestMemory
        )
    }

    /// Its heading and unit.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Instructions => "guest instructions per operation",
            Self::Repetitions => "of these, repetitions of string instructions",
            Self::Rate => "operations per second",
            Self::P50 => "latency p50, microseconds",
            Self::P99 => "latency p99, microseconds",
            Self::Doorbells => "virtio doorbells per operation",
            Self::Interrupts => "virtio interrupts per operation",
            Self::MainInstructions => "instructions until main",
            Self::MainSeconds => "seconds until main",
            Self::ReadyInstructions => "instructions until it serves or ends",
            Self::ReadySeconds => "seconds until it serves or ends",
            Self::Idle => "instructions per second, idle",
            Self::GuestRam => "guest RAM in use on the host, MiB",
            Self::HostMemory => "host memory of QEMU, MiB",
            Self::ImageBytes => "bytes loaded to boot",
            Self::KernelBytes => "of these, the kernel's",
            Self::SmallestMemory => "smallest memory, MiB",
        }
    }

    /// Whether more is better.
    pub fn more_is_better(self) -> bool {
        self == Self::Rate
    }
}

/// What `about` calls the architecture.
const ARCH: &str = "arch";

type PerGuest<T> = BTreeMap<Guest, T>;

/// Every figure of a run: each round's, in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// How and on what it was measured.
    pub about: BTreeMap<String, String>,
    /// Load, metric, guest, rounds.
    pub figures: BTreeMap<String, BTreeMap<Metric, PerGuest<Vec<f64>>>>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
}

impl Results {
    /// Adds one round's figure.
    pub fn add(&mut self, load: &str, metric: Metric, guest: Guest, value: f64) {
        if metric == Metric::Repetitions && !self.arch().facts().has_repetitions {
            return;
        }
        self.figures
            .entry(load.to_owned())
            .or_default()
            .entry(metric)
            .or_default()
            .entry(guest)
            .or_default()
            .push(value);
    }

    /// The architecture of the guests.
    pub fn arch(&self) -> Arch {
        self.about.get(ARCH).and_then(|name| Arch::named(name)).unwrap_or(Arch::X86_64)
    }

    /// Notes the architecture of the guests.
    pub fn set_arch(&mut self, arch: Arch) {
        self.about.insert(ARCH.to_owned(), arch.facts().name.to_owned());
    }

    /// Takes over what another run measured.
    ///
    /// # Errors
    /// If that was on another architecture.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        anyhow::ensure!(self.arch() == other.arch(), "these are figures of several architectures");
        for (load, metrics) in other.figures {
            for (metric, guests) in metrics {
                for (guest, values) in guests {
                    values.into_iter().for_each(|value| self.add(&load, metric, guest, value));
                }
            }
        }
        self.about.extend(other.about);
        self.failures.extend(other.failures);
        Ok(())
    }

    /// The median over the rounds.
    pub fn median(&self, load: &str, metric: Metric, guest: Guest) -> Option<f64> {
        median(self.figures.get(load)?.get(&metric)?.get(&guest)?)
    }

    /// Reads figures that [`Results::save`] wrote.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} holds no figures", path.display()))
    }

    /// Writes all figures as JSON.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Whole where that is exact enough, else to a thousandth (instructions per byte).
fn rounded(value: f64) -> f64 {
    if value >= 100.0 { value.round() } else { (value * 1000.0).round() / 1000.0 }
}

/// The middle value.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The exact figures on record: load, metric, guest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline(pub BTreeMap<String, BTreeMap<Metric, PerGuest<f64>>>);

impl Baseline {
    /// Reads the record; an empty one if there is none yet.
    pub fn load(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The figure on record.
    pub fn get(&self, load: &str, metric: Metric, guest: Guest) -> Option<f64> {
        self.0.get(load)?.get(&metric)?.get(&guest).copied()
    }

    /// Takes over the exact figures of a run; others stay as they are.
    pub fn record(&mut self, results: &Results) {
        for (load, metrics) in &results.figures {
            for (metric, guests) in metrics.iter().filter(|(metric, _)| metric.exact()) {
                for guest in guests.keys() {
                    if let Some(value) = results.median(load, *metric, *guest) {
                        let entry = self.0.entry(load.clone()).or_default().entry(*metric).or_default();
                        entry.insert(*guest, rounded(value));
                    }
                }
            }
        }
    }

    /// Writes the record.
    pub fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn runs_become_one_where_they_are_of_one_architecture() {
        let mut all = Results::default();
        for value in [1.0, 3.0] {
            let mut run = Results::default();
            run.add("a", Metric::Rate, Guest::Linux, value);
            all.merge(run).expect("both of x86-64");
        }
        assert_eq!(all.median("a", Metric::Rate, Guest::Linux), Some(2.0));
        let mut other = Results::default();
        other.set_arch(Arch::Aarch64);
        other.add("a", Metric::Repetitions, Guest::Linux, 0.0);
        assert!(other.figures.is_empty() && all.merge(other).is_err());
    }

    #[test]
    fn a_baseline_keeps_what_was_not_measured_again() {
        let mut results = Results::default();
        results.add("a", Metric::Instructions, Guest::Linux, 10.4);
        results.add("a", Metric::Rate, Guest::Linux, 5.0);
        let mut baseline = Baseline::default();
        baseline
            .0
            .entry("b".into())
            .or_default()
            .entry(Metric::ImageBytes)
            .or_default()
            .insert(Guest::Linux, 7.0);
        baseline.record(&results);
        let text = serde_json::to_string(&baseline).expect("plain data");
        let again: Baseline = serde_json::from_str(&text).expect("what was written");
        assert_eq!(again.get("a", Metric::Instructions, Guest::Linux), Some(10.4));
        assert_eq!(again.get("a", Metric::Rate, Guest::Linux), None);
        assert_eq!(again.get("b", Metric::ImageBytes, Guest::Linux), Some(7.0));
    }
}
