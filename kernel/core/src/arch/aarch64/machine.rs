//! Names and constants of the architecture.

/// The machine that uname(2) and AT_PLATFORM name.
pub const NAME: &[u8] = b"aarch64";
/// `e_machine` of its ELF files.
pub const ELF_MACHINE: u16 = 183;
/// AUDIT_ARCH_AARCH64: the machine, with bits for 64 bits and little-endian (linux/audit.h).
pub const AUDIT: u32 = ELF_MACHINE as u32 | 0xc000_0000;
/// mmap(2): there is no such flag here.
pub const MAP_32BIT: u32 = 0;

/// Which argument of clone(2) is the place of the child's id.
pub const CLONE_CHILD_TID: usize = 4;
/// Which one is the thread pointer.
pub const CLONE_TLS: usize = 3;

/// Whether a mapping is to lie below 2 GiB: no flag asks for that.
pub fn wants_low(_flags: u32) -> bool {
    false
}
