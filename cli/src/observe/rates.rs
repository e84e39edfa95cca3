//! What `coracle top` says of a guest as a whole: what it has, and what happens in a second.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::metrics::Values;
use crate::size::Size;

/// Bytes of memory, by kind.
#[derive(Serialize)]
struct Memory {
    total_bytes: u64,
    free_bytes: u64,
    /// Of programs and the kernel.
    anonymous_bytes: u64,
    cached_bytes: u64,
    dirty_bytes: u64,
}

/// An interface. Rates are those of a second.
#[derive(Serialize)]
struct Interface {
    device: String,
    receive_bytes_per_second: f64,
    transmit_bytes_per_second: f64,
    /// Packets that were dropped since boot.
    receive_drops: u64,
    transmit_drops: u64,
    receive_errors: u64,
}

/// A disk. Rates are those of a second.
#[derive(Serialize)]
struct Disk {
    device: String,
    read_bytes_per_second: f64,
    write_bytes_per_second: f64,
}

/// A guest as a whole.
#[derive(Serialize)]
pub struct Rates {
    name: String,
    uptime_seconds: f64,
    cpus: usize,
    /// The share of one CPU.
    cpu_percent: f64,
    processes: u64,
    threads_in_all: u64,
    context_switches_per_second: f64,
    page_faults_per_second: f64,
    memory: Memory,
    interfaces: Vec<Interface>,
    tcp_retransmitted_segments_per_second: f64,
    /// Connections of TCP by state.
    tcp_connections: BTreeMap<String, u64>,
    disks: Vec<Disk>,
}

/// Values, and when they were asked for.
pub type At<'a> = (&'a Values, Instant);

impl Rates {
    /// From two looks at a guest; without the one before, nothing happens in a second.
    pub fn between(name: &str, (values, at): At<'_>, before: Option<At<'_>>) -> Rates {
        let elapsed = before.map_or(0.0, |(_, before)| (at - before).as_secs_f64());
        let rate = |family: &str, label: Option<(&str, &str)>| match before {
            Some((before, _)) if elapsed > 0.0 => {
                (values.sum(family, label) - before.sum(family, label)).max(0.0) / elapsed
            }
            _ => 0.0,
        };
        let whole = |number: f64| number.max(0.0) as u64;
        let one = |family| whole(values.sum(family, None));
        let memory = |kind| whole(values.sum("coracle_memory_bytes", Some(("kind", kind))));
        let devices = |family: &str| -> Vec<String> {
            values.of(family, None).map(|(device, _)| device.to_owned()).collect()
        };
        let states = values.of("coracle_tcp_connections", None).filter(|(_, count)| *count > 0.0);
        let interface = |device: &String| {
            let own = Some(("device", device.as_str()));
            Interface {
                receive_bytes_per_second: rate("coracle_network_receive_bytes", own),
                transmit_bytes_per_second: rate("coracle_network_transmit_bytes", own),
                receive_drops: whole(values.sum("coracle_network_receive_drops", own)),
                transmit_drops: whole(values.sum("coracle_network_transmit_drops", own)),
                receive_errors: whole(values.sum("coracle_network_receive_errors", own)),
                device: device.clone(),
            }
        };
        let disk = |device: &String| {
            let own = Some(("device", device.as_str()));
            Disk {
                read_bytes_per_second: rate("coracle_disk_read_bytes", own),
                write_bytes_per_second: rate("coracle_disk_write_bytes", own),
                device: device.clone(),
            }
        };
        Rates {
            name: name.to_owned(),
            uptime_seconds: values.sum("coracle_uptime_seconds", None),
            cpus: values.of("coracle_cpu_seconds", Some(("mode", "idle"))).count(),
            cpu_percent: 100.0 * rate("coracle_cpu_seconds", Some(("mode", "busy"))),
            processes: one("coracle_processes"),
            threads_in_all: one("coracle_threads"),
            context_switches_per_second: rate("coracle_context_switches", None),
            page_faults_per_second: rate("coracle_page_faults", None),
            memory: Memory {
                total_bytes: memory("total"),
                free_bytes: memory("free"),
                anonymous_bytes: memory("anonymous"),
                cached_bytes: memory("cached"),
                dirty_bytes: memory("dirty"),
            },
            interfaces: devices("coracle_network_receive_bytes").iter().map(interface).collect(),
            tcp_retransmitted_segments_per_second: rate("coracle_tcp_retransmitted_segments", None),
            tcp_connections: states.map(|(state, count)| (state.to_owned(), whole(count))).collect(),
            disks: devices("coracle_disk_read_bytes").iter().map(disk).collect(),
        }
    }

    /// As lines of text.
    pub fn lines(&self) -> Vec<String> {
        let Memory { total_bytes, free_bytes, anonymous_bytes, cached_bytes, dirty_bytes } = self.memory;
        let mut lines = vec![
            format!(
                "{}: up {:.0} s, {} CPUs, {:.0} % CPU, {} processes, {} threads, {:.0} switches/s, {:.0} faults/s",
                self.name,
                self.uptime_seconds,
                self.cpus,
                self.cpu_percent,
                self.processes,
                self.threads_in_all,
                self.context_switches_per_second,
                self.page_faults_per_second,
            ),
            format!(
                "memory: {} of programs and kernel, {} cached, {} dirty, {} free, {} in all",
                Size(anonymous_bytes),
                Size(cached_bytes),
                Size(dirty_bytes),
                Size(free_bytes),
                Size(total_bytes),
            ),
        ];
        let per_second = |bytes: f64| Size(bytes.max(0.0) as u64);
        for own in self.interfaces.iter().filter(|own| own.device != "lo") {
            let states: Vec<String> =
                self.tcp_connections.iter().map(|(state, count)| format!("{count} {state}")).collect();
            let connections = if states.is_empty() { "none".to_owned() } else { states.join(", ") };
            lines.push(format!(
                "{}: {}/s in, {}/s out; {} dropped; {:.0} retransmitted/s; connections: {connections}",
                own.device,
                per_second(own.receive_bytes_per_second),
                per_second(own.transmit_bytes_per_second),
                own.receive_drops + own.transmit_drops,
                self.tcp_retransmitted_segments_per_second,
            ));
        }
        for own in &self.disks {
            lines.push(format!(
                "{}: {}/s read, {}/s written",
                own.device,
                per_second(own.read_bytes_per_second),
                per_second(own.write_bytes_per_second)
            ));
        }
        lines
    }
}
