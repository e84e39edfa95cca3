//! The memory of the nodes: chunks of a bounded size, so that no allocation grows with the map. A chunk without nodes
//! is freed.
use alloc::vec::Vec;
use coracle_fallible::prelude::*;

/// The number of no node.
pub(crate) const NONE: u32 = u32::MAX;

/// Nodes in a chunk. A chunk doubles up to this, so that a map of a few intervals takes little.
const CHUNK: usize = 32;

/// Memory for a node could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

/// Nodes by number. A number stays valid until its node is freed.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Chunk<T>>,
    /// The first of the chunks with room, which are chained.
    roomy: u32,
    used: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    slots: Vec<Entry<T>>,
    /// The first free slot of `slots`, which are chained.
    free: u32,
    used: usize,
    /// The chunk is in the chain of those with room; `next` follows it there.
    chained: bool,
    next: u32,
}

#[derive(Debug)]
enum Entry<T> {
    Used(T),
    Free(u32),
}

impl<T> Arena<T> {
    pub const fn new() -> Self {
        Arena { chunks: Vec::new(), roomy: NONE, used: 0 }
    }

    /// Puts a node into a free slot and returns its number.
    pub fn add(&mut self, node: T) -> Result<u32, OutOfMemory> {
        if self.roomy == NONE {
            let chunk = Chunk { slots: Vec::new(), free: NONE, used: 0, chained: true, next: NONE };
            self.chunks.try_push(chunk).map_err(|_| OutOfMemory)?;
            self.roomy = self.chunks.len() as u32 - 1;
        }
        let number = self.roomy;
        let chunk = &mut self.chunks[number as usize];
        let slot = chunk.free;
        let slot = if slot == NONE {
            chunk.slots.try_push(Entry::Used(node)).map_err(|_| OutOfMemory)?;
            chunk.slots.len() as u32 - 1
        } else {
            let place = &mut chunk.slots[slot as usize];
            if let Entry::Free(next) = *place {
                chunk.free = next;
            }
            *place = Entry::Used(node);
            slot
        };
        chunk.used += 1;
        if chunk.used == CHUNK {
            chunk.chained = false;
            self.roomy = chunk.next;
        }
        self.used += 1;
        Ok(number * CHUNK as u32 + slot)
    }

    /// Takes a node out.
    pub fn free(&mut self, number: u32) -> Option<T> {
        let (index, slot) = (number as usize / CHUNK, number as usize % CHUNK);
        let chunk = self.chunks.get_mut(index)?;
        let place = chunk.slots.get_mut(slot)?;
        if let Entry::Free(_) = place {
            return None;
        }
        let Entry::Used(node) = core::mem::replace(place, Entry::Free(chunk.free)) else { return None };
        chunk.free = slot as u32;
        chunk.used -= 1;
        if chunk.used == 0 {
            chunk.slots = Vec::new();
            chunk.free = NONE;
        }
        if !chunk.chained {
            chunk.chained = true;
            chunk.next = self.roomy;
            self.roomy = index as u32;
        }
        self.used -= 1;
        if self.used == 0 {
            *self = Arena::new();
        }
        Some(node)
    }

    #[inline(always)]
    pub fn get(&self, number: u32) -> Option<&T> {
        match self.chunks.get(number as usize / CHUNK)?.slots.get(number as usize % CHUNK)? {
            Entry::Used(node) => Some(node),
            Entry::Free(_) => None,
        }
    }

    #[inline(always)]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.chunks.get_mut(number as usize / CHUNK)?.slots.get_mut(number as usize % CHUNK)? {
            Entry::Used(node) => Some(node),
            Entry::Free(_) => None,
        }
    }
}
