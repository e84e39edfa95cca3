//! The vDSO (vdso(7)): a tiny ELF shared object with clock_gettime, gettimeofday, time, clock_getres and getcpu.
use crate::frame::Frame;
use alloc::vec::Vec;

/// Pages to map at any address, in order: the data page(s), readable, then the ELF, readable and executable.
pub struct Vdso {
    /// Clock parameters: mapped read-only, directly before the ELF.
    pub data: Vec<Frame>,
    /// The ELF image; its first page is what AT_SYSINFO_EHDR names.
    pub code: Vec<Frame>,
    /// Offset of `__vdso_rt_sigreturn`'s trampoline within `code`, usable as a signal restorer.
    pub sigreturn: usize,
}
/// The vDSO, the same for all processes.
pub fn get() -> Option<&'static Vdso> {
    None
}
