//! The search for free addresses.
use crate::region_map::{Attributes, RegionMap};
use core::ops::Range;

impl<A: Attributes> RegionMap<A> {
    /// The highest free address in `within` where `len` bytes fit, a multiple of `align` (a power of two): where
    /// mmap(2) puts what may lie anywhere.
    pub fn highest_gap(&self, within: Range<usize>, len: usize, align: usize) -> Option<usize> {
        let mut top = within.end;
        loop {
            let at = top.checked_sub(len)? & !(align - 1);
            if at < within.start || len == 0 {
                return None;
            }
            // The last region that begins below our end is the only one that can be in the way.
            match self.regions.last_before(at + len) {
                Some(region) if region.end > at => top = region.start,
                _ => return Some(at),
            }
        }
    }

    /// The lowest free address in `within` where `len` bytes fit, a multiple of `align` (a power of two).
    pub fn lowest_gap(&self, within: Range<usize>, len: usize, align: usize) -> Option<usize> {
        let mut bottom = within.start;
        loop {
            let at = bottom.checked_next_multiple_of(align)?;
            let end = at.checked_add(len)?;
            if end > within.end || len == 0 {
                return None;
            }
            match self.find_at_or_after(at) {
                Some((found, _)) if found.start < end => bottom = found.end,
                _ => return Some(at),
            }
        }
    }
}
