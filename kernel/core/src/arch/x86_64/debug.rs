//! What a debugger changes in a program: breakpoints, single steps, registers.
use coracle_hal::context::{Fault, UserContext};

/// `int3`.
pub const BREAKPOINT: [u8; 1] = [0xcc];
/// How far behind its instruction a breakpoint is reported.
pub const AFTER_BREAKPOINT: usize = 1;
/// RFLAGS.TF, which has the CPU report each instruction.
const STEP: u64 = 1 << 8;
/// Flags that a debugger may change: CF PF AF ZF SF DF OF RF AC ID.
const CHANGEABLE: u64 = 0x0025_0cd5;

/// Registers of a program.
pub const WORDS: usize = 19;

/// Whether an exception is that of the instruction for breakpoints.
pub fn is_breakpoint(fault: &Fault) -> bool {
    matches!(fault, Fault::Breakpoint)
}

/// Whether it is a step, or a place that is watched.
pub fn is_trap(fault: &Fault) -> bool {
    matches!(fault, Fault::Debug)
}

/// Has the program make one step, or no longer.
pub fn set_step(context: &mut UserContext, on: bool) {
    context.rflags = context.rflags & !STEP | if on { STEP } else { 0 };
}

fn places(c: &mut UserContext) -> [&mut u64; WORDS] {
    [
        &mut c.r15,
        &mut c.r14,
        &mut c.r13,
        &mut c.r12,
        &mut c.rbp,
        &mut c.rbx,
        &mut c.rax,
        &mut c.rcx,
        &mut c.r11,
        &mut c.r9,
        &mut c.r8,
        &mut c.r10,
        &mut c.rdx,
        &mut c.rsi,
        &mut c.rdi,
        &mut c.orig_rax,
        &mut c.rip,
        &mut c.rflags,
        &mut c.rsp,
    ]
}

/// The registers in the order of the control channel (`coracle_control::REGISTERS`).
pub fn words(mut context: UserContext) -> [u64; WORDS] {
    places(&mut context).map(|place| *place)
}

/// Replaces the registers; of the flags those that a program may change.
pub fn set_words(context: &mut UserContext, words: [u64; WORDS]) {
    let flags = context.rflags;
    places(context).into_iter().zip(words).for_each(|(place, word)| *place = word);
    context.rflags = flags & !CHANGEABLE | context.rflags & CHANGEABLE;
}
