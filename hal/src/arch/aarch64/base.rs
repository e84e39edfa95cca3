//! The register that leads to the running CPU's own data: TPIDR_EL1.
use super::instructions::{read, write};
use crate::local::Local;

/// Sets the register.
///
/// # Safety
/// The data lives for ever.
pub unsafe fn set(local: &'static Local) {
    // SAFETY: the register is the kernel's own.
    unsafe { write!("tpidr_el1", core::ptr::from_ref(local) as u64) };
}

/// The address that [`set`] was given.
///
/// # Safety
/// [`set`] was called on this CPU.
#[inline(always)]
pub unsafe fn get() -> *const Local {
    read!("tpidr_el1") as *const Local
}
