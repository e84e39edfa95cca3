//! CPython's own tests (Debian's `libpython3.11-testsuite`), module by module: on Linux, and in guests of both modes.
//!
//! Each module is `python3.11 -m test MODULE`, by the same user in the same root directory. One machine runs many modules, one
//! after the other: `drive.py` is its first program.
mod report;
mod root;
mod run;

use std::collections::BTreeMap;

pub use report::{exceptions, report};
pub use root::root;
pub use run::{Site, modules, run};

/// The first program of each machine.
const DRIVER: &str = include_str!("drive.py");
/// The user and the group whose tests are run: those of a guest to which nothing else is said.
const USER: u32 = 1000;

/// What came of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that ran passed.
    Passed {
        /// How many of its tests were skipped.
        skipped: usize,
    },
    /// The module has nothing for this machine.
    Skipped,
    /// How it ended.
    Failed(String),
}

/// What came of modules, by name.
pub type Verdicts = BTreeMap<String, Verdict>;

impl Verdict {
    /// The verdict of a module's exit status and of what it said.
    fn new(status: &str, log: &str) -> Self {
        /// regrtest's status for modules without a test.
        const NO_TESTS_RAN: &str = "4";
        // At its own limit regrtest shows where all threads are, after this, and ends with the status of a failure. The name of
        // the test that it was in may be on the same line.
        let timeout = |line: &str| {
            line.split_once("Timeout (").is_some_and(|(_, limit)| limit.trim_end().ends_with(")!"))
        };
        match status {
            "1" if log.lines().any(timeout) => Self::Failed("timeout".into()),
            "0" | NO_TESTS_RAN if log.lines().any(|line| line == "1 test skipped:") => Self::Skipped,
            "0" => Self::Passed { skipped: log.lines().filter(|line| line.contains("... skipped ")).count() },
            other => Self::Failed(other.to_owned()),
        }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}
