//! What the fuzzer found: written down, made smaller, repeated.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::guest::{Dock, Failure, Machine};
use crate::program::{Program, Value};

/// How often a batch is run before it counts as one that does not fail.
const TRIES: usize = 3;
/// Copies of a single program that are tried in place of the batch: races need several chances.
const COPIES: usize = 12;

/// Programs that make the kernel fail, and the machine on which they do. This is what `--replay` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// The machine.
    pub machine: Machine,
    /// The programs, run one after the other in one guest.
    pub programs: Vec<Program>,
}

impl Case {
    /// Reads a case from a file.
    ///
    /// # Errors
    /// If it isn't one.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no finding of the fuzzer", file.display()))
    }
}

/// Writes a finding into a directory of its own below `directory`; returns that.
///
/// # Errors
/// If it can't be written.
pub fn write(directory: &Path, seed: u64, case: &Case, failure: &Failure) -> Result<PathBuf> {
    let slug: String =
        failure.title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect();
    let place = directory.join(slug);
    fs::create_dir_all(&place)?;
    fs::write(place.join("case.json"), serde_json::to_string(case)?)?;
    let mut text = format!(
        "{}\n\nseed {seed}, {:?}, {} program(s)\n\n",
        failure.title,
        case.machine,
        case.programs.len()
    );
    let shown = if case.programs.len() <= COPIES {
        0..case.programs.len()
    } else {
        let at = failure.program.unwrap_or_default().min(case.programs.len() - 1);
        at..at + 1
    };
    for program in &case.programs[shown] {
        text += &format!("{program}\n");
    }
    text += &failure.details;
    fs::write(place.join("report.txt"), text)?;
    Ok(place)
}

/// Makes a case smaller for as long as it fails, until the time is over. Returns it and its last failure.
///
/// # Errors
/// If guests can't be started.
pub fn minimise(dock: &Dock, case: &Case, failure: &Failure, budget: Duration) -> Result<(Case, Failure)> {
    let until = Instant::now() + budget;
    let mut best = (case.clone(), failure.clone());
    let attempt = |best: &mut (Case, Failure), programs: Vec<Program>| -> Result<bool> {
        for _ in 0..if case.machine.icount { 1 } else { TRIES } {
            if Instant::now() > until || programs.is_empty() {
                return Ok(false);
            }
            if let Some(failure) = dock.run("minimise", case.machine, &programs)?.failure {
                *best = (Case { machine: case.machine, programs }, failure);
                return Ok(true);
            }
        }
        Ok(false)
    };
    // What came after the program that failed is not needed; perhaps nothing before it is.
    let at = failure.program.unwrap_or(case.programs.len() - 1).min(case.programs.len() - 1);
    let copies = vec![case.programs[at].clone(); COPIES];
    if !attempt(&mut best, copies)? && !attempt(&mut best, case.programs[..=at].to_vec())? {
        return Ok(best);
    }
    // Fewer programs: halves, then smaller pieces.
    let mut piece = best.0.programs.len().div_ceil(2);
    while piece > 0 && best.0.programs.len() > 1 {
        let mut start = 0;
        while start < best.0.programs.len() && best.0.programs.len() > 1 {
            let mut fewer = best.0.programs.clone();
            fewer.drain(start..(start + piece).min(fewer.len()));
            if !attempt(&mut best, fewer)? {
                start += piece;
            }
        }
        piece /= 2;
    }
    // Fewer calls, in all programs at once where they are copies of one.
    let mut number = 0;
    while number < best.0.programs.len() {
        let mut call = best.0.programs[number].calls.len();
        while call > 0 {
            call -= 1;
            let mut programs = best.0.programs.clone();
            programs[number].remove(call);
            attempt(&mut best, programs)?;
        }
        number += 1;
    }
    // Calls made once, one thread, simpler arguments.
    for number in 0..best.0.programs.len() {
        let mut programs = best.0.programs.clone();
        if programs[number].threads > 1 {
            programs[number].threads = 1;
            attempt(&mut best, programs)?;
        }
        for call in 0..best.0.programs[number].calls.len() {
            let mut programs = best.0.programs.clone();
            if programs[number].calls[call].times > 1 {
                programs[number].calls[call].times = 1;
                attempt(&mut best, programs)?;
            }
            for argument in 0..best.0.programs[number].calls[call].arguments.len() {
                let mut programs = best.0.programs.clone();
                let value = &mut programs[number].calls[call].arguments[argument];
                if *value != Value::Number(0) {
                    *value = Value::Number(0);
                    attempt(&mut best, programs)?;
                }
            }
        }
    }
    Ok(best)
}
