//! Single instructions: system registers, barriers, and what a call looks like.
use core::arch::asm;

/// Reads a system register, which has no effect.
macro_rules! read {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: the register exists at EL1; reading has no effect on memory.
        #[allow(unused_unsafe)]
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags))
        };
        value
    }};
}
/// Writes a system register. The caller vouches for the value.
macro_rules! write {
    ($name:literal, $value:expr) => {
        core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) $value, options(nostack, preserves_flags))
    };
}
pub(crate) use {read, write};

/// The stack pointer.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let value: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Instructions before this one take effect on those behind it.
#[inline(always)]
pub fn isb() {
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
}

/// Accesses to memory before this one are complete for every observer.
#[inline(always)]
pub fn dsb() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

/// Writes a line of the caches back to memory, where code without an MMU finds it.
pub fn clean_line(address: usize) {
    // SAFETY: the caches' contents stay the same.
    unsafe { asm!("dc civac, {}", in(reg) address, options(nostack, preserves_flags)) };
}

/// True if a call instruction (BL or BLR: Arm ARM, C4.1) ends at `address` of the text that begins at `start`.
pub fn follows_call(address: usize, start: usize) -> bool {
    const LENGTH: usize = 4;
    if !address.is_multiple_of(LENGTH) || address < start + LENGTH {
        return false;
    }
    // SAFETY: the word lies in the kernel's text, which is always mapped.
    let instruction = unsafe { *((address - LENGTH) as *const u32) };
    instruction >> 26 == 0b10_0101 || instruction & 0xffff_fc1f == 0xd63f_0000
}
