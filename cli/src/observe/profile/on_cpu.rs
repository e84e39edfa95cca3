//! Where time goes: at each moment of a sample the machine is stopped, and its CPUs are looked at from outside. So the kernel is seen,
//! too, which runs with interrupts off; the guest's own clock stands still meanwhile.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::super::client::Client;
use super::super::outside::{Kernel, Layout, Outside};
use super::output::Found;
use super::resolve::{Frame, Resolver};
use super::sample::{self, Sample};
use crate::error::Result;

/// The name of the kernel's thread that answers requests: what it does is for the profile.
const ANSWERING: &str = "control";

/// What was taken.
pub struct Taken {
    /// The stacks.
    pub found: Vec<Found>,
    /// How often the machine was looked at.
    pub looks: u64,
    /// How many of its CPUs were waiting then, of how many.
    pub idle: (u64, u64),
}

/// Takes samples, until `is_over`, which is told how many there are, or the guest has ended. `pid`: of this process only; `has_lines`: with lines of sources.
pub fn take(
    client: &mut Client,
    kernel: &Kernel,
    (frequency, pid, has_lines): (u32, Option<u32>, bool),
    mut is_over: impl FnMut(u64) -> bool,
) -> Result<Taken> {
    let period = Duration::from_secs(1) / frequency.max(1);
    let mut resolver = Resolver::new(kernel, has_lines);
    let mut layout = None;
    let mut taken = Taken { found: Vec::new(), looks: 0, idle: (0, 0) };
    let start = Instant::now();
    let mut next = start;
    'samples: while !is_over(taken.found.len() as u64) {
        let time_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let looked = look(client, kernel, &mut layout);
        let Some((samples, cpus)) = client.while_it_runs(looked)? else { break };
        taken.looks += 1;
        taken.idle.0 += cpus - samples.len() as u64;
        taken.idle.1 += cpus;
        for sample in samples.into_iter().filter(|sample| is_wanted(sample, pid)) {
            let frames = resolver.frames(&sample, client);
            let Some(frames) = client.while_it_runs(frames)? else { break 'samples };
            taken.found.push(found(&sample, frames, time_ns, 1));
        }
        next += period;
        // What could not be done in time is not made up for: samples would bunch.
        next = next.max(Instant::now());
        sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(taken)
}

/// Whether a sample is not of what is done for the profile, and of the process that is profiled.
pub fn is_wanted(sample: &Sample, pid: Option<u32>) -> bool {
    let running = &sample.running;
    let is_own = running.pid == 0 && running.name == ANSWERING;
    !is_own && pid.is_none_or(|pid| pid == running.pid)
}

/// A sample with its frames.
pub fn found(sample: &Sample, frames: Vec<Frame>, time_ns: u64, weight: u64) -> Found {
    let running = &sample.running;
    Found {
        thread: (running.pid, running.tid, running.name.clone()),
        cpu: sample.cpu,
        time_ns,
        frames,
        weight,
    }
}

/// Looks at all CPUs at one moment; returns what those do that do not wait, and how many there are.
fn look(client: &mut Client, kernel: &Kernel, layout: &mut Option<Layout>) -> Result<(Vec<Sample>, u64)> {
    let mut outside = Outside::of(client);
    outside.pause()?;
    let cpus = outside.cpus()?;
    let mut samples = Vec::new();
    for cpu in &cpus {
        let layout = match &*layout {
            Some(layout) => layout,
            None => layout.insert(outside.layout(kernel, cpu)?),
        };
        samples.extend(sample::take(&mut outside, &kernel.module, layout, cpu)?);
    }
    outside.resume()?;
    Ok((samples, cpus.len() as u64))
}
