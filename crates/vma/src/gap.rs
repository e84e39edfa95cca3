//! The search for free addresses.
use crate::region_map::{Attributes, RegionMap};
use core::ops::Range;

impl<A: Attributes> RegionMap<A> {
    /// The highest free address in `within` where `len` bytes fit, a multiple of `align` (a power of two): where
    /// mmap(2) puts what may lie anywhere.
    pub fn highest_gap(&self, within: Range<usize>, len: usize, align: usize) -> Option<usize> {
        self.regions.highest_gap(within, len, align)
    }

    /// The lowest free address in `within` where `len` bytes fit, a multiple of `align` (a power of two).
    pub fn lowest_gap(&self, within: Range<usize>, len: usize, align: usize) -> Option<usize> {
        self.regions.lowest_gap(within, len, align)
    }
}
