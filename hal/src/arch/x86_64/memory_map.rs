//! Where things lie in physical memory on PCs.
use core::ops::Range;

/// Memory below this address has the firmware's tables, and is mapped whole.
pub const LOW_MEMORY: u64 = 0x10_0000;
/// What the identity map of early boot covers.
pub const EARLY_MAPPED: Range<u64> = 0..1 << 30;
/// Low memory that is never free: the BIOS data area, and the page where other CPUs start.
pub const RESERVED: Range<u64> = 0..TRAMPOLINE as u64 + 4096;
/// The page below 1 MiB where other CPUs start.
pub const TRAMPOLINE: usize = 0x1000;

/// Physical address that the kernel's ELF address 0 is loaded at (link.ld).
#[inline]
pub fn kernel() -> u64 {
    LOW_MEMORY
}
