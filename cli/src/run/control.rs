//! The control channel: what the kernel reports beside the program's own output.
//!
//! The kernel writes lines. The first letter says what they are: `L` a line of its log, `P` a line of a crash report,
//! `U` what is needed to unwind the program that crashed, `E` an event before a crash, `C` that a process which crashed waits for its core dump, `S` the exit status of the program, `R` that the console takes input
//! from now on, `W` how much was written to memory only, `D` a volume whose disk did not take all that was written, `J` what a job of the schedule has done.

use std::fmt;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};

use coracle_control::{CronRecord, EventRecord, EventsHead};

use super::crash::Reports;
use crate::error::note;
use crate::observe::{Event, Names, line};
use crate::size::Size;

/// How the kernel begins its report of a process that it kills for its memory.
const OUT_OF_MEMORY: &str = "out of memory: process ";

/// What the program wrote that ends with the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    bytes: Size,
    /// The file that was written first.
    first: String,
}

impl Lost {
    /// Reads `BYTES PATH`.
    fn parse(text: &str) -> Option<Self> {
        let (bytes, first) = text.split_once(' ')?;
        Some(Lost { bytes: Size(bytes.parse().ok()?), first: safe(first) })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lost { bytes, first } = self;
        write!(
            f,
            "the program wrote {bytes} to files that were in memory and are gone (the first was `{first}`); \
             `-v NAME:DIRECTORY` keeps what is in a directory"
        )
    }
}

/// What came over the channel, when it is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status of the program, if it was reported.
    pub status: Option<u8>,
    /// Whether a crash was reported.
    pub crashed: bool,
    /// Whether a process was killed because the memory was used up.
    pub out_of_memory: bool,
    /// What was written to memory only, if anything was.
    pub lost: Option<Lost>,
    /// The volumes whose disks did not take all that was written to them.
    pub unsynced: Vec<String>,
    /// What the kernel did before it reported a crash, in words, a line each.
    pub events: String,
    /// What the jobs of the schedule have done, in their order.
    pub jobs: Vec<CronRecord>,
}

/// Reads the channel to its end: shows its lines by `show`, calls `ready` when the console takes input, and
/// `dump` with what is said of a process that waits for its core dump.
pub fn follow(channel: impl Read, show: impl Fn(&str), ready: impl Fn(), dump: impl Fn(&str)) -> Outcome {
    let mut outcome = Outcome::default();
    let mut recorder = Recorder::default();
    let mut reports = Reports::default();
    let mut reader = BufReader::new(channel);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(length) if length > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        match (text.get(..1), text.get(1..).unwrap_or_default()) {
            (Some("S"), status) => match status.trim().parse() {
                Ok(status) => outcome.status = Some(status),
                Err(_) => show(&format!("the kernel told an unknown status: {status}")),
            },
            (Some("W"), text) => outcome.lost = Lost::parse(text),
            (Some("D"), path) => outcome.unsynced.push(safe(path)),
            (Some("E"), words) => recorder.take(words),
            (Some("J"), words) => outcome.jobs.extend(job(words)),
            (Some("R"), "") => ready(),
            (Some("C"), text) => dump(text),
            (Some("L"), text) => {
                outcome.out_of_memory |= text.starts_with(OUT_OF_MEMORY);
                show(text);
            }
            (Some("P"), text) => {
                outcome.crashed = true;
                reports.line(text).iter().for_each(|line| show(line));
            }
            (Some("U"), text) => reports.unwind(text).iter().for_each(|line| show(line)),
            _ => show(text),
        }
        line.clear();
    }
    reports.end().iter().for_each(|line| show(line));
    outcome.events = recorder.text();
    outcome
}

/// Reads what a job has done.
fn job(words: &str) -> Option<CronRecord> {
    let mut words = words.split(' ').map(|word| word.parse().ok());
    let mut next = || words.next().flatten();
    Some(CronRecord {
        starts: next()?,
        skipped: next()?,
        started_s: next()?,
        ended_s: next()?,
        status: next()?,
        running: next()?,
    })
}

/// Collects the events that are told of a crash.
#[derive(Default)]
struct Recorder {
    head: Option<EventsHead>,
    events: Vec<Event>,
}

impl Recorder {
    /// Takes a line: numbers in hexadecimal. The first has the time by both clocks; of events the first number is the CPU.
    fn take(&mut self, words: &str) {
        let numbers: Option<Vec<u64>> =
            words.split(' ').map(|word| u64::from_str_radix(word, 16).ok()).collect();
        match (numbers.as_deref(), &self.head) {
            (Some(&[now_ns, now_ticks, rate]), None) => {
                self.head = Some(EventsHead { now_ns, now_ticks, rate, cpus: 0 });
            }
            (Some(&[cpu, ticks, kind, a, b]), Some(head)) => {
                let record = EventRecord::from_words([ticks, kind, a, b]);
                self.events.push(Event::new(head, cpu, record));
            }
            // Another kernel's, or a line that was cut.
            _ => {}
        }
    }

    /// All of them in words.
    fn text(mut self) -> String {
        let mut text = String::new();
        if self.events.is_empty() {
            return text;
        }
        self.events.sort_by_key(|event| event.time_ns);
        let _ = writeln!(text, "the last {} events before the crash, the oldest first:", self.events.len());
        let names = Names::new();
        self.events.iter().for_each(|event| text += &line(event, &names));
        text
    }
}

/// Shows a line on stderr.
pub fn show(text: &str) {
    note(safe(text));
}

/// What a guest says must not steer the terminal.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn events_before_a_crash_become_words() {
        // A nanosecond to a tick; an event that is cut is left out.
        let said = b"Pcrash\nE3e8 64 100000000\nE1 5a 8 60 0\nE0 50 10003 1 \nE0 32 8 20 0\n";
        let outcome = follow(&said[..], |_| {}, || {}, |_| {});
        assert_eq!(
            outcome.events,
            "the last 2 events before the crash, the oldest first:\n\
             0.000000 [000] interrupt       device 0\n\
             0.000000 [001] interrupt       timer\n"
        );
    }

    #[test]
    fn lines_are_told_apart() {
        let shown = RefCell::new(Vec::new());
        let show = |text: &str| shown.borrow_mut().push(text.to_owned());
        let said = b"Lhello\nLout of memory: process 1\nPpanic\nR\nC1 2 11\nW4096 /a b\x1b\nD/d\nS137\nJ3 1 100 160 256 0\nJ3 x\nSmany\nodd";
        let outcome = follow(&said[..], show, || show("ready"), show);
        let lost = Some(Lost { bytes: Size(4096), first: "/a b\u{fffd}".to_owned() });
        let jobs =
            vec![CronRecord { starts: 3, skipped: 1, started_s: 100, ended_s: 160, status: 256, running: 0 }];
        let expected = Outcome {
            status: Some(137),
            crashed: true,
            out_of_memory: true,
            lost,
            unsynced: vec!["/d".to_owned()],
            events: String::new(),
            jobs,
        };
        assert_eq!(outcome, expected);
        assert_eq!(
            *shown.borrow(),
            [
                "hello",
                "out of memory: process 1",
                "panic",
                "ready",
                "1 2 11",
                "the kernel told an unknown status: many",
                "odd"
            ]
        );
    }
}
