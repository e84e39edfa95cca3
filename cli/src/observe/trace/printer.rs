//! From what a guest notes of system calls to lines and sums.

use std::collections::{BTreeMap, HashMap};

use coracle_control::{ARGUMENTS, EventsHead, TraceCall, TraceRecord};
use serde::Serialize;

use super::super::calls::{Call, Memory};
use super::super::errno;
use super::super::events::time;
use super::super::numbers;
use super::super::stats::json;
use super::stacks::Stacks;
use crate::arch::Arch;
use crate::error::Result;

/// A call that takes longer is shown before it is over.
const LONG_NS: u64 = 100_000_000;

/// What arguments pointed to, as far as the guest noted it.
#[derive(Clone, Default)]
struct Noted(Vec<(u64, Vec<u8>)>);

impl Noted {
    /// What was captured of these arguments.
    fn of(captured: &[(u8, Vec<u8>)], arguments: &[u64; ARGUMENTS]) -> Noted {
        let place = |(argument, bytes): &(u8, Vec<u8>)| {
            Some((*arguments.get(usize::from(*argument))?, bytes.clone()))
        };
        Noted(captured.iter().filter_map(place).collect())
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
    call: TraceCall,
    time_ns: u64,
    arguments: [u64; ARGUMENTS],
    /// The program's frames in words; empty: they are not shown, or were shown with the beginning.
    stack: String,
    /// Its beginning was shown.
    is_shown: bool,
}

/// The end of a call.
struct Exit {
    call: TraceCall,
    time_ns: u64,
    result: u64,
}

/// What was captured of a call, with the places of the arguments.
type Captured = (TraceCall, Vec<(u8, Vec<u8>)>);

/// What calls of one number come to.
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
pub struct Printer {
    /// Calls that are not over, by threads.
    pending: HashMap<u32, Pending>,
    /// Ends of calls whose beginning is yet to come: it is in the records of another CPU, which are fetched one after the other.
    early: HashMap<u32, Exit>,
    /// What was captured last of each thread's calls.
    captured: HashMap<u32, Captured>,
    sums: BTreeMap<u16, Sum>,
    stacks: Stacks,
    is_summary: bool,
    arch: Arch,
    lost: u64,
    now_ns: u64,
}

impl Printer {
    /// `is_summary`: nothing is shown before [`Printer::summary`] and [`Printer::summary_json`].
    pub fn new(is_summary: bool, arch: Arch) -> Printer {
        Printer { is_summary, arch, ..Printer::default() }
    }

    /// How many records were lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes what was fetched at once, and returns the lines for it. `None`: there were no records.
    pub fn take(&mut self, bytes: &[u8]) -> Option<String> {
        let (head, mut bytes) = EventsHead::decode(bytes)?;
        self.now_ns = head.now_ns;
        let mut records = Vec::new();
        let is_empty = bytes.is_empty();
        while let Some((mut record, rest)) = TraceRecord::decode(bytes) {
            bytes = rest;
            if let Some(call) = record.call_mut() {
                call.number = numbers::of_guest(self.arch, call.number);
            }
            if let TraceRecord::Lost(count) = record {
                self.lost = self.lost.saturating_add(count);
            }
            if !self.is_summary {
                records.push(record);
            } else if let TraceRecord::Call { call, end, result, .. }
            | TraceRecord::Exit { call, end, result, .. } = record
            {
                let sum = self.sums.entry(call.number).or_default();
                sum.calls += 1;
                sum.errors += u64::from(error(result).is_some());
                sum.time_ns += time(&head, end).saturating_sub(time(&head, call.start));
            }
        }
        // They come CPU by CPU.
        records.sort_by_key(|record| record.ticks().unwrap_or(u64::MAX));
        let text = records.into_iter().map(|record| self.line(&head, record)).collect();
        (!is_empty).then_some(text)
    }

    /// The lines for a record.
    fn line(&mut self, head: &EventsHead, record: TraceRecord<'_>) -> String {
        match record {
            TraceRecord::Code { call, pid, bytes } => self.stacks.take_code((pid, call.tid), bytes),
            TraceRecord::Stack { call, pid, bytes } => self.stacks.take_stack((pid, call.tid), bytes),
            TraceRecord::Captured { call, argument, bytes } => {
                let own = self.captured.entry(call.tid).or_default();
                if own.0 != call {
                    *own = (call, Vec::new());
                }
                // What the beginning noted comes first: the call may have changed it.
                own.1.push((argument, bytes.to_vec()));
            }
            TraceRecord::Entry { call, arguments } => {
                let pending = Pending {
                    call,
                    time_ns: time(head, call.start),
                    arguments,
                    stack: self.stacks.frames(call.tid),
                    is_shown: false,
                };
                return self.entry(pending);
            }
            TraceRecord::Exit { call, end, result } => {
                return self.exit(Exit { call, time_ns: time(head, end), result });
            }
            TraceRecord::Call { call, end, result, arguments } => {
                let pending = self.pending.remove(&call.tid);
                let (own, other) = match pending {
                    Some(own) if own.call == call => (Some(own), None),
                    other => (None, other),
                };
                let text = other.map(|other| self.unfinished(&other)).unwrap_or_default();
                let own = own.unwrap_or_else(|| Pending {
                    call,
                    time_ns: time(head, call.start),
                    arguments,
                    stack: String::new(),
                    is_shown: false,
                });
                return text + &self.finished(own, &Exit { call, time_ns: time(head, end), result });
            }
            TraceRecord::Lost(count) => return format!("... {count} records were lost\n"),
        }
        String::new()
    }

    fn entry(&mut self, pending: Pending) -> String {
        let tid = pending.call.tid;
        // One whose end was lost, or that had none: its thread was ended by another.
        let old = self.pending.remove(&tid);
        let text = old.map(|old| self.unfinished(&old)).unwrap_or_default();
        if call(self.arch, &pending.call, pending.arguments, None).never_returns() {
            let (head, call) = (head_of(tid, pending.time_ns), self.described(&pending, None));
            return format!("{text}{head}{call} = ?\n{}", pending.stack);
        }
        match self.early.remove(&tid) {
            Some(exit) if exit.call == pending.call => text + &self.finished(pending, &exit),
            _ => {
                self.pending.insert(tid, pending);
                text
            }
        }
    }

    fn exit(&mut self, exit: Exit) -> String {
        match self.pending.remove(&exit.call.tid) {
            Some(pending) if pending.call == exit.call => self.finished(pending, &exit),
            other => {
                let text = other.map(|other| self.unfinished(&other)).unwrap_or_default();
                self.early.insert(exit.call.tid, exit);
                text
            }
        }
    }

    /// A call in words, with what was captured of it.
    fn described(&self, pending: &Pending, result: Option<u64>) -> String {
        let captured = self.captured.get(&pending.call.tid).filter(|(call, _)| *call == pending.call);
        let captured = captured.map(|(_, all)| all.as_slice()).unwrap_or_default();
        let mut noted = Noted::of(captured, &pending.arguments);
        call(self.arch, &pending.call, pending.arguments, result).describe(&mut noted)
    }

    /// The line for a call that is over.
    fn finished(&mut self, pending: Pending, exit: &Exit) -> String {
        let took_ns = exit.time_ns.saturating_sub(pending.time_ns);
        let own = call(self.arch, &pending.call, pending.arguments, Some(exit.result));
        let result = match error(exit.result) {
            Some(error) => format!("-1 {}", errno::describe(-error)),
            None if own.returns_address() => format!("{:#x}", exit.result),
            None => (exit.result as i64).to_string(),
        };
        let words = match pending.is_shown {
            true => format!("<... {} resumed>)", own.name()),
            false => self.described(&pending, Some(exit.result)),
        };
        self.captured.remove(&pending.call.tid);
        let (head, took) = (head_of(pending.call.tid, pending.time_ns), seconds(took_ns));
        format!("{head}{words} = {result} <{took}>\n{}", pending.stack)
    }

    fn unfinished(&self, pending: &Pending) -> String {
        if pending.is_shown || self.is_summary {
            return String::new();
        }
        let call = self.described(pending, None);
        let call = call.strip_suffix(')').unwrap_or(&call);
        format!("{}{call} <unfinished ...>\n{}", head_of(pending.call.tid, pending.time_ns), pending.stack)
    }

    /// The lines for calls that take long. `all`: for all that are not over.
    pub fn waiting(&mut self, all: bool) -> String {
        let now = self.now_ns;
        let mut long: Vec<_> = self.pending.values_mut().collect();
        long.retain(|pending| !pending.is_shown && (all || now.saturating_sub(pending.time_ns) > LONG_NS));
        long.sort_by_key(|pending| pending.time_ns);
        let ids: Vec<u32> = long.iter().map(|pending| pending.call.tid).collect();
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

    /// The sums by the names of calls, those that took the longest first.
    fn sorted(&self) -> Vec<(String, Sum)> {
        let name = |number: u16| {
            Call { arch: self.arch, number: number.into(), arguments: [0; ARGUMENTS], result: None }.name()
        };
        let mut rows: Vec<_> = self.sums.iter().map(|(number, sum)| (name(*number), *sum)).collect();
        rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.time_ns));
        rows
    }

    /// The table of `-c`, as JSON.
    pub fn summary_json(&self) -> Result<String> {
        let rows = self.sorted();
        let rows = rows.iter().map(|(name, sum)| Counted {
            syscall: name,
            calls: sum.calls,
            errors: sum.errors,
            seconds: sum.time_ns as f64 / 1e9,
        });
        json(&rows.collect::<Vec<_>>())
    }

    /// The table of `-c`.
    pub fn summary(&self) -> String {
        let rows = self.sorted();
        let total = rows.iter().fold(Sum::default(), |a, (_, b)| Sum {
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

/// The error that a result is.
fn error(result: u64) -> Option<i32> {
    i32::try_from(result as i64).ok().filter(|result| (-4095..0).contains(result))
}

fn call(arch: Arch, call: &TraceCall, arguments: [u64; ARGUMENTS], result: Option<u64>) -> Call {
    Call { arch, number: call.number.into(), arguments, result }
}

/// `[pid 7] 12.345678 `: the thread, and seconds since boot.
fn head_of(tid: u32, time_ns: u64) -> String {
    format!("[pid {tid:>5}] {} ", seconds(time_ns))
}

fn seconds(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    format!("{}.{:06}", ns / SECOND, ns % SECOND / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ticks are nanoseconds.
    fn head(now_ns: u64) -> EventsHead {
        EventsHead { now_ns, now_ticks: now_ns, rate: 1 << 32, cpus: 0 }
    }

    fn sent(now_ns: u64, records: &[Vec<u8>]) -> Vec<u8> {
        [&head(now_ns).encode()[..], &records.concat()].concat()
    }

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn read_of(tid: u32, start: u64) -> TraceCall {
        TraceCall { tid, number: libc::SYS_read as u16, start }
    }

    fn captured(call: &TraceCall, argument: u8, own: &[u8]) -> Vec<u8> {
        let mut all = bytes(&TraceRecord::captured(call, argument.into()));
        all.extend(bytes(&[own.len() as u64]));
        all.extend(own);
        all.resize(all.len().next_multiple_of(8), 0);
        all
    }

    fn entry(tid: u32, start: u64) -> Vec<u8> {
        bytes(&TraceRecord::entry(&read_of(tid, start), [3, 0x1000, 9, 0, 0, 0]))
    }

    fn exit(tid: u32, start: u64, end: u64, result: u64) -> Vec<u8> {
        bytes(&TraceRecord::exit(&read_of(tid, start), end, result))
    }

    fn whole(tid: u32, start: u64, end: u64, result: u64) -> Vec<u8> {
        let mut words = TraceRecord::call(&read_of(tid, start), end, result, 3).to_vec();
        words.extend([3, 0x1000, 9]);
        bytes(&words)
    }

    #[test]
    fn records_become_lines() {
        let mut printer = Printer::default();
        let first = [captured(&read_of(1, 1_000), 1, b"ab"), exit(1, 1_000, 3_000, 2)].concat();
        // Out of order, as several CPUs give them.
        let text = printer.take(&sent(5_000, &[first, entry(1, 1_000), entry(2, 2_000)]));
        assert_eq!(text.as_deref(), Some("[pid     1] 0.000001 read(3, \"ab\", 9) = 2 <0.000002>\n"));
        assert_eq!(printer.waiting(false), "");
        assert_eq!(printer.waiting(true), "[pid     2] 0.000002 read(3, 0x1000, 9 <unfinished ...>\n");
        let failed = exit(2, 2_000, 5_000, -9i64 as u64);
        assert_eq!(
            printer.take(&sent(6_000, &[failed])).as_deref(),
            Some("[pid     2] 0.000002 <... read resumed>) = -1 EBADF (Bad file descriptor) <0.000003>\n")
        );
        assert_eq!(printer.take(&sent(7_000, &[])), None);
    }

    #[test]
    fn a_call_is_one_record() {
        let mut printer = Printer::default();
        let text = printer.take(&sent(9_000, &[whole(1, 3_000, 4_000, 9), whole(1, 1_000, 2_000, 9)]));
        let lines = "[pid     1] 0.000001 read(3, 0x1000, 9) = 9 <0.000001>\n[pid     1] 0.000003 read(3, 0x1000, 9) = 9 <0.000001>\n";
        assert_eq!(text.as_deref(), Some(lines));
        // One that was told when it took long.
        let text = printer.take(&sent(200_000_000, &[entry(1, 5_000)]));
        assert_eq!(text.as_deref(), Some(""));
        assert_eq!(printer.waiting(false), "[pid     1] 0.000005 read(3, 0x1000, 9 <unfinished ...>\n");
        let text = printer.take(&sent(300_000_000, &[whole(1, 5_000, 250_000_000, 0)]));
        assert_eq!(text.as_deref(), Some("[pid     1] 0.000005 <... read resumed>) = 0 <0.249995>\n"));
        // Or shortly before it was over.
        let text =
            printer.take(&sent(400_000_000, &[entry(1, 350_000_000), whole(1, 350_000_000, 350_001_000, 0)]));
        assert_eq!(text.as_deref(), Some("[pid     1] 0.350000 read(3, \"\", 9) = 0 <0.000001>\n"));
        assert_eq!(printer.waiting(true), "");
    }

    #[test]
    fn an_end_waits_for_its_beginning() {
        let mut printer = Printer::default();
        assert_eq!(printer.take(&sent(4_000, &[exit(1, 1_000, 3_000, 0)])).as_deref(), Some(""));
        let text = printer.take(&sent(5_000, &[entry(1, 1_000)]));
        assert_eq!(text.as_deref(), Some("[pid     1] 0.000001 read(3, \"\", 9) = 0 <0.000002>\n"));
        // Unless that was lost.
        printer.take(&sent(6_000, &[exit(1, 4_000, 5_000, 0), bytes(&TraceRecord::lost(1))]));
        assert_eq!(printer.take(&sent(7_000, &[entry(1, 6_000)])).as_deref(), Some(""));
        assert_eq!(printer.lost(), 1);
    }

    proptest! {
        #[test]
        fn any_guest_is_shown(arguments: [u64; ARGUMENTS], times: [u64; 4], number in 0u16..500, noted in prop::collection::vec((0u8..8, prop::collection::vec(any::<u8>(), 0..200)), 0..4), junk: Vec<u8>) {
            let mut printer = Printer::default();
            let call = TraceCall { tid: 1, number, start: times[0] };
            let behind: Vec<u8> =
                noted.iter().flat_map(|(argument, bytes)| captured(&call, *argument, bytes)).collect();
            let entry = [&behind[..], &bytes(&TraceRecord::entry(&call, arguments))].concat();
            let exit = [&behind[..], &bytes(&TraceRecord::exit(&call, times[1], arguments[0]))].concat();
            let mut whole = bytes(&TraceRecord::call(&call, times[2], arguments[1], ARGUMENTS));
            whole.extend(bytes(&arguments));
            for record in [&entry, &exit, &entry, &bytes(&TraceRecord::lost(times[3])), &whole] {
                let text = printer.take(&sent(times[3], std::slice::from_ref(record))).unwrap_or_default() + &printer.waiting(false);
                prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            }
            printer.waiting(true);
            printer.take(&junk);
            printer.take(&sent(0, &[junk]));
            prop_assert!(printer.summary().contains("total"));
        }
    }

    #[test]
    fn summaries_count() {
        let mut printer = Printer::new(true, Arch::X86_64);
        printer.take(&sent(0, &[entry(1, 0), exit(1, 0, 4_000, 0)]));
        printer.take(&sent(0, &[whole(1, 10_000, 14_000, -11i64 as u64)]));
        let text = printer.summary();
        assert!(text.contains("100.00    0.000008           4         2         1 read\n"), "{text}");
    }
}
