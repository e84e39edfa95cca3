//! A map of few entries in one sorted vector: small in memory and in code.

use alloc::vec::Vec;

/// A sorted vector of keys and values. Looking up is a binary search; inserting and removing move what is behind.
#[derive(Debug)]
pub struct SortedMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap(Vec::new())
    }
}

impl<K: Ord + Copy, V> SortedMap<K, V> {
    fn find(&self, key: K) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.0.cmp(&key))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a key.
    pub fn get(&self, key: K) -> Option<&V> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|entry| &entry.1)
    }

    /// The value of a key, to change.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.find(key).ok().and_then(|at| self.0.get_mut(at)).map(|entry| &mut entry.1)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: K) -> bool {
        self.find(key).is_ok()
    }

    /// The value of a key, which `make` makes if it is not there.
    #[inline(never)]
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key, make()));
                at
            }
        };
        &mut self.0[at].1
    }

    /// Removes a key.
    pub fn remove(&mut self, key: K) -> Option<V> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Keeps the entries that `keep` agrees to.
    pub fn retain(&mut self, mut keep: impl FnMut(K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(*key, value));
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::SortedMap;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_map(steps in proptest::collection::vec((0u8..3, 0u16..20, any::<u32>()), 0..200)) {
            let mut map = SortedMap::default();
            let mut model = BTreeMap::new();
            for (step, key, value) in steps {
                match step {
                    0 => *map.get_or_insert_with(key, || 0) = *model.entry(key).insert_entry(value).get(),
                    1 => prop_assert_eq!(map.remove(key), model.remove(&key)),
                    _ => {
                        map.retain(|k, v| k != key || *v % 2 == 0);
                        model.retain(|k, v| *k != key || *v % 2 == 0);
                    }
                }
                prop_assert_eq!(map.get(key), model.get(&key));
                prop_assert_eq!(map.contains(key), model.contains_key(&key));
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter().map(|(k, v)| (*k, v))));
            }
        }
    }
}
