//! The register that leads to the running CPU's own data: the GS base. The first word of that data is its own address.
use super::instructions::{self, msr};
use crate::local::Local;

/// Sets the register.
///
/// # Safety
/// The data lives for ever, and its first word is its address.
pub unsafe fn set(local: &'static Local) {
    // SAFETY: the GS base is the kernel's own by the design of `entry`.
    unsafe { instructions::wrmsr(msr::GS_BASE, core::ptr::from_ref(local) as u64) };
}

/// The address that [`set`] was given.
///
/// # Safety
/// [`set`] was called on this CPU.
#[inline(always)]
pub unsafe fn get() -> *const Local {
    let this: *const Local;
    // SAFETY: the first word of the data that the register leads to.
    unsafe { core::arch::asm!("mov {}, gs:[0]", out(reg) this, options(readonly, nostack, preserves_flags)) };
    this
}
