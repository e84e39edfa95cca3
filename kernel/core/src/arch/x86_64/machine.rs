//! Names and constants of the architecture.
use linux_raw_sys::general as abi;

/// The machine that uname(2) and AT_PLATFORM name.
pub const NAME: &[u8] = b"x86_64";
/// `e_machine` of its ELF files.
pub const ELF_MACHINE: u16 = 62;
/// AUDIT_ARCH_X86_64: the machine, with bits for 64 bits and little-endian (linux/audit.h).
pub const AUDIT: u32 = ELF_MACHINE as u32 | 0xc000_0000;
/// mmap(2): a place below 2 GiB.
pub const MAP_32BIT: u32 = abi::MAP_32BIT;

/// Which argument of clone(2) is the place of the child's id.
pub const CLONE_CHILD_TID: usize = 3;
/// Which one is the thread pointer.
pub const CLONE_TLS: usize = 4;

/// Whether a mapping is to lie below 2 GiB.
pub fn wants_low(flags: u32) -> bool {
    flags & MAP_32BIT != 0
}
