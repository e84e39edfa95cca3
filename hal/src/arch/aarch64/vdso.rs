//! The vDSO (vdso(7)). There is none for this architecture yet: programs make system calls for the time.
use crate::mm::frame::Frame;
use alloc::vec::Vec;

/// Pages to map at any address, in order: the data page(s), readable, then the ELF, readable and executable.
pub struct Vdso {
    /// Clock parameters: mapped read-only, directly before the ELF.
    pub data: Vec<Frame>,
    /// The ELF image; its first page is what AT_SYSINFO_EHDR names.
    pub code: Vec<Frame>,
    /// Offset of the trampoline that returns from signal handlers.
    pub sigreturn: usize,
}

/// None.
pub fn get() -> Option<&'static Vdso> {
    let _ = crate::time::page as fn() -> Option<&'static Frame>;
    None
}
