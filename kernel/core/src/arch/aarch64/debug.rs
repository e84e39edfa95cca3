//! What a debugger changes in a program: breakpoints, registers. Single steps are not made yet.
use coracle_hal::context::{Fault, UserContext};

/// `brk #0`.
pub const BREAKPOINT: [u8; 4] = [0x00, 0x00, 0x20, 0xd4];
/// A breakpoint is reported at its own instruction.
pub const AFTER_BREAKPOINT: usize = 0;

/// Registers of a program: x0 to x30, sp, pc, pstate.
pub const WORDS: usize = 34;

/// Whether an exception is that of the instruction for breakpoints.
pub fn is_breakpoint(fault: &Fault) -> bool {
    matches!(fault, Fault::Breakpoint { .. })
}

/// Whether it is a step.
pub fn is_trap(fault: &Fault) -> bool {
    matches!(fault, Fault::SingleStep)
}

/// Does nothing.
pub fn set_step(_context: &mut UserContext, _on: bool) {}

/// The registers: x0 to x30, sp, pc, pstate.
pub fn words(context: UserContext) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    words[..31].copy_from_slice(&context.x);
    [words[31], words[32], words[33]] = [context.sp, context.pc, context.pstate];
    words
}

/// Replaces the registers; of the processor state only the conditions.
pub fn set_words(context: &mut UserContext, words: [u64; WORDS]) {
    const CONDITIONS: u64 = 0xf000_0000;
    context.x.copy_from_slice(&words[..31]);
    (context.sp, context.pc) = (words[31], words[32]);
    context.pstate = context.pstate & !CONDITIONS | words[33] & CONDITIONS;
}
