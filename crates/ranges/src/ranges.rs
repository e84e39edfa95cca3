//! The bitmap.

/// Places that a word of the bitmap describes.
const PER_WORD: usize = u64::BITS as usize;

/// `64 * WORDS` places, each free or taken.
pub struct Ranges<const WORDS: usize> {
    /// A bit is set where the place is taken.
    words: [u64; WORDS],
}

impl<const WORDS: usize> Default for Ranges<WORDS> {
    fn default() -> Self {
        Ranges::new()
    }
}

impl<const WORDS: usize> Ranges<WORDS> {
    /// How many places there are.
    pub const PLACES: usize = WORDS * PER_WORD;

    /// All places are free.
    pub const fn new() -> Self {
        Ranges { words: [0; WORDS] }
    }

    /// Takes the lowest run of `count` free places; returns its first. `None`: there is none, or `count` is 0.
    pub fn take(&mut self, count: usize) -> Option<usize> {
        let mut start = 0;
        while count > 0 && count <= Self::PLACES - start {
            let taken = self.run(start, count, |word| !word);
            if taken > 0 {
                start += taken;
                continue;
            }
            let free = self.run(start, count, |word| word);
            if free == count {
                self.mark(start, count, true);
                return Some(start);
            }
            start += free;
        }
        None
    }

    /// Frees the `count` places from `start` on, which were taken. Panics where there are no such places.
    pub fn give(&mut self, start: usize, count: usize) {
        self.mark(start, count, false);
    }

    /// Length of the run from `start` on of places whose bits `see` shows as 0; at most `most`, and to the last place.
    fn run(&self, start: usize, most: usize, see: impl Fn(u64) -> u64) -> usize {
        let mut len = 0;
        while len < most && start + len < Self::PLACES {
            let (word, bit) = ((start + len) / PER_WORD, (start + len) % PER_WORD);
            let left = PER_WORD - bit;
            let here = ((see(self.words[word]) >> bit).trailing_zeros() as usize).min(left);
            len += here;
            if here < left {
                break;
            }
        }
        len.min(most)
    }

    fn mark(&mut self, start: usize, count: usize, taken: bool) {
        for place in start..start + count {
            let bit = 1 << (place % PER_WORD);
            let word = &mut self.words[place / PER_WORD];
            debug_assert!((*word & bit == 0) == taken, "place {place} is taken or given twice");
            if taken {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const PLACES: usize = Ranges::<3>::PLACES;

    /// Where the lowest run of `count` free places is, looked for place by place.
    fn lowest(taken: &[bool], count: usize) -> Option<usize> {
        (0..=taken.len().checked_sub(count)?).find(|&start| !taken[start..start + count].contains(&true))
    }

    proptest! {
        /// Whatever is taken and given back, the lowest run that is long enough is found, and only then.
        #[test]
        fn finds_the_lowest_run(steps in proptest::collection::vec((any::<bool>(), 1usize..80), 1..300)) {
            let mut ranges = Ranges::<3>::new();
            let mut taken = [false; PLACES];
            let mut held = Vec::new();
            for (takes, number) in steps {
                if takes || held.is_empty() {
                    let found = ranges.take(number);
                    prop_assert_eq!(found, lowest(&taken, number));
                    if let Some(start) = found {
                        taken[start..start + number].fill(true);
                        held.push((start, number));
                    }
                } else {
                    let (start, count) = held.swap_remove(number % held.len());
                    ranges.give(start, count);
                    taken[start..start + count].fill(false);
                }
            }
            for (start, count) in held {
                ranges.give(start, count);
            }
            prop_assert_eq!(ranges.take(PLACES), Some(0));
            prop_assert_eq!(ranges.take(1), None);
        }
    }

    #[test]
    fn nothing_is_no_run_and_too_much_is_none() {
        let mut ranges = Ranges::<1>::new();
        assert_eq!((ranges.take(0), ranges.take(65), ranges.take(usize::MAX)), (None, None, None));
        assert_eq!((ranges.take(64), ranges.take(1)), (Some(0), None));
    }
}
