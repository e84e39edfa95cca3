//! Registers as ptrace(2) has them: `struct user_pt_regs`, and of the floating point the area that is saved.
use super::debug;
use crate::arch::meaning::OldRequest;
use crate::errno::Errno;
use coracle_hal::context::UserContext;
use core::ops::Range;

/// Registers.
pub const WORDS: usize = debug::WORDS;
/// Their bytes.
pub const BYTES: usize = WORDS * 8;
/// There is no `struct user` here.
pub const USER_BYTES: usize = 0;
/// Where the debug registers lie in the user area: there are none.
pub const DEBUG_REGISTERS: Range<usize> = 0..0;
/// sizeof(struct user_fpsimd_state).
pub const FLOATING_BYTES: usize = 528;
/// There is no NT_X86_XSTATE.
pub const HAS_XSTATE: bool = false;

/// The registers of a program.
pub fn registers(context: UserContext, _bases: [u64; 2]) -> [u64; WORDS] {
    debug::words(context)
}

/// Replaces them. EINVAL for a processor state that differs in more than the conditions.
pub fn set_registers(context: &mut UserContext, words: [u64; WORDS]) -> Result<Option<[u64; 2]>, Errno> {
    let mut new = *context;
    debug::set_words(&mut new, words);
    if debug::words(new) != words {
        return Err(Errno::INVAL);
    }
    *context = new;
    Ok(None)
}

/// There are none here.
pub fn old_request(_request: u32) -> Option<OldRequest> {
    None
}
