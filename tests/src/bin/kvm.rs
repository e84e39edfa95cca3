//! `make test-kvm` and `make bench-kvm`: guests under real KVM, in QEMU's emulated SVM (see `coracle_tests::nested`).
use coracle_tests::nested::{count, machines, run, selection};
use coracle_tests::outcome::compare;
use coracle_tests::{linux, paths};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: kvm test|bench [PART OF A NAME]";
/// What `bench` counts on unless it is told otherwise.
const MACHINES: &str = "unikernel";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test(""),
        ["test", filter] => test(filter),
        ["bench"] => bench(MACHINES),
        ["bench", filter] => bench(filter),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Boots the selection of test programs and compares each with its run on Linux.
fn test(filter: &str) -> Result<(), String> {
    paths::coracle();
    let chosen = selection(filter)?;
    let guests: Vec<_> = chosen.iter().map(|(_, guest)| guest.clone()).collect();
    let start = Instant::now();
    let (mut passed, mut failed) = (0, Vec::new());
    let mut clocks = std::collections::BTreeMap::<String, usize>::new();
    let mut follow = 0;
    let ended = run(&guests, |number, outcome| {
        let Some((program, guest)) = chosen.get(number) else { return };
        let clock = outcome
            .log
            .lines()
            .find_map(|line| Some(line.split_once("clock: ")?.1.rsplit(" by ").next()?.to_owned()));
        follow += usize::from(outcome.log.contains("the host's clock is followed"));
        *clocks.entry(clock.unwrap_or_else(|| "nothing".into())).or_default() += 1;
        let outcome = if program.sort { outcome.sorted() } else { outcome };
        match linux::run(program).and_then(|expected| compare(&expected, &outcome)) {
            Ok(()) => {
                passed += 1;
                println!("{:>6.1} s  ok      {}", start.elapsed().as_secs_f64(), guest.name);
            }
            Err(why) => {
                println!("{:>6.1} s  FAILED  {}\n{why}", start.elapsed().as_secs_f64(), guest.name);
                failed.push(guest.name.clone());
            }
        }
    });
    println!("clocks: {clocks:?}; {follow} follow the host's");
    println!("test result: {passed} passed; {} failed; {} s", failed.len(), start.elapsed().as_secs());
    ended?;
    let guests = passed + failed.len();
    if follow < guests {
        return Err(format!("{} of {guests} guests do not follow the host's clock", guests - follow));
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// Counts VM exits while memcached boots, serves and idles, and prints a table.
fn bench(filter: &str) -> Result<(), String> {
    paths::coracle();
    let chosen = machines(filter);
    if chosen.is_empty() {
        return Err(format!("no machine's name has {filter}"));
    }
    println!("| machine | per | exits | to user space | by reason |\n|---|---|---|---|---|");
    count(&chosen, |machine, rows| {
        for row in rows {
            let digits = if row.exits < 100.0 { 2 } else { 0 };
            let reasons: Vec<String> =
                row.reasons.iter().map(|(name, exits)| format!("{name} {exits:.digits$}")).collect();
            let (name, phase, exits, user) = (&machine.name, &row.phase, row.exits, row.user);
            let reasons = reasons.join(", ");
            println!("| {name} | {phase} | {exits:.digits$} | {user:.digits$} | {reasons} |");
        }
    })
}
