//! The index of a large directory: a tree of the names' hashes, at most three levels deep.
//!
//! Source: Linux's documentation of ext4's data structures, *Hash Tree Directories*, and Linux's `fs/ext4/namei.c`.
use crate::bytes::{le16, le32};
use crate::directory::{Found, Layout, NODE_COUNTLIMIT, ROOT_COUNTLIMIT, layout};
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::hash::{self, Version};
use crate::inode::{Inode, flag};
use crate::superblock::{compat, incompat};

/// Levels of an index: with the feature `largedir`, and without.
pub(crate) const MAX_LEVELS: usize = 3;
const LEVELS: usize = 2;
/// The bits of an entry's block number that count.
const BLOCK_MASK: u32 = 0x0fff_ffff;
/// Where the root has the hash's version, the number of levels under it, and flags.
const VERSION: usize = 28;
pub(crate) const LEVELS_BELOW: usize = 30;
const FLAGS: usize = 31;

/// A node on the way to a leaf.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    /// The node's block in the directory.
    pub block: u32,
    /// Which of its entries leads on.
    pub index: usize,
}

/// The way to the leaf where a hash belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexPath {
    pub hash: u32,
    pub version: Version,
    frames: [Frame; MAX_LEVELS],
    /// How many nodes the way has.
    pub levels: usize,
    /// The leaf's block in the directory.
    pub leaf: u32,
}

impl IndexPath {
    pub fn frame(&self, level: usize) -> Frame {
        self.frames.get(level).copied().unwrap_or_default()
    }
    fn set_frame(&mut self, level: usize, frame: Frame) {
        if let Some(place) = self.frames.get_mut(level) {
            *place = frame;
        }
    }
}

/// Where the entries of a node at a level begin.
pub(crate) fn countlimit(level: usize) -> usize {
    if level == 0 { ROOT_COUNTLIMIT } else { NODE_COUNTLIMIT }
}

/// Checks a node, and returns how many entries it has.
fn count(data: &[u8], level: usize) -> Result<usize> {
    let at = countlimit(level);
    let (limit, count) = (usize::from(le16(data, at)), usize::from(le16(data, at + 2)));
    let right = layout(data) == Layout::Index { countlimit: at }
        && (1..=limit).contains(&count)
        && at + 8 * limit <= data.len();
    if right { Ok(count) } else { Err(Error::Corrupt(&"a node of a directory's index is none")) }
}

/// An entry of a node: the least hash that it is for, and the block. The first is for all less than the second.
pub(crate) fn index_entry(data: &[u8], level: usize, index: usize) -> (u32, u32) {
    let at = countlimit(level) + 8 * index;
    let hash = if index == 0 { 0 } else { le32(data, at) };
    (hash, le32(data, at + 4) & BLOCK_MASK)
}

/// The last entry of a node that is not beyond a hash.
fn search(data: &[u8], level: usize, count: usize, hash: u32) -> usize {
    let (mut low, mut high) = (1, count);
    while low < high {
        let middle = (low + high) / 2;
        if index_entry(data, level, middle).0 > hash {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low - 1
}

impl FileSystem {
    /// Whether a directory has an index.
    pub(crate) fn is_indexed(&self, directory: &Inode) -> bool {
        directory.has(flag::INDEX) && self.superblock.compat & compat::DIR_INDEX != 0
    }

    /// Levels that an index may have.
    pub(crate) fn max_levels(&self) -> usize {
        if self.superblock.incompat & incompat::LARGEDIR != 0 { MAX_LEVELS } else { LEVELS }
    }

    /// The way to where a name is, if it is there; `None` where the index is of a kind that is not known.
    pub(crate) fn index_path(&mut self, directory: &Inode, name: &[u8]) -> Result<Option<IndexPath>> {
        let (seed, unsigned) = (self.superblock.hash_seed, self.superblock.hash_unsigned);
        let max_levels = self.max_levels();
        let root = self.directory_block(directory, 0)?;
        let below = usize::from(root.get(LEVELS_BELOW).copied().unwrap_or(0));
        let flags = root.get(FLAGS).copied().unwrap_or(0);
        let Some(version) = Version::new(root.get(VERSION).copied().unwrap_or(0), unsigned) else {
            return Ok(None);
        };
        if layout(root) != (Layout::Index { countlimit: ROOT_COUNTLIMIT })
            || flags & 1 != 0
            || below >= max_levels
        {
            return Ok(None);
        }
        let hash = hash::hash(name, version, &seed);
        let mut path = IndexPath { hash, version, frames: Default::default(), levels: below + 1, leaf: 0 };
        let mut block = 0;
        for level in 0..path.levels {
            let data = self.directory_block(directory, block)?;
            let index = search(data, level, count(data, level)?, hash);
            let (_, next) = index_entry(data, level, index);
            path.set_frame(level, Frame { block, index });
            block = next;
        }
        path.leaf = block;
        Ok(Some(path))
    }

    /// Looks for a name in the leaves where its hash may be.
    pub(crate) fn find_by_index(
        &mut self,
        directory: &Inode,
        name: &[u8],
        mut path: IndexPath,
    ) -> Result<Option<Found>> {
        // An index that leads in circles ends here.
        for _ in 0..=self.directory_blocks(directory)? {
            let leaf = path.leaf;
            if leaf == 0 || layout(self.directory_block(directory, leaf)?) != Layout::Leaf {
                return Err(Error::Corrupt(&"a directory's index leads to no names"));
            }
            if let Some(found) = self.find_in_block(directory, leaf, name)? {
                return Ok(Some(found));
            }
            if !self.next_leaf(directory, &mut path)? {
                return Ok(None);
            }
        }
        Err(Error::Corrupt(&"a directory's index is a circle"))
    }

    /// Goes on to the next leaf, if names with the same hash may be there.
    fn next_leaf(&mut self, directory: &Inode, path: &mut IndexPath) -> Result<bool> {
        for level in (0..path.levels).rev() {
            let frame = path.frame(level);
            let data = self.directory_block(directory, frame.block)?;
            let next = frame.index + 1;
            if next >= count(data, level)? {
                continue;
            }
            let (hash, mut block) = index_entry(data, level, next);
            // A leaf that goes on with the hash that the one before it ends with has the lowest bit set.
            if hash != path.hash | 1 {
                return Ok(false);
            }
            path.set_frame(level, Frame { block: frame.block, index: next });
            for below in level + 1..path.levels {
                let data = self.directory_block(directory, block)?;
                count(data, below)?;
                let (_, first) = index_entry(data, below, 0);
                path.set_frame(below, Frame { block, index: 0 });
                block = first;
            }
            path.leaf = block;
            return Ok(true);
        }
        Ok(false)
    }
}
