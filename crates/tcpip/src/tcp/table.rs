//! A hash table of four-tuples with open addressing: a look-up compares the entry at the place of its hash, and rarely one
//! behind it.
//!
//! The caller computes the hash. The table needs the hash of an entry only when it grows or an entry is removed.

use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

/// A four-tuple as two words: addresses, and ports.
pub type Key = (u64, u64);

/// Entries of the smallest table.
const LEAST: usize = 8;

/// The table. Its length is a power of two (or nothing), and at most three quarters of it are in use.
pub struct Table<T> {
    slots: Vec<Option<(Key, T)>>,
    used: usize,
}

impl<T> Table<T> {
    /// An empty table. Allocates nothing.
    pub fn new() -> Self {
        Table { slots: Vec::new(), used: 0 }
    }

    #[inline(always)]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    /// The place of `key`.
    #[inline(always)]
    fn place(&self, hash: u64, key: Key) -> Option<usize> {
        let mut at = hash as usize & self.mask();
        loop {
            // There is always a free place, so this ends; in a table of no length there is none, and it ends at once.
            match self.slots.get(at)? {
                Some((here, _)) if *here == key => return Some(at),
                Some(_) => at = (at + 1) & self.mask(),
                None => return None,
            }
        }
    }

    /// The entry of a tuple.
    #[inline(always)]
    pub fn find(&self, hash: u64, key: Key) -> Option<&T> {
        let at = self.place(hash, key)?;
        self.slots[at].as_ref().map(|(_, value)| value)
    }

    /// The same, to be changed; out of line.
    #[inline(never)]
    pub fn find_mut(&mut self, hash: u64, key: Key) -> Option<&mut T> {
        let at = self.place(hash, key)?;
        self.slots[at].as_mut().map(|(_, value)| value)
    }

    /// The entries of `count` places from `from` on; `None`: there is no such place.
    pub fn places(&self, from: usize, count: usize) -> Option<impl Iterator<Item = &(Key, T)>> {
        let places = self.slots.get(from..).filter(|places| !places.is_empty())?;
        Some(places[..count.min(places.len())].iter().flatten())
    }

    /// Enters a tuple that is not there yet. `rehash` returns the hash of any tuple.
    ///
    /// # Errors
    /// [`NoMemory`]; the table is as it was.
    pub fn insert(&mut self, key: Key, value: T, rehash: impl Fn(Key) -> u64) -> Result<(), NoMemory> {
        if 4 * (self.used + 1) > 3 * self.slots.len() {
            let more = (2 * self.slots.len()).max(LEAST);
            let new = core::iter::repeat_with(|| None).take(more).try_collect_vec()?;
            for (key, value) in core::mem::replace(&mut self.slots, new).into_iter().flatten() {
                self.put(rehash(key), key, value);
            }
        }
        self.put(rehash(key), key, value);
        self.used += 1;
        Ok(())
    }

    fn put(&mut self, hash: u64, key: Key, value: T) {
        let mut at = hash as usize & self.mask();
        while self.slots[at].is_some() {
            at = (at + 1) & self.mask();
        }
        self.slots[at] = Some((key, value));
    }

    /// Takes an entry out. `rehash` as for `insert`.
    #[inline(never)]
    pub fn remove(&mut self, key: Key, rehash: impl Fn(Key) -> u64) -> Option<T> {
        let mut gap = self.place(rehash(key), key)?;
        let (_, value) = self.slots[gap].take()?;
        self.used -= 1;
        // An entry behind the gap that would not be found across it moves up (Knuth, vol. 3, 6.4, algorithm R).
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask();
            let Some((here, _)) = &self.slots[at] else { return Some(value) };
            let home = rehash(*here) as usize;
            if at.wrapping_sub(home) & self.mask() >= at.wrapping_sub(gap) & self.mask() {
                self.slots[gap] = self.slots[at].take();
                gap = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// It is a map, also where many tuples have the same place.
        #[test]
        fn is_a_map(steps in proptest::collection::vec((any::<bool>(), 0u64..60), 0..400), spread in 1u64..9) {
            let rehash = |key: Key| key.1 / spread * 3;
            let mut table = Table::new();
            let mut model = HashMap::new();
            for (number, (enter, port)) in steps.into_iter().enumerate() {
                let key = (1, port);
                if !enter {
                    prop_assert_eq!(table.remove(key, rehash), model.remove(&port));
                } else if let Some(value) = model.get_mut(&port) {
                    *value += 1;
                    *table.find_mut(rehash(key), key).unwrap() += 1;
                } else {
                    table.insert(key, number, rehash).unwrap();
                    model.insert(port, number);
                }
                for port in 0..60 {
                    let key = (1, port);
                    prop_assert_eq!(table.find(rehash(key), key), model.get(&port));
                }
            }
        }
    }
}
