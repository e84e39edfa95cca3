//! PCI host bridges: where configuration space is in memory, and which addresses the registers of devices can be given.
//!
//! ACPI describes a bridge (`aml`), or a device tree (`device_tree::pci`).
use alloc::vec::Vec;
use core::ops::Range;

/// A PCI Express host bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostBridge {
    /// Physical address of the configuration space of bus 0.
    pub ecam: u64,
    /// The last bus that has a place there.
    pub last_bus: u8,
    /// Addresses for devices' registers.
    pub windows: Windows,
}

/// Physical addresses that a bridge passes on to devices: those that can still be given to their registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(pub Vec<Range<u64>>);

impl Windows {
    /// Takes `size` bytes, a power of two, at a multiple of it. `wide`: they may lie above 4 GiB. `None` if none are left.
    pub fn take(&mut self, size: u64, wide: bool) -> Option<u64> {
        self.0.iter_mut().find_map(|window| {
            let start = window.start.checked_next_multiple_of(size)?;
            let end = start.checked_add(size).filter(|&end| end <= window.end)?;
            if !wide && end > 1 << 32 {
                return None;
            }
            window.start = end;
            Some(start)
        })
    }
}

/// Why a bridge can't be used.
pub type Unusable = &'static str;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn what_is_taken_is_aligned_and_taken_once() {
        let mut random = 7u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(99);
            (random >> 33) % below
        };
        for _ in 0..if cfg!(miri) { 10 } else { 1000 } {
            let low = next(1 << 32);
            let high = (1 << 32) - next(1 << 16) + next(1 << 17);
            let given = vec![
                low..low + next(1 << 24),
                high..high + next(1 << 40),
                u64::MAX - next(1 << 20)..u64::MAX,
            ];
            let mut windows = Windows(given.clone());
            let mut taken: Vec<Range<u64>> = Vec::new();
            for _ in 0..50 {
                let (size, wide) = (1 << next(64), next(2) == 0);
                let Some(start) = windows.take(size, wide) else { continue };
                let new = start..start + size;
                assert!(start.is_multiple_of(size) && (wide || new.end <= 1 << 32));
                assert!(given.iter().any(|window| window.start <= new.start && new.end <= window.end));
                assert!(taken.iter().all(|other| other.end <= new.start || new.end <= other.start));
                taken.push(new);
            }
        }
    }

    #[test]
    fn narrow_registers_go_below_4_gib() {
        let mut windows = Windows(vec![0x1_0000_0000..0x2_0000_0000, 0x1000_0800..0x1000_3000]);
        assert_eq!(windows.take(0x1000, false), Some(0x1000_1000));
        assert_eq!(windows.take(0x1000, false), Some(0x1000_2000));
        assert_eq!(windows.take(0x1000, false), None);
        assert_eq!(windows.take(0x1000, true), Some(0x1_0000_0000));
    }
}
