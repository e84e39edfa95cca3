//! Hash tables.
use crate::{NoMemory, may_grow};
use core::hash::{BuildHasher, Hash};
use hashbrown::HashMap;

/// What a hash table does fallibly.
pub trait TryMap<K, V> {
    /// [`HashMap::insert`].
    ///
    /// # Errors
    /// [`NoMemory`]; the table is as it was.
    fn try_put(&mut self, key: K, value: V) -> Result<Option<V>, NoMemory>;
}

impl<K: Eq + Hash, V, S: BuildHasher> TryMap<K, V> for HashMap<K, V, S> {
    fn try_put(&mut self, key: K, value: V) -> Result<Option<V>, NoMemory> {
        if self.len() == self.capacity() {
            may_grow()?;
            self.try_reserve(1)?;
        }
        Ok(self.insert(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_what_was_put() {
        let mut table: HashMap<u32, u32> = HashMap::new();
        for key in 0..100 {
            assert_eq!(table.try_put(key, key), Ok(None));
        }
        assert_eq!(table.try_put(7, 1), Ok(Some(7)));
        assert_eq!(table.len(), 100);
    }
}
