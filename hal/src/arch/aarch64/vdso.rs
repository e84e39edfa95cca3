//! What is mapped into every process: the return from signal handlers. It is no ELF object yet (vdso(7)): programs make system
//! calls for the time.
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
    /// The code is an ELF object, and AT_SYSINFO_EHDR names it.
    pub is_object: bool,
}

/// The page with the return from signal handlers, the same for all processes. `None`: out of memory.
pub fn get() -> Option<&'static Vdso> {
    static VDSO: spin::Once<Vdso> = spin::Once::new();
    VDSO.try_call_once(|| make().ok_or(())).ok()
}

fn make() -> Option<Vdso> {
    /// `mov x8, #139` (rt_sigreturn) and `svc #0`.
    const TRAMPOLINE: [u32; 2] = [0xd280_1168, 0xd400_0001];
    let code = Frame::alloc_zeroed()?;
    for (index, instruction) in TRAMPOLINE.iter().enumerate() {
        code.write(index * size_of::<u32>(), &instruction.to_le_bytes());
    }
    let data = crate::time::page()?.clone();
    Some(Vdso { data: alloc::vec![data], code: alloc::vec![code], sigreturn: 0, is_object: false })
}
