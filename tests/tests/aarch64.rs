//! Boots test programs on aarch64 and compares them with their run on Linux, on this machine: what they print does not depend on the
//! architecture. Families whose programs are about x86-64 are left out, and the programs below.
use coracle_tests::describe::{self, Program};
use coracle_tests::matrix::{Machine, Mode};
use coracle_tests::outcome::compare;
use coracle_tests::{aarch64, guest, known, paths};
use libtest_mimic::Arguments;
use std::process::ExitCode;

/// Families that are booted.
const FAMILIES: [&str; 7] = ["basic", "signals", "threads", "epoll", "futex", "ipc", "time"];

/// Programs that are not booted, by what they ask for.
const LEFT_OUT: [&str; 16] = [
    // Instructions or registers of x86-64, its platform's name, the limits of its C library for stacks.
    "basic::auxv",
    "futex::wake_all",
    "ipc::sysv_segments",
    "signals::faults",
    "signals::kernel_half",
    "signals::odd_frames",
    "signals::privileged",
    "signals::red_zone",
    "signals::refused_state",
    "signals::segv_recover",
    "signals::siginfo",
    "threads::clone",
    "threads::stacks",
    // A vDSO that is an object, which there is none of yet.
    "time::vdso",
    // The niceness of the tests themselves.
    "threads::scheduling",
    // Musl's library is not there for another architecture.
    "basic::hello_musl",
];

fn is_booted(program: &Program) -> bool {
    let family = program.name.split("::").next().unwrap_or_default();
    FAMILIES.contains(&family) && !LEFT_OUT.contains(&program.name.as_str()) && aarch64::can_try(program)
}

fn check(program: &Program, mode: Mode, cpus: u32) -> Result<(), String> {
    let expected = aarch64::expected(program)?;
    compare(&expected, &aarch64::run(program, mode, cpus)?)
}

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

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        paths::coracle();
    }
    let known = known::read();
    let programs = describe::all().into_iter().filter(is_booted).enumerate();
    let trials = programs.map(|(number, program)| {
        // Each program in one mode and on one number of CPUs, in turn.
        let modes = &program.modes;
        let mode = modes[number % modes.len()];
        let cpus = 1 + (number / 2 % 2) as u32;
        let name = format!("{}::aarch64_{}_{cpus}cpu", program.name, mode.name());
        known::trial(&known, name, move || check(&program, mode, cpus))
    });
    let mut trials: Vec<_> = trials.collect();
    for mode in Mode::ALL {
        let name = format!("debian::sqlite_{}", mode.name());
        trials.push(known::trial(&known, name, move || sqlite(mode)));
    }
    trials.push(known::trial(&known, "trace".to_owned(), traced));
    libtest_mimic::run(&arguments, trials).exit_code()
}
