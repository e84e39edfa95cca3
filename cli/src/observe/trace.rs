//! `coracle trace`: the system calls of a guest as they are made, as strace(1) writes them.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use coracle_control::{CALLS, CHOICE_BYTES, Captured, Request, STACK_REGISTERS, TraceRecord, record};
use serde::Serialize;

use super::calls::{self, Call, Memory};
use super::client::Client;
use super::profile::Copy;
use super::stack::Files;
use super::stats::json;
use super::symbols::{Region, frames_of, registers_of, text};
use super::unwind::register;
use super::{errno, events};
use crate::args::{RunTraceArgs, TraceArgs};
use crate::error::{Error, Result, warn};
use crate::output;

/// How long to wait for further calls when none was made.
const PAUSE: Duration = Duration::from_millis(20);
/// A call that takes longer is shown before it is over.
const LONG_NS: u64 = 100_000_000;
/// Bytes of the program's stack that the guest notes with each call, where stacks are shown.
const STACK_BYTES: u32 = 8 << 10;

/// What arguments pointed to, as far as the guest noted it.
#[derive(Clone, Default)]
struct Noted(Vec<(u64, Vec<u8>)>);

impl Noted {
    fn of(mut captured: &[u8]) -> Noted {
        let mut all = Vec::new();
        while let Some((one, rest)) = Captured::decode(captured) {
            all.push((one.address, one.bytes.to_vec()));
            captured = rest;
        }
        Noted(all)
    }
}

impl Memory for Noted {
    fn read(&mut self, address: u64, len: usize) -> Vec<u8> {
        let own = self.0.iter().find(|(start, bytes)| {
            address.checked_sub(*start).is_some_and(|place| place < bytes.len() as u64)
        });
        own.map(|(start, bytes)| bytes.iter().skip((address - start) as usize).take(len).copied().collect())
            .unwrap_or_default()
    }
}

/// A call that is not over.
struct Pending {
    record: TraceRecord,
    noted: Noted,
    /// The program's frames in words; empty: they are not shown, or were shown with the beginning.
    stack: String,
    /// Its beginning was shown.
    is_shown: bool,
}

/// The stacks of programs.
#[derive(Default)]
struct Stacks {
    /// Where a process has code, by its number.
    regions: HashMap<u32, Vec<Region>>,
    /// The process of which that was said last. One that shares its memory with another (vfork(2)) may have none of its own.
    last: u32,
    files: Files,
    /// The frames for calls that are yet to begin, by threads.
    frames: HashMap<u32, String>,
}

impl Stacks {
    /// Takes a record of [`record::CODE`].
    fn take_code(&mut self, pid: u32, bytes: &[u8]) {
        let said = String::from_utf8_lossy(bytes);
        self.regions.insert(pid, said.lines().filter_map(Region::parse).collect());
        self.last = pid;
    }

    /// Takes a record of [`record::STACK`].
    fn take_stack(&mut self, (pid, tid): (u32, u32), bytes: &[u8]) {
        let Some((words, stack)) = bytes.split_at_checked(8 * STACK_REGISTERS) else { return };
        let registers = registers_of(words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        let stack = Copy { start: registers[register::RSP].unwrap_or_default(), bytes: stack.to_vec() };
        let regions = self.regions.get(&pid).or_else(|| self.regions.get(&self.last));
        let regions = regions.map(Vec::as_slice).unwrap_or_default();
        let frames = frames_of(registers, regions, &stack, &mut self.files);
        self.frames.insert(tid, text(&frames, "    "));
    }
}

/// What calls of one name come to.
#[derive(Clone, Copy, Default)]
struct Sum {
    calls: u64,
    errors: u64,
    time_ns: u64,
}

/// A line of `-c --json`.
#[derive(Serialize)]
struct Counted<'a> {
    syscall: &'a str,
    calls: u64,
    errors: u64,
    seconds: f64,
}

/// Makes lines of records.
#[derive(Default)]
struct Printer {
    pending: HashMap<u32, Pending>,
    sums: BTreeMap<String, Sum>,
    stacks: Stacks,
    is_summary: bool,
    lost: u64,
    last_ns: u64,
}

impl Printer {
    /// Takes what was fetched at once, and returns the lines for it.
    fn take(&mut self, mut bytes: &[u8]) -> String {
        let mut records = Vec::new();
        while let Some((record, captured, rest)) = TraceRecord::decode(bytes) {
            records.push((record, captured));
            bytes = rest;
        }
        // They come CPU by CPU.
        records.sort_by_key(|(record, _)| record.time_ns);
        let mut text = String::new();
        for (record, bytes) in records {
            self.last_ns = record.time_ns;
            let noted = || Noted::of(bytes);
            match record.kind {
                record::CODE => self.stacks.take_code(record.pid, bytes),
                record::STACK => self.stacks.take_stack((record.pid, record.tid), bytes),
                record::ENTRY if call(&record, None).never_returns() => {
                    self.pending.remove(&record.tid);
                    let stack = self.stacks.frames.remove(&record.tid).unwrap_or_default();
                    if !self.is_summary {
                        let call = call(&record, None).describe(&mut noted());
                        text += &format!("{}{call} = ?\n{stack}", head(record.tid, record.time_ns));
                    }
                }
                record::ENTRY => {
                    let stack = self.stacks.frames.remove(&record.tid).unwrap_or_default();
                    let pending = Pending { record, noted: noted(), stack, is_shown: false };
                    // One whose end was lost, or that had none: its thread was ended by another.
                    if let Some(old) = self.pending.insert(record.tid, pending) {
                        text += &self.unfinished(&old);
                    }
                }
                record::EXIT => text += &self.exit(&record, noted()),
                record::LOST => {
                    self.lost += record.number;
                    // A summary is followed by a warning.
                    if !self.is_summary {
                        text += &format!("... {} records were lost\n", record.number);
                    }
                }
                _ => {}
            }
        }
        text
    }

    fn exit(&mut self, record: &TraceRecord, mut noted: Noted) -> String {
        let Some(pending) = self.pending.remove(&record.tid) else { return String::new() };
        let took_ns = record.time_ns.saturating_sub(pending.record.time_ns);
        let result = record.words[0];
        let error = i32::try_from(result as i64).ok().filter(|result| (-4095..0).contains(result));
        let call = call(&pending.record, Some(result));
        if self.is_summary {
            let sum = self.sums.entry(call.name()).or_default();
            sum.calls += 1;
            sum.errors += u64::from(error.is_some());
            sum.time_ns += took_ns;
            return String::new();
        }
        // What the beginning noted comes first: the call may have changed it.
        let mut all = pending.noted;
        all.0.append(&mut noted.0);
        let result = match error {
            Some(error) => format!("-1 {}", errno::describe(-error)),
            None if call.returns_address() => format!("{result:#x}"),
            None => (result as i64).to_string(),
        };
        let call = match pending.is_shown {
            true => format!("<... {} resumed>)", call.name()),
            false => call.describe(&mut all),
        };
        let (head, took) = (head(record.tid, pending.record.time_ns), seconds(took_ns));
        format!("{head}{call} = {result} <{took}>\n{}", pending.stack)
    }

    fn unfinished(&self, pending: &Pending) -> String {
        if pending.is_shown || self.is_summary {
            return String::new();
        }
        let call = call(&pending.record, None).describe(&mut pending.noted.clone());
        let call = call.strip_suffix(')').unwrap_or(&call);
        format!(
            "{}{call} <unfinished ...>\n{}",
            head(pending.record.tid, pending.record.time_ns),
            pending.stack
        )
    }

    /// The lines for calls that take long. `all`: for all that are not over.
    fn waiting(&mut self, all: bool) -> String {
        let now = self.last_ns;
        let mut long: Vec<_> = self.pending.values_mut().collect();
        long.retain(|pending| {
            !pending.is_shown && (all || now.saturating_sub(pending.record.time_ns) > LONG_NS)
        });
        long.sort_by_key(|pending| pending.record.time_ns);
        let ids: Vec<u32> = long.iter().map(|pending| pending.record.tid).collect();
        let mut text = String::new();
        for id in ids {
            if let Some(pending) = self.pending.get(&id) {
                text += &self.unfinished(pending);
            }
            if let Some(pending) = self.pending.get_mut(&id) {
                pending.is_shown = true;
                pending.stack.clear();
            }
        }
        text
    }

    /// The table of `-c`, as JSON.
    fn summary_json(&self) -> Result<String> {
        let rows = self.sums.iter().map(|(name, sum)| Counted {
            syscall: name,
            calls: sum.calls,
            errors: sum.errors,
            seconds: sum.time_ns as f64 / 1e9,
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        json(&rows)
    }

    /// The table of `-c`.
    fn summary(&self) -> String {
        let mut rows: Vec<_> = self.sums.iter().collect();
        rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.time_ns));
        let total = self.sums.values().fold(Sum::default(), |a, b| Sum {
            calls: a.calls + b.calls,
            errors: a.errors + b.errors,
            time_ns: a.time_ns + b.time_ns,
        });
        let line = |sum: &Sum, name: &str| {
            let share = 100.0 * sum.time_ns as f64 / total.time_ns.max(1) as f64;
            let each = sum.time_ns / 1000 / sum.calls.max(1);
            let errors = if sum.errors == 0 { String::new() } else { sum.errors.to_string() };
            format!(
                "{share:>6.2} {:>11} {each:>11} {:>9} {errors:>9} {name}\n",
                seconds(sum.time_ns),
                sum.calls
            )
        };
        let mut text = format!(
            "{:>6} {:>11} {:>11} {:>9} {:>9} {}\n",
            "% time", "seconds", "usecs/call", "calls", "errors", "syscall"
        );
        rows.iter().for_each(|(name, sum)| text += &line(sum, name));
        text + &line(&total, "total")
    }
}

fn call(record: &TraceRecord, result: Option<u64>) -> Call {
    Call { number: usize::try_from(record.number).unwrap_or(usize::MAX), arguments: record.words, result }
}

/// `[pid 7] 12.345678 `: the thread, and seconds since boot.
fn head(tid: u32, time_ns: u64) -> String {
    format!("[pid {tid:>5}] {} ", seconds(time_ns))
}

fn seconds(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    format!("{}.{:06}", ns / SECOND, ns % SECOND / 1000)
}

/// The calls that the words of `-e` name: a bit for each number.
fn chosen(words: &[String]) -> Result<[u8; CHOICE_BYTES]> {
    let mut bits = [if words.is_empty() { u8::MAX } else { 0 }; CHOICE_BYTES];
    let (mut is_first, set) = (true, |bits: &mut [u8; CHOICE_BYTES], number: usize, on: bool| {
        if number < CALLS {
            let bit = 1 << (number % 8);
            bits[number / 8] = if on { bits[number / 8] | bit } else { bits[number / 8] & !bit };
        }
    });
    for word in words {
        let word = word.strip_prefix("trace=").unwrap_or(word);
        let (word, on) = word.strip_prefix('!').map_or((word, true), |rest| (rest, false));
        if !on && is_first {
            bits = [u8::MAX; CHOICE_BYTES];
        }
        is_first = false;
        let numbers = calls::named(word);
        if numbers.is_empty() {
            return Err(Error::new(format!("`{word}` is no system call, and no kind of them"))
                .help("kinds are file, desc, network, process, memory, signal, ipc and all"));
        }
        numbers.into_iter().for_each(|number| set(&mut bits, number, on));
    }
    Ok(bits)
}

/// The choice of calls as a guest takes it: a bit for each, and what is noted of their arguments.
fn choice(words: &[String]) -> Result<Vec<u8>> {
    let bits = chosen(words)?;
    let is_chosen = |number: usize| bits.get(number / 8).is_some_and(|byte| byte & 1 << (number % 8) != 0);
    let captures = calls::captures(is_chosen).into_iter().flat_map(|capture| capture.encode());
    Ok(bits.iter().copied().chain(captures).collect())
}

fn cannot_trace(name: &str, error: u16) -> Error {
    let why = match i32::from(error) {
        libc::EBUSY => "another command traces it".to_owned(),
        error => errno::describe(error),
    };
    Error::new(format!("`{name}` cannot be traced")).why(why)
}

/// `coracle trace`
pub fn trace(args: &TraceArgs) -> Result<()> {
    if !args.events.is_empty() {
        return events::trace(args);
    }
    let choice = choice(&args.calls)?;
    let mut client = Client::connect(&args.name)?;
    let pid = args.pid.unwrap_or_default();
    client
        .ask(Request::TraceStart { pid, stack: if args.stack { STACK_BYTES } else { 0 }, choice: &choice })?
        .map_err(|error| cannot_trace(&args.name, error))?;
    // Ctrl-C ends the trace; what was noted so far is shown.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| Error::new("cannot wait for signals").why(error))?;
    }
    follow(&mut client, (args.summary, args.json), &ended, &mut output::write)
}

/// What `coracle run --trace` shows, and where.
pub struct RunTrace {
    choice: Vec<u8>,
    /// Bytes of stacks that are noted.
    stack: u32,
    file: Option<File>,
}

impl RunTrace {
    /// From the command line; `None`: nothing is traced.
    ///
    /// # Errors
    /// If there are no such calls, or the file cannot be written.
    pub fn new(args: &RunTraceArgs) -> Result<Option<RunTrace>> {
        if args.trace.is_empty() {
            return Ok(None);
        }
        let create = |path: &PathBuf| {
            let wrong = |error| Error::new(format!("cannot write `{}`", path.display())).why(error);
            File::create(path).map_err(wrong)
        };
        let file = args.trace_file.as_ref().map(create).transpose()?;
        let stack = if args.stack { STACK_BYTES } else { 0 };
        Ok(Some(RunTrace { choice: choice(&args.trace)?, stack, file }))
    }

    /// Shows the calls of a guest whose program waits for that, until it has ended.
    ///
    /// # Errors
    /// If it can't be traced, or what it does not be written.
    pub fn follow(&self, mut client: Client) -> Result<()> {
        /// How long to wait before a guest that is still starting is asked again.
        const GLANCE: Duration = Duration::from_millis(5);
        let request = Request::TraceStart { pid: 0, stack: self.stack, choice: &self.choice };
        loop {
            match client.ask_for_part(request)?.1 {
                0 => break,
                error if i32::from(error) == libc::EAGAIN => sleep(GLANCE),
                error => return Err(cannot_trace(client.name(), error)),
            }
        }
        let mut write = |text: &[u8]| match &self.file {
            Some(file) => {
                let mut file = file;
                file.write_all(text).map_err(|error| Error::new("cannot write the trace").why(error))
            }
            None => {
                output::to_stderr(format_args!("{}", String::from_utf8_lossy(text)));
                Ok(())
            }
        };
        follow(&mut client, (false, false), &AtomicBool::new(false), &mut write)
    }
}

/// Shows calls until the guest has ended, or `ended` is set.
fn follow(
    client: &mut Client,
    (is_summary, is_json): (bool, bool),
    ended: &AtomicBool,
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut printer = Printer { is_summary, ..Printer::default() };
    loop {
        let is_last = ended.load(Ordering::SeqCst);
        let records = match client.ask(Request::TraceFetch) {
            Ok(Ok(records)) => records,
            // A guest that ended is traced no more.
            Err(_) if client.has_ended() => break,
            Err(error) => return Err(error),
            Ok(Err(error)) => {
                return Err(Error::new(format!("`{}` cannot be traced any more", client.name()))
                    .why(errno::describe(error.into())));
            }
        };
        write(printer.take(&records).as_bytes())?;
        if is_last {
            let _ = client.ask(Request::TraceStop)?;
            break;
        }
        if records.is_empty() {
            // Time goes on, though no call says so.
            printer.last_ns += PAUSE.as_nanos() as u64;
            sleep(PAUSE);
        }
        write(printer.waiting(false).as_bytes())?;
    }
    write(printer.waiting(true).as_bytes())?;
    if is_json {
        write((printer.summary_json()? + "\n").as_bytes())?;
    } else if is_summary {
        write(printer.summary().as_bytes())?;
    }
    if printer.lost > 0 {
        warn(format_args!("{} records were lost: choose fewer calls with -e", printer.lost));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, tid: u32, time_ns: u64, words: [u64; 6], captured: &[(u64, &[u8])]) -> Vec<u8> {
        let mut behind = Vec::new();
        for (address, bytes) in captured {
            behind.extend(address.to_le_bytes());
            behind.extend((bytes.len() as u16).to_le_bytes());
            behind.extend(*bytes);
        }
        let bytes = (TraceRecord::HEAD + behind.len()) as u32;
        let number = libc::SYS_read as u64;
        let mut all = TraceRecord { bytes, kind, pid: 1, tid, time_ns, number, words }.encode().to_vec();
        all.extend(behind);
        all
    }

    #[test]
    fn records_become_lines() {
        let mut printer = Printer::default();
        let entry = |tid, time| record(record::ENTRY, tid, time, [3, 0x1000, 9, 0, 0, 0], &[]);
        let exit = record(record::EXIT, 1, 3_000, [2, 0, 0, 0, 0, 0], &[(0x1000, b"ab")]);
        // Out of order, as several CPUs give them.
        let text = printer.take(&[exit, entry(1, 1_000), entry(2, 2_000)].concat());
        assert_eq!(text, "[pid     1] 0.000001 read(3, \"ab\", 9) = 2 <0.000002>\n");
        assert_eq!(printer.waiting(false), "");
        assert_eq!(printer.waiting(true), "[pid     2] 0.000002 read(3, 0x1000, 9 <unfinished ...>\n");
        let failed = record(record::EXIT, 2, 5_000, [-9i64 as u64, 0, 0, 0, 0, 0], &[]);
        let text = printer.take(&failed);
        assert_eq!(
            text,
            "[pid     2] 0.000002 <... read resumed>) = -1 EBADF (Bad file descriptor) <0.000003>\n"
        );
        // An end without a beginning is none of ours.
        assert_eq!(printer.take(&record(record::EXIT, 9, 6_000, [0; 6], &[])), "");
    }

    proptest! {
        #[test]
        fn any_guest_is_shown(words: [u64; 6], times: [u64; 4], number in 0u64..500, noted in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..200)), 0..4), bytes: Vec<u8>) {
            let mut printer = Printer::default();
            for (time_ns, kind) in times.into_iter().zip([record::ENTRY, record::EXIT, record::ENTRY, record::LOST]) {
                let mut behind = Vec::new();
                let places = noted.iter().enumerate().map(|(place, (address, bytes))| (words.get(place).unwrap_or(address), bytes));
                for (address, bytes) in places {
                    behind.extend(address.to_le_bytes());
                    behind.extend((bytes.len() as u16).to_le_bytes());
                    behind.extend(bytes);
                }
                let len = (TraceRecord::HEAD + behind.len()) as u32;
                let mut all = TraceRecord { bytes: len, kind, pid: 1, tid: 1, time_ns, number, words }.encode().to_vec();
                all.extend(behind);
                let text = printer.take(&all) + &printer.waiting(false);
                prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            }
            printer.waiting(true);
            printer.take(&bytes);
            prop_assert!(printer.summary().contains("total"));
        }
    }

    #[test]
    fn summaries_count() {
        let mut printer = Printer { is_summary: true, ..Printer::default() };
        for time in [0, 10_000] {
            printer.take(&record(record::ENTRY, 1, time, [3, 0, 0, 0, 0, 0], &[]));
            let result = if time == 0 { 0 } else { -11i64 as u64 };
            printer.take(&record(record::EXIT, 1, time + 4_000, [result, 0, 0, 0, 0, 0], &[]));
        }
        let text = printer.summary();
        assert!(text.contains("100.00    0.000008           4         2         1 read\n"), "{text}");
    }

    #[test]
    fn choices() {
        let has = |bits: &[u8; CHOICE_BYTES], number: i64| bits[number as usize / 8] & 1 << (number % 8) != 0;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let bits = chosen(&words(&["openat", "network"])).unwrap();
        assert!(has(&bits, libc::SYS_openat) && has(&bits, libc::SYS_connect) && !has(&bits, libc::SYS_read));
        let bits = chosen(&words(&["!futex"])).unwrap();
        assert!(has(&bits, libc::SYS_read) && !has(&bits, libc::SYS_futex));
        assert!(chosen(&words(&["no_such_call"])).is_err());
    }
}
