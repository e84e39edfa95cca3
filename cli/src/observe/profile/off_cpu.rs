//! Where threads sleep: the stacks of sleeping threads are looked at again and again, and how long each thread slept in all is what the
//! trace points of the scheduler say.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::Duration;

use coracle_control::{Moment, REGISTERS, Request, event};

use super::super::client::Client;
use super::super::events::{Event, Fetched};
use super::super::outside::Kernel;
use super::super::stack::{self, Thread};
use super::super::unwind::register;
use super::output::Found;
use super::resolve::{Frame, Resolver};
use super::sample::Copy;
use crate::error::Result;

/// Bytes of a program's stack that are read.
const PROGRAM_STACK: usize = 16 << 10;

/// What is known of a thread.
#[derive(Default)]
struct Sleeper {
    /// The CPU time that it had used when its stack was looked at: it has the same stack as long as that does not change.
    run_ns: u64,
    frames: Vec<Frame>,
    name: String,
    pid: u32,
    /// How long it slept with each stack, as far as seen, in nanoseconds.
    seen: HashMap<Vec<Frame>, u64>,
    /// When it fell asleep, if it sleeps.
    since_ns: Option<u64>,
    /// How long it slept, by the trace points.
    slept_ns: u64,
}

/// Looks at sleeping threads, until `is_over`, or the guest has ended. `pid`: of this process only; `has_lines`: with lines of sources.
pub fn take(
    client: &mut Client,
    kernel: &Kernel,
    (frequency, pid, has_lines): (u32, Option<u32>, bool),
    mut is_over: impl FnMut() -> bool,
) -> Result<Vec<Found>> {
    let period = Duration::from_secs(1) / frequency.max(1);
    let mut resolver = Resolver::new(kernel, has_lines);
    let mut sleepers: HashMap<u32, Sleeper> = HashMap::new();
    let traced = client.ask(Request::EventsStart(event::bit::SCHED))?.is_ok();
    let (mut last_ns, mut lost) = (None, 0);
    'looks: loop {
        let is_last = is_over();
        let looked = stack::threads(client);
        let Some((moment, threads)) = client.while_it_runs(looked)? else { break };
        let since_ns = last_ns.unwrap_or(moment.now_ns);
        last_ns = Some(moment.now_ns);
        for thread in threads.iter().filter(|thread| thread.is_asleep()) {
            if pid.is_some_and(|pid| u64::from(pid) != thread.record.pid) {
                continue;
            }
            let tid = u32::try_from(thread.record.tid).unwrap_or_default();
            // From here on its events say when it falls asleep.
            let own = sleepers
                .entry(tid)
                .or_insert_with(|| Sleeper { since_ns: Some(since_ns), ..Sleeper::default() });
            if own.frames.is_empty() || own.run_ns != thread.record.run_ns {
                let frames = frames(thread, &moment, kernel, &mut resolver, client);
                let Some(frames) = client.while_it_runs(frames)? else { break 'looks };
                own.frames = frames;
                own.run_ns = thread.record.run_ns;
            }
            own.name.clone_from(&thread.name);
            own.pid = u32::try_from(thread.record.pid).unwrap_or_default();
            *own.seen.entry(own.frames.clone()).or_default() += moment.now_ns - since_ns;
        }
        if traced {
            let answer = client.ask(Request::EventsFetch);
            let Some(answer) = client.while_it_runs(answer)? else { break };
            let fetched = Fetched::parse(&answer.unwrap_or_default());
            lost += fetched.lost;
            fetched.events.iter().for_each(|event| account(event, &mut sleepers));
        }
        if is_last {
            break;
        }
        sleep(period.min(Duration::from_millis(50)));
    }
    if traced {
        let stopped = client.ask(Request::EventsStop);
        client.while_it_runs(stopped)?;
    }
    let end_ns = last_ns.unwrap_or_default();
    let mut found = Vec::new();
    for (tid, mut own) in sleepers {
        if let Some(since_ns) = own.since_ns {
            own.slept_ns += end_ns.saturating_sub(since_ns);
        }
        let seen_ns: u64 = own.seen.values().sum();
        // Where events were lost, what was seen has to do.
        let slept_ns = if traced && lost == 0 { own.slept_ns } else { seen_ns };
        for (frames, ns) in own.seen {
            let weight = u128::from(ns) * u128::from(slept_ns) / u128::from(seen_ns.max(1));
            let weight = u64::try_from(weight).unwrap_or(u64::MAX);
            let thread = (own.pid, tid, own.name.clone());
            found.push(Found { thread, cpu: 0, time_ns: end_ns, frames, weight });
        }
    }
    Ok(found)
}

/// Counts the sleep that an event begins or ends.
fn account(event: &Event, sleepers: &mut HashMap<u32, Sleeper>) {
    let tid = |word: u64| word as u32;
    let (asleep, awake) = match event.record.kind {
        event::SWITCH => {
            (Some(tid(event.record.b)).filter(|_| event.record.small != 0), Some(tid(event.record.a)))
        }
        event::IDLE => (Some(tid(event.record.a)), None),
        event::RESUME => (None, Some(tid(event.record.a))),
        _ => return,
    };
    if let Some(own) = awake.and_then(|tid| sleepers.get_mut(&tid))
        && let Some(since_ns) = own.since_ns.take()
    {
        own.slept_ns += event.time_ns.saturating_sub(since_ns);
    }
    if let Some(own) = asleep.and_then(|tid| sleepers.get_mut(&tid)) {
        own.since_ns.get_or_insert(event.time_ns);
    }
}

/// The frames of a thread that sleeps.
fn frames(
    thread: &Thread,
    moment: &Moment,
    kernel: &Kernel,
    resolver: &mut Resolver<'_>,
    client: &mut Client,
) -> Result<Vec<Frame>> {
    debug_assert!(REGISTERS.contains(&"rip"));
    let (kernel_addresses, program) = stack::kernel_addresses(thread, &kernel.module, moment);
    let mut all = resolver.kernel_frames(&kernel_addresses);
    if let Some(registers) = program
        && let Some(start) = registers[register::RSP]
    {
        let pid = u32::try_from(thread.record.pid).unwrap_or_default();
        let stack = Copy { start, bytes: client.memory(pid, start, PROGRAM_STACK)? };
        all.extend(resolver.program_frames(pid, registers, &stack, client)?);
    }
    Ok(all)
}
