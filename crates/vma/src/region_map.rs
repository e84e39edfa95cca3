//! The ordered map of regions: look-up, insertion, removal and change of parts.
use coracle_interval_map::{InsertError, IntervalMap, Slot};
use core::ops::Range;

/// What is known of a region beside its range.
pub trait Attributes: Clone {
    /// The attributes of the rest of a region that is cut `by` bytes after its start (file offsets move on).
    fn advance(&self, by: usize) -> Self;
    /// True if a region with these attributes and `len` bytes, directly followed by one with `next`, is one region.
    fn joins(&self, len: usize, next: &Self) -> bool;
    /// Whether the region is among those that [`RegionMap::locked_bytes`] counts. Regions that join agree on it.
    fn is_locked(&self) -> bool {
        false
    }
    /// Whether the region is among those that [`RegionMap::data_bytes`] counts. Regions that join agree on it.
    fn is_data(&self) -> bool {
        false
    }
}

/// Which sums a region's bytes are a part of.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    locked: bool,
    data: bool,
}

impl Sums {
    fn of(attributes: &impl Attributes) -> Sums {
        Sums { locked: attributes.is_locked(), data: attributes.is_data() }
    }
}

/// Why a change was not made. The map is as it was, but for regions that may have been cut in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A region is there already, or the range is empty.
    Occupied,
    /// No memory for a region.
    OutOfMemory,
    /// The map would have more regions than it may.
    TooMany,
}

impl From<InsertError> for Error {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Occupied => Error::Occupied,
            InsertError::OutOfMemory => Error::OutOfMemory,
        }
    }
}

/// Non-overlapping regions by address. Addresses and lengths may have any alignment; the kernel uses pages.
///
/// A change takes time logarithmic in the number of regions, for each region that it is about.
#[derive(Debug)]
pub struct RegionMap<A> {
    pub(crate) regions: IntervalMap<A>,
    most: usize,
    bytes: usize,
    locked_bytes: usize,
    data_bytes: usize,
}

impl<A: Attributes> RegionMap<A> {
    /// No regions, and never more than `most`.
    pub const fn bounded(most: usize) -> Self {
        RegionMap { regions: IntervalMap::new(), most, bytes: 0, locked_bytes: 0, data_bytes: 0 }
    }

    /// Number of regions.
    pub const fn len(&self) -> usize {
        self.regions.len()
    }

    /// True if there are none.
    pub const fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// Bytes in all regions.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes in regions of data.
    pub const fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Bytes in regions that are locked.
    pub const fn locked_bytes(&self) -> usize {
        self.locked_bytes
    }

    /// The region that holds `addr`.
    #[inline]
    pub fn find(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        self.regions.get(self.regions.find(addr)?)
    }

    /// The first region that ends after `addr`: the one that holds it, or the next.
    pub fn find_at_or_after(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        self.regions.get(self.slot_at_or_after(addr)?)
    }

    fn slot_at_or_after(&self, addr: usize) -> Option<Slot> {
        self.regions.find(addr).or_else(|| self.regions.first_from(addr))
    }

    /// The last region that ends at or before `addr`.
    pub fn find_before(&self, addr: usize) -> Option<(Range<usize>, &A)> {
        let (range, attributes) = self.regions.get(self.regions.last_before(addr)?)?;
        (range.end <= addr).then_some((range, attributes))
    }

    /// All regions, in order of address.
    pub fn iter(&self) -> impl Iterator<Item = (Range<usize>, &A)> {
        self.regions.iter()
    }

    /// The parts of regions that lie in `range`, in order, each with the attributes that hold at its start.
    pub fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, A)> {
        let Range { start, end } = range;
        let first = if start < end { self.slot_at_or_after(start) } else { None };
        let regions = self.regions.iter_from(first).take_while(move |(region, _)| region.start < end);
        regions.map(move |(region, attributes)| {
            let from = region.start.max(start);
            (from..region.end.min(end), attributes.advance(from - region.start))
        })
    }

    /// True if no region touches `range`.
    pub fn is_free(&self, range: Range<usize>) -> bool {
        range.is_empty()
            || self.find_at_or_after(range.start).is_none_or(|(region, _)| region.start >= range.end)
    }

    /// True if every byte of `range` is in some region.
    pub fn covers(&self, range: Range<usize>) -> bool {
        let end = range.end;
        self.covered_to(range) >= end
    }

    /// The first address of `range` that is in no region, or its end.
    pub fn covered_to(&self, range: Range<usize>) -> usize {
        let mut at = range.start;
        let regions = self.regions.iter_from(self.regions.find(range.start));
        for (region, _) in regions.take_while(|(region, _)| region.start < range.end) {
            if region.start > at {
                break;
            }
            at = region.end;
        }
        at.min(range.end)
    }

    /// Adds a region, joined with its neighbours where their attributes continue each other.
    pub fn insert(&mut self, range: Range<usize>, attributes: A) -> Result<(), Error> {
        if range.is_empty() || !self.is_free(range.clone()) {
            return Err(Error::Occupied);
        }
        let sums = Sums::of(&attributes);
        let before = self.regions.last_upto(range.start);
        let after = before.map_or(self.regions.first(), |before| self.regions.next(before));
        let neighbour = |slot: Option<Slot>| slot.and_then(|slot| Some((slot, self.regions.get(slot)?)));
        if let Some((slot, (region, own))) = neighbour(before)
            && region.end == range.start
            && own.joins(region.len(), &attributes)
        {
            self.regions.resize(slot, region.start..range.end);
            self.join_at(range.end);
        } else if let Some((slot, (region, own))) = neighbour(after)
            && region.start == range.end
            && attributes.joins(range.len(), own)
        {
            self.regions.resize(slot, range.start..region.end);
            if let Some(own) = self.regions.value_mut(slot) {
                *own = attributes;
            }
        } else {
            self.add(range.clone(), attributes)?;
        }
        self.count(range.len(), sums);
        Ok(())
    }

    /// Adds a region in place of whatever lies in `range`, as MAP_FIXED of mmap(2) does. Removed attributes are kept as
    /// by [`RegionMap::remove`], but for those of the first, which are returned.
    pub fn replace(&mut self, range: Range<usize>, attributes: A) -> Result<Option<A>, Error> {
        if range.is_empty() {
            return Err(Error::Occupied);
        }
        self.isolate(range.clone())?;
        let Some(first) = self.regions.first_from(range.start).filter(|&first| self.begins_in(first, &range))
        else {
            return self.insert(range, attributes).map(|()| None);
        };
        // The place of the first is reused: the rest can't fail.
        let kept = self.regions.range(first);
        self.remove_isolated(kept.end..range.end);
        self.count(range.len(), Sums::of(&attributes));
        self.regions.resize(first, range.clone());
        let old = self.regions.value_mut(first).map(|own| core::mem::replace(own, attributes));
        self.discount(kept.len(), old.as_ref().map(Sums::of).unwrap_or_default());
        self.join_at(range.end);
        self.join_at(range.start);
        Ok(old)
    }

    /// Removes what lies in `range`; returns whether there was anything. The removed attributes are kept until
    /// [`RegionMap::take_removed`] has given them all, so that they can be dropped where no lock is held.
    pub fn remove(&mut self, range: Range<usize>) -> Result<bool, Error> {
        if self.is_free(range.clone()) {
            return Ok(false);
        }
        self.isolate(range.clone())?;
        self.remove_isolated(range);
        Ok(true)
    }

    /// The attributes of a region that was removed, until there are no more.
    pub fn take_removed(&mut self) -> Option<A> {
        self.regions.release()
    }

    /// Cuts the regions that reach over an edge of `range`: a removal or an update of just this range that follows
    /// can't fail.
    pub fn isolate(&mut self, range: Range<usize>) -> Result<(), Error> {
        if range.is_empty() {
            return Ok(());
        }
        self.split_at(range.start)?;
        self.split_at(range.end).inspect_err(|_| self.join_at(range.start))
    }

    /// Changes the attributes of what lies in `range`.
    pub fn update(&mut self, range: Range<usize>, mut change: impl FnMut(&mut A)) -> Result<(), Error> {
        self.isolate(range.clone())?;
        let mut next = self.regions.first_from(range.start);
        while let Some(slot) = next.filter(|&slot| self.begins_in(slot, &range)) {
            let Range { start, end } = self.regions.range(slot);
            if let Some(attributes) = self.regions.value_mut(slot) {
                let before = Sums::of(attributes);
                change(attributes);
                let after = Sums::of(attributes);
                self.discount(end - start, before);
                self.count(end - start, after);
            }
            next = self.regions.next(slot);
            self.join_at(start);
        }
        self.join_at(range.end);
        Ok(())
    }

    /// Moves the start of the region that holds `addr` down to `start` (a stack that grows). The caller has checked
    /// that the attributes don't depend on the start. Joins what it reaches, if that continues it. Returns false if a region is in
    /// the way.
    pub fn grow_down(&mut self, addr: usize, start: usize) -> bool {
        let Some(slot) = self.regions.find(addr) else { return false };
        let range = self.regions.range(slot);
        let grows = start < range.start && self.regions.resize(slot, start..range.end);
        if grows {
            let sums = self.regions.get(slot).map(|(_, attributes)| Sums::of(attributes));
            self.count(range.start - start, sums.unwrap_or_default());
            self.join_at(start);
        }
        grows
    }

    fn count(&mut self, added: usize, sums: Sums) {
        self.bytes += added;
        self.locked_bytes += if sums.locked { added } else { 0 };
        self.data_bytes += if sums.data { added } else { 0 };
    }

    fn discount(&mut self, removed: usize, sums: Sums) {
        self.bytes -= removed;
        self.locked_bytes -= if sums.locked { removed } else { 0 };
        self.data_bytes -= if sums.data { removed } else { 0 };
    }

    fn begins_in(&self, slot: Slot, range: &Range<usize>) -> bool {
        range.contains(&self.regions.range(slot).start)
    }

    fn add(&mut self, range: Range<usize>, attributes: A) -> Result<(), Error> {
        if self.regions.len() >= self.most {
            return Err(Error::TooMany);
        }
        self.regions.insert(range, attributes)?;
        Ok(())
    }

    /// Removes the regions of a range whose edges cut none.
    fn remove_isolated(&mut self, range: Range<usize>) {
        let mut next = self.regions.first_from(range.start);
        while let Some(slot) = next.filter(|&slot| self.begins_in(slot, &range)) {
            next = self.regions.next(slot);
            if let Some((region, attributes)) = self.regions.get(slot) {
                let (len, sums) = (region.len(), Sums::of(attributes));
                self.discount(len, sums);
            }
            self.regions.detach(slot);
        }
    }

    /// Cuts the region that holds `addr` in its middle, so that one begins there.
    fn split_at(&mut self, addr: usize) -> Result<(), Error> {
        let Some(slot) = self.regions.find(addr) else { return Ok(()) };
        let Some((range, attributes)) = self.regions.get(slot).filter(|(range, _)| range.start < addr) else {
            return Ok(());
        };
        let rest = attributes.advance(addr - range.start);
        self.regions.resize(slot, range.start..addr);
        let added = self.add(addr..range.end, rest);
        if added.is_err() {
            self.regions.resize(slot, range);
        }
        added
    }

    /// Joins the regions that meet at `addr`, if they continue each other.
    fn join_at(&mut self, addr: usize) {
        let Some(slot) = self.regions.find(addr) else { return };
        let Some(before) = self.regions.previous(slot) else { return };
        let pair = self.regions.get(before).zip(self.regions.get(slot));
        let Some(((region, attributes), (next, following))) = pair else { return };
        if next.start != addr || region.end != addr || !attributes.joins(region.len(), following) {
            return;
        }
        self.regions.remove(slot);
        self.regions.resize(before, region.start..next.end);
    }
}
