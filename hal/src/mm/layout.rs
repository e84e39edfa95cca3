//! The layout of the kernel's half of the address space.
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes in a page.
pub const PAGE: usize = 4096;
/// Bytes mapped by one large page.
pub const LARGE_PAGE: usize = 2 << 20;
/// The kernel's text and data lie in this gigabyte, moved by a random number of pages.
pub const KERNEL_REGION: usize = 0xffff_ffff_8000_0000;
/// Bytes of [`KERNEL_REGION`].
pub const KERNEL_REGION_SIZE: usize = 1 << 30;
/// Kernel stacks and device registers.
pub const AREA: usize = 0xffff_ffff_4000_0000;
/// Bytes of [`AREA`].
pub const AREA_SIZE: usize = 1 << 30;
/// Large allocations of scattered frames.
pub const VMAP: usize = 0xffff_fffe_0000_0000;
/// Bytes of [`VMAP`].
pub const VMAP_SIZE: usize = 4 << 30;
/// All RAM is mapped somewhere from here, at a multiple of 1 GiB.
pub const DIRECT_REGION: usize = 0xffff_8000_0000_0000;
/// Bits of the random choice of that multiple: 64 TiB.
pub const DIRECT_BITS: u32 = 16;

static DIRECT_BASE: AtomicUsize = AtomicUsize::new(0);

/// Sets the base of the map of all RAM; once, before anything uses it.
pub fn set_direct_base(base: usize) {
    DIRECT_BASE.store(base, Relaxed);
}

/// Address at which physical `phys` is mapped, if it is RAM.
#[inline(always)]
pub fn direct(phys: u64) -> usize {
    DIRECT_BASE.load(Relaxed) + phys as usize
}

/// Physical address of an address in the map of all RAM.
#[inline(always)]
pub fn direct_phys(address: usize) -> u64 {
    (address - DIRECT_BASE.load(Relaxed)) as u64
}
