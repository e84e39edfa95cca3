//! The stacks of programs at their calls, as a guest notes them.

use std::collections::HashMap;

use coracle_control::STACK_REGISTERS;

use super::super::profile::Copy;
use super::super::stack::Files;
use super::super::symbols::{Region, frames_of, registers_of, text};
use super::super::unwind::register;

/// The stacks of programs.
#[derive(Default)]
pub struct Stacks {
    /// Where a process has code, by its number.
    regions: HashMap<u32, Vec<Region>>,
    /// The process of which that was said last. One that shares its memory with another (vfork(2)) may have none of its own.
    last: u32,
    files: Files,
    /// What was said of code, and noted of stacks, for calls that are yet to begin, by threads.
    code: HashMap<u32, Vec<u8>>,
    noted: HashMap<u32, (u32, Vec<u8>)>,
}

impl Stacks {
    /// Takes a piece of what is said of a process's code.
    pub fn take_code(&mut self, (pid, tid): (u32, u32), bytes: &[u8]) {
        let said = self.code.entry(tid).or_default();
        said.extend(bytes);
        let text = String::from_utf8_lossy(said);
        self.regions.insert(pid, text.lines().filter_map(Region::parse).collect());
        self.last = pid;
    }

    /// Takes a piece of a thread's registers and stack.
    pub fn take_stack(&mut self, (pid, tid): (u32, u32), bytes: &[u8]) {
        self.code.remove(&tid);
        self.noted.entry(tid).or_insert((pid, Vec::new())).1.extend(bytes);
    }

    /// The frames of a thread's call that begins, in words; none: nothing was noted.
    pub fn frames(&mut self, tid: u32) -> String {
        let Some((pid, bytes)) = self.noted.remove(&tid) else { return String::new() };
        let Some((words, stack)) = bytes.split_at_checked(8 * STACK_REGISTERS) else { return String::new() };
        let registers = registers_of(words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        let stack = Copy { start: registers[register::RSP].unwrap_or_default(), bytes: stack.to_vec() };
        let regions = self.regions.get(&pid).or_else(|| self.regions.get(&self.last));
        let regions = regions.map(Vec::as_slice).unwrap_or_default();
        let frames = frames_of(registers, regions, &stack, &mut self.files);
        text(&frames, "    ")
    }
}
