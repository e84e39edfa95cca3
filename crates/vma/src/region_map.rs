//! The ordered map of regions: lookup, insertion, removal and change of parts.
use alloc::collections::BTreeMap;
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
    /// Start of each region → its end and attributes.
    pub(crate) regions: BTreeMap<usize, (usize, A)>,
}

impl<A> Default for RegionMap<A> {
    fn default() -> Self {
        RegionMap { regions: BTreeMap::new() }
    }
}

impl<A: Attributes> RegionMap<A> {
    /// No regions.
    pub const fn new() -> Self {
        RegionMap { regions: BTreeMap::new() }
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
        let (&start, (end, attributes)) = self.regions.range(..=addr).next_back()?;
        (addr < *end).then_some((start..*end, attributes))
    }

    /// The first region that ends after `addr`: the one that holds it, or the next.
    pub fn find_at_or_after(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        self.find(addr).or_else(|| {
            let (&start, (end, attributes)) = self.regions.range(addr..).next()?;
            Some((start..*end, attributes))
        })
    }

    /// The last region that ends at or before `addr`.
    pub fn find_before(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        let (&start, (end, attributes)) = self.regions.range(..addr).next_back()?;
        (*end <= addr).then_some((start..*end, attributes))
    }

    /// All regions, in order of address.
    pub fn iter(&self) -> impl Iterator<Item = (Range<usize>, &A)> {
        self.regions.iter().map(|(&start, (end, attributes))| (start..*end, attributes))
    }

    /// The parts of regions that lie in `range`, in order, each with the attributes that hold at its start.
    pub fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, A)> {
        let first = self.find(range.start).map_or(range.start, |(found, _)| found.start);
        self.regions.range(first..range.end.max(first)).map(move |(&start, (end, attributes))| {
            let from = start.max(range.start);
            (from..(*end).min(range.end), attributes.advance(from - start))
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
        self.regions.insert(range.start, (range.end, attributes));
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
        let starts: Vec<usize> = self.regions.range(range).map(|(&start, _)| start).collect();
        starts
            .into_iter()
            .filter_map(|start| self.regions.remove(&start).map(|(end, attributes)| (start..end, attributes)))
            .collect()
    }

    /// Changes the attributes of what lies in `range`.
    pub fn update(&mut self, range: Range<usize>, mut change: impl FnMut(&mut A)) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start);
        self.split_at(range.end);
        let mut starts: Vec<usize> = Vec::new();
        for (&start, (_, attributes)) in self.regions.range_mut(range.clone()) {
            change(attributes);
            starts.push(start);
        }
        self.join_at(range.end);
        for start in starts.into_iter().rev() {
            self.join_at(start);
        }
    }

    /// Moves the end of the region that begins at `start`; gives false if there is none, the new end isn't after its
    /// start, or another region is in the way.
    pub fn resize(&mut self, start: usize, end: usize) -> bool {
        let Some(old) = self.regions.get(&start).map(|region| region.0) else { return false };
        if end <= start || (end > old && !self.is_free(old..end)) {
            return false;
        }
        if let Some(region) = self.regions.get_mut(&start) {
            region.0 = end;
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
        let Some(region) = self.regions.remove(&range.start) else { return false };
        self.regions.insert(start, region);
        true
    }

    /// Cuts the region that holds `addr` in its middle, so that one begins there.
    fn split_at(&mut self, addr: usize) {
        let Some((&start, (end, _))) = self.regions.range(..addr).next_back() else { return };
        let end = *end;
        if addr >= end {
            return;
        }
        let Some((cut, attributes)) = self.regions.get_mut(&start) else { return };
        *cut = addr;
        let rest = attributes.advance(addr - start);
        self.regions.insert(addr, (end, rest));
    }

    /// Joins the regions that meet at `addr`, if they continue each other.
    fn join_at(&mut self, addr: usize) {
        let Some((next_end, next)) = self.regions.get(&addr) else { return };
        let next_end = *next_end;
        let Some((&start, (end, attributes))) = self.regions.range(..addr).next_back() else { return };
        if *end != addr || !attributes.joins(addr - start, next) {
            return;
        }
        self.regions.remove(&addr);
        if let Some(region) = self.regions.get_mut(&start) {
            region.0 = next_end;
        }
    }
}
