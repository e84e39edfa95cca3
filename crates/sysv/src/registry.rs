//! Objects by identifier and by key (sysvipc(7)).
//!
//! An identifier contains the place of the object and a sequence number, so that one of a removed object is recognised (EIDRM).
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};
use coracle_sorted_map::SortedMap;

/// Bits of an identifier that say where the object is; those above say which of the objects that were there.
const INDEX_BITS: u32 = 15;
/// Objects of a kind at most (Linux's IPCMNI).
const MAX_OBJECTS: usize = 1 << INDEX_BITS;
/// Identifiers are positive numbers of 32 bits.
const SEQUENCES: u32 = 1 << (31 - INDEX_BITS);

/// An identifier without an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is nothing at that place (EINVAL).
    Invalid,
    /// Another object has taken the place (EIDRM).
    Removed,
}

/// An object that was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are as many as there may be (ENOSPC).
    Full,
    /// Memory is short (ENOMEM).
    NoMemory,
}

impl From<NoMemory> for Refused {
    fn from(_: NoMemory) -> Self {
        Refused::NoMemory
    }
}

/// All objects of a kind.
pub struct Registry<T> {
    places: Vec<Option<Entry<T>>>,
    keys: SortedMap<i32, usize>,
    /// No place before it is free.
    first_free: usize,
    next_sequence: u32,
    len: usize,
}

struct Entry<T> {
    id: i32,
    /// 0: it has none.
    key: i32,
    value: T,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Registry::new()
    }
}

impl<T> Registry<T> {
    /// Without objects.
    pub const fn new() -> Self {
        Registry { places: Vec::new(), keys: SortedMap::new(), first_free: 0, next_sequence: 0, len: 0 }
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without objects.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest place that is taken, as the INFO commands of the `ctl` calls report it; 0 without objects.
    pub fn highest_index(&self) -> usize {
        self.places.len().saturating_sub(1)
    }

    /// Adds an object. Returns its identifier. `key` 0: it is found by its identifier alone; another one must be new.
    ///
    /// # Errors
    /// [`Refused`] beyond `limit` objects, and without memory.
    pub fn insert(&mut self, key: i32, value: T, limit: usize) -> Result<i32, Refused> {
        if self.len >= limit.min(MAX_OBJECTS) {
            return Err(Refused::Full);
        }
        let free = self.places[self.first_free..].iter().position(Option::is_none);
        let index = free.map_or(self.places.len(), |at| self.first_free + at);
        if index == self.places.len() {
            self.places.make_room(1)?;
        }
        if key != 0 {
            self.keys.insert(key, index)?;
        }
        let id = (self.next_sequence << INDEX_BITS) as i32 | index as i32;
        let entry = Some(Entry { id, key, value });
        match self.places.get_mut(index) {
            Some(place) => *place = entry,
            None => self.places.push_reserved(entry),
        }
        self.next_sequence = (self.next_sequence + 1) % SEQUENCES;
        self.first_free = index + 1;
        self.len += 1;
        Ok(id)
    }

    fn index(&self, id: i32) -> Result<usize, Missing> {
        let index = usize::try_from(id).map_err(|_| Missing::Invalid)? % MAX_OBJECTS;
        let entry = self.places.get(index).and_then(Option::as_ref).ok_or(Missing::Invalid)?;
        if entry.id == id { Ok(index) } else { Err(Missing::Removed) }
    }

    /// The object with that identifier.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn get(&self, id: i32) -> Result<&T, Missing> {
        let index = self.index(id)?;
        self.at(index).map(|(_, value)| value).ok_or(Missing::Invalid)
    }

    /// The object at a place, with its identifier (SEM_STAT and similar commands).
    pub fn at(&self, index: usize) -> Option<(i32, &T)> {
        self.places.get(index).and_then(Option::as_ref).map(|entry| (entry.id, &entry.value))
    }

    /// The object with that key (not 0), with its identifier.
    pub fn by_key(&self, key: i32) -> Option<(i32, &T)> {
        self.keys.get(&key).and_then(|&index| self.at(index))
    }

    /// The first object at a place from `index` on: the place, the identifier, the object.
    pub fn next_from(&self, index: usize) -> Option<(usize, i32, &T)> {
        (index..self.places.len()).find_map(|at| self.at(at).map(|(id, value)| (at, id, value)))
    }

    /// Takes the key from an object: from now on it is found by its identifier alone.
    pub fn forget_key(&mut self, id: i32) {
        if let Ok(index) = self.index(id)
            && let Some(entry) = &mut self.places[index]
            && entry.key != 0
        {
            self.keys.remove(&entry.key);
            entry.key = 0;
        }
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn remove(&mut self, id: i32) -> Result<T, Missing> {
        let index = self.index(id)?;
        self.forget_key(id);
        let entry = self.places[index].take().ok_or(Missing::Invalid)?;
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
        }
        if self.places.is_empty() {
            self.places = Vec::new();
        }
        self.first_free = self.first_free.min(index).min(self.places.len());
        self.len -= 1;
        Ok(entry.value)
    }
}
