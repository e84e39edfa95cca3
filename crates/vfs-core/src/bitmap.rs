//! A growing set of small numbers that finds the lowest missing one in three word look-ups per 262,144 members.
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

const BITS: usize = u64::BITS as usize;

/// A set of numbers. A word of the upper level has a bit for each full word of the lower level.
#[derive(Debug, Default)]
pub struct Bitmap {
    words: Vec<u64>,
    full: Vec<u64>,
}

impl Bitmap {
    /// Adds `n`.
    ///
    /// # Errors
    /// [`NoMemory`]; the set is as it was.
    pub fn set(&mut self, n: usize) -> Result<(), NoMemory> {
        let word = n / BITS;
        if word >= self.words.len() {
            // The upper level first: `words` decides how far the set reaches.
            self.full.try_resize(self.full.len().max(word / BITS + 1), 0)?;
            self.words.try_resize(word + 1, 0)?;
        }
        self.words[word] |= 1 << (n % BITS);
        if self.words[word] == u64::MAX {
            self.full[word / BITS] |= 1 << (word % BITS);
        }
        Ok(())
    }
    /// A copy.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn try_clone(&self) -> Result<Bitmap, NoMemory> {
        Ok(Bitmap { words: self.words.try_to_vec()?, full: self.full.try_to_vec()? })
    }
    /// Removes `n`.
    pub fn clear(&mut self, n: usize) {
        let word = n / BITS;
        if let Some(bits) = self.words.get_mut(word) {
            *bits &= !(1 << (n % BITS));
            self.full[word / BITS] &= !(1 << (word % BITS));
        }
    }
    /// Whether `n` is in the set.
    pub fn contains(&self, n: usize) -> bool {
        self.words.get(n / BITS).is_some_and(|bits| bits & (1 << (n % BITS)) != 0)
    }
    /// The lowest number, at least `from`, that is not in the set.
    pub fn first_clear(&self, from: usize) -> usize {
        let word = from / BITS;
        let Some(bits) = self.words.get(word) else { return from };
        // The rest of the word that `from` is in, then whole words by the upper level.
        let rest = bits | ((1 << (from % BITS)) - 1);
        if rest != u64::MAX {
            return word * BITS + rest.trailing_ones() as usize;
        }
        let next = Self::first_clear_word(&self.full, word + 1);
        match self.words.get(next) {
            Some(bits) => next * BITS + bits.trailing_ones() as usize,
            None => next.max(self.words.len()) * BITS,
        }
    }
    fn first_clear_word(full: &[u64], from: usize) -> usize {
        let mut mask = (1u64 << (from % BITS)) - 1;
        for (index, bits) in full.iter().enumerate().skip(from / BITS) {
            let bits = bits | mask;
            if bits != u64::MAX {
                return index * BITS + bits.trailing_ones() as usize;
            }
            mask = 0;
        }
        (full.len() * BITS).max(from)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Bitmap;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((any::<bool>(), 0usize..9000, 0usize..9000), 1..200),
                             fill in 0usize..9000) {
            let mut bitmap = Bitmap::default();
            let mut set = BTreeSet::new();
            for n in 0..fill { bitmap.set(n).unwrap(); set.insert(n); }
            for (add, n, from) in steps {
                if add { bitmap.set(n).unwrap(); set.insert(n); } else { bitmap.clear(n); set.remove(&n); }
                let want = (from..).find(|n| !set.contains(n)).unwrap();
                prop_assert_eq!(bitmap.first_clear(from), want);
                prop_assert_eq!(bitmap.contains(n), add);
            }
        }
    }
}
