//! Where instructions go: the machine counts them, and once in every N the CPU is held that executes them, until it was looked at
//! from outside. The guest's own clock counts instructions, too, so that it does not notice.

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use coracle_control::{Request, SampleRecord};

use super::super::client::Client;
use super::super::outside::{Kernel, Layout, Outside};
use super::on_cpu::{found, is_wanted};
use super::output::Found;
use super::resolve::Resolver;
use super::sample::{self, Sample};
use crate::error::{Error, Result};

/// Bits of an address within a page, which all mappings of a page have in common.
const IN_PAGE: u64 = 4095;

/// How long the guest may take to say what a process has mapped: with samples that are close together it comes to little, and QEMU
/// gives each of its CPUs a tenth of a second of its own clock.
const PATIENCE: Duration = Duration::from_secs(120);

/// A sample, and when it was taken, in nanoseconds since the profile began.
type Timed = (u64, Sample);

/// Takes a sample in every `period` instructions, until `is_over`, which is told how many there are, or the guest has ended. `pid`: of this process only;
/// `has_lines`: with lines of sources. The kernel's functions are found on two threads, each with its own copy. Returns them, and of how many samples they were chosen.
pub fn take(
    client: &mut Client,
    (kernel, own): (&Kernel, Kernel),
    (period, pid, has_lines): (u64, Option<u32>, bool),
    is_over: impl FnMut(u64) -> bool + Send,
) -> Result<(Vec<Found>, u64)> {
    let mut resolver = Resolver::new(kernel, has_lines);
    let mut holder = Client::connect(client.name())?;
    begin(&mut holder, period)?;
    client.set_patience(PATIENCE)?;
    thread::scope(|scope| {
        let (to, samples) = channel();
        // The guest is asked for what its processes have mapped, and may be held before it has answered: that is for another thread.
        let holding = scope.spawn(move || hold(&mut holder, &own, pid, is_over, &to));
        let mut all = Vec::new();
        for (time_ns, sample) in samples {
            let frames = resolver.frames(&sample, client);
            let Some(frames) = client.while_it_runs(frames)? else { break };
            all.push(found(&sample, frames, time_ns, period));
        }
        let count = holding.join().map_err(|_| Error::new("the samples are not taken to their end"))??;
        Ok((all, count))
    })
}

/// Takes samples until `is_over`, or nobody takes them; returns how many there were, those included that are not wanted.
fn hold(
    holder: &mut Client,
    kernel: &Kernel,
    pid: Option<u32>,
    mut is_over: impl FnMut(u64) -> bool,
    to: &Sender<Timed>,
) -> Result<u64> {
    let (mut layout, mut count, mut wanted) = (None, 0, 0);
    let start = Instant::now();
    while !is_over(wanted) {
        let time_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let sampled = sample(holder, kernel, &mut layout);
        let Some(sampled) = holder.while_it_runs(sampled)? else { return Ok(count) };
        let Some(sample) = sampled else { continue };
        count += 1;
        if let Some(sample) = sample.filter(|sample| is_wanted(sample, pid)) {
            wanted += 1;
            if to.send((time_ns, sample)).is_err() {
                break;
            }
        }
    }
    let ended = begin(holder, 0);
    holder.while_it_runs(ended)?;
    Ok(count)
}

/// Waits for the guest to be held, looks at it, and lets it go on. `None`: it was not held; `Some(None)`: nothing was seen.
fn sample(
    holder: &mut Client,
    kernel: &Kernel,
    layout: &mut Option<Layout>,
) -> Result<Option<Option<Sample>>> {
    let mut outside = Outside::of(holder);
    let Some(held) = outside.sample()? else { return Ok(None) };
    let sample = look(&mut outside, kernel, layout, held)?;
    outside.resume()?;
    Ok(Some(sample))
}

/// Begins, or ends with a period of 0.
fn begin(client: &mut Client, period: u64) -> Result<()> {
    let Err(error) = client.ask(Request::MachineSampling(period))? else { return Ok(()) };
    let refused = Error::new(format!("cannot take samples of `{}` by instructions", client.name()));
    Err(match i32::from(error) {
        libc::ENOENT | libc::ENOSYS => refused
            .why("it was not started with `--count-instructions`, by which QEMU counts them from the start")
            .help(format!("coracle run --count-instructions --name {} …", client.name()))
            .help("leave out `--instructions`, to take samples by time"),
        libc::EBUSY => refused.why("another command has stopped its machine, or takes samples"),
        other => refused.why(std::io::Error::from_raw_os_error(other)),
    })
}

/// Looks at the CPU that is held.
fn look(
    outside: &mut Outside<'_>,
    kernel: &Kernel,
    layout: &mut Option<Layout>,
    held: SampleRecord,
) -> Result<Option<Sample>> {
    let cpus = outside.cpus()?;
    let Some(mut cpu) = cpus.into_iter().find(|cpu| cpu.number == held.number) else { return Ok(None) };
    // Where QEMU does not keep the program counter up to date between blocks, it knows the block's address; where one block serves
    // all mappings of its page, the program counter is right.
    if cpu.rip & IN_PAGE != held.address & IN_PAGE {
        cpu.rip = held.address;
    }
    // It executes.
    cpu.halted = 0;
    let layout = match &*layout {
        Some(layout) => layout,
        None => layout.insert(outside.layout(kernel, &cpu)?),
    };
    sample::take(outside, &kernel.module, layout, &cpu)
}
