//! What signal frames have in common on all architectures: alternate stacks, and what of a thread changes as a handler begins.
//! The frames themselves are the architecture's (`arch::frame`).
use super::deliver::handler_mask;
use super::info::SigInfo;
use super::mask;
use super::state::{Action, AltStack};
use crate::arch;
use crate::errno::Errno;
use crate::task::thread::{Thread, Work};
use linux_raw_sys::general as abi;

/// SS_ONSTACK and SS_DISABLE as uc_stack has them.
const SS_ONSTACK: u32 = abi::SS_ONSTACK;
const SS_DISABLE: u32 = abi::SS_DISABLE;

/// sigaltstack(2)'s flags for a stack, seen from `sp`.
pub fn stack_flags(stack: &AltStack, sp: usize) -> u32 {
    if stack.size == 0 {
        SS_DISABLE
    } else if stack.flags & abi::SS_AUTODISARM == 0 && stack.contains(sp) {
        SS_ONSTACK
    } else {
        stack.flags
    }
}

/// What rt_sigreturn(2) comes to beside going back.
pub enum Returned {
    /// The program goes on.
    Fine,
    /// It can't, with registers like these: the exception that Linux would meet on the way back, by its details in a frame.
    Refused([u64; 3]),
}

/// Where the frame of a handler goes, and what of the thread it keeps.
pub struct Place {
    /// The mask that holds again behind the handler.
    pub mask: u64,
    /// The alternate stack.
    pub stack: AltStack,
    /// What the last fault of the thread was.
    pub last_fault: [u64; 3],
    /// The handler begins on the alternate stack, which is not in use yet.
    pub entering_alt: bool,
    /// The end of the room for the frame.
    pub top: usize,
    /// The least address of the frame.
    bottom: usize,
}

impl Place {
    /// For a handler of `thread`, whose stack pointer is `sp`. Of its own stack `kept` bytes below that are in use.
    pub fn of(thread: &Thread, action: &Action, sp: usize, kept: usize) -> Place {
        let own = thread.signals.lock();
        let (stack, mask) = (own.alt_stack, own.saved_mask.unwrap_or(own.mask));
        let on_alt = action.flags & u64::from(abi::SA_ONSTACK) != 0 && stack.size != 0;
        let entering_alt = on_alt && !(stack.flags & abi::SS_AUTODISARM == 0 && stack.contains(sp));
        let top = if entering_alt { stack.base + stack.size } else { sp.wrapping_sub(kept) };
        let bottom = if on_alt { stack.base } else { 0 };
        Place { mask, stack, last_fault: own.last_fault, entering_alt, top, bottom }
    }

    /// EFAULT if a frame at `address` does not fit.
    pub fn check(&self, address: usize) -> Result<(), Errno> {
        if address < self.bottom { Err(Errno::FAULT) } else { Ok(()) }
    }
}

/// A handler begins: its mask holds, and an alternate stack that disarms itself is gone. `entering_alt`: it runs on that one.
pub fn enter(thread: &Thread, info: &SigInfo, action: &Action, entering_alt: bool) {
    mask::change(thread, |own| {
        own.mask = handler_mask(own.mask, info, action);
        if own.saved_mask.take().is_some() {
            thread.work().clear(Work::RESTORE_MASK);
        }
        if own.alt_stack.flags & abi::SS_AUTODISARM != 0 && entering_alt {
            own.alt_stack = AltStack::default();
        }
    });
}

/// Sets the alternate stack from the words of a `stack_t`: base, flags, size. EPERM if `sp` is on the one in use, EINVAL,
/// ENOMEM (sigaltstack(2)).
pub fn set_alt_stack(thread: &Thread, words: &[u64], sp: usize) -> Result<(), Errno> {
    let &[base, flags, size] = words else { return Err(Errno::INVAL) };
    let flags = flags as u32;
    let mut own = thread.signals.lock();
    if own.alt_stack.flags & abi::SS_AUTODISARM == 0 && own.alt_stack.contains(sp) {
        return Err(Errno::PERM);
    }
    let mode = flags & !abi::SS_AUTODISARM;
    if mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0 {
        return Err(Errno::INVAL);
    }
    own.alt_stack = if mode == SS_DISABLE {
        AltStack::default()
    } else if (size as usize) < arch::frame::minimum_stack().min(abi::MINSIGSTKSZ as usize) {
        return Err(Errno::NOMEM);
    } else {
        AltStack { base: base as usize, size: size as usize, flags: flags & abi::SS_AUTODISARM }
    };
    Ok(())
}
