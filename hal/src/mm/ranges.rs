//! A short list of ranges of physical memory, from before there is a heap.
use crate::mm::layout::PAGE;

/// Pieces of RAM taken from the memory map.
pub const MAX_REGIONS: usize = 16;

/// A short list of address ranges.
#[derive(Clone, Copy)]
pub struct Ranges {
    list: [(u64, u64); MAX_REGIONS],
    count: usize,
}

impl Ranges {
    /// None.
    pub const fn new() -> Ranges {
        Ranges { list: [(0, 0); MAX_REGIONS], count: 0 }
    }
    /// Adds a range, unless it is empty or there is no room for it.
    pub fn push(&mut self, start: u64, end: u64) {
        if start < end && self.count < MAX_REGIONS {
            self.list[self.count] = (start, end);
            self.count += 1;
        }
    }
    /// The ranges: their start and end.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.list[..self.count].iter().copied()
    }
    /// Takes the range out, to whole pages.
    pub fn remove(&mut self, start: u64, len: u64) {
        let from = start & !(PAGE as u64 - 1);
        let to = (start + len).next_multiple_of(PAGE as u64);
        let mut kept = Ranges::new();
        for (a, b) in self.iter() {
            kept.push(a, b.min(from));
            kept.push(a.max(to), b);
        }
        *self = kept;
    }
    /// How many ranges there are.
    #[cfg(target_os = "none")]
    pub fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: u64 = PAGE as u64;

    #[test]
    fn what_is_removed_leaves_whole_pages() {
        let mut ranges = Ranges::new();
        ranges.push(0, 4 * P);
        ranges.push(8 * P, 9 * P);
        ranges.remove(P + 1, P);
        assert!(ranges.iter().eq([(0, P), (3 * P, 4 * P), (8 * P, 9 * P)]));
        ranges.remove(0, 9 * P);
        assert_eq!(ranges.iter().count(), 0);
    }

    #[test]
    fn empty_ranges_and_those_without_room_are_left_out() {
        let mut ranges = Ranges::new();
        ranges.push(P, P);
        assert_eq!(ranges.iter().count(), 0);
        for page in 0..2 * MAX_REGIONS as u64 {
            ranges.push(page * 2 * P, (page * 2 + 1) * P);
        }
        assert_eq!(ranges.iter().count(), MAX_REGIONS);
    }
}
