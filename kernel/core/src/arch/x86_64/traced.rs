//! Registers as ptrace(2) has them: `struct user_regs_struct` (sys/user.h), and of the floating point the area that the CPU saves.
use super::debug;
use crate::arch::meaning::OldRequest;
use crate::errno::Errno;
use coracle_hal::context::UserContext;
use coracle_hal::task::is_user_base;
use core::ops::Range;
use linux_raw_sys::ptrace as pt;

/// Registers.
pub const WORDS: usize = 27;
/// Their bytes.
pub const BYTES: usize = WORDS * 8;
/// sizeof(struct user).
pub const USER_BYTES: usize = 912;
/// Offsets of u_debugreg in it: DR0 to DR7.
pub const DEBUG_REGISTERS: Range<usize> = 848..912;
/// sizeof(struct user_fpregs_struct): the part of the area that is older than XSAVE.
pub const FLOATING_BYTES: usize = 512;
/// There is NT_X86_XSTATE.
pub const HAS_XSTATE: bool = true;

/// Where a register is among [`debug::words`].
const PLACES: [Option<usize>; WORDS] = {
    let mut places = [None; WORDS];
    let order = [0, 1, 2, 3, 4, 5, 8, 11, 9, 10, 6, 7, 12, 13, 14, 15, 16];
    let mut at = 0;
    while at < order.len() {
        places[at] = Some(order[at]);
        at += 1;
    }
    // r10, r9, r8.
    (places[7], places[8], places[9]) = (Some(11), Some(9), Some(10));
    (places[18], places[19]) = (Some(17), Some(18));
    places
};
/// Places of cs, ss, and the bases of fs and gs.
const CS: usize = 17;
const SS: usize = 20;
const FS_BASE: usize = 21;
const GS_BASE: usize = 22;
/// That of ds, which es, fs and gs come after: a program has none of them.
const DS: usize = 23;
/// What programs see in cs and ss: Linux's __USER_CS and __USER_DS.
const USER_CODE: u64 = 0x33;
const USER_DATA: u64 = 0x2b;

/// The registers of a program, with the bases of fs and gs.
pub fn registers(context: UserContext, [fs_base, gs_base]: [u64; 2]) -> [u64; WORDS] {
    let own = debug::words(context);
    let mut words = PLACES.map(|place| place.map_or(0, |place| own[place]));
    (words[CS], words[SS], words[FS_BASE], words[GS_BASE]) = (USER_CODE, USER_DATA, fs_base, gs_base);
    words
}

/// Replaces them, as far as a program may change them; returns the bases. EIO for a segment or a base that no program here has.
pub fn set_registers(context: &mut UserContext, words: [u64; WORDS]) -> Result<Option<[u64; 2]>, Errno> {
    /// Linux looks at the lower half of a selector's word.
    const SELECTOR: u64 = 0xffff;
    let data = words[DS..].iter().all(|selector| selector & SELECTOR == 0);
    let own = (words[CS] & SELECTOR, words[SS] & SELECTOR) == (USER_CODE, USER_DATA);
    if !(data && own && is_user_base(words[FS_BASE]) && is_user_base(words[GS_BASE])) {
        return Err(Errno::IO);
    }
    let mut own = debug::words(*context);
    for (place, word) in PLACES.into_iter().zip(words) {
        if let Some(place) = place {
            own[place] = word;
        }
    }
    debug::set_words(context, own);
    Ok(Some([words[FS_BASE], words[GS_BASE]]))
}

/// A request for all registers, if it is one.
pub fn old_request(request: u32) -> Option<OldRequest> {
    Some(match request {
        pt::PTRACE_GETREGS => OldRequest::Get,
        pt::PTRACE_SETREGS => OldRequest::Set,
        pt::PTRACE_GETFPREGS => OldRequest::GetFloating,
        pt::PTRACE_SETFPREGS => OldRequest::SetFloating,
        _ => return None,
    })
}
