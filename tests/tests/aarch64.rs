//! Boots the test programs on aarch64 and compares them with their run on Linux, on this machine: what they print does not depend on the
//! architecture. Those that are about x86-64 say so at their top (`arch: x86-64`); those that need what guests for aarch64 do not have yet are
//! left out ([`aarch64::can_run`]), and those in Rust ignored where the toolchain has no library for aarch64. Each is booted once, modes and
//! numbers of CPUs in turn; `make test-aarch64` boots it on all four.
use coracle_tests::aarch64::{self, Batch};
use coracle_tests::describe::{self, Program, Source};
use coracle_tests::matrix::{Machine, Mode};
use coracle_tests::outcome::{Outcome, check};
use coracle_tests::{build, guest, known, paths};
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::sync::Arc;

/// How many programs run in one guest.
const BATCH: usize = 32;

/// Numbers of CPUs.
const CPUS: [u32; 2] = [1, 2];

/// Debian's sqlite3 for arm64 makes, changes and reads a database.
fn sqlite(mode: Mode) -> Result<(), String> {
    const STATEMENTS: &str = "create table t(n integer primary key, word text); \
        with recursive c(n) as (select 1 union all select n + 1 from c where n < 1000) \
        insert into t select n, 'word ' || n from c; \
        begin; update t set word = upper(word) where n % 2; commit; \
        select count(*), sum(n), max(word) from t; pragma integrity_check;";
    let machine = Machine { mode, cpus: 1, kind: aarch64::MACHINE };
    let mut command = guest::coracle_run(machine);
    command.args(["-q", "--net", "none", "--root"]).arg(aarch64::root()?);
    command.args(["/usr/bin/sqlite3", "/tmp/database", STATEMENTS]);
    let outcome = guest::finish(&mut command, Vec::new(), guest::LIMIT)?;
    match (outcome.status, outcome.text().as_str()) {
        (0, "1000|500500|word 998\nok\n") => Ok(()),
        _ => Err(outcome.evidence()),
    }
}

/// System calls have the names and the structures of their architecture.
fn traced() -> Result<(), String> {
    let mut command = guest::coracle_run(Machine { mode: Mode::Unikernel, cpus: 1, kind: aarch64::MACHINE });
    command.args(["-q", "--net", "none", "--trace=openat,fstat,newfstatat,exit_group", "--root"]);
    command.arg(aarch64::root()?).args(["/usr/bin/sqlite3", "/tmp/database", "create table t(n);"]);
    let outcome = guest::finish(&mut command, Vec::new(), guest::LIMIT)?;
    let wanted = ["openat(AT_FDCWD, \"/tmp/database\", ", "{st_mode=S_IFREG|0", "exit_group(0)"];
    match wanted.iter().find(|wanted| !outcome.log.contains(**wanted)) {
        None => Ok(()),
        Some(missing) => Err(format!("no `{missing}` in: {}", outcome.evidence())),
    }
}

/// The machines of a program: one in turn, or all of them.
fn machines(program: &Program, number: usize, is_full: bool) -> Vec<(Mode, u32)> {
    let all = || program.modes.iter().flat_map(|&mode| CPUS.map(|cpus| (mode, cpus)));
    if is_full {
        return all().collect();
    }
    let modes = &program.modes;
    vec![(modes[number % modes.len()], CPUS[number / 2 % CPUS.len()])]
}

fn trial(
    known: &[known::Known],
    program: &Program,
    (mode, cpus): (Mode, u32),
    outcome: impl FnOnce() -> Result<Outcome, String> + Send + 'static,
) -> Trial {
    let name = format!("{}::aarch64_{}_{cpus}cpu", program.name, mode.name());
    let program = program.clone();
    known::trial(known, name, move || {
        let expected = if program.linux { Some(aarch64::expected(&program)?) } else { None };
        check(&program, expected.as_ref(), &outcome()?)
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let is_full = env::var("CORACLE_TEST_MATRIX").is_ok_and(|matrix| matrix == "full");
    if !arguments.list {
        paths::coracle();
    }
    let known = known::read();
    let mut trials = Vec::new();
    // Those of one machine and one tree, in batches.
    let mut shared: BTreeMap<_, Vec<Program>> = BTreeMap::new();
    let has_rust = build::has_rust_for_aarch64();
    let can_build = |program: &Program| has_rust || !matches!(program.source, Source::Rust { .. });
    let programs = describe::all().into_iter().filter(aarch64::can_run).enumerate();
    for (number, program) in programs {
        for (mode, cpus) in machines(&program, number, is_full) {
            let name = format!("{}::aarch64_{}_{cpus}cpu", program.name, mode.name());
            let is_wanted = arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
            if !can_build(&program) {
                trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
            } else if aarch64::can_share(&program) && is_wanted {
                let is_tool = matches!(program.source, Source::Installed { .. });
                shared.entry((is_tool, mode.name(), cpus)).or_default().push(program.clone());
            } else {
                let subject = program.clone();
                trials
                    .push(trial(&known, &program, (mode, cpus), move || aarch64::run(&subject, mode, cpus)));
            }
        }
    }
    let mut batches: Vec<_> = Vec::new();
    for ((_, mode, cpus), programs) in shared {
        let mode = Mode::parse(mode).expect("a mode has its name");
        for programs in programs.chunks(BATCH) {
            batches.push((Machine { mode, cpus, kind: aarch64::MACHINE }, programs.to_vec()));
        }
    }
    let batches: Vec<_> = batches
        .into_iter()
        .map(|(machine, programs)| (machine, programs.clone(), Arc::new(Batch::new(machine, programs))))
        .collect();
    // The first of each batch first: threads then boot several guests at a time.
    let most = batches.iter().map(|(_, programs, _)| programs.len()).max().unwrap_or(0);
    for index in 0..most {
        for (machine, programs, batch) in &batches {
            let Some(program) = programs.get(index) else { continue };
            let batch = batch.clone();
            trials.push(trial(&known, program, (machine.mode, machine.cpus), move || batch.outcome(index)));
        }
    }
    for mode in Mode::ALL {
        let name = format!("debian::sqlite_{}", mode.name());
        trials.push(known::trial(&known, name, move || sqlite(mode)));
    }
    trials.push(known::trial(&known, "trace".to_owned(), traced));
    libtest_mimic::run(&arguments, trials).exit_code()
}
