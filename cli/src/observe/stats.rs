//! `coracle stats`, and what `coracle ps --json` says of a guest that runs.

use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::addresses;
use super::client::Client;
use super::clock::Clock;
use super::process::{self, TICKS_PER_SECOND};
use crate::args::StatsArgs;
use crate::error::{Error, Result, warn};
use crate::instances;
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
    /// What went over its network interface since boot.
    pub network: Traffic,
    /// Addresses of its network interface, those of IPv6 with the length of their prefix; the loopback's are left out.
    pub addresses: Vec<String>,
    /// What the clock is kept by.
    pub clock: Clock,
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
            clock: Clock::ask(client)?,
            context_switches: switches.and_then(|text| text.trim().parse().ok()).unwrap_or_default(),
            network: Traffic::of(&client.text("/proc/1/net/dev")?),
            addresses: addresses::of(client)?,
        })
    }
}

/// What went over the network interfaces of a guest, the loopback left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Packets that came and made no sense.
    pub received_errors: u64,
    /// Packets that came and were dropped.
    pub received_drops: u64,
    /// Packets that were to be sent and were dropped.
    pub sent_drops: u64,
}

impl Traffic {
    /// From the text of /proc/net/dev.
    fn of(text: &str) -> Traffic {
        let mut all = Traffic::default();
        for line in text.lines() {
            let of_interface = line.split_once(':').filter(|(name, _)| name.trim() != "lo");
            let Some((_, numbers)) = of_interface else { continue };
            let numbers: Vec<u64> = numbers.split_whitespace().map_while(|word| word.parse().ok()).collect();
            let at = |place: usize| numbers.get(place).copied().unwrap_or_default();
            all.received_bytes = all.received_bytes.saturating_add(at(0));
            all.received_errors = all.received_errors.saturating_add(at(2));
            all.received_drops = all.received_drops.saturating_add(at(3));
            all.sent_bytes = all.sent_bytes.saturating_add(at(8));
            all.sent_drops = all.sent_drops.saturating_add(at(11));
        }
        all
    }
}

/// Ticks in seconds.
pub fn seconds(ticks: u64) -> f64 {
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
    let names = if args.names.is_empty() { instances::running()? } else { args.names.clone() };
    for name in &names {
        let mut client = match Client::connect(name) {
            Ok(client) => client,
            // One that was not asked for, and can't be asked, hides no other.
            Err(error) if args.names.is_empty() => {
                warn(error);
                continue;
            }
            Err(error) => return Err(error),
        };
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
        "{:<20} {:>10} {:>6} {:>10} {:>24} {:>9} {:>8} {:<24} ADDRESSES",
        "NAME", "UP", "CPU %", "CPU TIME", "MEMORY", "PROCESSES", "THREADS", "CLOCK"
    ))?;
    for Line { name, cpu_percent, figures: own } in &all {
        let memory = format!("{} of {}", Size(own.memory_used_bytes), Size(own.memory_bytes));
        output::line(format_args!(
            "{name:<20} {:>8.0} s {cpu_percent:>6.0} {:>8.2} s {memory:>24} {:>9} {:>8} {:<24} {}",
            own.uptime_seconds,
            own.cpu_seconds,
            own.processes,
            own.threads,
            own.clock.to_string(),
            addresses::shown(&own.addresses)
        ))?;
    }
    Ok(())
}

/// A value as JSON.
pub fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::new("cannot write JSON").why(error))
}

#[cfg(test)]
mod tests {
    use super::Traffic;

    #[test]
    fn traffic_of_interfaces() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes    packets errs drop fifo\n    lo:   9 1 9 9 0 0 0 0 9 1 0 9 0 0 0 0\n  eth0:     751      11    1    2    0     0          0         0     1074      14    0    3    0     0       0          0\n";
        let wanted = Traffic {
            received_bytes: 751,
            sent_bytes: 1074,
            received_errors: 1,
            received_drops: 2,
            sent_drops: 3,
        };
        assert_eq!((Traffic::of(text), Traffic::of("eth0: x")), (wanted, Traffic::default()));
    }
}
