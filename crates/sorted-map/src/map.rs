//! A map in a sorted vector: look-ups by halving, changes by moving what follows. For maps that are small or seldom
//! changed, where a B-tree's code would weigh more than it saves.
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

/// The map.
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap::new()
    }
}

impl<K, V> SortedMap<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        SortedMap { entries: Vec::new() }
    }
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// Keys and values in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }
    /// Keeps the entries that `keep` agrees to.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }
    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    fn place(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| other.cmp(key))
    }
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().map(|index| &self.entries[index].1)
    }
    /// Keys and values in the order of the keys, from `key` on.
    pub fn iter_from(&self, key: &K) -> impl Iterator<Item = (&K, &V)> {
        let (Ok(first) | Err(first)) = self.place(key);
        self.entries[first..].iter().map(|(key, value)| (key, value))
    }
    /// The value of `key`.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).ok().map(|index| &mut self.entries[index].1)
    }
    /// Whether `key` has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_ok()
    }
    /// Sets the value of `key`; gives the one it had.
    ///
    /// # Errors
    /// [`NoMemory`]; the map is as it was.
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, NoMemory> {
        match self.place(&key) {
            Ok(index) => Ok(Some(core::mem::replace(&mut self.entries[index].1, value))),
            Err(index) => self.entries.try_insert(index, (key, value)).map(|()| None),
        }
    }
    /// The first entry after `key`, which need not be there.
    pub fn after(&self, key: &K) -> Option<(&K, &V)> {
        let index = self.place(key).map_or_else(|index| index, |index| index + 1);
        self.entries.get(index).map(|(key, value)| (key, value))
    }
    /// Takes the value of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.place(key).ok().map(|index| self.entries.remove(index).1)
    }
    /// The value of `key`, which `make` makes if it has none yet.
    ///
    /// # Errors
    /// [`NoMemory`]; the map is as it was.
    #[inline(never)]
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> Result<&mut V, NoMemory> {
        let index = match self.place(&key) {
            Ok(index) => index,
            Err(index) => {
                self.entries.make_room(1)?;
                self.entries.try_insert(index, (key, make()))?;
                index
            }
        };
        Ok(&mut self.entries[index].1)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::SortedMap;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn is_a_map(steps in prop::collection::vec((0u8..4, 0u8..20, any::<u32>()), 0..200)) {
            let mut map = SortedMap::new();
            let mut model = BTreeMap::new();
            for (what, key, value) in steps {
                match what {
                    0 => prop_assert_eq!(map.insert(key, value), Ok(model.insert(key, value))),
                    1 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    2 => prop_assert_eq!(map.get_or_insert_with(key, || value), Ok(model.entry(key).or_insert(value))),
                    _ => {
                        map.retain(|other, value| *other != key || *value % 2 == 0);
                        model.retain(|other, value| *other != key || *value % 2 == 0);
                    }
                }
                prop_assert_eq!(map.after(&key), model.range(key + 1..).next());
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.contains_key(&key), model.contains_key(&key));
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
            }
            prop_assert_eq!(map.values().collect::<Vec<_>>(), model.values().collect::<Vec<_>>());
        }
    }
}
