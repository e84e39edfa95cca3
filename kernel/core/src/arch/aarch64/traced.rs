//! Registers as ptrace(2) has them: `struct user_pt_regs`, and of the floating point the area that is saved.
use super::debug;
use crate::arch::meaning::OldRequest;
use coracle_hal::context::UserContext;

/// Registers.
pub const WORDS: usize = debug::WORDS;
/// Their bytes.
pub const BYTES: usize = WORDS * 8;
/// There is no `struct user` here.
pub const USER_BYTES: usize = 0;
/// sizeof(struct user_fpsimd_state).
pub const FLOATING_BYTES: usize = 528;
/// There is no NT_X86_XSTATE.
pub const HAS_XSTATE: bool = false;

/// The registers of a program.
pub fn registers(context: UserContext, _bases: [u64; 2]) -> [u64; WORDS] {
    debug::words(context)
}

/// Replaces them, as far as a program may change them.
pub fn set_registers(context: &mut UserContext, words: [u64; WORDS]) -> Option<[u64; 2]> {
    debug::set_words(context, words);
    None
}

/// There are none here.
pub fn old_request(_request: u32) -> Option<OldRequest> {
    None
}
