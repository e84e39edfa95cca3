//! The ordered map of regions: lookup, insertion, removal and change of parts.
use crate::runs::{Region, Runs};
use alloc::vec::Vec;
use core::ops::Range;

/// What is known of a region beside its range.
pub trait Attributes: Clone {
    /// The attributes of the rest of a region that is cut `by` bytes after its start (file offsets move on).
    fn advance(&self, by: usize) -> Self;
    /// True if a region with these attributes and `len` bytes, directly followed by one with `next`, is one region.
    fn joins(&self, len: usize, next: &Self) -> bool;
}

/// Non-overlapping regions by address. Addresses and lengths may have any alignment; the kernel uses pages.
#[derive(Clone, Debug)]
pub struct RegionMap<A> {
    pub(crate) regions: Runs<A>,
}

impl<A> Default for RegionMap<A> {
    fn default() -> Self {
        RegionMap { regions: Runs::new() }
    }
}

impl<A: Attributes> RegionMap<A> {
    /// No regions.
    pub const fn new() -> Self {
        RegionMap { regions: Runs::new() }
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// The region that holds `addr`.
    pub fn find(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        let region = self.regions.last_upto(addr)?;
        (addr < region.end).then_some((region.start..region.end, &region.attributes))
    }

    /// The first region that ends after `addr`: the one that holds it, or the next.
    pub fn find_at_or_after(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        self.find(addr).or_else(|| {
            let region = self.regions.from(addr).next()?;
            Some((region.start..region.end, &region.attributes))
        })
    }

    /// The last region that ends at or before `addr`.
    pub fn find_before(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        let region = self.regions.last_before(addr)?;
        (region.end <= addr).then_some((region.start..region.end, &region.attributes))
    }

    /// All regions, in order of address.
    pub fn iter(&self) -> impl Iterator<Item = (Range<usize>, &A)> {
        self.regions.iter().map(|region| (region.start..region.end, &region.attributes))
    }

    /// The parts of regions that lie in `range`, in order, each with the attributes that hold at its start.
    pub fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, A)> {
        let first = self.find(range.start).map_or(range.start, |(found, _)| found.start);
        self.regions.from(first).take_while(move |region| region.start < range.end).map(move |region| {
            let from = region.start.max(range.start);
            (from..region.end.min(range.end), region.attributes.advance(from - region.start))
        })
    }

    /// True if no region touches `range`.
    pub fn is_free(&self, range: Range<usize>) -> bool {
        self.parts(range).next().is_none()
    }

    /// True if every byte of `range` is in some region.
    pub fn covers(&self, range: Range<usize>) -> bool {
        let mut at = range.start;
        for (part, _) in self.parts(range.clone()) {
            if part.start != at {
                return false;
            }
            at = part.end;
        }
        at >= range.end
    }

    /// Bytes of `range` that are in regions.
    pub fn bytes_in(&self, range: Range<usize>) -> usize {
        self.parts(range).map(|(part, _)| part.len()).sum()
    }

    /// Adds a region, joined with its neighbours where their attributes continue each other.
    ///
    /// # Panics
    /// If the range is empty or touches a region.
    pub fn insert(&mut self, range: Range<usize>, attributes: A) {
        assert!(range.start < range.end, "an empty region");
        assert!(self.is_free(range.clone()), "regions overlap");
        self.regions.insert(Region { start: range.start, end: range.end, attributes });
        self.join_at(range.end);
        self.join_at(range.start);
    }

    /// Removes what lies in `range` and gives it back in pieces.
    pub fn remove(&mut self, range: Range<usize>) -> Vec<(Range<usize>, A)> {
        if range.is_empty() {
            return Vec::new();
        }
        self.split_at(range.start);
        self.split_at(range.end);
        let removed = self.starts(range).into_iter().filter_map(|start| self.regions.remove(start));
        removed.map(|region| (region.start..region.end, region.attributes)).collect()
    }

    /// Where the regions that begin in `range` begin.
    fn starts(&self, range: Range<usize>) -> Vec<usize> {
        self.regions
            .from(range.start)
            .map(|region| region.start)
            .take_while(|&start| start < range.end)
            .collect()
    }

    /// Changes the attributes of what lies in `range`.
    pub fn update(&mut self, range: Range<usize>, mut change: impl FnMut(&mut A)) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start);
        self.split_at(range.end);
        let starts = self.starts(range.clone());
        for &start in &starts {
            if let Some(region) = self.regions.get_mut(start) {
                change(&mut region.attributes);
            }
        }
        self.join_at(range.end);
        for start in starts.into_iter().rev() {
            self.join_at(start);
        }
    }

    /// Moves the end of the region that begins at `start`; gives false if there is none, the new end isn't after its
    /// start, or another region is in the way.
    pub fn resize(&mut self, start: usize, end: usize) -> bool {
        let Some(old) = self.regions.get(start).map(|region| region.end) else { return false };
        if end <= start || (end > old && !self.is_free(old..end)) {
            return false;
        }
        if let Some(region) = self.regions.get_mut(start) {
            region.end = end;
        }
        self.join_at(end);
        true
    }

    /// Moves the start of the region that holds `addr` down to `start` (a stack that grows). The caller has checked
    /// that the attributes don't depend on the start. Gives false if a region is in the way.
    pub fn grow_down(&mut self, addr: usize, start: usize) -> bool {
        let Some((range, _)) = self.find(addr) else { return false };
        if start >= range.start || !self.is_free(start..range.start) {
            return false;
        }
        let Some(region) = self.regions.get_mut(range.start) else { return false };
        // Still after the regions before it, so it stays where it is in the order.
        region.start = start;
        true
    }

    /// Cuts the region that holds `addr` in its middle, so that one begins there.
    fn split_at(&mut self, addr: usize) {
        let Some((start, end)) = self.regions.last_before(addr).map(|region| (region.start, region.end))
        else {
            return;
        };
        if addr >= end {
            return;
        }
        let Some(region) = self.regions.get_mut(start) else { return };
        region.end = addr;
        let attributes = region.attributes.advance(addr - start);
        self.regions.insert(Region { start: addr, end, attributes });
    }

    /// Joins the regions that meet at `addr`, if they continue each other.
    fn join_at(&mut self, addr: usize) {
        let Some(next) = self.regions.get(addr) else { return };
        let Some(region) = self.regions.last_before(addr) else { return };
        if region.end != addr || !region.attributes.joins(addr - region.start, &next.attributes) {
            return;
        }
        let (start, end) = (region.start, next.end);
        self.regions.remove(addr);
        if let Some(region) = self.regions.get_mut(start) {
            region.end = end;
        }
    }
}
