//! `coracle-bench`: measures Debian's own programs in a Linux guest and in Coracle, side by side, in the same QEMU.
//! `docs/performance.md` tells how, and how to read what comes out.

#![forbid(unsafe_code)]

mod arch;
mod counter;
mod cpio;
mod disk;
mod guest;
mod host;
mod load;
mod markdown;
mod measure;
mod network;
mod plot;
mod profile;
mod program;
mod report;
mod results;
mod suite;
mod targets;
mod tools;
mod tree;
mod vm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;

use arch::Arch;
use guest::{Guest, Shipyard};
use measure::Bench;
use program::Stock;
use results::{Baseline, Results};
use suite::{Case, Method};
use tree::Tree;
use vm::Watch;

/// Rounds, seconds per load and seconds of idleness of the full form.
const FULL: (u32, u64, u64) = (3, 4, 5);
/// The same of the short form.
const QUICK: (u32, u64, u64) = (1, 2, 2);
/// How long the host's own wake-ups are measured before each round.
const HOST_PERIOD: Duration = Duration::from_secs(2);

/// Measures programs in a Linux guest and in Coracle, side by side.
#[derive(Parser)]
#[command(name = "coracle-bench")]
struct Arguments {
    /// Only loads whose name contains this (or one whole case, by its name)
    #[arg(long)]
    only: Option<String>,
    /// The short form for CI: Coracle alone, few loads; fails if instructions grew by more than 25 %
    #[arg(long)]
    quick: bool,
    /// Which guests
    #[arg(long, value_enum, value_delimiter = ',')]
    guests: Vec<Guest>,
    /// How many rounds; the medians are told
    #[arg(long)]
    rounds: Option<u32>,
    /// How long each load runs
    #[arg(long)]
    seconds: Option<u64>,
    /// The architecture of the guests
    #[arg(long, value_enum, default_value = "x86_64")]
    arch: Arch,
    /// QEMU's machine type for Linux and Coracle alike: q35 or pc, virt for aarch64
    #[arg(long)]
    machine: Option<String>,
    /// Keep the exact figures of this run as the record
    #[arg(long)]
    record: bool,
    /// Write all figures to this file [default: results.json in target/bench, or in a directory there with the name of the other architecture]
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the figures into docs/src/performance.md, and for x86-64 plots beside it
    #[arg(long)]
    docs: bool,
    /// Measure nothing: tell, compare, record and document what this file of figures has; may be repeated, for runs that measured parts
    #[arg(long, value_name = "FILE")]
    tell: Vec<PathBuf>,
    /// The `coracle` command (default: beside this program, or target/release/coracle)
    #[arg(long)]
    coracle: Option<PathBuf>,
    /// Instead of measuring: instructions per function under the load `--only` names, or of a case's start
    #[arg(long)]
    profile: bool,
    /// With --profile: what is executed while nothing is asked, per second
    #[arg(long, requires = "profile")]
    idle: bool,
    /// With --profile: how many functions are listed
    #[arg(long, default_value_t = 60, requires = "profile")]
    lines: usize,
    /// List the loads
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (arch, facts) = (arguments.arch, arguments.arch.facts());
    let mut out = std::env::current_dir()?.join("target/bench");
    if arch != Arch::X86_64 {
        out.push(facts.name);
    }
    fs::create_dir_all(&out)?;
    let json = arguments.json.clone().unwrap_or_else(|| out.join("results.json"));
    if let Some((first, others)) = arguments.tell.split_first() {
        let mut results = Results::load(first)?;
        others.iter().try_for_each(|file| results.merge(Results::load(file)?))?;
        return finish(&results, None, arguments, root);
    }
    tools::check(arch)?;
    // Before the network of the bench's own hides the world's.
    let tree = Tree::open(arch, &out, &root.join("../scripts"))?;
    let stock = Stock::new(&out, &root.join("programs"), tree.clone())?;
    let cases = suite::all(&stock)?;
    if arguments.list {
        for case in &cases {
            println!("{}", case.name);
            if let Method::Serve(loads) = &case.method {
                loads.iter().for_each(|(name, _)| println!("  {name}"));
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (rounds, seconds, idle) = if arguments.quick { QUICK } else { FULL };
    let mut guests = arguments.guests.clone();
    if guests.is_empty() {
        guests = facts.guests.to_vec();
        if arguments.quick {
            guests = vec![Guest::Unikernel, Guest::Protected];
        }
    }
    if let Some(guest) = guests.iter().find(|guest| !facts.guests.contains(guest)) {
        bail!("there is no {} for {}", guest.name(), facts.name);
    }
    let linux = if guests.contains(&Guest::Linux) { Some(tools::linux_kernel(&tree, &out)?) } else { None };
    network::enter()?;
    let lock = fs::File::create(out.join("lock"))?;
    if lock.try_lock().is_err() {
        bail!("another bench is at work here: it holds {}", out.join("lock").display());
    }
    let bench = Bench {
        plugin: tools::plugin(&root.join("plugin/insn.c"), &out)?,
        yard: Shipyard { arch, linux, coracle: coracle(arguments.coracle.as_deref(), &guests)?, out },
        machine: arguments.machine.clone().unwrap_or_else(|| facts.machine.to_owned()),
        period: Duration::from_secs(arguments.seconds.unwrap_or(seconds)),
        idle: Duration::from_secs(idle),
        only_exactly: arguments.only.as_ref().is_some_and(|only| cases.iter().any(|case| case.has(only))),
        only: arguments.only.clone(),
        quick: arguments.quick,
    };
    let cases: Vec<_> = cases.into_iter().filter(|case| bench.wants_case(case)).collect();
    if cases.is_empty() {
        bail!("no load is named like that; `coracle-bench --list` shows all");
    }
    if arguments.profile {
        for guest in guests {
            println!("{}", profile_one(&bench, &cases, guest, arguments)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let results = measure_all(&bench, &cases, &guests, arguments.rounds.unwrap_or(rounds), &json);
    finish(&results, Some(&json), arguments, root)
}

/// Finds the `coracle` command, unless only Linux is measured.
fn coracle(given: Option<&Path>, guests: &[Guest]) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("coracle");
    let built = std::env::current_dir()?.join("target/release/coracle");
    match [beside, built].into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None if guests.iter().all(|guest| *guest == Guest::Linux) => Ok(PathBuf::from("coracle")),
        None => {
            bail!("there is no `coracle` command yet: run `cargo build --release`, or give --coracle PATH")
        }
    }
}

fn measure_all(bench: &Bench, cases: &[Case], guests: &[Guest], rounds: u32, json: &Path) -> Results {
    let mut results = Results::default();
    results.set_arch(bench.yard.arch);
    let about = |results: &mut Results, key: &str, value: String| {
        results.about.insert(key.to_owned(), value);
    };
    about(&mut results, "machine", bench.machine.clone());
    about(&mut results, "rounds", rounds.to_string());
    about(&mut results, "seconds-per-load", bench.period.as_secs().to_string());
    if let Some(linux) = &bench.yard.linux {
        about(&mut results, "linux", linux.version.clone());
    }
    if let Ok(version) =
        tools::run(std::process::Command::new(bench.yard.arch.facts().qemu.0).arg("--version"))
    {
        about(&mut results, "qemu", version.lines().next().unwrap_or_default().to_owned());
    }
    let mut quiet = Vec::new();
    for round in 1..=rounds {
        match host::wake_ups(HOST_PERIOD) {
            Ok((median, slowest)) => quiet.push(format!("{median:.0} and {slowest:.0}")),
            Err(error) => results.failures.push(format!("the host's own wake-ups: {error:#}")),
        }
        about(&mut results, "host-round-trip-p50-p99-us", quiet.join(", "));
        for case in cases {
            for guest in guests {
                eprintln!("bench: round {round} of {rounds}: {} in {}", case.name, guest.name());
                if let Err(error) = bench.case(case, *guest, &mut results) {
                    eprintln!("bench: {} in {}: {error:#}", case.name, guest.name());
                    results.failures.push(format!("{} in {}: {error:#}", case.name, guest.name()));
                }
                // So that a run that is stopped is not lost. What can't be written now is told at the end.
                let _ = results.save(json);
            }
        }
    }
    results
}

/// Tells the results, keeps them where asked and in `json`, and judges them. `root` is the bench's own directory.
fn finish(results: &Results, json: Option<&Path>, arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    if let Some(json) = json {
        results.save(json)?;
    }
    if arguments.docs {
        let docs = root.join("../docs/src");
        if results.arch() == Arch::X86_64 {
            plot::write(results, &docs.join("performance"))?;
        }
        markdown::replace(results, &docs.join("performance.md"))?;
    }
    let record = &root.join(results.arch().facts().record);
    print!("{}{}", report::table(results), targets::table(&targets::verdicts(results)));
    let mut baseline = Baseline::load(record)?;
    let changes = report::changes(results, &baseline);
    print!("{}", report::comparison(&changes));
    if arguments.record {
        baseline.record(results);
        baseline.save(record)?;
        println!("recorded in {}", record.display());
    }
    let mut code = ExitCode::SUCCESS;
    for failure in &results.failures {
        eprintln!("bench: failed: {failure}");
        code = ExitCode::FAILURE;
    }
    if arguments.quick {
        for loss in changes.iter().filter(|change| change.judged && change.growth() > report::GROSS_LOSS) {
            eprintln!(
                "bench: {} grew by {:.0} % over the record; if that is meant, run with --record",
                loss.what,
                loss.growth() * 100.0
            );
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// The profile of the load `--only` names; for the name of a case, that of its start (or whole run, if it ends).
fn profile_one(bench: &Bench, cases: &[Case], guest: Guest, arguments: &Arguments) -> Result<String> {
    let wanted = arguments.only.as_deref().unwrap_or("memcached-64");
    let case = cases.iter().find(|case| case.has(wanted)).with_context(|| {
        format!("a profile needs a load's or case's whole name, and \"{wanted}\" is none")
    })?;
    let load = match &case.method {
        Method::Serve(loads) => loads.iter().find(|(name, _)| name == wanted).map(|(_, load)| load),
        _ => None,
    };
    let mut program = case.program.clone();
    if matches!(case.method, Method::Marks(_)) && wanted != case.name {
        program.args = vec![wanted.to_owned()];
    }
    let image = bench.yard.build(guest, &program)?;
    let mut vm = bench.boot(&image, case.cpus, &Watch { marks: Vec::new(), profile: true })?;
    let (blocks, operations) = match load {
        _ if arguments.idle => {
            let before = vm.counters().blocks()?;
            std::thread::sleep(bench.period);
            (profile::difference(&before, vm.counters().blocks()?), bench.period.as_secs())
        }
        None if let Method::Difference { operations, .. } = &case.method => {
            (vm.counters().blocks()?, *operations)
        }
        None => {
            let console = vm.console();
            let test = console.lines().filter_map(measure::micro_line).find(|(name, _)| *name == wanted);
            (vm.counters().blocks()?, test.map_or(1, |(_, operations)| operations))
        }
        Some(load) => {
            let before = vm.counters().blocks()?;
            let prepared = load.prepare();
            let before = if prepared.is_ok() { vm.counters().blocks()? } else { before };
            let sample = prepared.and_then(|_idle| load.run(bench.period));
            if !vm.alive() {
                bail!("the guest died under the load\n{}", vm.console_tail());
            }
            // A guest that stalls is worth a profile above all.
            let operations = sample.map_or_else(
                |error| {
                    eprintln!("bench: {wanted} failed, all is told as one operation: {error:#}");
                    1
                },
                |sample| sample.operations,
            );
            (profile::difference(&before, vm.counters().blocks()?), operations)
        }
    };
    drop(vm);
    let base = match &case.method {
        Method::Difference { without, .. } if !arguments.idle => {
            let image = bench.yard.build(guest, without)?;
            bench.boot(&image, case.cpus, &Watch { marks: Vec::new(), profile: true })?.counters().blocks()?
        }
        _ => Vec::new(),
    };
    let mut files = Vec::new();
    if guest != Guest::Linux {
        let kernel = bench.yard.out.join("coracle-kernel.elf");
        tools::run(
            std::process::Command::new(&bench.yard.coracle)
                .args(["kernel", "--arch", bench.yard.arch.facts().name, "-o"])
                .arg(&kernel),
        )?;
        files.push(kernel);
    }
    let is_elf = |file: &PathBuf| fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
    files.extend(case.program.closure().into_values().filter(is_elf));
    let table = profile::table(blocks, base, &files, operations, arguments.lines)?;
    Ok(format!("{wanted} in {}: {table}", guest.name()))
}
