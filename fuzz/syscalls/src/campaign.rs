//! A campaign: batches of programs on machines of several kinds, until the time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use xtask::system_calls::SystemCall;

use crate::encode::MAX_BATCH;
use crate::finding::{self, Case};
use crate::generate::Generator;
use crate::guest::{Dock, Machine, Outcome};
use crate::program::Program;

/// Programs of a batch: enough that booting costs little, few enough that one failure loses little.
const BATCH: usize = 300;
/// How long a finding is made smaller at most.
const MINIMISE: Duration = Duration::from_secs(240);
/// How often the state is told.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Corpora are kept below the directory of findings, by CPUs.
const CORPUS: &str = "corpus";

/// What is asked of a campaign.
pub struct Settings {
    /// How long it lasts.
    pub budget: Duration,
    /// What all chance comes from.
    pub seed: u64,
    /// Machines, taken in turn.
    pub machines: Vec<Machine>,
    /// Where findings are written.
    pub findings: PathBuf,
    /// Whether findings are made smaller.
    pub minimise: bool,
    /// Corpus to start from and to leave, if it is kept.
    pub corpus: Option<PathBuf>,
}

/// What a campaign came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Guests booted.
    pub guests: usize,
    /// Programs run.
    pub programs: usize,
    /// System calls made, and how many of them succeeded.
    pub calls: (u64, u64),
    /// By number of CPUs: edges of the kernel seen, and programs in the corpus.
    pub edges: BTreeMap<u32, (u64, usize)>,
    /// Batches that ended early by no fault of the kernel.
    pub cut_short: usize,
    /// Titles of findings, with how often each was met.
    pub findings: BTreeMap<String, usize>,
    /// By call: how often it was made, and succeeded.
    pub by_call: BTreeMap<u32, (u64, u64)>,
}

/// Runs a campaign.
///
/// # Errors
/// If guests can't be started, or findings not written.
pub fn run(dock: &Dock, calls: Vec<SystemCall>, settings: &Settings) -> Result<Summary> {
    let until = Instant::now() + settings.budget;
    let mut generator = Generator::new(calls, settings.seed)?;
    let mut summary = Summary::default();
    let mut corpora: BTreeMap<u32, Vec<Program>> = BTreeMap::new();
    for machine in &settings.machines {
        let kept = settings.corpus.as_ref().map_or_else(Vec::new, |place| read_corpus(place, machine.cpus));
        corpora.entry(machine.cpus).or_insert(kept);
    }
    // What is kept is run first: it is what the edges seen so far are worth.
    let mut kept: BTreeMap<u32, Vec<Program>> =
        corpora.iter_mut().map(|(cpus, corpus)| (*cpus, std::mem::take(corpus))).collect();
    let mut told = Instant::now();
    for machine in settings.machines.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let corpus = corpora.entry(machine.cpus).or_default();
        let old = kept.get_mut(&machine.cpus).filter(|old| !old.is_empty());
        let batch: Vec<Program> = match old {
            Some(old) => old.drain(..old.len().min(BATCH).min(MAX_BATCH)).collect(),
            None => (0..BATCH).map(|_| generator.next(corpus)).collect(),
        };
        let outcome = dock.run("guest", *machine, &batch)?;
        count(&mut summary, *machine, &outcome);
        for (program, edges) in batch.iter().zip(&outcome.found).take(outcome.programs) {
            if *edges > 0 {
                corpus.push(program.clone());
            }
        }
        summary.edges.insert(machine.cpus, (outcome.edges, corpus.len()));
        if let Some(failure) = outcome.failure {
            // A program that stops the machine is not to be met again and again.
            if let Some(at) = failure.program {
                corpus.retain(|program| Some(program) != batch.get(at));
            }
            let seen = summary.findings.entry(failure.title.clone()).or_default();
            *seen += 1;
            if *seen == 1 {
                let case = Case { machine: *machine, programs: batch };
                let place = finding::write(&settings.findings, settings.seed, &case, &failure)?;
                println!("FOUND {}\n  in {}", failure.title, place.display());
                if settings.minimise {
                    let left = until.saturating_duration_since(Instant::now()).min(MINIMISE);
                    let (small, last) = finding::minimise(dock, &case, &failure, left)?;
                    let small_place = finding::write(&place, settings.seed, &small, &last)?;
                    println!(
                        "  made smaller: {} program(s), in {}",
                        small.programs.len(),
                        small_place.display()
                    );
                }
            }
        }
        if let Some(why) = outcome.cut_short {
            summary.cut_short += 1;
            if summary.cut_short == 1 {
                println!("a batch was cut short: {why}");
            }
        }
        if told.elapsed() > REPORT_EVERY {
            told = Instant::now();
            println!("{}", line(&summary));
        }
    }
    if let Some(place) = &settings.corpus {
        for (cpus, corpus) in &corpora {
            write_corpus(place, *cpus, corpus)?;
        }
    }
    Ok(summary)
}

fn count(summary: &mut Summary, _machine: Machine, outcome: &Outcome) {
    summary.guests += 1;
    summary.programs += outcome.programs;
    for (number, made, succeeded) in &outcome.calls {
        summary.calls.0 += made;
        summary.calls.1 += succeeded;
        let entry = summary.by_call.entry(*number).or_default();
        entry.0 += made;
        entry.1 += succeeded;
    }
}

/// The one line that says how it went.
pub fn line(summary: &Summary) -> String {
    let edges: Vec<String> = summary
        .edges
        .iter()
        .map(|(cpus, (edges, corpus))| format!("{edges} edges and {corpus} programs kept on {cpus} CPU(s)"))
        .collect();
    format!(
        "{} programs in {} guests, {} calls of which {} succeeded, {}, {} cut short, {} findings",
        summary.programs,
        summary.guests,
        summary.calls.0,
        summary.calls.1,
        edges.join(", "),
        summary.cut_short,
        summary.findings.len()
    )
}

/// Calls of the table that never succeeded, for work on the fuzzer.
pub fn never_succeeded(summary: &Summary, calls: &[SystemCall]) -> Vec<String> {
    let good: BTreeSet<u32> = summary
        .by_call
        .iter()
        .filter(|(_, (_, succeeded))| *succeeded > 0)
        .map(|(number, _)| *number)
        .collect();
    calls.iter().filter(|call| !good.contains(&call.number)).map(|call| call.name.clone()).collect()
}

fn corpus_file(place: &Path, cpus: u32) -> PathBuf {
    place.join(format!("{CORPUS}-{cpus}.json"))
}

fn read_corpus(place: &Path, cpus: u32) -> Vec<Program> {
    let text = fs::read_to_string(corpus_file(place, cpus)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn write_corpus(place: &Path, cpus: u32, corpus: &[Program]) -> Result<()> {
    fs::create_dir_all(place)?;
    fs::write(corpus_file(place, cpus), serde_json::to_string(corpus)?)?;
    Ok(())
}
