//! `coracle stack` of a guest that does not answer: what its CPUs do, as far as that is seen from outside, and what they did last.

use std::fmt::Write as _;

use coracle_control::CpuRecord;

use super::client::Client;
use super::events::{Event, Names, line};
use super::outside::{KERNEL_HALF, Kernel, Layout, Outside, registers};
use super::profile::{Copy, kernel_frames};
use crate::error::{Result, warn};
use crate::output;

/// Events that are shown at most.
const MOST_EVENTS: u64 = 1000;
/// The bit of rflags that says that interrupts are on (Intel SDM volume 1, 3.4.3.3).
const INTERRUPTS: u64 = 1 << 9;

/// Shows the CPUs and the flight recorder.
///
/// # Errors
/// If its machine can't be looked at either.
pub fn show(client: &mut Client) -> Result<()> {
    warn(format_args!("`{}` does not answer: this is what is seen of it from outside", client.name()));
    let kernel = Kernel::load()?;
    let mut outside = Outside::of(client);
    outside.pause()?;
    let cpus = outside.cpus()?;
    let (mut text, mut events, mut names) = (String::new(), Vec::new(), Names::new());
    for cpu in &cpus {
        match outside.layout(&kernel, cpu) {
            Ok(layout) => {
                text += &one(&mut outside, &kernel, &layout, cpu, &mut names)?;
                let last = outside.events(&layout, cpu, MOST_EVENTS)?;
                let clock = outside.clock(&kernel, &layout, cpu)?.unwrap_or_default();
                events.extend(last.into_iter().map(|record| Event::new(&clock, cpu.number, record)));
            }
            Err(error) => {
                let _ = writeln!(text, "CPU {}: at {:#x}, its stack at {:#x}", cpu.number, cpu.rip, cpu.rsp);
                warn(error);
            }
        }
    }
    outside.resume()?;
    text += &recorded(events, &names);
    output::write(text.as_bytes())
}

/// A CPU in words.
fn one(
    outside: &mut Outside<'_>,
    kernel: &Kernel,
    layout: &Layout,
    cpu: &CpuRecord,
    names: &mut Names,
) -> Result<String> {
    let mut text = format!("CPU {}: ", cpu.number);
    let interrupts = if cpu.rflags & INTERRUPTS == 0 { "off" } else { "on" };
    text += match (cpu.halted != 0, cpu.rip >= KERNEL_HALF) {
        (true, _) => "waits for an interrupt",
        (false, true) => "in the kernel",
        (false, false) => "in a program",
    };
    let _ = write!(text, ", interrupts {interrupts}");
    let running = outside.running(layout, cpu)?;
    if let Some(running) = &running {
        if running.pid == 0 {
            text += ", on a stack of the kernel's own";
        } else {
            names.insert(running.tid, running.name.clone());
            let _ = write!(text, ", thread {} \"{}\" of process {}", running.tid, running.name, running.pid);
        }
    }
    text.push('\n');
    if cpu.rip >= KERNEL_HALF {
        let stack = Copy { start: cpu.rsp, bytes: outside.kernel_stack(cpu, running.as_ref())? };
        let frames = kernel_frames(&kernel.module, layout.slide, registers(cpu), &stack);
        for address in frames.addresses {
            for named in kernel.module.named(address, 0) {
                let _ = writeln!(text, "  {}{}", named.name(), named.at());
            }
        }
    } else {
        let _ = writeln!(text, "  {:#x} of the program, its stack at {:#x}", cpu.rip, cpu.rsp);
    }
    let saved = running.filter(|running| running.pid != 0 && cpu.rip >= KERNEL_HALF);
    if let Some(saved) = saved.map(|running| outside.saved(cpu, &running)).transpose()?.flatten() {
        let register = |name| saved.iter().zip(coracle_control::REGISTERS).find(|(_, own)| *own == name);
        if let (Some((rip, _)), Some((rsp, _))) = (register("rip"), register("rsp")) {
            let _ = writeln!(text, "  from {rip:#x} of the program, its stack at {rsp:#x}");
        }
    }
    Ok(text)
}

/// The events of all CPUs.
fn recorded(mut all: Vec<Event>, names: &Names) -> String {
    if all.is_empty() {
        return "no events are recorded: `coracle run --flight-recorder` has them noted\n".to_owned();
    }
    all.sort_by_key(|event| event.time_ns);
    let all = &all[all.len().saturating_sub(usize::try_from(MOST_EVENTS).unwrap_or(usize::MAX))..];
    let mut text = format!("the last {} events, the oldest first:\n", all.len());
    all.iter().for_each(|event| text += &line(event, names));
    text
}
