//! The main function of a test runner whose tests are functions, and what such tests ask of a run of `coracle`.
use crate::guest::{self, LIMIT};
use crate::outcome::Outcome;
use crate::{known, paths};
use libtest_mimic::Arguments;
use std::process::{Command, ExitCode};

/// A test: the error says what was seen.
pub type Test = fn() -> Result<(), String>;

/// Runs the tests that the command line selects; their names begin with the family's.
pub fn main<T>(family: &str, tests: impl IntoIterator<Item = (&'static str, T)>) -> ExitCode
where
    T: FnOnce() -> Result<(), String> + Send + 'static,
{
    let arguments = Arguments::from_args();
    let known = known::read();
    if !arguments.list {
        paths::coracle();
    }
    let trial = |(name, test)| known::trial(&known, format!("{family}::{name}"), test);
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}

/// Runs a command to its end with this input.
///
/// # Errors
/// If it does not start.
pub fn run(command: &mut Command, stdin: &[u8]) -> Result<Outcome, String> {
    guest::finish(command, stdin.to_vec(), LIMIT)
}

/// Compares a run with what was expected of it.
///
/// # Errors
/// If its status or its output is another.
pub fn check(outcome: &Outcome, status: i32, output: &str) -> Result<(), String> {
    if outcome.status == status && outcome.text() == output {
        return Ok(());
    }
    Err(format!("wanted status {status} and {output:?}, but: {}", outcome.evidence()))
}
