//! The threads of a guest with their kernel stacks, and what is needed to unwind those and the programs'.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use coracle_control::{Moment, NAME_BYTES, REGISTERS, Request, ThreadRecord, thread_flag};

use super::calls::{Call, Memory};
use super::client::Client;
use super::symbols::{Find, Module};
use super::unwind::{Registers, register};
use crate::arch::Arch;
use crate::error::{Error, Result};
use crate::output;

/// Frames of a stack that are shown at most.
pub const MOST_FRAMES: usize = 64;
/// Registers that `switch_stacks` of the kernel saves, in the order on the stack.
pub const SWITCHED: [usize; 6] =
    [register::R12 + 3, register::R12 + 2, register::R12 + 1, register::R12, register::RBX, register::RBP];

/// A thread as it was found.
pub struct Thread {
    /// The guest's record.
    pub record: ThreadRecord,
    /// Its name.
    pub name: String,
    /// Its kernel stack, from the stack pointer on; empty if it ran.
    pub stack: Vec<u8>,
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
        Some(Call { arch: Arch::X86_64, number: number as u32 as usize, arguments, result: None })
    }

    /// Whether it sleeps.
    pub fn is_asleep(&self) -> bool {
        self.is(thread_flag::ASLEEP) && !self.is(thread_flag::STOPPED)
    }

    /// Whether it has a flag of [`thread_flag`].
    pub fn is(&self, flag: u64) -> bool {
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

    /// The connection by which it is read.
    pub fn client(&mut self) -> &mut Client {
        self.client
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub struct Files(HashMap<String, Option<Rc<Module>>>);

impl Files {
    /// The file of a mapping, if the one of that path here is the same.
    pub fn module(&mut self, mapping: &Mapping, memory: &mut dyn Memory) -> Option<Rc<Module>> {
        self.module_if(mapping, |module| is_same(module, mapping, memory))
    }

    /// The same, with what says whether it is.
    pub fn module_if(
        &mut self,
        mapping: &Mapping,
        is_same: impl FnOnce(&Module) -> bool,
    ) -> Option<Rc<Module>> {
        if !mapping.name.starts_with('/') {
            return None;
        }
        if let Some(known) = self.0.get(&mapping.name) {
            return known.clone();
        }
        let module = Module::load(Path::new(&mapping.name)).filter(is_same).map(Rc::new);
        self.0.insert(mapping.name.clone(), module.clone());
        module
    }
}

/// Bytes of a mapping that are compared with its file.
pub const SAMPLE: usize = 1024;

/// What a file has where a mapping of it begins: as much as is compared.
pub fn sample<'a>(module: &'a Module, mapping: &Mapping) -> Option<&'a [u8]> {
    module.linked_address(mapping.offset)?;
    let own = module.bytes().get(usize::try_from(mapping.offset).ok()?..)?;
    Some(&own[..own.len().min(SAMPLE)])
}

/// Whether a file here is what the guest has mapped: some of its code is compared.
fn is_same(module: &Module, mapping: &Mapping, memory: &mut dyn Memory) -> bool {
    let Some(own) = sample(module, mapping) else { return false };
    let theirs = memory.read(mapping.start, SAMPLE);
    !theirs.is_empty() && own.starts_with(&theirs[..theirs.len().min(own.len())])
}

/// Whether the file of a process's mapping is the same here.
pub fn is_same_file(client: &mut Client, pid: u32, mapping: &Mapping) -> bool {
    Module::load(Path::new(&mapping.name))
        .is_some_and(|module| is_same(&module, mapping, &mut GuestMemory::new(client, pid)))
}

/// A process that is asked for what is needed to unwind its stacks.
pub struct Process<'a, 'm> {
    /// What it has mapped.
    pub maps: &'a [Mapping],
    /// Its files.
    pub files: &'a mut Files,
    /// Its memory.
    pub memory: &'a mut GuestMemory<'m>,
}

impl Find for Process<'_, '_> {
    fn mapping(&mut self, address: u64) -> Option<Mapping> {
        self.maps.iter().find(|map| (map.start..map.end).contains(&address)).cloned()
    }

    fn module(&mut self, mapping: &Mapping) -> Option<Rc<Module>> {
        self.files.module(mapping, self.memory)
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        self.memory.word(address)
    }
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
            Some(caller) if frames.len() < MOST_FRAMES && !is_in_call => registers = caller,
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
