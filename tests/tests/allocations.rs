//! Allocations of the kernel that fail on purpose, every one of some workloads in turn: calls over many rounds, so that a
//! small leak shows, and whole programs. Takes about half an hour, so it runs only with `--ignored`: `make test-allocations`.
use coracle_tests::describe::{self, Program};
use coracle_tests::matrix::{Coverage, machines};
use coracle_tests::{guest, paths};
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;
use std::time::Duration;

/// The program that makes calls, and how many rounds of them it is asked for.
const CALLS: &str = "memory::failing_allocations";
const ROUNDS: &str = "200";
/// The program that runs others.
const PROGRAMS: &str = "memory::failing_programs";
/// What it runs: a name, and the words. Each is run as often as it makes allocations.
const COMMANDS: [(&str, &[&str]); 3] = [
    ("shell", &["/bin/sh", "-c", SCRIPT]),
    ("find", &["/usr/bin/find", "/proc/self", "-maxdepth", "2"]),
    ("sort", &["/usr/bin/sort", "-o", "/tmp/sorted", "/proc/cpuinfo"]),
];
/// Processes, pipes, files and a directory, which may be there from the last time.
const SCRIPT: &str = "set -e; rm -rf made; mkdir made; cat /proc/mounts | sort | wc -l > made/lines; cp made/lines made/copy; \
                      test -s made/copy; rm -r made";
/// The programs that the script runs.
const TOOLS: [&str; 7] =
    ["/bin/mkdir", "/bin/cat", "/usr/bin/sort", "/usr/bin/wc", "/bin/cp", "/bin/rm", "/usr/bin/find"];
/// A guest that has not ended by then has stopped.
const LIMIT: Duration = Duration::from_secs(3600);
/// Guests at a time.
const GUESTS: usize = 2;

/// Boots the program on every number of CPUs in every mode.
fn boot(program: &Program) -> Result<(), Failed> {
    for machine in machines(0, &program.modes, Coverage::EveryCpuCount) {
        let outcome = guest::run_within(program, machine, LIMIT)?;
        let text = outcome.text();
        if outcome.timed_out
            || outcome.status != 0
            || !program.stdout_has.iter().all(|line| text.contains(line))
        {
            return Err(format!("on {machine}: {}", outcome.evidence()).into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(GUESTS);
    if !arguments.list && (arguments.ignored || arguments.include_ignored) {
        paths::coracle();
    }
    let find = |name: &str| {
        describe::all().into_iter().find(|program| program.name == name).expect("the program is there")
    };
    let calls = Program { args: vec![ROUNDS.into()], ..find(CALLS) };
    let programs = COMMANDS.map(|(name, words)| Program {
        name: format!("{PROGRAMS}::{name}"),
        args: words.iter().map(ToString::to_string).collect(),
        add: std::iter::once(words[0]).chain(TOOLS).map(String::from).collect(),
        ..find(PROGRAMS)
    });
    let trials = std::iter::once(calls)
        .chain(programs)
        .map(|program| Trial::test(program.name.clone(), move || boot(&program)).with_ignored_flag(true))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
