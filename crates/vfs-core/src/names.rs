//! The names in a directory, each with a value and a position at which a listing can resume (telldir(3), getdents64(2)).
//!
//! A name's position is its hash, so it stays the same while other names are added and removed, and one balanced tree serves
//! both look-ups and listings: each costs a number of steps logarithmic in the number of names. The hash must be keyed
//! with a secret if programs may choose names.
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_interval_map::{InsertError, IntervalMap, Slot};

/// Names that may have the same hash. With 54 bits of a keyed hash there are hardly ever two.
const TIES: usize = 1 << TIE_BITS;
const TIE_BITS: u32 = 8;

/// Bits of the hash that are not used, so that positions stay small positive numbers for a signed 64-bit offset.
const UNUSED_BITS: u32 = 10;

/// Positions are below this.
pub const END: u64 = 1 << (u64::BITS - UNUSED_BITS + TIE_BITS);

/// No memory for a name; the names are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Names with values.
#[derive(Debug)]
pub struct Names<T> {
    entries: IntervalMap<(Vec<u8>, T)>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Names::new()
    }
}

/// The first position of the names with this hash.
const fn bucket(hash: u64) -> usize {
    (hash >> UNUSED_BITS << TIE_BITS) as usize
}

impl<T> Names<T> {
    /// No names.
    pub const fn new() -> Self {
        Names { entries: IntervalMap::new() }
    }

    /// How many names there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where the name is, or else a position for it, if there is one.
    fn place(&self, hash: u64, name: &[u8]) -> Result<Slot, Option<usize>> {
        let bucket = bucket(hash);
        let (mut free, mut next) = (bucket, self.entries.first_from(bucket));
        while let Some((at, (range, (other, _)))) = next.and_then(|at| Some((at, self.entries.get(at)?))) {
            if range.start - bucket >= TIES {
                break;
            }
            if other == name {
                return Ok(at);
            }
            if range.start == free {
                free += 1;
            }
            next = self.entries.next(at);
        }
        Err((free - bucket < TIES).then_some(free))
    }

    /// The value of a name.
    pub fn get(&self, hash: u64, name: &[u8]) -> Option<&T> {
        let (_, (_, value)) = self.entries.get(self.place(hash, name).ok()?)?;
        Some(value)
    }

    /// The value of a name, to be changed.
    pub fn get_mut(&mut self, hash: u64, name: &[u8]) -> Option<&mut T> {
        let at = self.place(hash, name).ok()?;
        self.entries.value_mut(at).map(|(_, value)| value)
    }

    /// Adds a name, or replaces its value; returns the value it had.
    pub fn insert(&mut self, hash: u64, name: &[u8], value: T) -> Result<Option<T>, OutOfMemory> {
        match self.place(hash, name) {
            Ok(at) => Ok(self.entries.value_mut(at).map(|(_, old)| core::mem::replace(old, value))),
            Err(position) => {
                let position = position.ok_or(OutOfMemory)?;
                let own = name.try_to_vec().map_err(|_| OutOfMemory)?;
                self.entries
                    .insert(position..position + 1, (own, value))
                    .map(|_| None)
                    .map_err(|_: InsertError| OutOfMemory)
            }
        }
    }

    /// Takes a name out and returns its value.
    pub fn remove(&mut self, hash: u64, name: &[u8]) -> Option<T> {
        let at = self.place(hash, name).ok()?;
        self.entries.remove(at).map(|(_, value)| value)
    }

    /// Takes any name out and returns its value.
    pub fn pop(&mut self) -> Option<T> {
        let at = self.entries.first_from(0)?;
        self.entries.remove(at).map(|(_, value)| value)
    }

    /// Names from a position on, in the order of their positions: position, name, value.
    pub fn from(&self, position: u64) -> impl Iterator<Item = (u64, &[u8], &T)> {
        let first = usize::try_from(position).ok().and_then(|position| self.entries.first_from(position));
        self.entries
            .iter_from(first)
            .map(|(range, (name, value))| (range.start as u64, name.as_slice(), value))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{END, Names, OutOfMemory, TIES};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    /// A hash with many ties, and with the extremes.
    fn hash(name: u8) -> u64 {
        match name % 4 {
            0 => u64::MAX,
            1 => 0,
            2 => 1 << 10,
            _ => u64::from(name) << 40,
        }
    }

    proptest! {
        #[test]
        fn are_a_map_that_is_listed_from_any_place(
            steps in prop::collection::vec((0u8..4, any::<u8>(), any::<u32>()), 1..200),
            stop in 0usize..60,
        ) {
            let mut names = Names::new();
            let mut model = BTreeMap::new();
            let half = steps.len() / 2;
            for (what, name, value) in &steps[..half] {
                step(&mut names, &mut model, *what, *name, *value)?;
            }
            // A listing sees each name that stays exactly once, whatever is added and removed meanwhile.
            let before: Vec<_> = names.from(0).take(stop).map(|(at, name, _)| (at, name[0])).collect();
            let resume = before.last().map_or(0, |(at, _)| at + 1);
            let mut touched = Vec::new();
            for (what, name, value) in &steps[half..] {
                if *what > 0 || !model.contains_key(name) {
                    touched.push(*name);
                }
                step(&mut names, &mut model, *what, *name, *value)?;
            }
            let mut seen: Vec<u8> = before.iter().map(|(_, name)| *name).collect();
            seen.extend(names.from(resume).map(|(_, name, _)| name[0]));
            seen.retain(|name| !touched.contains(name));
            seen.sort();
            let stayed: Vec<u8> = model.keys().copied().filter(|name| !touched.contains(name)).collect();
            prop_assert_eq!(seen, stayed);
            prop_assert!(names.from(0).is_sorted_by_key(|(at, ..)| at));
            prop_assert!(names.from(0).all(|(at, ..)| at < END));
            prop_assert_eq!(names.from(END).count(), 0);
        }
    }

    fn step(
        names: &mut Names<u32>,
        model: &mut BTreeMap<u8, u32>,
        what: u8,
        name: u8,
        value: u32,
    ) -> Result<(), TestCaseError> {
        let (hash, text) = (hash(name), [name]);
        if what < 3 {
            prop_assert_eq!(names.insert(hash, &text, value), Ok(model.insert(name, value)));
        } else {
            prop_assert_eq!(names.remove(hash, &text), model.remove(&name));
        }
        prop_assert_eq!(names.len(), model.len());
        prop_assert_eq!(names.is_empty(), model.is_empty());
        for name in 0..=u8::MAX {
            prop_assert_eq!(names.get(self::hash(name), &[name]), model.get(&name));
            prop_assert_eq!(names.get_mut(self::hash(name), &[name]).copied(), model.get(&name).copied());
        }
        Ok(())
    }

    #[test]
    fn more_ties_than_there_is_room_for_are_refused() {
        let mut names = Names::new();
        for number in 0..TIES {
            assert_eq!(names.insert(7 << 20, &number.to_le_bytes(), number), Ok(None));
        }
        assert_eq!(names.insert(7 << 20, b"one more", 0), Err(OutOfMemory));
        assert_eq!(names.remove(7 << 20, &3usize.to_le_bytes()), Some(3));
        assert_eq!(names.insert(7 << 20, b"one more", 0), Ok(None));
        assert_eq!(names.insert(8 << 20, b"one more", 1), Ok(None));
        assert_eq!(names.get(7 << 20, b"one more"), Some(&0));
    }
}
