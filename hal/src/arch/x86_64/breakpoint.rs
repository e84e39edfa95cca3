//! One instruction breakpoint per CPU (Intel SDM volume 3, 19.2): proof that an instruction begins at an address.
//!
//! It fires, as [`Fault::Debug`](crate::arch::context::Fault) with `rip` at the address, before an instruction that *begins* there.
use core::arch::asm;

/// DR7: breakpoint 0 enabled on this CPU, on execution, one byte long; bit 10 reads as one.
const ENABLE_0: u64 = 1 | 1 << 10;
/// DR7 with no breakpoint.
const DISABLE_ALL: u64 = 1 << 10;
/// DR6 as the CPU leaves it when nothing was hit.
const NOTHING_HIT: u64 = 0xffff_0ff0;

/// Sets this CPU's breakpoint to `address`, in place of an earlier one. Addresses outside the program's half are ignored.
pub fn arm(address: usize) {
    if !(crate::mm::paging::USER_START..crate::mm::paging::USER_END).contains(&address) {
        return;
    }
    // SAFETY: the address is the program's, so that kernel code can't hit it; a hit is reported like any exception.
    unsafe {
        asm!("mov dr0, {}", in(reg) address, options(nostack, preserves_flags));
        asm!("mov dr7, {}", in(reg) ENABLE_0, options(nostack, preserves_flags));
    }
}

/// Takes this CPU's breakpoint away; returns true if it was the cause of a debug exception since it was set.
pub fn disarm() -> bool {
    let status: u64;
    // SAFETY: without breakpoints nothing is interrupted; the status register holds no state but the causes.
    unsafe {
        asm!("mov {}, dr6", out(reg) status, options(nomem, nostack, preserves_flags));
        asm!("mov dr7, {}", in(reg) DISABLE_ALL, options(nomem, nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) NOTHING_HIT, options(nomem, nostack, preserves_flags));
    }
    status & 1 != 0
}
