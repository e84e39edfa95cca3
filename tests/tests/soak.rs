//! Programs that once stopped a guest, booted again and again while the host is busy: an interrupt that is lost once in a
//! thousand runs stops a machine once a day.
//!
//! `cargo test --release -p coracle-tests --test soak -- --ignored` runs them, two guests at a time (`--test-threads`).
//! `CORACLE_SOAK_RUNS` is how often each is booted, over all machines in turn; `CORACLE_SOAK_BUSY` is how many threads keep
//! the host busy meanwhile (as many as it has CPUs, if it is not set).
use coracle_tests::describe::{self, Program};
use coracle_tests::matrix::{Coverage, machines};
use coracle_tests::outcome::compare;
use coracle_tests::{guest, linux, paths};
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, thread};

/// The programs.
const CASES: [&str; 4] = [
    "time::sleep_beside_calls",
    "signals::alarm_in_calls",
    "stress_ng::affinity",
    "process::one_after_another",
];
/// How often each is booted.
const RUNS: usize = 500;
/// A guest that has not ended by then has stopped: on a host with ten times more work than CPUs the slowest took two minutes.
const LIMIT: Duration = Duration::from_secs(600);
/// How often progress is reported, in runs.
const REPORT: usize = 50;
/// Guests at a time.
const GUESTS: usize = 2;

/// The number in a variable of the environment.
fn number(name: &str, default: usize) -> usize {
    let text = env::var(name).ok();
    text.map_or(default, |text| {
        text.parse().unwrap_or_else(|e| panic!("{name} is a number, not {text}: {e}"))
    })
}

/// Boots the program `runs` times, whatever goes wrong, and counts what does.
fn soak(program: &Program, runs: usize) -> Result<(), Failed> {
    let expected = linux::run(program)?;
    let mut failures = Vec::new();
    let all = machines(0, &program.modes, Coverage::Full);
    for (run, machine) in (0..runs).zip(all.into_iter().cycle()) {
        if let Err(failure) =
            guest::run_within(program, machine, LIMIT).and_then(|outcome| compare(&expected, &outcome))
        {
            eprintln!("{}, run {run} on {machine}: {failure}", program.name);
            failures.push(machine.to_string());
        }
        if (run + 1) % REPORT == 0 {
            eprintln!("{}: {} of {runs} runs, {} failed", program.name, run + 1, failures.len());
        }
    }
    eprintln!("{}: {runs} runs, {} failed", program.name, failures.len());
    if failures.is_empty() { Ok(()) } else { Err(format!("failed on {}", failures.join(", ")).into()) }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(GUESTS);
    let runs = number("CORACLE_SOAK_RUNS", RUNS);
    let is_run = !arguments.list && (arguments.ignored || arguments.include_ignored);
    if is_run {
        paths::coracle();
    }
    let trials = describe::all()
        .into_iter()
        .filter(|program| CASES.contains(&program.name.as_str()))
        .map(|program| {
            Trial::test(program.name.clone(), move || soak(&program, runs)).with_ignored_flag(true)
        })
        .collect::<Vec<_>>();
    assert_eq!(trials.len(), CASES.len(), "a program of the soak is missing");

    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let busy = if is_run { number("CORACLE_SOAK_BUSY", cpus) } else { 0 };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let conclusion = libtest_mimic::run(&arguments, trials);
        stop.store(true, Ordering::Relaxed);
        conclusion.exit_code()
    })
}
