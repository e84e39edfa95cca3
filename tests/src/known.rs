//! The list of tests that are known to fail, with reasons (`known_failures.toml`). One that passes must leave the list.
use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use std::fs;
use std::io::Write as _;
use std::time::Instant;

use crate::paths;

/// An entry of the list.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The test's name; `*` stands for any text.
    test: String,
    /// Why it fails.
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    failure: Vec<Known>,
}

/// Reads the list.
///
/// # Panics
/// If it can't be read.
pub fn read() -> Vec<Known> {
    let path = paths::repository().join("tests/known_failures.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let list: List = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    list.failure
}

/// A test that, where the list has it, must fail.
pub fn trial(
    known: &[Known],
    name: String,
    test: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    let entry = known.iter().find(|k| matches(&k.test, &name)).cloned();
    Trial::test(name.clone(), move || {
        let start = Instant::now();
        let result = test();
        note_duration(&name, start);
        match (result, entry) {
            (result, None) => result.map_err(Failed::from),
            (Err(_), Some(_)) => Ok(()),
            (Ok(()), Some(entry)) => Err(Failed::from(format!(
                "it passes, but known_failures.toml says that it fails ({}): take `{}` off the list",
                entry.reason, entry.test
            ))),
        }
    })
}

/// Adds a line to the file of the tests' durations, which scripts/test.sh shows the longest of. A failure to write is no test's.
fn note_duration(name: &str, start: Instant) {
    let line = format!("{:8.1} s {name}\n", start.elapsed().as_secs_f64());
    let file = fs::OpenOptions::new().create(true).append(true).open(paths::work().join("durations"));
    if let Ok(mut file) = file {
        let _ = file.write_all(line.as_bytes());
    }
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter(|i| tail.is_char_boundary(*i)).any(|i| matches(rest, &tail[i..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_text() {
        assert!(matches("a::b::*", "a::b::c_1cpu"));
        assert!(matches("*::b::*q35", "a::b::c_q35"));
        assert!(!matches("a::b", "a::b::c"));
        assert!(!matches("a::*::d", "a::b::c"));
    }
}
