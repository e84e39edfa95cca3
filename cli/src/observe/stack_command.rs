//! `coracle stack`: every thread of a guest, what it waits for, and its stacks.

use std::fmt::Write as _;

use coracle_control::{Moment, thread_flag};
use serde::Serialize;

use super::client::Client;
use super::locks::{self, Held};
use super::process;
use super::stack::{
    Files, GuestMemory, MOST_FRAMES, Mapping, Process, Thread, kernel_addresses, mapping, threads,
};
use super::stats::json;
use super::symbols::{Frame, Line, Module, Named, program_frames, text};
use super::{calls::Call, stuck};
use crate::arch::Arch;
use crate::args::StackArgs;
use crate::error::{Error, Result};
use crate::kernel::debug_elf;
use crate::output;

/// A timer that fires this much after its time, or less, is not late: sleeps have slack (prctl(2)).
const SLACK_NS: u64 = 1_000_000;

/// What is found of a thread.
struct Found<'a> {
    thread: &'a Thread,
    /// The call that it is in, in words.
    call: Option<String>,
    /// The lock that it waits for, or the thread's end, in words.
    lock: Option<String>,
    /// The descriptor that it waits for, in words.
    descriptor: Option<String>,
    program: Vec<Frame>,
    /// For each frame the functions, the innermost first.
    kernel: Vec<Vec<Named>>,
}

/// A process in JSON.
#[derive(Serialize)]
struct ProcessJson {
    pid: u64,
    command: String,
    threads: Vec<serde_json::Value>,
}

/// A thread in JSON.
#[derive(Serialize)]
struct ThreadJson<'a> {
    tid: u64,
    name: &'a str,
    state: &'static str,
    cpu: u64,
    cpu_seconds: f64,
    /// Seconds until its timer fires, below 0 if that is overdue; null: it has none.
    timer_seconds: Option<f64>,
    call: Option<&'a str>,
    waits_for: Option<&'a str>,
    descriptor: Option<&'a str>,
    program: Vec<Line<'a>>,
    kernel: Vec<Line<'a>>,
}

/// `coracle stack`
pub fn stack(args: &StackArgs) -> Result<()> {
    let mut client = Client::connect(&args.name)?;
    client.is_known_to("stack")?;
    let (moment, threads) = match threads(&mut client) {
        Err(error) if client.is_silent() && args.json => {
            return Err(error.help("without --json it is looked at from outside"));
        }
        Err(_) if client.is_silent() => return stuck::show(&mut client),
        other => other?,
    };
    if args.pid.is_some() {
        process::processes(&mut client, args.pid)?;
    }
    let kernel = Module::read(debug_elf(Arch::X86_64)?)
        .ok_or_else(|| Error::new("the kernel's symbols in this command cannot be read"))?;
    let mut looker = Looker { threads: &threads, kernel, moment, files: Files::default(), held: Vec::new() };
    let mut all: Vec<ProcessJson> = Vec::new();
    let is_wanted = |thread: &&Thread| args.pid.is_none_or(|pid| thread.record.pid == u64::from(pid));
    for thread in threads.iter().filter(is_wanted) {
        let pid = thread.record.pid;
        if all.last().is_none_or(|last| last.pid != pid) {
            let count = threads.iter().filter(|other| other.record.pid == pid).count();
            let command = client.text(&format!("/proc/{pid}/cmdline"))?.replace('\0', " ");
            let command = output::plain(command.trim_end());
            if !args.json {
                let s = if count == 1 { "" } else { "s" };
                output::line(format_args!("process {pid} ({command}): {count} thread{s}"))?;
            }
            all.push(ProcessJson { pid, command, threads: Vec::new() });
        }
        let mut found = looker.look(thread, &mut client)?;
        if args.program {
            found.kernel.clear();
        }
        match all.last_mut().filter(|_| args.json) {
            Some(process) => process.threads.push(found.json(&looker.moment)?),
            None => output::write(found.text(&looker.moment).as_bytes())?,
        }
    }
    let deadlocks = locks::cycles(&looker.held);
    if args.json {
        return output::line(json(&serde_json::json!({ "processes": all, "deadlocks": deadlocks }))?);
    }
    deadlocks.into_iter().try_for_each(output::line)
}

/// Looks at threads.
struct Looker<'a> {
    threads: &'a [Thread],
    kernel: Module,
    moment: Moment,
    files: Files,
    /// Threads that wait for others.
    held: Vec<Held>,
}

impl Looker<'_> {
    fn look<'t>(&mut self, thread: &'t Thread, client: &mut Client) -> Result<Found<'t>> {
        let pid = u32::try_from(thread.record.pid).unwrap_or_default();
        let maps: Vec<Mapping> =
            client.text(&format!("/proc/{pid}/maps"))?.lines().filter_map(mapping).collect();
        let (mut lock, mut descriptor) = (None, None);
        let mut memory = GuestMemory::new(client, pid);
        let call = thread.call().filter(|_| !thread.stack.is_empty());
        if let Some(call) = &call {
            let wanted =
                locks::ending(call, thread, self.threads).or_else(|| locks::wanted(call, &mut memory));
            if let Some(wanted) = wanted {
                let owner = self.threads.iter().find(|other| other.record.tid == u64::from(wanted.owner));
                lock = Some(wanted.describe(owner.map(|owner| owner.name.as_str())));
                let waiter = u32::try_from(thread.record.tid).unwrap_or_default();
                self.held.push(Held { waiter, lock: wanted });
            } else {
                descriptor = waited_file(call, pid, memory.client())?;
            }
        }
        let call = call.map(|call| call.describe(&mut memory));
        memory.check()?;
        let mut memory = GuestMemory::new(client, pid);
        let (addresses, program) = kernel_addresses(thread, &self.kernel, &self.moment);
        let mut process = Process { maps: &maps, files: &mut self.files, memory: &mut memory };
        let program = program.map(|registers| program_frames(registers, &mut process, MOST_FRAMES));
        memory.check()?;
        // The addresses are in the calling instructions.
        let kernel = addresses.into_iter().map(|address| self.kernel.named(address, 1)).collect();
        Ok(Found { thread, call, lock, descriptor, program: program.unwrap_or_default(), kernel })
    }
}

impl Found<'_> {
    fn text(&self, moment: &Moment) -> String {
        let mut text = headline(self.thread, moment);
        if let Some(call) = &self.call {
            let _ = writeln!(text, "    in {call}");
        }
        if let Some(lock) = &self.lock {
            let _ = writeln!(text, "    waits for {lock}");
        }
        if let Some(file) = &self.descriptor {
            let _ = writeln!(text, "    descriptor {file}");
        }
        if !self.thread.stack.is_empty() {
            text += "    program:\n";
            text += &self::text(&self.program, "      ");
        }
        if !self.kernel.is_empty() {
            text += "    kernel:\n";
            self.kernel.iter().flatten().for_each(|named| {
                let _ = writeln!(text, "      {}{}", named.name(), named.at());
            });
        }
        text
    }

    fn json(&self, moment: &Moment) -> Result<serde_json::Value> {
        let record = &self.thread.record;
        let seconds = |ns: i128| ns as f64 / 1e9;
        let is_timed = self.thread.is(thread_flag::ASLEEP) && record.deadline_ns != u64::MAX;
        let left = i128::from(record.deadline_ns) - i128::from(moment.now_ns);
        let thread = ThreadJson {
            tid: record.tid,
            name: &self.thread.name,
            state: state(self.thread),
            cpu: record.cpu,
            cpu_seconds: seconds(record.run_ns.into()),
            timer_seconds: is_timed.then(|| seconds(left)),
            call: self.call.as_deref(),
            waits_for: self.lock.as_deref(),
            descriptor: self.descriptor.as_deref(),
            program: self.program.iter().flat_map(Frame::lines).collect(),
            kernel: self.kernel.iter().flatten().map(|named| Line::of(Some(named), None)).collect(),
        };
        serde_json::to_value(thread).map_err(|error| Error::new("cannot write JSON").why(error))
    }
}

fn state(thread: &Thread) -> &'static str {
    if thread.is(thread_flag::STOPPED) {
        "stopped"
    } else if thread.is(thread_flag::ASLEEP) {
        "sleeps"
    } else if thread.is(thread_flag::WOKEN) {
        "was woken, and has not run since"
    } else if thread.stack.is_empty() {
        "runs"
    } else {
        "runs, or waits for a CPU"
    }
}

/// `thread 2 "name", asleep for 2.1 s more`
fn headline(thread: &Thread, moment: &Moment) -> String {
    let record = &thread.record;
    let mut text = format!("  thread {} \"{}\": {}", record.tid, thread.name, state(thread));
    let _ = write!(text, ", CPU {}, {} of CPU time", record.cpu, seconds(record.run_ns));
    if thread.is(thread_flag::ASLEEP) {
        match record.deadline_ns {
            u64::MAX => text += ", no timer",
            deadline if deadline.saturating_add(SLACK_NS) < moment.now_ns => {
                let _ = write!(text, ", its timer is {} overdue", seconds(moment.now_ns - deadline));
            }
            deadline => {
                let _ = write!(text, ", timer in {}", seconds(deadline.saturating_sub(moment.now_ns)));
            }
        }
    }
    text + "\n"
}

fn seconds(ns: u64) -> String {
    const MILLISECOND: u64 = 1_000_000;
    let ms = ns / MILLISECOND;
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// What the descriptor is that a call waits for.
fn waited_file(call: &Call, pid: u32, client: &mut Client) -> Result<Option<String>> {
    let kinds = ["fd", "file", "socket", "epoll", "inotify", "timerfd", "mq"];
    let Some(fd) = kinds.into_iter().find_map(|kind| call.argument_of(kind)) else { return Ok(None) };
    let fd = fd as i32;
    let target = client.link(&format!("/proc/{pid}/fd/{fd}"))?;
    Ok(target.map(|target| format!("{fd} is {target}")))
}
