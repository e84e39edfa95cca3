//! The command.

use std::fs::OpenOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::client::Client;
use super::super::outside::Kernel;
use super::super::process;
use super::output::{Format, Measure, Profile};
use super::{by_instructions, off_cpu, on_cpu};
use crate::args::ProfileArgs;
use crate::error::{Error, Result, cannot, note, warn};

/// How long a profile is, unless an option says when it ends.
const USUAL_TIME: Duration = Duration::from_secs(10);

/// `coracle profile`
pub fn profile(args: &ProfileArgs) -> Result<()> {
    // Before anything is measured.
    let format = Format::of(&args.output)?;
    let is_new = !args.output.exists();
    let opened = OpenOptions::new().append(true).create(true).open(&args.output);
    opened.map_err(|error| cannot("write", &args.output, &error))?;
    let result = write(args, format);
    if is_new && result.is_err() {
        // It holds nothing.
        let _ = std::fs::remove_file(&args.output);
    }
    result
}

/// Measures, and writes the file.
fn write(args: &ProfileArgs, format: Format) -> Result<()> {
    let kernel = Kernel::load()?;
    let by_instructions =
        args.instructions.map(|period| Ok::<_, Error>((period, Kernel::load()?))).transpose()?;
    let mut client = Client::connect(&args.name)?;
    client.is_known_to("profile")?;
    if args.pid.is_some() {
        process::processes(&mut client, args.pid)?;
    }
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| Error::new("cannot wait for signals").why(error))?;
    }
    let usual = args.samples.is_none().then_some(USUAL_TIME);
    let time = args.time.map(|time| Duration::from_secs_f64(time.0)).or(usual);
    let start = Instant::now();
    let is_over = || time.is_some_and(|time| start.elapsed() >= time) || ended.load(Ordering::SeqCst);
    let has_enough = |count| args.samples.is_some_and(|most| count >= most) || is_over();
    let how = (args.frequency, args.pid, format.has_lines());
    let mut profile = Profile {
        guest: args.name.clone(),
        measure: match (args.off_cpu, args.instructions) {
            (true, _) => Measure::Sleep,
            (_, Some(_)) => Measure::Instructions,
            _ => Measure::Samples,
        },
        frequency: args.frequency,
        instructions: args.instructions.unwrap_or_default(),
        duration_ns: 0,
        found: Vec::new(),
    };
    let said = if args.off_cpu {
        profile.found = off_cpu::take(&mut client, &kernel, how, is_over)?;
        format!("{} stacks", profile.found.len())
    } else if let Some((period, own)) = by_instructions {
        let how = (period, args.pid, format.has_lines());
        let (found, count) = by_instructions::take(&mut client, (&kernel, own), how, has_enough)?;
        profile.found = found;
        format!("{} of {count} samples, one for each {period} instructions", profile.found.len())
    } else {
        let taken = on_cpu::take(&mut client, &kernel, how, has_enough)?;
        profile.found = taken.found;
        let share = 100 * taken.idle.0 / taken.idle.1.max(1);
        format!("{} samples at {} moments; the CPUs waited in {share} %", profile.found.len(), taken.looks)
    };
    profile.duration_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    if profile.total() == 0 {
        let why = if args.off_cpu { "no thread slept" } else { "no program computed" };
        return Err(Error::new(format!("there is nothing to show of `{}`", args.name)).why(why).help(
            if args.off_cpu { "profile for longer" } else { "`--off-cpu` shows where threads sleep" },
        ));
    }
    let unknown = profile.found.iter().filter(|found| found.frames.is_empty()).count();
    if unknown * 10 > profile.found.len() {
        warn(format_args!("{unknown} stacks are of threads that ended before they could be looked at"));
    }
    profile.write(&args.output, format)?;
    if client.has_ended() {
        note(format_args!("`{}` has ended", args.name));
    }
    note(format_args!("{said}: {}", args.output.display()));
    Ok(())
}
