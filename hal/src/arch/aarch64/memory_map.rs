//! Where things lie in physical memory. Machines of this architecture differ; the device tree says where RAM is.
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

/// No memory is mapped whole for the firmware's sake.
pub const LOW_MEMORY: u64 = 0;
/// What the identity map of early boot covers as memory: the GiB that the kernel is loaded in must be this one.
pub const EARLY_MAPPED: Range<u64> = 1 << 30..2 << 30;
/// Nothing is reserved without the device tree saying so.
pub const RESERVED: Range<u64> = 0..0;

static KERNEL: AtomicU64 = AtomicU64::new(0);

/// Physical address that the kernel's ELF address 0 is loaded at.
#[inline]
pub fn kernel() -> u64 {
    KERNEL.load(Ordering::Relaxed)
}

/// Sets it, once, at boot.
pub fn set_kernel(address: u64) {
    KERNEL.store(address, Ordering::Relaxed);
}
