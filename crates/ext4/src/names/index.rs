//! Names in a directory with an index: full blocks are split by the hashes of their names, as are the index's own nodes.
use super::insert::{Target, write_entry};
use crate::bytes::{le16, set_le16, set_le32};
use crate::directory::{Entries, NODE_COUNTLIMIT, ROOT_COUNTLIMIT, entry_bytes};
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::hash;
use crate::htree::{self, IndexPath, countlimit};
use crate::inode::{Inode, flag};
use alloc::vec::Vec;
use coracle_fallible::{TryCollect as _, TrySlice as _, TryVec as _, filled};
use coracle_heap_sort::heap_sort;

/// Bytes of an index's entry, and of its checksum.
const INDEX_ENTRY_BYTES: usize = 8;
const INDEX_TAIL_BYTES: usize = 8;
/// Bytes of the entries for the directory and its parent.
const DOT_BYTES: usize = 12;
/// Where the root has `dx_root_info`.
const ROOT_INFO: usize = 24;
/// Splits until a name must have its room: each halves a block.
const MAX_SPLITS: usize = 4;

/// A name of a block that is split.
struct Name {
    hash: u32,
    /// Where its entry is.
    at: usize,
    /// Bytes that its entry needs.
    bytes: usize,
}

impl FileSystem {
    /// How many entries a node of an index has room for.
    fn index_limit(&self, from: usize) -> usize {
        let tail = if self.superblock.has_checksums() { INDEX_TAIL_BYTES } else { 0 };
        (self.superblock.block_bytes as usize - from - tail) / INDEX_ENTRY_BYTES
    }

    /// Begins an index over a directory of one block, whose entries go to another.
    pub(super) fn begin_index(&mut self, directory: &mut Inode) -> Result<()> {
        let has_kinds = self.has_kinds();
        let block_bytes = self.superblock.block_bytes as usize;
        let end = self.leaf_bytes();
        let old = self.directory_block(directory, 0)?.try_to_vec()?;
        let parent = {
            let mut dots = Entries::new(&old, 0, has_kinds);
            let (Some(dot), Some(parent)) = (dots.next().transpose()?, dots.next().transpose()?) else {
                return Err(Error::Corrupt(&"a directory does not begin with itself and its parent"));
            };
            if dot.name != b"." || parent.name != b".." || dot.len != DOT_BYTES {
                return Err(Error::Corrupt(&"a directory does not begin with itself and its parent"));
            }
            parent.inode
        };
        let mut leaf = self.empty_leaf()?;
        let mut names = Vec::new();
        for raw in Entries::new(&old[..end], 0, has_kinds).skip(2) {
            let raw = raw?;
            if raw.inode != 0 {
                names.try_push(Name { hash: 0, at: raw.at, bytes: entry_bytes(raw.name.len()) })?;
            }
        }
        pack(&old, &mut leaf[..end], &names);
        let block = self.append_block(directory, &leaf)?;

        let mut root = filled(0, block_bytes)?;
        let directory_kind = if has_kinds { 2 } else { 0 };
        let this = Target { inode: directory.number, kind: directory_kind };
        write_entry(&mut root, DOT_BYTES, this, b".", has_kinds);
        let above = Target { inode: parent, kind: directory_kind };
        write_entry(&mut root[DOT_BYTES..], block_bytes - DOT_BYTES, above, b"..", has_kinds);
        root[ROOT_INFO + 4] = self.superblock.hash_version;
        root[ROOT_INFO + 5] = (ROOT_COUNTLIMIT - ROOT_INFO) as u8;
        set_le16(&mut root, ROOT_COUNTLIMIT, self.index_limit(ROOT_COUNTLIMIT) as u16);
        set_le16(&mut root, ROOT_COUNTLIMIT + 2, 1);
        set_le32(&mut root, ROOT_COUNTLIMIT + 4, block);
        self.put_directory(directory, 0, 0, &root)?;
        directory.flags |= flag::INDEX;
        Ok(())
    }

    /// Puts a name into a directory with an index.
    pub(super) fn insert_by_index(
        &mut self,
        directory: &mut Inode,
        name: &[u8],
        target: Target,
    ) -> Result<()> {
        const UNKNOWN: Error = Error::Unsupported(&"a change of a directory with an unknown kind of index");
        for _ in 0..MAX_SPLITS {
            let path = self.index_path(directory, name)?.ok_or(UNKNOWN)?;
            if path.leaf == 0 {
                return Err(Error::Corrupt(&"a directory's index leads to no names"));
            }
            if self.insert_in_block(directory, path.leaf, name, target)? {
                return Ok(());
            }
            self.split_leaf(directory, &path)?;
        }
        Err(Error::NoSpace)
    }

    /// Moves the names with the larger hashes of a full block to a new one.
    fn split_leaf(&mut self, directory: &mut Inode, path: &IndexPath) -> Result<()> {
        let (has_kinds, end, seed) = (self.has_kinds(), self.leaf_bytes(), self.superblock.hash_seed);
        let old = self.directory_block(directory, path.leaf)?.try_to_vec()?;
        let mut names = Vec::new();
        for raw in Entries::new(&old[..end], 0, has_kinds) {
            let raw = raw?;
            if raw.inode != 0 {
                let hash = hash::hash(raw.name, path.version, &seed);
                names.try_push(Name { hash, at: raw.at, bytes: entry_bytes(raw.name.len()) })?;
            }
        }
        heap_sort(&mut names, |name| (name.hash, name.at));
        let cut = half(&names);
        let (left, right) = names.split_at(cut);
        let (Some(last), Some(first)) = (left.last(), right.first()) else {
            return Err(Error::Corrupt(&"a full block of a directory has no names"));
        };
        // The lowest bit says that names with the same hash are in the block before, too.
        let continued = u32::from(last.hash == first.hash);
        let hash = first.hash | continued;
        let mut leaf = self.empty_leaf()?;
        pack(&old, &mut leaf[..end], right);
        let block = self.append_block(directory, &leaf)?;
        leaf[..end].fill(0);
        pack(&old, &mut leaf[..end], left);
        self.put_directory(directory, path.leaf, 0, &leaf)?;
        self.insert_in_index(directory, path, hash, block)
    }

    /// The entries of a node of the index, the first with the hash 0.
    fn index_entries(&mut self, directory: &Inode, block: u32, level: usize) -> Result<Vec<(u32, u32)>> {
        let data = self.directory_block(directory, block)?;
        let count = usize::from(le16(data, countlimit(level) + 2));
        Ok((0..count).map(|index| htree::index_entry(data, level, index)).try_collect_exact()?)
    }

    /// Writes the entries of a node.
    fn set_index_entries(
        &mut self,
        directory: &Inode,
        block: u32,
        level: usize,
        entries: &[(u32, u32)],
    ) -> Result<()> {
        let from = countlimit(level);
        let mut bytes = filled(0, entries.len() * INDEX_ENTRY_BYTES)?;
        for (place, (hash, block)) in bytes.chunks_exact_mut(INDEX_ENTRY_BYTES).zip(entries) {
            set_le32(place, 0, *hash);
            set_le32(place, 4, *block);
        }
        // The first entry has the numbers of entries in the place of its hash.
        set_le16(&mut bytes, 0, self.index_limit(from) as u16);
        set_le16(&mut bytes, 2, entries.len() as u16);
        self.put_directory(directory, block, from, &bytes)
    }

    /// A new node of the index, which looks like a block without entries.
    fn new_index_node(&mut self, directory: &mut Inode, entries: &[(u32, u32)]) -> Result<u32> {
        let block_bytes = self.superblock.block_bytes as usize;
        let mut node = filled(0, block_bytes)?;
        set_le16(&mut node, 4, block_bytes as u16);
        set_le16(&mut node, NODE_COUNTLIMIT, self.index_limit(NODE_COUNTLIMIT) as u16);
        set_le16(&mut node, NODE_COUNTLIMIT + 2, 1);
        let block = self.append_block(directory, &node)?;
        self.set_index_entries(directory, block, 1, entries)?;
        Ok(block)
    }

    /// Puts a new block into the index, behind the one that it was split from.
    fn insert_in_index(
        &mut self,
        directory: &mut Inode,
        path: &IndexPath,
        hash: u32,
        block: u32,
    ) -> Result<()> {
        let mut entry = (hash, block);
        for level in (0..path.levels).rev() {
            let frame = path.frame(level);
            let mut entries = self.index_entries(directory, frame.block, level)?;
            entries.try_insert((frame.index + 1).min(entries.len()), entry)?;
            if entries.len() <= self.index_limit(countlimit(level)) {
                return self.set_index_entries(directory, frame.block, level, &entries);
            }
            if level == 0 {
                return self.deepen(directory, path.levels, &entries);
            }
            let (left, right) = entries.split_at(entries.len() / 2);
            let new = self.new_index_node(directory, right)?;
            self.set_index_entries(directory, frame.block, level, left)?;
            entry = (right.first().map_or(0, |first| first.0), new);
        }
        Err(Error::Corrupt(&"a directory's index has no root"))
    }

    /// Moves the root's entries to two nodes under it.
    fn deepen(&mut self, directory: &mut Inode, levels: usize, entries: &[(u32, u32)]) -> Result<()> {
        if levels >= self.max_levels() {
            return Err(Error::NoSpace);
        }
        let (left, right) = entries.split_at(entries.len() / 2);
        let first = self.new_index_node(directory, left)?;
        let second = self.new_index_node(directory, right)?;
        let hash = right.first().map_or(0, |first| first.0);
        self.set_index_entries(directory, 0, 0, &[(0, first), (hash, second)])?;
        self.put_directory(directory, 0, htree::LEVELS_BELOW, &[levels as u8])
    }
}

/// Where names in the order of their hashes are parted, so that either side needs about half of the bytes.
fn half(names: &[Name]) -> usize {
    let all: usize = names.iter().map(|name| name.bytes).sum();
    let mut sum = 0;
    let cut = names.iter().position(|name| {
        sum += name.bytes;
        sum > all / 2
    });
    cut.unwrap_or(0).clamp(1, names.len().saturating_sub(1).max(1)).min(names.len())
}

/// Writes entries one after the other; the last takes what is left.
fn pack(from: &[u8], to: &mut [u8], names: &[Name]) {
    let mut at = 0;
    for (index, name) in names.iter().enumerate() {
        let len = if index + 1 == names.len() { to.len() - at } else { name.bytes };
        if let (Some(place), Some(entry)) =
            (to.get_mut(at..at + name.bytes), from.get(name.at..name.at + name.bytes))
        {
            place.copy_from_slice(entry);
            set_le16(place, 4, len as u16);
        }
        at += name.bytes;
    }
    if names.is_empty() {
        set_le16(to, 4, to.len() as u16);
    }
}
