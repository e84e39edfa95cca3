//! `coracle stack`: every thread of a guest, what it waits for, and its stacks.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use coracle_control::{Moment, NAME_BYTES, REGISTERS, Request, ThreadRecord, thread_flag};

use super::calls::{Call, Memory};
use super::client::Client;
use super::locks::{self, Held};
use super::stuck;
use super::symbols::Module;
use super::unwind::{Registers, by_frame_pointer, register};
use crate::args::StackArgs;
use crate::error::{Error, Result};
use crate::kernel::debug_elf;
use crate::output;

/// Frames of a stack that are shown at most.
const MOST_FRAMES: usize = 64;
/// A timer that fires this much after its time, or less, is not late: sleeps have slack (prctl(2)).
const SLACK_NS: u64 = 1_000_000;
/// Registers that `switch_stacks` of the kernel saves, in the order on the stack.
const SWITCHED: [usize; 6] =
    [register::R12 + 3, register::R12 + 2, register::R12 + 1, register::R12, register::RBX, register::RBP];

/// A thread as it was found.
pub struct Thread {
    /// The guest's record.
    pub record: ThreadRecord,
    /// Its name.
    pub name: String,
    /// Its kernel stack, from the stack pointer on; empty if it ran.
    stack: Vec<u8>,
}

impl Thread {
    /// A register of the program, by its name among [`REGISTERS`].
    pub fn register(&self, name: &str) -> Option<u64> {
        let place = REGISTERS.iter().position(|own| *own == name)?;
        let at = self.stack.len().checked_sub(8 * (REGISTERS.len() - place))?;
        self.stack_word(at)
    }

    fn stack_word(&self, at: usize) -> Option<u64> {
        self.stack.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// The word of the kernel stack at an address.
    fn kernel_word(&self, address: u64) -> Option<u64> {
        self.stack_word(usize::try_from(address.checked_sub(self.record.stack_pointer)?).ok()?)
    }

    /// The system call that it is in.
    pub fn call(&self) -> Option<Call> {
        let number = self.register("orig_rax").filter(|number| *number as i64 != -1)?;
        let mut arguments = [0; 6];
        for (place, name) in arguments.iter_mut().zip(["rdi", "rsi", "rdx", "r10", "r8", "r9"]) {
            *place = self.register(name)?;
        }
        Some(Call { number: number as u32 as usize, arguments, result: None })
    }

    /// Whether it sleeps.
    pub fn is_asleep(&self) -> bool {
        self.is(thread_flag::ASLEEP) && !self.is(thread_flag::STOPPED)
    }

    fn is(&self, flag: u64) -> bool {
        self.record.flags & flag != 0
    }
}

/// Asks for all threads.
pub fn threads(client: &mut Client) -> Result<(Moment, Vec<Thread>)> {
    let answer = client.ask(Request::Threads)?;
    let answer = answer.map_err(|error| {
        let error = std::io::Error::from_raw_os_error(error.into());
        Error::new(format!("`{}` cannot list its threads", client.name())).why(error)
    })?;
    parse(&answer).ok_or_else(|| Error::new(format!("`{}` lists its threads in another way", client.name())))
}

fn parse(answer: &[u8]) -> Option<(Moment, Vec<Thread>)> {
    let (moment, mut rest) = Moment::decode(answer)?;
    let mut threads = Vec::new();
    while !rest.is_empty() {
        let (record, after) = ThreadRecord::decode(rest)?;
        let (name, after) = after.split_at_checked(NAME_BYTES)?;
        let (stack, after) = after.split_at_checked(usize::try_from(record.stack_bytes).ok()?)?;
        rest = after;
        let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let name = output::plain(&String::from_utf8_lossy(&name[..len]));
        threads.push(Thread { record, name, stack: stack.to_vec() });
    }
    threads.sort_by_key(|thread| (thread.record.pid, thread.record.tid));
    Some((moment, threads))
}

/// The memory of a process of the guest, of which pages that were read are kept.
pub struct GuestMemory<'a> {
    client: &'a mut Client,
    pid: u32,
    pages: HashMap<u64, Vec<u8>>,
    failed: Option<Error>,
}

impl<'a> GuestMemory<'a> {
    /// Bytes that are read at once.
    const PAGE: u64 = 4096;

    /// That of this process.
    pub fn new(client: &'a mut Client, pid: u32) -> Self {
        GuestMemory { client, pid, pages: HashMap::new(), failed: None }
    }

    fn page(&mut self, address: u64) -> &[u8] {
        let start = address & !(Self::PAGE - 1);
        let (client, pid, failed) = (&mut *self.client, self.pid, &mut self.failed);
        self.pages.entry(start).or_insert_with(|| {
            client.memory(pid, start, Self::PAGE as usize).unwrap_or_else(|error| {
                failed.get_or_insert(error);
                Vec::new()
            })
        })
    }

    /// The first failure to read memory: what was made of it lacks something.
    ///
    /// # Errors
    /// That.
    pub fn check(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// The word at an address, if it is there.
    pub fn word(&mut self, address: u64) -> Option<u64> {
        self.read(address, 8).try_into().ok().map(u64::from_le_bytes)
    }
}

impl Memory for GuestMemory<'_> {
    fn read(&mut self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let Some(at) = address.checked_add(bytes.len() as u64) else { break };
            let offset = (at % Self::PAGE) as usize;
            let page = self.page(at);
            let part = page.get(offset..).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            let part = &part[..part.len().min(len - bytes.len())];
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// A part of a process's address space (proc_pid_maps(5)).
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// Where it begins in its file.
    pub offset: u64,
    /// It can be executed.
    pub is_code: bool,
    /// The path of its file, or what it is in brackets.
    pub name: String,
}

/// From a line of the text.
pub fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let is_code = words.next()?.contains('x');
    let offset = hex(words.next()?)?;
    let name = words.nth(2).unwrap_or_default().to_owned();
    Some(Mapping { start: hex(start)?, end: hex(end)?, offset, is_code, name })
}

/// The programs of a guest, whose files this machine has, too.
#[derive(Default)]
pub struct Files(HashMap<String, Option<Module>>);

impl Files {
    /// The file of a mapping, if the one of that path here is the same.
    pub fn module(&mut self, mapping: &Mapping, memory: &mut dyn Memory) -> Option<&Module> {
        let mut load = || {
            let bytes = std::fs::read(&mapping.name).ok()?;
            let module = Module::read(&bytes)?;
            is_same(&bytes, &module, mapping, memory).then_some(module)
        };
        if !mapping.name.starts_with('/') {
            return None;
        }
        if !self.0.contains_key(&mapping.name) {
            let module = load();
            self.0.insert(mapping.name.clone(), module);
        }
        self.0.get(&mapping.name)?.as_ref()
    }
}

/// Whether a file here is what the guest has mapped: some of its code is compared.
fn is_same(bytes: &[u8], module: &Module, mapping: &Mapping, memory: &mut dyn Memory) -> bool {
    /// Bytes that are compared.
    const SAMPLE: usize = 1024;
    let at = usize::try_from(mapping.offset).unwrap_or(usize::MAX);
    let Some(own) = bytes.get(at..) else { return false };
    let sample = memory.read(mapping.start, SAMPLE);
    module.linked_address(mapping.offset).is_some() && !sample.is_empty() && own.starts_with(&sample)
}

/// Whether the file of a process's mapping is the same here.
pub fn is_same_file(client: &mut Client, pid: u32, mapping: &Mapping) -> bool {
    let Ok(bytes) = std::fs::read(&mapping.name) else { return false };
    Module::read(&bytes)
        .is_some_and(|module| is_same(&bytes, &module, mapping, &mut GuestMemory::new(client, pid)))
}

/// `coracle stack`
pub fn stack(args: &StackArgs) -> Result<()> {
    let mut client = Client::connect(&args.name)?;
    let (moment, threads) = match threads(&mut client) {
        Err(_) if client.is_silent() => return stuck::show(&mut client),
        other => other?,
    };
    let kernel = Module::read(&debug_elf()?)
        .ok_or_else(|| Error::new("the kernel's symbols in this command cannot be read"))?;
    let (mut files, mut held) = (Files::default(), Vec::new());
    let mut last = None;
    for thread in
        threads.iter().filter(|thread| args.pid.is_none_or(|pid| thread.record.pid == u64::from(pid)))
    {
        let pid = u32::try_from(thread.record.pid).unwrap_or_default();
        if last != Some(pid) {
            let count = threads.iter().filter(|other| other.record.pid == thread.record.pid).count();
            let command = client.text(&format!("/proc/{pid}/cmdline"))?.replace('\0', " ");
            let s = if count == 1 { "" } else { "s" };
            output::line(format_args!("process {pid} ({}): {count} thread{s}", command.trim_end()))?;
        }
        last = Some(pid);
        let maps: Vec<Mapping> =
            client.text(&format!("/proc/{pid}/maps"))?.lines().filter_map(mapping).collect();
        let mut memory = GuestMemory::new(&mut client, pid);
        let mut text = headline(thread, &moment);
        if let Some(call) = thread.call().filter(|_| !thread.stack.is_empty()) {
            let _ = writeln!(text, "    in {}", call.describe(&mut memory));
            if let Some(lock) = locks::wanted(&call, &mut memory) {
                let owner = threads.iter().find(|other| other.record.tid == u64::from(lock.owner));
                let _ =
                    writeln!(text, "    waits for {}", lock.describe(owner.map(|owner| owner.name.as_str())));
                held.push(Held { waiter: u32::try_from(thread.record.tid).unwrap_or_default(), lock });
            } else if let Some(file) = waited_file(&call, pid, memory.client)? {
                let _ = writeln!(text, "    descriptor {file}");
            }
        }
        memory.check()?;
        let mut memory = GuestMemory::new(&mut client, pid);
        let (frames, program) = kernel_frames(thread, &kernel, &moment);
        if let Some(registers) = program {
            text += "    program:\n";
            text += &program_frames(registers, &maps, &mut files, &mut memory);
        }
        memory.check()?;
        if !frames.is_empty() && !args.program {
            text += "    kernel:\n";
            frames.iter().for_each(|frame| {
                let _ = writeln!(text, "      {frame}");
            });
        }
        output::write(text.as_bytes())?;
    }
    for cycle in locks::cycles(&held) {
        output::line(cycle)?;
    }
    Ok(())
}

/// `thread 2 "name", asleep for 2.1 s more`
fn headline(thread: &Thread, moment: &Moment) -> String {
    let record = &thread.record;
    let mut text = format!("  thread {} \"{}\": ", record.tid, thread.name);
    text += if thread.is(thread_flag::STOPPED) {
        "stopped"
    } else if thread.is(thread_flag::ASLEEP) {
        "sleeps"
    } else if thread.is(thread_flag::WOKEN) {
        "was woken, and has not run since"
    } else if thread.stack.is_empty() {
        "runs"
    } else {
        "runs, or waits for a CPU"
    };
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

/// The kernel's frames in words, and the program's registers if they are known.
pub fn kernel_frames(thread: &Thread, kernel: &Module, moment: &Moment) -> (Vec<String>, Option<Registers>) {
    let (addresses, program) = kernel_addresses(thread, kernel, moment);
    let frames = addresses.into_iter().filter_map(|address| {
        let (name, distance) = kernel.function(address)?;
        // They are in the calling instructions.
        Some(format!("{name}+{:#x}", distance + 1))
    });
    (frames.collect(), program)
}

/// Linked addresses in the kernel's instructions that called, the innermost first, and the program's registers if they are known.
pub fn kernel_addresses(thread: &Thread, kernel: &Module, moment: &Moment) -> (Vec<u64>, Option<Registers>) {
    let mut frames = Vec::new();
    if thread.stack.is_empty() {
        return (frames, None);
    }
    let mut registers: Registers = [None; 17];
    let pointer = thread.record.stack_pointer;
    for (place, number) in SWITCHED.into_iter().enumerate() {
        registers[number] = thread.kernel_word(pointer + 8 * place as u64);
    }
    let behind = pointer + 8 * SWITCHED.len() as u64;
    registers[register::RIP] = thread.kernel_word(behind);
    registers[register::RSP] = Some(behind + 8);
    let mut is_in_call = false;
    while let Some(address) = registers[register::RIP].and_then(|rip| rip.checked_sub(moment.kernel_slide)) {
        // A return address may be the first byte after the function that called: the byte before it is looked up.
        let calling = address.wrapping_sub(1);
        let Some((name, _)) = kernel.function(calling) else { break };
        frames.push(calling);
        is_in_call = CALL_ENTRIES.contains(&name);
        let caller = kernel.frames.caller(calling, &registers, &mut |at| thread.kernel_word(at));
        match caller {
            Some(caller) if frames.len() < MOST_FRAMES => registers = caller,
            _ => break,
        }
    }
    // At the entry of a system call the kernel saves of the registers what it must: the others are as its functions found
    // them. Every other way into the kernel saves all.
    let mut program: Registers = [None; 17];
    let saved = |name| thread.register(name);
    for (number, name) in DWARF_NAMES.into_iter().enumerate() {
        let is_left_out = ["rbx", "rbp", "r12", "r13", "r14", "r15"].contains(&name);
        program[number] = if is_in_call && is_left_out { registers[number] } else { saved(name) };
    }
    (frames, Some(program))
}

/// Where the kernel's entries of system calls go on after the call's function (`hal/src/entry.rs`).
pub const CALL_ENTRIES: [&str; 3] = ["call_unikernel", "syscall_entry_protected", "patched_syscall_entry"];

/// The names of registers by their numbers in DWARF.
pub const DWARF_NAMES: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip",
];

fn program_frames(
    mut registers: Registers,
    maps: &[Mapping],
    files: &mut Files,
    memory: &mut GuestMemory<'_>,
) -> String {
    let mut text = String::new();
    for number in 0..MOST_FRAMES {
        let Some(address) = registers[register::RIP] else { break };
        // As in the kernel; but the innermost frame is at its own instruction.
        let calling = if number == 0 { address } else { address.wrapping_sub(1) };
        let Some(mapping) = maps.iter().find(|map| (map.start..map.end).contains(&calling)) else {
            break;
        };
        if !mapping.is_code {
            break;
        }
        let offset = calling - mapping.start + mapping.offset;
        let module = files.module(mapping, memory);
        let linked = module.and_then(|module| module.linked_address(offset));
        let function = linked.and_then(|linked| module?.function(linked));
        let name = match function {
            Some((name, distance)) => format!("{name}+{:#x}", distance + (address - calling)),
            None => "?".to_owned(),
        };
        let place = std::path::Path::new(&mapping.name).file_name().unwrap_or_default();
        let place = String::from_utf8_lossy(place.as_bytes());
        let _ = writeln!(text, "      #{number} {address:#x} {name} ({place}+{offset:#x})");
        let mut read = |address| memory.word(address);
        let by_table = linked.and_then(|linked| module?.frames.caller(linked, &registers, &mut read));
        match by_table.or_else(|| by_frame_pointer(&registers, &mut read)) {
            // A stack grows downwards: a caller's frame lies higher.
            Some(caller) if caller[register::RSP] > registers[register::RSP] => registers = caller,
            _ => break,
        }
    }
    text
}
