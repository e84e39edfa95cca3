//! A sample: what a CPU was doing at a moment, with as much of its stacks as is needed to find the callers.

use coracle_control::{CpuRecord, REGISTERS};

use super::super::outside::{KERNEL_HALF, Layout, Outside, Running, registers};
use super::super::stack::{CALL_ENTRIES, DWARF_NAMES};
use super::super::symbols::Module;
use super::super::unwind::{Registers, register};
use crate::error::Result;

/// Bytes of a program's stack that are copied.
const PROGRAM_STACK: u64 = 16 << 10;
/// Frames of a stack at most.
pub const MOST_FRAMES: usize = 128;

/// A copy of a part of memory.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// Where it begins.
    pub start: u64,
    /// What is there.
    pub bytes: Vec<u8>,
}

impl Copy {
    /// The word at an address.
    pub fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
    }
}

/// What a CPU was doing.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The CPU.
    pub cpu: u64,
    /// The thread.
    pub running: Running,
    /// Addresses in the kernel, linked ones, in the instructions that were executed; the innermost first.
    pub kernel: Vec<u64>,
    /// The program's registers, if they are known.
    pub program: Option<Registers>,
    /// The program's stack.
    pub stack: Copy,
}

/// Looks at a CPU of a machine that is stopped. `None` if it waits, or starts.
pub fn take(
    outside: &mut Outside<'_>,
    kernel: &Module,
    layout: &Layout,
    cpu: &CpuRecord,
) -> Result<Option<Sample>> {
    if cpu.halted != 0 {
        return Ok(None);
    }
    let Some(running) = outside.running(layout, cpu)? else { return Ok(None) };
    let all = registers(cpu);
    let (mut frames, mut program) = (Vec::new(), Some(all));
    if cpu.rip >= KERNEL_HALF {
        let stack = Copy { start: cpu.rsp, bytes: outside.kernel_stack(cpu, Some(&running))? };
        let own = kernel_frames(kernel, layout.slide, all, &stack);
        let saved = outside.saved(cpu, &running)?;
        program = saved.and_then(|saved| registers_of_program(cpu, &own, &saved));
        frames = own.addresses;
    }
    let stack = match program.and_then(|program| program[register::RSP]) {
        Some(start) => Copy { start, bytes: outside.read(cpu, start, PROGRAM_STACK)? },
        None => Copy::default(),
    };
    Ok(Some(Sample { cpu: cpu.number, running, kernel: frames, program, stack }))
}

/// The frames of a kernel stack.
pub struct KernelFrames {
    /// As in [`Sample::kernel`].
    pub addresses: Vec<u64>,
    /// The outermost function is the entry of a system call.
    is_in_call: bool,
    /// The registers of the outermost frame.
    registers: Registers,
}

/// Finds the callers in the kernel.
pub fn kernel_frames(kernel: &Module, slide: u64, mut registers: Registers, stack: &Copy) -> KernelFrames {
    let (mut addresses, mut is_in_call) = (Vec::new(), false);
    while let Some(address) = registers[register::RIP].and_then(|rip| rip.checked_sub(slide)) {
        // A return address may be the first byte after the function that called.
        let calling = if addresses.is_empty() { address } else { address.wrapping_sub(1) };
        let Some((name, _)) = kernel.function(calling) else { break };
        addresses.push(calling);
        is_in_call = CALL_ENTRIES.contains(&name);
        match kernel.frames.caller(calling, &registers, &mut |at| stack.word(at)) {
            Some(caller) if addresses.len() < MOST_FRAMES && !is_in_call => registers = caller,
            _ => break,
        }
    }
    KernelFrames { addresses, is_in_call, registers }
}

/// The program's registers while its thread is in the kernel. At the entry of a system call the kernel saves what it must: the others
/// are as its functions found them. Every other way into the kernel saves all.
fn registers_of_program(
    cpu: &CpuRecord,
    frames: &KernelFrames,
    saved: &[u64; REGISTERS.len()],
) -> Option<Registers> {
    // The entry still has the program's stack, and its return address.
    if cpu.rsp < KERNEL_HALF {
        let mut program = registers(cpu);
        program[register::RIP] = Some(cpu.rcx);
        return Some(program);
    }
    let mut program = [None; 17];
    for (number, name) in DWARF_NAMES.into_iter().enumerate() {
        let is_left_out = ["rbx", "rbp", "r12", "r13", "r14", "r15"].contains(&name);
        program[number] = if frames.is_in_call && is_left_out {
            frames.registers[number]
        } else {
            let place = REGISTERS.iter().position(|own| *own == name)?;
            Some(saved[place])
        };
    }
    // A thread of the kernel's own has no program.
    program[register::RIP].filter(|&rip| rip != 0 && rip < KERNEL_HALF).map(|_| program)
}
