//! The figures in `docs/src/performance.md`: written by the bench, between two marks, so that no figure there is typed.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{figure, gain};
use crate::results::{Metric, Results};
use crate::targets;

/// Metrics in the order of the page.
const METRICS: &[Metric] = &[
    Metric::Instructions,
    Metric::Repetitions,
    Metric::Rate,
    Metric::P50,
    Metric::P99,
    Metric::Doorbells,
    Metric::Interrupts,
    Metric::MainInstructions,
    Metric::MainSeconds,
    Metric::ReadyInstructions,
    Metric::ReadySeconds,
    Metric::SmallestMemory,
    Metric::GuestRam,
    Metric::HostMemory,
    Metric::ImageBytes,
    Metric::KernelBytes,
    Metric::Idle,
];

/// Puts the figures where the page has the architecture's marks.
pub fn replace(results: &Results, page: &Path) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let [begin, end] = results.arch().facts().marks;
    let marks = || Some((text.find(begin)? + begin.len(), text.find(end)?));
    let (begin, end) = marks().with_context(|| format!("{} has no marks for figures", page.display()))?;
    let new = format!("{}\n\n{}\n{}", &text[..begin], tables(results), &text[end..]);
    fs::write(page, new).with_context(|| format!("cannot write {}", page.display()))
}

fn tables(results: &Results) -> String {
    let about: Vec<_> = results.about.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let mut text = format!("Measured with {}.\n", about.join("; "));
    let guests = results.arch().facts().guests;
    let verdicts = targets::verdicts(results);
    if !verdicts.is_empty() {
        text += "\n### Targets\n\n| | target | measured | |\n|---|---:|---:|---|\n";
    }
    for verdict in verdicts {
        let mark = if verdict.kept { "kept" } else { "**missed**" };
        let (target, measured) = (figure(verdict.target), figure(verdict.measured));
        let _ = writeln!(text, "| {} | {target} | {measured} | {mark} |", verdict.what);
    }
    for metric in METRICS {
        let mut rows = String::new();
        for load in results.figures.keys() {
            let values: Vec<_> = guests.iter().map(|guest| results.median(load, *metric, *guest)).collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            let _ = write!(rows, "| {load} |");
            for (index, value) in values.iter().enumerate() {
                let cell = match value {
                    None => String::new(),
                    Some(value) if index == 0 => figure(*value),
                    Some(value) => match gain(*metric, values[0], *value) {
                        ratio if ratio.is_empty() => figure(*value),
                        ratio => format!("{} ({ratio})", figure(*value)),
                    },
                };
                let _ = write!(rows, " {cell} |");
            }
            rows.push('\n');
        }
        if !rows.is_empty() {
            let heading = metric.heading();
            let _ = write!(text, "\n### {}{}\n\n| |", heading[..1].to_uppercase(), &heading[1..]);
            for guest in guests {
                let _ = write!(text, " {} |", guest.name());
            }
            let _ = write!(text, "\n|---|{}\n{rows}", "---:|".repeat(guests.len()));
        }
    }
    for failure in &results.failures {
        let _ = write!(text, "\nNot measured: {}\n", failure.lines().next().unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Guest;

    #[test]
    fn a_table_has_a_row_per_load_and_the_gain_beside_the_figure() {
        let mut results = Results::default();
        results.add("load", Metric::Instructions, Guest::Linux, 26450.0);
        results.add("load", Metric::Instructions, Guest::Unikernel, 6612.5);
        let text = tables(&results);
        assert!(text.contains("### Guest instructions per operation"));
        assert!(text.contains("| load | 26,450 | 6,612 (4.00x) |  |  |"), "{text}");
    }
}
