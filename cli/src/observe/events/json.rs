//! Events for trace viewers: the JSON of the Trace Event Format, which Perfetto and chrome://tracing load.
//!
//! A thread has a track of its own with a slice for each time that it ran, and so has each CPU, with the threads' names. Requests to
//! disks are slices, too. All else are instants.

use std::collections::{BTreeSet, HashMap};

use coracle_control::event;
use serde_json::{Value, json};

use super::decode::Event;
use super::text::{Names, describe, is_of_program, operation, pid, thread, tid};

/// The process of the CPUs' tracks: no number that Linux gives to a process (proc_sys_kernel(5), `pid_max`).
const CPUS: u32 = 1 << 23;

/// A time as the format has it: microseconds.
fn time(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Collects the events of a trace.
#[derive(Default)]
pub struct Trace {
    all: Vec<Value>,
    /// The thread that each CPU runs, and since when.
    running: HashMap<u64, (u64, u64)>,
    /// Requests to disks that are not done: of each batch its operation and when it was given.
    requests: HashMap<u64, Vec<(u16, u64, u64)>>,
    /// Threads that were seen: process and number.
    threads: BTreeSet<(u32, u32)>,
    cpus: BTreeSet<u64>,
    last_ns: u64,
}

impl Trace {
    /// Takes an event, not before the last one of its CPU.
    pub fn take(&mut self, event: &Event, names: &Names) {
        let record = &event.record;
        self.last_ns = self.last_ns.max(event.time_ns);
        self.cpus.insert(event.cpu);
        match record.kind {
            event::SWITCH => {
                let since = self.running.get(&event.cpu).map_or(event.time_ns, |(_, since)| *since);
                // What ran before the first switch is known by it.
                self.running.insert(event.cpu, (record.b, since));
                self.end(event.cpu, event.time_ns, names);
                self.running.insert(event.cpu, (record.a, event.time_ns));
            }
            event::IDLE => {
                self.end(event.cpu, event.time_ns, names);
            }
            event::RESUME => {
                // A switch may have said so already.
                self.running.entry(event.cpu).or_insert((record.a, event.time_ns));
            }
            event::BLOCK_ISSUE => {
                let request = (record.small, record.a, event.time_ns);
                self.requests.entry(record.b >> 32).or_default().push(request);
            }
            event::BLOCK_DONE => {
                let open = self.requests.get_mut(&(record.b >> 32)).filter(|open| !open.is_empty());
                if let Some((kind, sector, since)) = open.map(|open| open.remove(0)) {
                    let id = format!("{:#x}", since);
                    let name = operation(kind);
                    for (phase, ns) in [("b", since), ("e", event.time_ns)] {
                        self.all.push(json!({
                            "name": name, "cat": "block", "ph": phase, "id": id, "ts": time(ns), "pid": CPUS,
                            "tid": event.cpu, "args": { "sector": sector },
                        }));
                    }
                }
            }
            _ => self.instant(event, names),
        }
    }

    /// What happens in the thread that runs, or on the CPU.
    fn instant(&mut self, event: &Event, names: &Names) {
        let (name, details) = describe(event, names);
        let (process, thread) = match self.running.get(&event.cpu) {
            Some((who, _)) if is_of_program(*who) => (pid(*who), u64::from(tid(*who))),
            _ => (CPUS, event.cpu),
        };
        self.all.push(json!({
            "name": name, "cat": "event", "ph": "i", "s": "t", "ts": time(event.time_ns), "pid": process, "tid": thread,
            "args": { "details": details },
        }));
    }

    /// The thread that a CPU runs stops to do so.
    fn end(&mut self, cpu: u64, now_ns: u64, names: &Names) {
        let Some((who, since_ns)) = self.running.remove(&cpu) else { return };
        if !is_of_program(who) {
            return;
        }
        self.threads.insert((pid(who), tid(who)));
        let mut slice = |name: String, process: u32, thread: u64| {
            self.all.push(json!({
                "name": name, "cat": "sched", "ph": "X", "ts": time(since_ns), "dur": time(now_ns.saturating_sub(since_ns)),
                "pid": process, "tid": thread, "args": { "cpu": cpu },
            }));
        };
        slice("running".to_owned(), pid(who), tid(who).into());
        slice(thread(who, names), CPUS, cpu);
    }

    /// The whole file.
    pub fn finish(mut self, guest: &str, names: &Names) -> Value {
        let now_ns = self.last_ns;
        for cpu in self.cpus.clone() {
            self.end(cpu, now_ns, names);
        }
        let mut all = Vec::new();
        let mut named = |kind: &str, process: u32, thread: u64, name: String| {
            all.push(json!({
                "name": kind, "ph": "M", "pid": process, "tid": thread, "args": { "name": name },
            }));
        };
        named("process_name", CPUS, 0, format!("CPUs of {guest}"));
        self.cpus.iter().for_each(|&cpu| named("thread_name", CPUS, cpu, format!("CPU {cpu}")));
        let mut last = None;
        for (process, thread) in self.threads {
            // A process is called as its first thread is.
            let name = |tid: u32| names.get(&tid).cloned().unwrap_or_else(|| format!("thread {tid}"));
            if last != Some(process) {
                let name = if process == 0 { "kernel".to_owned() } else { name(process) };
                named("process_name", process, thread.into(), name);
            }
            last = Some(process);
            named("thread_name", process, thread.into(), name(thread));
        }
        all.append(&mut self.all);
        json!({ "traceEvents": all, "displayTimeUnit": "ns", "otherData": { "guest": guest } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_control::EventRecord;

    #[test]
    fn threads_have_slices_and_names() {
        let names = Names::from([(5, "web".to_owned()), (6, "worker".to_owned())]);
        let event = |time_ns, kind, small, a, b| Event {
            time_ns,
            cpu: 0,
            record: EventRecord { ticks: 0, kind, small, a, b },
        };
        let (web, worker) = (5 << 32 | 5, 5 << 32 | 6);
        let mut trace = Trace::default();
        let all = [
            event(1000, event::SWITCH, 1, web, 0),
            event(2000, event::WAKE, 1, worker, 0),
            event(3000, event::SWITCH, 1, worker, web),
            event(4000, event::BLOCK_ISSUE, 1, 8, 7 << 32 | 512),
            event(6000, event::BLOCK_DONE, 0, 0, 7 << 32),
            event(7000, event::IDLE, 0, worker, 0),
            event(9000, event::RESUME, 0, worker, 0),
            event(9500, event::WAKE, 1, web, 0),
        ];
        all.iter().for_each(|event| trace.take(event, &names));
        let value = trace.finish("web", &names);
        let events = value["traceEvents"].as_array().unwrap();
        let slices: Vec<_> = events
            .iter()
            .filter(|event| event["ph"] == "X" && event["pid"] == 5)
            .map(|event| {
                (
                    event["tid"].as_u64().unwrap(),
                    event["ts"].as_f64().unwrap(),
                    event["dur"].as_f64().unwrap(),
                )
            })
            .collect();
        assert_eq!(slices, [(5, 1.0, 2.0), (6, 3.0, 4.0), (6, 9.0, 0.5)]);
        let is_named = |tid: u64, name: &str| {
            events.iter().any(|event| {
                event["name"] == "thread_name" && event["tid"] == tid && event["args"]["name"] == name
            })
        };
        assert!(is_named(5, "web") && is_named(6, "worker") && is_named(0, "CPU 0"));
        let wake = events.iter().find(|event| event["name"] == "wake").unwrap();
        assert_eq!((wake["ph"].as_str(), wake["tid"].as_u64()), (Some("i"), Some(5)));
        let phases: Vec<_> =
            events.iter().filter(|event| event["cat"] == "block").map(|event| &event["ph"]).collect();
        assert_eq!(phases, ["b", "e"]);
    }
}
