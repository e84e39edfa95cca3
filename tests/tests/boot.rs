//! Boots every test program and compares it with its run on Linux.
use coracle_tests::describe::{self, Program};
use coracle_tests::matrix::{self, Coverage, Machine};
use coracle_tests::outcome::{Outcome, check, compare};
use coracle_tests::{guest, known, linux, paths};
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

/// A program and its run on Linux, which its tests share.
struct Subject {
    program: Program,
    expected: OnceLock<Result<Outcome, String>>,
}

impl Subject {
    /// The run on Linux, done when first asked for.
    fn expected(&self) -> Result<&Outcome, String> {
        let run = || {
            let outcome = linux::run(&self.program)?;
            if outcome.timed_out || outcome.text().contains("FAILED ") {
                return Err(format!("on Linux itself: {}", outcome.evidence()));
            }
            Ok(outcome)
        };
        self.expected.get_or_init(run).as_ref().map_err(Clone::clone)
    }

    /// One boot.
    fn check(&self, machine: Machine) -> Result<(), String> {
        let program = &self.program;
        // First the side that shows whether the test itself is right.
        let expected = if program.linux { Some(self.expected()?) } else { None };
        check(program, expected, &guest::run(program, machine)?)
    }
}

/// Two runs on Linux alone: that a program does not fail there, and prints the same twice.
fn check_on_linux(subject: &Subject) -> Result<(), String> {
    if !subject.program.linux {
        return coracle_tests::build::build(&subject.program).map(drop);
    }
    let first = subject.expected()?;
    compare(first, &linux::run(&subject.program)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let full = env::var("CORACLE_TEST_MATRIX").is_ok_and(|m| m == "full");
    let known = known::read();
    if !paths::linux_only() && !arguments.list {
        paths::coracle();
    }
    let mut trials = Vec::new();
    for (number, program) in describe::all().into_iter().enumerate() {
        let name = program.name.clone();
        let coverage = if full { Coverage::Full } else { program.coverage };
        let machines = matrix::machines(number, &program.modes, coverage);
        let subject = Arc::new(Subject { program, expected: OnceLock::new() });
        if paths::linux_only() {
            trials.push(Trial::test(format!("{name}::linux"), move || {
                check_on_linux(&subject).map_err(Failed::from)
            }));
            continue;
        }
        for machine in machines {
            let subject = subject.clone();
            trials.push(known::trial(&known, format!("{name}::{machine}"), move || subject.check(machine)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
