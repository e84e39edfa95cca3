//! The table on the terminal, and the comparison with the record.

use std::fmt::Write;

use crate::results::{Baseline, Metric, Results};

/// A loss above this fraction fails the short form.
pub const GROSS_LOSS: f64 = 0.25;
/// Changes below this fraction are not worth a line.
const WORTH_TELLING: f64 = 0.02;

/// A figure with as many digits as mean something.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    // Thousands are told apart, as 12,345.
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

/// How many times better than Linux.
pub fn gain(metric: Metric, linux: Option<f64>, value: f64) -> String {
    match linux {
        Some(linux) if linux > 0.0 && value > 0.0 => {
            format!("{:.2}x", if metric.more_is_better() { value / linux } else { linux / value })
        }
        _ => String::new(),
    }
}

/// Every metric's table: a line per load, a column per guest, beside each how many times better than Linux it is.
pub fn table(results: &Results) -> String {
    let guests = results.arch().facts().guests;
    let mut metrics: Vec<Metric> = results.figures.values().flat_map(|by| by.keys().copied()).collect();
    metrics.sort();
    metrics.dedup();
    let mut text = String::new();
    for metric in metrics {
        let _ = writeln!(text, "\n{}", metric.heading());
        let _ = write!(text, "  {:<25}", "");
        for guest in guests {
            let _ = write!(text, " {:>13} {:>6}", guest.name(), "");
        }
        for load in results.figures.keys() {
            let values: Vec<_> = guests.iter().map(|guest| results.median(load, metric, *guest)).collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            let _ = write!(text, "\n  {load:<25}");
            for (index, value) in values.iter().enumerate() {
                let ratio = value.filter(|_| index > 0).map(|value| gain(metric, values[0], value));
                let cell = value.map_or_else(|| "-".to_owned(), figure);
                let _ = write!(text, " {cell:>13} {:>6}", ratio.unwrap_or_default());
            }
        }
        text.push('\n');
    }
    text
}

/// One exact figure beside its record.
pub struct Change {
    /// What it is, in words.
    pub what: String,
    /// The figure on record.
    pub recorded: f64,
    /// The figure of this run.
    pub measured: f64,
    /// Whether it counts towards the short form's verdict.
    pub judged: bool,
}

impl Change {
    /// By what fraction the figure grew (all exact figures are better small).
    pub fn growth(&self) -> f64 {
        self.measured / self.recorded.max(1.0) - 1.0
    }
}

/// Every exact figure that is on record.
pub fn changes(results: &Results, baseline: &Baseline) -> Vec<Change> {
    let mut changes = Vec::new();
    for (load, metrics) in &results.figures {
        for (metric, guests) in metrics.iter().filter(|(metric, _)| metric.exact()) {
            for guest in guests.keys() {
                if let (Some(measured), Some(recorded)) =
                    (results.median(load, *metric, *guest), baseline.get(load, *metric, *guest))
                {
                    changes.push(Change {
                        what: format!("{load}, {}, {}", guest.name(), metric.heading()),
                        recorded,
                        measured,
                        judged: *metric == Metric::Instructions,
                    });
                }
            }
        }
    }
    changes
}

/// The changes in words.
pub fn comparison(changes: &[Change]) -> String {
    let mut text = String::from("\nagainst the record\n");
    let told: Vec<_> = changes.iter().filter(|change| change.growth().abs() >= WORTH_TELLING).collect();
    for change in &told {
        let _ = writeln!(
            text,
            "  {:<70} {:>14} -> {:>14}  {:+.1} %",
            change.what,
            figure(change.recorded),
            figure(change.measured),
            change.growth() * 100.0
        );
    }
    let same = changes.len() - told.len();
    let _ = writeln!(text, "  {same} figures within {:.0} % of the record", WORTH_TELLING * 100.0);
    text
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_the_digits_that_mean_something() {
        assert_eq!(figure(26450.4), "26,450");
        assert_eq!(figure(0.1234), "0.123");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(2_238_000_000.0), "2,238,000,000");
        assert_eq!(figure(0.0), "0");
        assert_eq!(figure(-123.0), "-123");
    }
}
