//! The map: look-up, order, insertion, removal and moving the edges of an interval.
use crate::arena::NONE;
use crate::tree::{LEFT, RIGHT, Tree};
use core::ops::Range;

/// Where an interval is in the map. Stays valid until that interval is removed or detached, whatever else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(crate) u32);

/// Why an interval was not added. The map is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// The interval is empty, or has numbers in common with one that is there.
    Occupied,
    /// No memory for it.
    OutOfMemory,
}

/// Disjoint intervals in order, each with a value.
#[derive(Debug)]
pub struct IntervalMap<V> {
    pub(crate) tree: Tree<V>,
}

impl<V> Default for IntervalMap<V> {
    fn default() -> Self {
        IntervalMap::new()
    }
}

fn slot(at: u32) -> Option<Slot> {
    (at != NONE).then_some(Slot(at))
}

impl<V> IntervalMap<V> {
    /// No intervals.
    pub const fn new() -> Self {
        IntervalMap { tree: Tree::new() }
    }

    /// Number of intervals.
    pub const fn len(&self) -> usize {
        self.tree.len
    }

    /// True if there are none.
    pub const fn is_empty(&self) -> bool {
        self.tree.len == 0
    }

    /// The interval in this slot; `0..0` if it was removed.
    pub fn range(&self, slot: Slot) -> Range<usize> {
        self.tree.get(slot.0).map_or(0..0, |node| node.start..node.end)
    }

    /// The interval in this slot and its value; `None` if it was removed.
    pub fn get(&self, slot: Slot) -> Option<(Range<usize>, &V)> {
        self.tree.get(slot.0).map(|node| (node.start..node.end, &node.value))
    }

    /// The value in this slot.
    pub fn value_mut(&mut self, slot: Slot) -> Option<&mut V> {
        self.tree.get_mut(slot.0).map(|node| &mut node.value)
    }

    /// The first interval.
    pub fn first(&self) -> Option<Slot> {
        slot(self.tree.ends[LEFT])
    }

    /// The last interval.
    pub fn last(&self) -> Option<Slot> {
        slot(self.tree.ends[RIGHT])
    }

    /// The interval after this one.
    pub fn next(&self, at: Slot) -> Option<Slot> {
        slot(self.tree.near(at.0, RIGHT))
    }

    /// The interval before this one.
    pub fn previous(&self, at: Slot) -> Option<Slot> {
        slot(self.tree.near(at.0, LEFT))
    }

    /// The last interval that begins at `number` or before.
    #[inline]
    pub fn last_upto(&self, number: usize) -> Option<Slot> {
        let (mut at, mut found) = (self.tree.root, NONE);
        while let Some(node) = self.tree.get(at) {
            if node.start <= number {
                found = at;
                at = node.child[RIGHT];
            } else {
                at = node.child[LEFT];
            }
        }
        slot(found)
    }

    /// The last interval that begins before `number`.
    pub fn last_before(&self, number: usize) -> Option<Slot> {
        self.last_upto(number.checked_sub(1)?)
    }

    /// The first interval that begins at `number` or after.
    pub fn first_from(&self, number: usize) -> Option<Slot> {
        match self.last_before(number) {
            Some(before) => self.next(before),
            None => self.first(),
        }
    }

    /// The interval that holds `number`.
    #[inline]
    pub fn find(&self, number: usize) -> Option<Slot> {
        // The walk ends where the interval is: most are not at the tree's end.
        let mut at = self.tree.root;
        while let Some(node) = self.tree.get(at) {
            if number < node.start {
                at = node.child[LEFT];
            } else if number < node.end {
                return Some(Slot(at));
            } else {
                at = node.child[RIGHT];
            }
        }
        None
    }

    /// The intervals from this one on, in order.
    pub fn iter_from(&self, from: Option<Slot>) -> impl Iterator<Item = (Range<usize>, &V)> {
        core::iter::successors(from, |&at| self.next(at)).filter_map(|at| self.get(at))
    }

    /// All intervals in order.
    pub fn iter(&self) -> impl Iterator<Item = (Range<usize>, &V)> {
        self.iter_from(self.first())
    }

    /// Adds an interval.
    pub fn insert(&mut self, range: Range<usize>, value: V) -> Result<Slot, InsertError> {
        let before = self.last_upto(range.start);
        let after = before.map_or(self.first(), |before| self.next(before));
        let is_free = before.is_none_or(|before| self.range(before).end <= range.start)
            && after.is_none_or(|after| range.end <= self.range(after).start);
        if range.is_empty() || !is_free {
            return Err(InsertError::Occupied);
        }
        let before = before.map_or(NONE, |before| before.0);
        self.tree
            .insert_after(before, range.start, range.end, value)
            .map(Slot)
            .map_err(|_| InsertError::OutOfMemory)
    }

    /// Removes an interval; the slot must hold one.
    pub fn remove(&mut self, at: Slot) -> Option<V> {
        self.tree.remove(at.0)
    }

    /// Takes an interval out of the map, but leaves its value in memory until [`IntervalMap::release`]: so that values
    /// can be dropped later, one by one, without memory to collect them in. The slot must hold an interval.
    pub fn detach(&mut self, at: Slot) {
        self.tree.detach(at.0);
    }

    /// Returns the value of the interval that was detached last, if there is one.
    pub fn release(&mut self) -> Option<V> {
        self.tree.release()
    }

    /// Moves the edges of an interval. Returns false, and changes nothing, if it would be empty or meet a neighbour.
    pub fn resize(&mut self, at: Slot, range: Range<usize>) -> bool {
        let after = self.next(at);
        let fits = self.previous(at).is_none_or(|before| self.range(before).end <= range.start)
            && after.is_none_or(|after| range.end <= self.range(after).start);
        let Some(node) = self.tree.get_mut(at.0).filter(|_| fits && !range.is_empty()) else { return false };
        (node.start, node.end) = (range.start, range.end);
        self.tree.repair(at.0);
        if let Some(after) = after {
            self.tree.repair(after.0);
        }
        true
    }

    /// Checks that the tree is balanced and in order, for tests.
    ///
    /// # Panics
    /// If it isn't.
    pub fn check(&self) {
        self.tree.check();
    }
}
