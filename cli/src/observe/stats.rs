//! `coracle stats`, `coracle top`, and what `coracle ps --json` says of a guest that runs.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::client::Client;
use super::process::{self, Stat, TICKS_PER_SECOND};
use crate::args::{StatsArgs, TopArgs};
use crate::error::{Error, Result};
use crate::output;
use crate::size::Size;

/// How long the share of the CPUs is measured.
const INTERVAL: Duration = Duration::from_millis(500);
/// Bytes in the kilobytes of /proc/meminfo.
const KILOBYTE: u64 = 1024;

/// A guest in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Seconds since its boot.
    pub uptime_seconds: f64,
    /// CPUs.
    pub cpus: u64,
    /// Seconds of CPU that its processes have used.
    pub cpu_seconds: f64,
    /// Bytes of memory that it has.
    pub memory_bytes: u64,
    /// Bytes of memory that are in use, the page cache and what can be reclaimed left out.
    pub memory_used_bytes: u64,
    /// Processes.
    pub processes: usize,
    /// Threads of all processes.
    pub threads: u64,
    /// Switches between threads since boot.
    pub context_switches: u64,
}

impl Figures {
    /// Asks a guest.
    pub fn ask(client: &mut Client) -> Result<Figures> {
        let uptime_seconds = process::seconds(&client.system_text("/proc/uptime")?);
        let stat = client.system_text("/proc/stat")?;
        let memory = client.system_text("/proc/meminfo")?;
        let processes = process::processes(client, None)?;
        let is_cpu = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        let switches = stat.lines().find_map(|line| line.strip_prefix("ctxt "));
        let value = |name| process::value(&memory, name).unwrap_or_default() * KILOBYTE;
        Ok(Figures {
            uptime_seconds,
            cpus: stat.lines().filter(is_cpu).count() as u64,
            cpu_seconds: seconds(processes.iter().map(|process| process.cpu_ticks).sum()),
            memory_bytes: value("MemTotal"),
            memory_used_bytes: value("MemTotal").saturating_sub(value("MemAvailable")),
            processes: processes.len(),
            threads: processes.iter().map(|process| u64::from(process.threads)).sum(),
            context_switches: switches.and_then(|text| text.trim().parse().ok()).unwrap_or_default(),
        })
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND as f64
}

/// A line of `coracle stats --json`.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    /// The share of one CPU that its processes used while it was measured, in percent.
    cpu_percent: f64,
    #[serde(flatten)]
    figures: Figures,
}

/// `coracle stats`
pub fn stats(args: &StatsArgs) -> Result<()> {
    let mut all = Vec::new();
    for name in &args.names {
        let mut client = Client::connect(name)?;
        let before = Figures::ask(&mut client)?;
        sleep(INTERVAL);
        let figures = Figures::ask(&mut client)?;
        let elapsed = (figures.uptime_seconds - before.uptime_seconds).max(INTERVAL.as_secs_f64() / 2.0);
        let cpu_percent = (100.0 * (figures.cpu_seconds - before.cpu_seconds).max(0.0) / elapsed).round();
        all.push(Line { name, cpu_percent, figures });
    }
    if args.json {
        return output::line(json(&all)?);
    }
    output::line(format_args!(
        "{:<20} {:>10} {:>6} {:>10} {:>24} {:>9} {:>8}",
        "NAME", "UP", "CPU %", "CPU TIME", "MEMORY", "PROCESSES", "THREADS"
    ))?;
    for Line { name, cpu_percent, figures: own } in &all {
        let memory = format!("{} of {}", Size(own.memory_used_bytes), Size(own.memory_bytes));
        output::line(format_args!(
            "{name:<20} {:>8.0} s {cpu_percent:>6.0} {:>8.2} s {memory:>24} {:>9} {:>8}",
            own.uptime_seconds, own.cpu_seconds, own.processes, own.threads
        ))?;
    }
    Ok(())
}

/// A value as JSON.
pub fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::new("cannot write JSON").why(error))
}

/// `coracle top`: threads by the CPU time that they used since they were looked at last.
pub fn top(args: &TopArgs) -> Result<()> {
    /// Clears a terminal, and goes to its first line (ECMA-48).
    const CLEAR: &str = "\x1b[H\x1b[2J";
    let mut client = Client::connect(&args.name)?;
    let mut before: HashMap<u32, u64> = HashMap::new();
    let interval = Duration::from_secs_f64(args.delay.clamp(0.1, 3600.0));
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    let mut round = 0;
    loop {
        let figures = Figures::ask(&mut client)?;
        let mut rows: Vec<(u64, u32, Stat, u64)> = Vec::new();
        for process in process::processes(&mut client, None)? {
            for thread in process::threads(&mut client, process.id)? {
                let used = before.get(&thread.id).map_or(0, |old| thread.cpu_ticks.saturating_sub(*old));
                before.insert(thread.id, thread.cpu_ticks);
                rows.push((used, process.id, thread, process.resident));
            }
        }
        rows.sort_by_key(|(used, pid, thread, _)| (std::cmp::Reverse(*used), *pid, thread.id));
        let memory = format!("{} of {}", Size(figures.memory_used_bytes), Size(figures.memory_bytes));
        let mut text = format!(
            "{clear}{}: up {:.0} s, {} CPUs, memory {memory}, {} processes, {} threads\n",
            client.name(),
            figures.uptime_seconds,
            figures.cpus,
            figures.processes,
            figures.threads
        );
        text +=
            &format!("{:>6} {:>6} S {:>6} {:>10} {:>10} NAME\n", "PID", "TID", "CPU %", "CPU TIME", "MEMORY");
        for (used, pid, thread, resident) in rows {
            let share = 100.0 * seconds(used) / interval.as_secs_f64();
            let (time, size) = (seconds(thread.cpu_ticks), Size(resident).to_string());
            text += &format!(
                "{pid:>6} {:>6} {} {share:>6.0} {time:>8.2} s {size:>10} {}\n",
                thread.id, thread.state, thread.name
            );
        }
        output::write(text.as_bytes())?;
        round += 1;
        if args.rounds.is_some_and(|rounds| round >= rounds) {
            return Ok(());
        }
        sleep(interval);
    }
}
