//! Boots on machines that `coracle run` does not make: other ways to be switched off, other devices, other clocks. QEMU
//! stands in for them where it can be made to look like them.
use coracle_tests::{known, netns, paths};
use libtest_mimic::Arguments;
use std::process::ExitCode;

mod cards;
mod clocks;
mod demand;
mod disks;
mod power;
mod refusals;
mod virt;
mod volumes;

/// A test; `tap`: it needs a tap device.
struct Case {
    name: &'static str,
    test: fn() -> Result<(), String>,
    tap: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let known = known::read();
    let tap = netns::possible();
    if !arguments.list {
        paths::coracle();
    }
    let trials = [
        power::CASES,
        cards::CASES,
        clocks::CASES,
        disks::CASES,
        demand::CASES,
        volumes::CASES,
        virt::CASES,
        refusals::CASES,
    ]
    .into_iter()
    .flatten()
    .map(|case| {
        let trial = known::trial(&known, format!("machines::{}", case.name), case.test);
        trial.with_ignored_flag(case.tap && !tap)
    })
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
