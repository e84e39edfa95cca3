//! Which physical memory is RAM, and reading what the firmware left in memory.
use crate::arch::memory_map::LOW_MEMORY;
use crate::mm::layout;
use crate::mm::ranges::Ranges;
use core::sync::atomic::{AtomicU64, Ordering};

static SIZE: AtomicU64 = AtomicU64::new(0);
static REGIONS: crate::once::Once<Ranges> = crate::once::Once::new();

/// Sets what the functions below return: all RAM, and bytes of it that the machine has for programs. Once, at boot.
pub fn set(regions: Ranges, size: u64) {
    SIZE.store(size, Ordering::Relaxed);
    REGIONS.call_once(|| regions);
}

/// Bytes of memory the machine has.
pub fn memory_size() -> u64 {
    SIZE.load(Ordering::Relaxed)
}

/// True if any byte of the range is RAM.
pub fn overlaps_ram(phys: u64, len: u64) -> bool {
    let Some(end) = phys.checked_add(len) else { return true };
    REGIONS.get().is_none_or(|regions| regions.iter().any(|(a, b)| phys < b && a < end))
}

/// Physical memory of the firmware's tables: RAM and low memory where they are mapped, else a mapping of their own.
pub fn firmware(phys: u64, len: usize) -> Option<&'static [u8]> {
    let end = phys.checked_add(len as u64)?;
    let is_low = |address: u64| (0..LOW_MEMORY).contains(&address);
    let mapped = is_low(end.saturating_sub(1))
        || REGIONS.get()?.iter().any(|(a, b)| a <= phys && end <= b && !is_low(a));
    let address = if mapped {
        layout::direct(phys)
    } else {
        // SAFETY: firmware tables, read only.
        unsafe { crate::mm::kmap::map_foreign(phys, len, false)? }
    };
    // SAFETY: mapped for ever; firmware tables are not written after boot, and their RAM is not in the memory map's RAM
    // or was reserved.
    Some(unsafe { core::slice::from_raw_parts(address as *const u8, len) })
}
