//! A map in sorted vectors of a bounded length: look-ups by bisection, changes by moving the entries that follow in one of
//! them. For maps where a B-tree's code would be larger than it is worth.
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

/// Entries of a part at most. A change moves fewer than this.
const LONGEST: usize = 64;

/// The map.
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    /// The entries in order, in parts that are not empty.
    parts: Vec<Vec<(K, V)>>,
    len: usize,
}

/// Where an entry is: the number of its part, and its index there. Short, so that it is returned in registers.
type Place = (u32, u32);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        SortedMap::new()
    }
}

impl<K, V> SortedMap<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        SortedMap { parts: Vec::new(), len: 0 }
    }
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Keys and values in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flatten().map(|(key, value)| (key, value))
    }
    /// Keeps the entries that `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.len = 0;
        self.parts.retain_mut(|part| {
            part.retain_mut(|(key, value)| keep(key, value));
            self.len += part.len();
            !part.is_empty()
        });
    }
    /// The values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Where the entry of `key` is, or where it would be.
    fn place(&self, key: &K) -> Result<Place, Place> {
        let behind = self.parts.partition_point(|part| part.first().is_some_and(|(first, _)| first <= key));
        let number = behind.saturating_sub(1);
        let index = match self.parts.get(number) {
            Some(part) => part.binary_search_by(|(other, _)| other.cmp(key)),
            None => Err(0),
        };
        let number = number as u32;
        index.map(|index| (number, index as u32)).map_err(|index| (number, index as u32))
    }
    fn at(&self, (number, index): Place) -> Option<&(K, V)> {
        self.parts.get(number as usize)?.get(index as usize)
    }
    fn at_mut(&mut self, (number, index): Place) -> Option<&mut V> {
        self.parts.get_mut(number as usize)?.get_mut(index as usize).map(|(_, value)| value)
    }
    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().and_then(|place| self.at(place)).map(|(_, value)| value)
    }
    /// Keys and values in the order of the keys, from `key` on.
    pub fn iter_from<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let (Ok(place) | Err(place)) = self.place(key);
        self.iter_at(place)
    }
    /// The same from the last entry up to `key` on, or from the first if there is none.
    pub fn iter_around<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        self.iter_at(match self.place(key) {
            Ok(place) => place,
            // Only in the first part all entries may lie behind the key.
            Err((number, index)) => (number, index.saturating_sub(1)),
        })
    }
    fn iter_at<'a>(&'a self, (number, index): Place) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let parts = self.parts.get(number as usize..).unwrap_or_default();
        parts.iter().flatten().skip(index as usize).map(|(key, value)| (key, value))
    }
    /// The value of `key`.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key).ok()?;
        self.at_mut(place)
    }
    /// Whether `key` has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_ok()
    }
    /// Sets the value of `key`; returns the one it had.
    ///
    /// # Errors
    /// [`NoMemory`]; the map is as it was.
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, NoMemory> {
        match self.place(&key) {
            Ok(place) => Ok(self.at_mut(place).map(|old| core::mem::replace(old, value))),
            Err(place) => {
                self.add(place, key, || value)?;
                Ok(None)
            }
        }
    }
    /// Adds an entry at a place, or the nearest that has room, and returns where it is now.
    fn add(&mut self, place: Place, key: K, make: impl FnOnce() -> V) -> Result<Place, NoMemory> {
        // Not known to be of a certain map, or the compiler would make a copy of the function for each.
        let parts = core::hint::black_box(&mut self.parts);
        let (number, index) = make_room_at(parts, place)?;
        if let Some(part) = self.parts.get_mut(number as usize) {
            part.insert_reserved(index as usize, (key, make()));
            self.len += 1;
        }
        Ok((number, index))
    }
    /// The first entry after `key`, which need not be there.
    pub fn after(&self, key: &K) -> Option<(&K, &V)> {
        let (number, index) =
            self.place(key).map_or_else(|place| place, |(number, index)| (number, index + 1));
        let next = self.at((number, index)).or_else(|| self.at((number + 1, 0)));
        next.map(|(key, value)| (key, value))
    }
    /// The last entry up to `key`.
    pub fn up_to(&self, key: &K) -> Option<(&K, &V)> {
        let place = match self.place(key) {
            Ok(place) => place,
            Err((number, index)) => (number, index.checked_sub(1)?),
        };
        self.at(place).map(|(key, value)| (key, value))
    }
    /// Takes the value of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (number, index) = self.place(key).ok()?;
        let part = self.parts.get_mut(number as usize)?;
        let (_, value) = part.remove(index as usize);
        if part.is_empty() {
            self.parts.remove(number as usize);
        }
        self.len -= 1;
        Some(value)
    }
    /// The value of `key`, which `make` makes if it has none yet.
    ///
    /// # Errors
    /// [`NoMemory`]; the map is as it was.
    #[inline(never)]
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> Result<&mut V, NoMemory> {
        let place = match self.place(&key) {
            Ok(place) => place,
            Err(place) => self.add(place, key, make)?,
        };
        self.at_mut(place).ok_or(NoMemory)
    }
}

/// Makes room for an entry at a place, and returns where that is now. As in [`add_part`], nothing depends on what an entry is.
#[inline(never)]
fn make_room_at<T>(parts: &mut Vec<Vec<T>>, (number, index): Place) -> Result<Place, NoMemory> {
    // The entry behind all others in a full part goes to the next part, which is made if it is full, too. Keys often come in rising
    // order: then the parts stay full.
    let is_full = parts.get(number as usize).is_some_and(|part| part.len() == LONGEST);
    let next = number as usize + usize::from(is_full);
    match parts.get_mut(next) {
        Some(part) if part.len() < LONGEST => part.make_room(1)?,
        _ => add_part(parts, next)?,
    }
    if !is_full {
        return Ok((number, index));
    }
    if index as usize == LONGEST {
        return Ok((next as u32, 0));
    }
    if let Some((before, [behind, ..])) = parts.split_at_mut_checked(next)
        && let Some(last) = before.last_mut().and_then(Vec::pop)
    {
        behind.insert_reserved(0, last);
    }
    Ok((number, index))
}

/// Adds a part without entries, but with room for them, at `number`. Nothing here depends on how an entry is dropped, so that maps
/// with entries of one size share the code.
fn add_part<T>(parts: &mut Vec<Vec<T>>, number: usize) -> Result<(), NoMemory> {
    parts.make_room(1)?;
    let mut part = Vec::new();
    if let Err(error) = part.make_room(if parts.is_empty() { 1 } else { LONGEST }) {
        // It has no memory yet.
        core::mem::forget(part);
        return Err(error);
    }
    parts.insert_reserved(number, part);
    Ok(())
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
        fn is_a_map(steps in prop::collection::vec((0u8..9, 0u16..300, any::<u32>()), 0..400)) {
            let mut map = SortedMap::new();
            let mut model = BTreeMap::new();
            for (what, key, value) in steps {
                match what {
                    0..=4 => prop_assert_eq!(map.insert(key, value), Ok(model.insert(key, value))),
                    5 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    6 | 7 => prop_assert_eq!(map.get_or_insert_with(key, || value), Ok(model.entry(key).or_insert(value))),
                    _ => {
                        map.retain(|other, value| *other < key || *value % 16 != 0);
                        model.retain(|other, value| *other < key || *value % 16 != 0);
                    }
                }
                prop_assert_eq!(map.after(&key), model.range(key + 1..).next());
                prop_assert_eq!(map.up_to(&key), model.range(..=key).next_back());
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.contains_key(&key), model.contains_key(&key));
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.iter_from(&key).eq(model.range(key..)));
                let around = model.range(..=key).next_back().map_or(key, |(last, _)| *last);
                prop_assert!(map.iter_around(&key).eq(model.range(around..)));
            }
            prop_assert_eq!(map.values().collect::<Vec<_>>(), model.values().collect::<Vec<_>>());
        }
    }
}
