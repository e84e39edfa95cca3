//! Boots test programs on aarch64 and compares them with their run on Linux, on this machine: what they print does not depend on the
//! architecture. Families whose programs are about x86-64 are left out, and the programs below.
use coracle_tests::describe::{self, Program};
use coracle_tests::matrix::Mode;
use coracle_tests::outcome::compare;
use coracle_tests::{aarch64, known};
use libtest_mimic::Arguments;
use std::process::ExitCode;

/// Families that are booted.
const FAMILIES: [&str; 7] = ["basic", "signals", "threads", "epoll", "futex", "ipc", "time"];

/// Programs that are not booted, by what they ask for.
const LEFT_OUT: [&str; 17] = [
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
    // The end of standard input, which a serial port has none of.
    "basic::stdin_empty",
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

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list
        && let Err(error) = aarch64::prepare()
    {
        eprintln!("{error}");
        return ExitCode::FAILURE;
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
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
