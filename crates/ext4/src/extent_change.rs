//! Changing extent trees. The inode is changed in memory: its caller writes it.
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::extent::{
    self, ENTRY_BYTES, Entry, Extent, HEADER_BYTES, MAX_DEPTH, MAX_UNWRITTEN, MAX_WRITTEN, Path,
    ROOT_ENTRIES, Step, header, index_entry, key,
};
use crate::filesystem::FileSystem;
use crate::inode::{COUNTED_BYTES, Inode};
use alloc::vec::Vec;
use coracle_fallible::{TryCollect as _, TryVec as _};

/// Blocks of a directory that are freed at once: each is to be revoked.
const DIRECTORY_STEP: u64 = 128;

/// Whether an extent goes on with another, and can take it.
fn can_join(left: &Extent, right: &Extent) -> bool {
    let most = if left.unwritten { MAX_UNWRITTEN } else { MAX_WRITTEN };
    left.end() == u64::from(right.block)
        && left.start + u64::from(left.len) == right.start
        && left.unwritten == right.unwritten
        && left.len + right.len <= most
}

impl Inode {
    /// Begins a map of extents, without any.
    pub(crate) fn begin_extents(&mut self) {
        self.flags |= crate::inode::flag::EXTENTS;
        self.map = [0; crate::inode::MAP_BYTES];
        self.map[..HEADER_BYTES].copy_from_slice(&header(0, ROOT_ENTRIES, 0));
    }
}

impl FileSystem {
    fn extents_kind(&self, inode: &Inode) -> Kind {
        Kind::Extents(self.superblock.inode_seed(inode.number, inode.generation))
    }

    /// Counts blocks that a file takes or gives back.
    pub(crate) fn count_file_blocks(&self, inode: &mut Inode, taken: u32, freed: u32) {
        let units = u64::from(self.superblock.block_bytes) / COUNTED_BYTES;
        inode.blocks = (inode.blocks + u64::from(taken) * units).saturating_sub(u64::from(freed) * units);
    }

    fn entries(&mut self, inode: &Inode, node: u64) -> Result<Vec<Entry>> {
        let bytes = self.node(inode, node)?;
        Ok((0..extent::count(bytes)).map(|index| extent::entry(bytes, index)).try_collect_exact()?)
    }

    /// How many entries a node has room for.
    fn room(&self, node: u64) -> usize {
        if node == 0 {
            ROOT_ENTRIES
        } else {
            (self.superblock.block_bytes as usize - HEADER_BYTES) / ENTRY_BYTES
        }
    }

    /// Writes all entries of a node.
    fn set_entries(&mut self, inode: &mut Inode, node: u64, depth: usize, entries: &[Entry]) -> Result<()> {
        let header = header(entries.len(), self.room(node), depth);
        if node == 0 {
            inode.map[HEADER_BYTES..].fill(0);
            inode.map[..HEADER_BYTES].copy_from_slice(&header);
            for (place, entry) in inode.map[HEADER_BYTES..].chunks_exact_mut(ENTRY_BYTES).zip(entries) {
                place.copy_from_slice(entry);
            }
            return Ok(());
        }
        let kind = self.extents_kind(inode);
        self.put(node, kind, 0, &header)?;
        self.put(node, kind, HEADER_BYTES, entries.as_flattened())
    }

    /// Writes one entry of a node.
    pub(crate) fn set_entry(
        &mut self,
        inode: &mut Inode,
        node: u64,
        index: usize,
        entry: &Entry,
    ) -> Result<()> {
        let at = HEADER_BYTES + index * ENTRY_BYTES;
        if node == 0 {
            let place = inode.map.get_mut(at..at + ENTRY_BYTES);
            place.ok_or(Error::Corrupt(&"an extent tree's root is too small"))?.copy_from_slice(entry);
            return Ok(());
        }
        let kind = self.extents_kind(inode);
        self.put(node, kind, at, entry)
    }

    /// A new node for a file's tree, near another block of it.
    fn new_node(&mut self, inode: &mut Inode, near: u64) -> Result<u64> {
        let (node, _) = self.allocate_blocks(near, 1)?;
        let kind = self.extents_kind(inode);
        self.put_fresh(node, kind)?;
        self.count_file_blocks(inode, 1, 0);
        Ok(node)
    }

    fn free_node(&mut self, inode: &mut Inode, node: u64) -> Result<()> {
        self.put_freed(node)?;
        self.count_file_blocks(inode, 0, 1);
        self.free_blocks(node, 1)
    }

    /// After a node's first key changed: the entries that lead to it are told.
    fn set_keys(&mut self, inode: &mut Inode, path: &Path, level: usize, first: u32) -> Result<()> {
        for above in (0..level).rev() {
            let step = path.step(above);
            let entry = extent::entry(self.node(inode, step.node)?, step.index);
            self.set_entry(inode, step.node, step.index, &index_entry(first, extent::child(&entry)))?;
            if step.index > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Puts an entry into a node, which is split if it is full, and so are those above it.
    fn insert_entry(&mut self, inode: &mut Inode, mut path: Path, index: usize, entry: Entry) -> Result<()> {
        let (mut level, mut index, mut entry) = (path.depth, index, entry);
        loop {
            let node = path.step(level).node;
            let below = path.depth - level;
            let mut entries = self.entries(inode, node)?;
            if index > entries.len() {
                return Err(Error::Corrupt(&"an extent tree changed under an operation"));
            }
            entries.try_insert(index, entry)?;
            if entries.len() <= self.room(node) {
                self.set_entries(inode, node, below, &entries)?;
                return if index == 0 {
                    self.set_keys(inode, &path, level, key(&entries[0]))
                } else {
                    Ok(())
                };
            }
            let near = extent::child(&entries[0]).max(Extent::parse(&entries[0]).start);
            let new = self.new_node(inode, if below == 0 { Extent::parse(&entry).start } else { near })?;
            if level == 0 {
                // What the root had goes one level down.
                if path.depth >= MAX_DEPTH {
                    return Err(Error::NoSpace);
                }
                self.set_entries(inode, new, below, &entries)?;
                return self.set_entries(inode, 0, below + 1, &[index_entry(key(&entries[0]), new)]);
            }
            // Files grow at their end: there the full node stays full.
            let cut = if index + 1 == entries.len() { index } else { entries.len() / 2 };
            let (left, right) = entries.split_at(cut);
            self.set_entries(inode, new, below, right)?;
            self.set_entries(inode, node, below, left)?;
            if index == 0 {
                self.set_keys(inode, &path, level, key(&left[0]))?;
            }
            entry = index_entry(key(&right[0]), new);
            level -= 1;
            index = path.step(level).index + 1;
            // The levels below are of no interest any more.
            path.set_step(level + 1, Step { node, index: 0 });
        }
    }

    /// Takes an entry out of a leaf. A node that is empty then is freed.
    pub(crate) fn remove_entry(&mut self, inode: &mut Inode, path: &Path, index: usize) -> Result<()> {
        let (mut level, mut index) = (path.depth, index);
        loop {
            let node = path.step(level).node;
            let mut entries = self.entries(inode, node)?;
            if index >= entries.len() {
                return Err(Error::Corrupt(&"an extent tree changed under an operation"));
            }
            entries.remove(index);
            if !entries.is_empty() {
                self.set_entries(inode, node, path.depth - level, &entries)?;
                if index == 0 {
                    self.set_keys(inode, path, level, key(&entries[0]))?;
                }
                break;
            }
            if level == 0 {
                self.set_entries(inode, 0, 0, &[])?;
                break;
            }
            self.free_node(inode, node)?;
            level -= 1;
            index = path.step(level).index;
        }
        self.flatten(inode)
    }

    /// Takes the entries of a single node under the root into the root, where they fit.
    fn flatten(&mut self, inode: &mut Inode) -> Result<()> {
        while extent::depth(&inode.map) > 0 && extent::count(&inode.map) == 1 {
            let node = extent::child(&extent::entry(&inode.map, 0));
            let bytes = self.node(inode, node)?;
            let depth = extent::depth(bytes);
            if extent::count(bytes) > ROOT_ENTRIES || depth >= extent::depth(&inode.map) {
                break;
            }
            let entries = self.entries(inode, node)?;
            self.free_node(inode, node)?;
            self.set_entries(inode, 0, depth, &entries)?;
        }
        Ok(())
    }

    /// Adds a run of blocks to a file, which has none there.
    pub(crate) fn insert_extent(&mut self, inode: &mut Inode, new: Extent) -> Result<()> {
        const OVERLAP: Error = Error::Corrupt(&"extents of a file overlap");
        let path = self.path(inode, new.block)?;
        let leaf = path.leaf();
        let bytes = self.node(inode, leaf.node)?;
        let left = leaf.index.checked_sub(1).map(|index| Extent::parse(&extent::entry(bytes, index)));
        let right =
            (leaf.index < extent::count(bytes)).then(|| Extent::parse(&extent::entry(bytes, leaf.index)));
        if left.is_some_and(|left| left.end() > new.block.into()) {
            return Err(OVERLAP);
        }
        if right.is_some_and(|right| new.end() > right.block.into()) {
            return Err(OVERLAP);
        }
        if let Some(mut left) = left.filter(|left| can_join(left, &new)) {
            left.len += new.len;
            self.set_entry(inode, leaf.node, leaf.index - 1, &left.entry())?;
            // What was a hole between two extents may have been all that kept them apart.
            return match right.filter(|right| can_join(&left, right)) {
                Some(right) => {
                    left.len += right.len;
                    self.set_entry(inode, leaf.node, leaf.index - 1, &left.entry())?;
                    self.remove_entry(inode, &path, leaf.index)
                }
                None => Ok(()),
            };
        }
        if let Some(right) = right.filter(|right| can_join(&new, right)) {
            let joined = Extent { len: new.len + right.len, ..new };
            self.set_entry(inode, leaf.node, leaf.index, &joined.entry())?;
            return if leaf.index == 0 { self.set_keys(inode, &path, path.depth, new.block) } else { Ok(()) };
        }
        self.insert_entry(inode, path, leaf.index, new.entry())
    }

    /// The last extent of a file that begins before a block: the way to it, its place in the leaf, and what it says.
    pub(crate) fn last_before(&mut self, inode: &Inode, end: u64) -> Result<Option<(Path, usize, Extent)>> {
        let mut before = end;
        while let Some(block) = before.checked_sub(1) {
            let path = self.path(inode, u32::try_from(block).unwrap_or(u32::MAX))?;
            let leaf = path.leaf();
            if let Some(index) = leaf.index.checked_sub(1) {
                let extent = Extent::parse(&extent::entry(self.node(inode, leaf.node)?, index));
                return Ok(Some((path, index, extent)));
            }
            // The leaf begins later than its parent says: what is looked for is in one before.
            let Some(level) = (0..path.depth).rev().find(|level| path.step(*level).index > 0) else { break };
            let step = path.step(level);
            let first = u64::from(key(&extent::entry(self.node(inode, step.node)?, step.index)));
            if first >= before {
                break;
            }
            before = first;
        }
        Ok(None)
    }

    /// Frees what a file has last of the blocks from `from` to before `end`. False: it has nothing there.
    pub(crate) fn remove_last(&mut self, inode: &mut Inode, from: u32, end: u64) -> Result<bool> {
        let Some((path, index, found)) = self.last_before(inode, end)? else { return Ok(false) };
        if found.end() <= from.into() {
            return Ok(false);
        }
        let mut cut_from = found.block.max(from);
        let cut_end = found.end().min(end);
        if inode.is_directory() {
            cut_from = cut_from.max(cut_end.saturating_sub(DIRECTORY_STEP) as u32);
        }
        let cut_len = (cut_end - u64::from(cut_from)) as u32;
        let left_len = cut_from - found.block;
        let leaf = path.leaf().node;
        let start = found.start + u64::from(left_len);
        if inode.is_directory() {
            // These are blocks of metadata, which the log and the cache may have.
            for block in start..start + u64::from(cut_len) {
                self.put_freed(block)?;
            }
        }
        self.free_blocks(start, cut_len)?;
        self.count_file_blocks(inode, 0, cut_len);
        let right = Extent {
            block: cut_end as u32,
            len: (found.end() - cut_end) as u32,
            start: found.start + (cut_end - u64::from(found.block)),
            unwritten: found.unwritten,
        };
        if left_len > 0 {
            self.set_entry(inode, leaf, index, &Extent { len: left_len, ..found }.entry())?;
            if right.len > 0 {
                self.insert_extent(inode, right)?;
            }
        } else if right.len > 0 {
            self.set_entry(inode, leaf, index, &right.entry())?;
            if index == 0 {
                self.set_keys(inode, &path, path.depth, right.block)?;
            }
        } else {
            self.remove_entry(inode, &path, index)?;
        }
        Ok(true)
    }

    /// Says that blocks of a file which were unwritten are written: a part of one extent.
    pub(crate) fn mark_written(&mut self, inode: &mut Inode, block: u32, len: u32) -> Result<()> {
        const NOT_ONE: Error = Error::Corrupt(&"blocks to be written are not of one extent");
        let path = self.path(inode, block)?;
        let leaf = path.leaf();
        let index = leaf.index.checked_sub(1).ok_or(NOT_ONE)?;
        let bytes = self.node(inode, leaf.node)?;
        let found = Extent::parse(&extent::entry(bytes, index));
        let end = u64::from(block) + u64::from(len);
        if !found.unwritten || end > found.end() || len == 0 {
            return Err(NOT_ONE);
        }
        let before = index.checked_sub(1).map(|index| Extent::parse(&extent::entry(bytes, index)));
        let left_len = block - found.block;
        let middle = Extent { block, len, start: found.start + u64::from(left_len), unwritten: false };
        let right = Extent {
            block: end as u32,
            len: (found.end() - end) as u32,
            start: middle.start + u64::from(len),
            unwritten: true,
        };
        if let Some(before) = before.filter(|before| can_join(before, &middle)) {
            // Files are written in order: the border between what is written and what is not moves.
            self.set_entry(inode, leaf.node, index - 1, &Extent { len: before.len + len, ..before }.entry())?;
            if right.len == 0 {
                return self.remove_entry(inode, &path, index);
            }
            return self.set_entry(inode, leaf.node, index, &right.entry());
        }
        if left_len > 0 {
            self.set_entry(inode, leaf.node, index, &Extent { len: left_len, ..found }.entry())?;
            self.insert_extent(inode, middle)?;
        } else {
            self.set_entry(inode, leaf.node, index, &middle.entry())?;
        }
        if right.len > 0 { self.insert_extent(inode, right) } else { Ok(()) }
    }
}
