//! Plots as SVG: horizontal bars, a group per load, a bar per guest. Plain text, so that a changed figure is a small diff.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::guest::Guest;
use crate::report::figure;
use crate::results::{Metric, Results};

const WIDTH: f64 = 760.0;
const LABEL_WIDTH: f64 = 190.0;
const VALUE_WIDTH: f64 = 150.0;
const BAR: f64 = 14.0;
const GAP: f64 = 10.0;
const TOP: f64 = 58.0;

/// Guests and their colours (of the Okabe-Ito palette, which people with colour blindness can tell apart).
const GUESTS: [(Guest, &str, &str); 4] = [
    (Guest::Linux, "#999999", "Linux guest"),
    (Guest::Unikernel, "#0072b2", "Coracle, unikernel"),
    (Guest::Protected, "#e69f00", "Coracle, protected"),
    (Guest::Microvm, "#56b4e9", "Coracle, microvm"),
];

/// A plot: file, metric and loads.
const PLOTS: &[(&str, Metric, &[&str])] = &[
    (
        "instructions.svg",
        Metric::Instructions,
        &[
            "memcached-64",
            "memcached-16",
            "memcached-1",
            "redis-get-50",
            "redis-set-50",
            "nginx-612",
            "nginx-612-close",
            "nginx-100k",
            "python-http",
            "udp-echo",
            "sqlite",
        ],
    ),
    (
        "rate.svg",
        Metric::Rate,
        &[
            "memcached-64",
            "memcached-16",
            "memcached-1",
            "redis-get-50",
            "redis-set-50",
            "nginx-612",
            "nginx-612-close",
            "nginx-100k",
            "python-http",
            "udp-echo",
        ],
    ),
    (
        "p99.svg",
        Metric::P99,
        &["memcached-64", "memcached-16", "memcached-1", "redis-get-50", "redis-set-50", "nginx-612"],
    ),
    (
        "idle-connections.svg",
        Metric::Instructions,
        &["memcached-16-idle-10", "memcached-16-idle-1000", "memcached-16-idle-10000"],
    ),
    (
        "services.svg",
        Metric::Instructions,
        &["null-syscall", "context-switch", "page-fault", "thread", "timer-of-1", "timer-of-1000"],
    ),
    ("boot.svg", Metric::ReadyInstructions, &["hello", "memcached", "redis", "nginx", "python"]),
];

/// Writes every plot for which there are figures into `directory`.
pub fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (file, metric, loads) in PLOTS {
        if let Some(svg) = bars(results, *metric, loads) {
            let path = directory.join(file);
            fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Bars relative to the largest of their own group, each with its figure: loads differ too much for one scale.
fn bars(results: &Results, metric: Metric, loads: &[&str]) -> Option<String> {
    let mut body = String::new();
    let mut y = TOP;
    let full = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
    for load in loads {
        let values: Vec<_> = GUESTS
            .iter()
            .filter_map(|(guest, colour, _)| Some((results.median(load, metric, *guest)?, *colour)))
            .collect();
        let Some(most) = values.iter().map(|(value, _)| *value).reduce(f64::max).filter(|most| *most > 0.0)
        else {
            continue;
        };
        let middle = y + values.len() as f64 * BAR / 2.0 + 4.0;
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{middle:.0}\" text-anchor=\"end\">{load}</text>",
            LABEL_WIDTH - 8.0
        );
        for (value, colour) in values {
            let length = (value / most * full).max(1.0);
            let _ = writeln!(
                body,
                "<rect x=\"{LABEL_WIDTH:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{:.0}\" \
                 fill=\"{colour}\"/>\n<text x=\"{:.1}\" y=\"{:.0}\" class=\"v\">{}</text>",
                BAR - 2.0,
                LABEL_WIDTH + length + 5.0,
                y + BAR - 4.0,
                figure(value)
            );
            y += BAR;
        }
        y += GAP;
    }
    if body.is_empty() {
        return None;
    }
    let mut legend = String::new();
    for (index, (_, colour, name)) in GUESTS.iter().enumerate() {
        let x = LABEL_WIDTH + index as f64 * 140.0;
        let _ = writeln!(
            legend,
            "<rect x=\"{x:.0}\" y=\"32\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{:.0}\" \
             y=\"42\">{name}</text>",
            x + 17.0
        );
    }
    let better = if metric.more_is_better() { "more is better" } else { "less is better" };
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {y:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<style>.v{{font-size:11px}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"{LABEL_WIDTH:.0}\" y=\"20\" \
         font-size=\"14\" font-weight=\"bold\">{} ({better})</text>\n{legend}{body}</svg>\n",
        metric.heading()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_bar_per_figure_and_none_without_figures() {
        let mut results = Results::default();
        assert!(bars(&results, Metric::Rate, &["x"]).is_none());
        results.add("x", Metric::Rate, Guest::Linux, 100.0);
        results.add("x", Metric::Rate, Guest::Unikernel, 400.0);
        let svg = bars(&results, Metric::Rate, &["x", "absent"]).expect("figures");
        assert_eq!(svg.matches("class=\"v\"").count(), 2);
        assert!(svg.contains(">400</text>") && !svg.contains("absent"));
    }
}
