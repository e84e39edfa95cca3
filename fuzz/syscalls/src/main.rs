//! Fuzzes the system calls of Coracle's kernel, in guests in protected mode.
//!
//! Programs are sequences of calls, whose arguments are made after their kinds in the kernel's table of system calls.
//! A guest runs a batch of them; QEMU's plugin notes which program took an edge between two blocks of the kernel for
//! the first time. Such programs are kept, and changed into new ones. A panic, a reset, a guest that stops and a
//! process that outlives SIGKILL are findings. They are written down with the programs, and made smaller.
//!
//! No call is ever made on this machine: the executor (`guest/executor.c`) refuses to run outside a guest.

mod campaign;
mod edges;
mod encode;
mod finding;
mod generate;
mod guest;
mod kinds;
mod program;
mod scenes;
mod symbols;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;

use crate::campaign::Settings;
use crate::finding::Case;
use crate::guest::{Dock, Machine};

/// Memory of a guest: little, so that it runs out.
const MEMORY_MIB: u32 = 64;

/// Fuzz the kernel's system calls, in guests only.
#[derive(Parser)]
struct Options {
    /// How long, in seconds
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Where all chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CPUs of the guests, taken in turn
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    cpus: Vec<u32>,
    /// Memory of a guest in MiB
    #[arg(long, default_value_t = MEMORY_MIB)]
    memory: u32,
    /// Where findings are written
    #[arg(long, default_value = "target/fuzz-syscalls")]
    findings: PathBuf,
    /// Leave findings as they are
    #[arg(long)]
    no_minimise: bool,
    /// Directory of a corpus to start from, which is written anew at the end
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Run the case.json of a finding instead
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// How often to replay
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Make a replayed case smaller, and write it beside the old one
    #[arg(long)]
    minimise: bool,
    /// Name the calls that never succeeded
    #[arg(long)]
    verbose: bool,
    /// The coracle command
    #[arg(long, env = "CORACLE", default_value = "target/release/coracle")]
    coracle: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz-syscalls: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if nothing was found.
fn run(options: &Options) -> Result<bool> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = source.parent().and_then(Path::parent).context("the fuzzer is not in its repository")?;
    let directory = Directory::new()?;
    let coracle = std::path::absolute(&options.coracle)?;
    let dock = Dock::new(&coracle, source, &directory.0)?;
    if let Some(file) = &options.replay {
        return replay(&dock, options, file);
    }
    let calls = xtask::system_calls::read(repository).map_err(|message| anyhow!(message))?;
    let settings = Settings {
        budget: Duration::from_secs(options.seconds),
        seed: options.seed,
        machines: options
            .cpus
            .iter()
            // Several CPUs run truly side by side, which no count of instructions can repeat.
            .map(|&cpus| Machine { cpus, memory_mib: options.memory, icount: cpus == 1 })
            .collect(),
        findings: options.findings.clone(),
        minimise: !options.no_minimise,
        corpus: options.corpus.clone(),
    };
    println!("seed {}", settings.seed);
    let summary = campaign::run(&dock, calls.clone(), &settings)?;
    if options.verbose {
        println!("calls that never succeeded: {}", campaign::never_succeeded(&summary, &calls).join(" "));
    }
    for (title, times) in &summary.findings {
        println!("{times} times: {title}");
    }
    println!("{}", campaign::line(&summary));
    Ok(summary.findings.is_empty())
}

fn replay(dock: &Dock, options: &Options, file: &Path) -> Result<bool> {
    let case = Case::read(file)?;
    let mut failures = 0;
    for _ in 0..options.times {
        let outcome = dock.run("replay", case.machine, &case.programs)?;
        if let Some(why) = outcome.cut_short {
            println!("cut short: {why}");
        }
        let Some(failure) = outcome.failure else { continue };
        failures += 1;
        println!("{}\n{}", failure.title, failure.details);
        if options.minimise {
            let (small, last) =
                finding::minimise(dock, &case, &failure, Duration::from_secs(options.seconds))?;
            let place = finding::write(file.parent().unwrap_or(Path::new(".")), options.seed, &small, &last)?;
            println!("made smaller: {} program(s), in {}", small.programs.len(), place.display());
            break;
        }
    }
    println!("{failures} of {} failed", options.times);
    Ok(failures == 0)
}

/// A temporary directory.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self> {
        let place = std::env::temp_dir().join(format!("coracle-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&place)?;
        Ok(Self(place))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
