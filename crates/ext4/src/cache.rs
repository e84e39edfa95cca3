//! The blocks of metadata that are in memory: a bounded number of clean ones, and those that a transaction changed.
use crate::error::{Error, Result};
use alloc::vec::Vec;
use coracle_fallible::{TryVec as _, filled};
use coracle_sorted_map::SortedMap;

/// What a block holds. It decides which checksum the block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The superblock.
    Super,
    /// Group descriptors, from this group on.
    Descriptors(u32),
    /// The block bitmap of a group.
    BlockBitmap(u32),
    /// The inode bitmap of a group.
    InodeBitmap(u32),
    /// A part of an inode table. Each inode has a checksum of its own.
    Inodes,
    /// A block of a directory whose checksums begin with this seed.
    Directory(u32),
    /// A node of an extent tree, with the seed of its inode.
    Extents(u32),
    /// Numbers of blocks, of a file without extents.
    Indirect,
    /// Extended attributes.
    Attributes,
    /// A file of the file system's own: the orphan file's blocks.
    Orphans(u32),
}

/// A block in memory.
pub(crate) struct Buffer {
    pub block: u64,
    pub kind: Kind,
    pub data: Vec<u8>,
    /// The running transaction changed it.
    pub running: bool,
    /// The log of the journal has it; its own place on the disk does not yet.
    pub logged: bool,
    /// Which of its parts were found right: a bit for each inode, or all bits.
    pub verified: u32,
    /// It was used since the hand of the clock passed.
    used: bool,
}

/// A power of two: few blocks are in use at a time.
const HINTS: usize = 8;

/// The cache.
pub(crate) struct Cache {
    pub buffers: Vec<Buffer>,
    /// Where each block is among the buffers.
    index: SortedMap<u64, usize>,
    /// Where blocks were found last, by the lowest bits of their numbers: it is looked whether they still are.
    hints: [usize; HINTS],
    hand: usize,
    capacity: usize,
    block_bytes: usize,
}

impl Cache {
    /// A cache that keeps so many blocks, and more only while they are changed.
    pub fn new(block_bytes: u32, capacity: usize) -> Cache {
        Cache {
            buffers: Vec::new(),
            index: SortedMap::new(),
            hints: [0; HINTS],
            hand: 0,
            capacity,
            block_bytes: block_bytes as usize,
        }
    }

    /// Blocks that are kept while they are clean.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where a block is among the buffers.
    pub fn find(&mut self, block: u64) -> Option<usize> {
        let hint = &mut self.hints[block as usize % HINTS];
        let slot = match self.buffers.get(*hint) {
            Some(buffer) if buffer.block == block => *hint,
            _ => *self.index.get(&block)?,
        };
        *hint = slot;
        self.buffers[slot].used = true;
        Some(slot)
    }

    /// Room for a block: that of a clean one which was not used for long, or more memory.
    pub fn room(&mut self) -> Result<Vec<u8>> {
        if self.buffers.len() >= self.capacity
            && let Some(slot) = self.victim()
        {
            return Ok(self.take(slot));
        }
        Ok(filled(0, self.block_bytes)?)
    }

    /// A clean buffer, by the clock algorithm.
    fn victim(&mut self) -> Option<usize> {
        for _ in 0..2 * self.buffers.len() {
            self.hand = (self.hand + 1) % self.buffers.len();
            let buffer = &mut self.buffers[self.hand];
            if buffer.running || buffer.logged {
                continue;
            }
            if !core::mem::take(&mut buffer.used) {
                return Some(self.hand);
            }
        }
        None
    }

    /// Puts a block that is not there.
    pub fn insert(&mut self, block: u64, kind: Kind, data: Vec<u8>, verified: u32) -> Result<usize> {
        let slot = self.buffers.len();
        self.buffers.make_room(1)?;
        self.index.insert(block, slot)?;
        self.buffers.push_reserved(Buffer {
            block,
            kind,
            data,
            running: false,
            logged: false,
            verified,
            used: true,
        });
        Ok(slot)
    }

    /// Takes a buffer out, and returns its memory.
    fn take(&mut self, slot: usize) -> Vec<u8> {
        let buffer = self.buffers.swap_remove(slot);
        self.index.remove(&buffer.block);
        if let Some(moved) = self.buffers.get(slot)
            && let Some(place) = self.index.get_mut(&moved.block)
        {
            *place = slot;
        }
        buffer.data
    }

    /// Takes a block out, whatever its state.
    pub fn remove(&mut self, block: u64) {
        if let Some(slot) = self.index.get(&block) {
            let slot = *slot;
            self.take(slot);
        }
    }

    /// Takes all clean blocks out.
    pub fn shrink(&mut self) {
        let mut slot = 0;
        while let Some(buffer) = self.buffers.get(slot) {
            if buffer.running || buffer.logged {
                slot += 1;
            } else {
                self.take(slot);
            }
        }
    }
}

/// Refuses a block that has two meanings.
pub(crate) fn same_kind(found: Kind, wanted: Kind) -> Result<()> {
    if found == wanted { Ok(()) } else { Err(Error::Corrupt(&"a block is used for two purposes")) }
}
