//! The search for numbers that are in no interval.
use crate::arena::NONE;
use crate::map::{IntervalMap, Slot};
use crate::tree::{LEFT, RIGHT};
use core::ops::Range;

impl<V> IntervalMap<V> {
    /// The highest free number in `within` where `len` numbers fit, a multiple of `align` (a power of two).
    pub fn highest_gap(&self, within: Range<usize>, len: usize, align: usize) -> Option<usize> {
        let fit = |free: Range<usize>| {
            let at = free.end.min(within.end).checked_sub(len)? & !(align - 1);
            (len != 0 && at >= free.start.max(within.start)).then_some(at)
        };
        // The gap that the end of `within` lies in, or the one before the interval that holds it.
        let last = self.last_before(within.end);
        let above = last.map_or(0, |last| self.range(last).end);
        if let Some(at) = fit(above..within.end) {
            return Some(at);
        }
        let mut at = self.wide_gap(last?, len, LEFT);
        while let Some(found) = at {
            let gap = self.gap_before(found);
            if let Some(at) = fit(gap.clone()) {
                return Some(at);
            }
            if gap.start <= within.start {
                return None;
            }
            at = self.wide_gap(self.previous(found)?, len, LEFT);
        }
        None
    }

    /// The lowest free number in `within` where `len` numbers fit, a multiple of `align` (a power of two).
    pub fn lowest_gap(&self, within: Range<usize>, len: usize, align: usize) -> Option<usize> {
        let fit = |free: Range<usize>| {
            let at = free.start.max(within.start).checked_next_multiple_of(align)?;
            (len != 0 && at.checked_add(len)? <= free.end.min(within.end)).then_some(at)
        };
        let mut from = self.first_from(within.start);
        if let Some(first) = from
            && let Some(at) = fit(self.gap_before(first))
        {
            return Some(at);
        }
        while let Some(found) = from.and_then(|from| self.wide_gap(from, len, RIGHT)) {
            let gap = self.gap_before(found);
            if let Some(at) = fit(gap.clone()) {
                return Some(at);
            }
            if gap.end >= within.end {
                return None;
            }
            from = self.next(found);
        }
        fit(self.last().map_or(0, |last| self.range(last).end)..within.end)
    }

    fn gap_before(&self, at: Slot) -> Range<usize> {
        let start = self.range(at).start;
        start - self.tree.own_gap(at.0)..start
    }

    /// The nearest interval, beginning with `from` and going on to `side`, with `len` free numbers or more before it.
    fn wide_gap(&self, from: Slot, len: usize, side: usize) -> Option<Slot> {
        let tree = &self.tree;
        let mut at = from.0;
        if tree.own_gap(at) >= len {
            return Some(from);
        }
        // Up to the first subtree on that side with a gap wide enough.
        let mut below = tree.child(at, side);
        while tree.widest(below) < len {
            loop {
                let parent = tree.parent(at);
                if parent == NONE {
                    return None;
                }
                let came_from = at;
                at = parent;
                if tree.child(at, side) != came_from {
                    break;
                }
            }
            if tree.own_gap(at) >= len {
                return Some(Slot(at));
            }
            below = tree.child(at, side);
        }
        // Down to the nearest in it.
        loop {
            let near = tree.child(below, 1 - side);
            if tree.widest(near) >= len {
                below = near;
            } else if tree.own_gap(below) >= len {
                return Some(Slot(below));
            } else {
                below = tree.child(below, side);
            }
        }
    }
}
