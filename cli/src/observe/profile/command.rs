//! The command.

use std::fs::OpenOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::client::Client;
use super::super::outside::Kernel;
use super::output::{Format, Measure, Profile};
use super::{off_cpu, on_cpu};
use crate::args::ProfileArgs;
use crate::error::{Error, Result, cannot, note, warn};

/// `coracle profile`
pub fn profile(args: &ProfileArgs) -> Result<()> {
    // Before anything is measured.
    let format = Format::of(&args.output)?;
    let opened = OpenOptions::new().append(true).create(true).open(&args.output);
    opened.map_err(|error| cannot("write", &args.output, &error))?;
    let kernel = Kernel::load()?;
    let mut client = Client::connect(&args.name)?;
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| Error::new("cannot wait for signals").why(error))?;
    }
    let (start, time) = (Instant::now(), Duration::from_secs_f64(args.time.0));
    let is_over = || start.elapsed() >= time || ended.load(Ordering::SeqCst);
    let how = (args.frequency, args.pid, format.has_lines());
    let mut profile = Profile {
        guest: args.name.clone(),
        measure: if args.off_cpu { Measure::Sleep } else { Measure::Samples },
        frequency: args.frequency,
        duration_ns: 0,
        found: Vec::new(),
    };
    let said = if args.off_cpu {
        profile.found = off_cpu::take(&mut client, &kernel, how, is_over)?;
        format!("{} stacks", profile.found.len())
    } else {
        let taken = on_cpu::take(&mut client, &kernel, how, is_over)?;
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
    note(format_args!("{said}: {}", args.output.display()));
    Ok(())
}
