//! Extent trees: which blocks of the disk a file has.
//!
//! Source: Linux's documentation of ext4's data structures, *The Contents of inode.i_block*.
use crate::bytes::{le16, le32, le48, set_le16, set_le32};
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, MAP_BYTES, flag};
use crate::superblock::Superblock;

const MAGIC: u16 = 0xf30a;
/// Bytes of a node's header, and of an entry of either kind.
pub(crate) const HEADER_BYTES: usize = 12;
pub(crate) const ENTRY_BYTES: usize = 12;
/// Levels of a tree under its root at most.
pub(crate) const MAX_DEPTH: usize = 5;
/// Entries of the root, which is in the inode.
pub(crate) const ROOT_ENTRIES: usize = (MAP_BYTES - HEADER_BYTES) / ENTRY_BYTES;
/// A longer extent is one of so many blocks fewer that are not written.
pub(crate) const MAX_WRITTEN: u32 = 0x8000;
pub(crate) const MAX_UNWRITTEN: u32 = MAX_WRITTEN - 1;

/// An entry of a node as it lies on the disk.
pub(crate) type Entry = [u8; ENTRY_BYTES];

/// A run of blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first block in the file.
    pub block: u32,
    pub len: u32,
    /// The first block on the disk.
    pub start: u64,
    /// The blocks read as zeroes, whatever the disk holds.
    pub unwritten: bool,
}

impl Extent {
    pub fn parse(entry: &Entry) -> Extent {
        let len = u32::from(le16(entry, 4));
        let unwritten = len > MAX_WRITTEN;
        Extent {
            block: le32(entry, 0),
            len: if unwritten { len - MAX_WRITTEN } else { len },
            start: le48(entry, 8, 6),
            unwritten,
        }
    }
    pub fn entry(&self) -> Entry {
        let mut entry = [0; ENTRY_BYTES];
        set_le32(&mut entry, 0, self.block);
        set_le16(&mut entry, 4, (self.len + if self.unwritten { MAX_WRITTEN } else { 0 }) as u16);
        set_le16(&mut entry, 6, (self.start >> 32) as u16);
        set_le32(&mut entry, 8, self.start as u32);
        entry
    }
    /// The block behind the last.
    pub fn end(&self) -> u64 {
        u64::from(self.block) + u64::from(self.len)
    }
}

/// An entry of a node that leads to another.
pub(crate) fn index_entry(key: u32, child: u64) -> Entry {
    let mut entry = [0; ENTRY_BYTES];
    set_le32(&mut entry, 0, key);
    set_le32(&mut entry, 4, child as u32);
    set_le16(&mut entry, 8, (child >> 32) as u16);
    entry
}

/// The block that such an entry leads to.
pub(crate) fn child(entry: &Entry) -> u64 {
    le48(entry, 4, 8)
}

/// The first block of the file that an entry is about.
pub(crate) fn key(entry: &Entry) -> u32 {
    le32(entry, 0)
}

/// Entries of a node.
pub(crate) fn count(node: &[u8]) -> usize {
    le16(node, 2).into()
}
/// Entries that a node has room for.
pub(crate) fn room(node: &[u8]) -> usize {
    le16(node, 4).into()
}
/// Levels under a node.
pub(crate) fn depth(node: &[u8]) -> usize {
    le16(node, 6).into()
}
/// Where a node has its checksum: behind the room for entries.
pub(crate) fn tail(node: &[u8]) -> usize {
    HEADER_BYTES + ENTRY_BYTES * room(node)
}
/// An entry of a node.
pub(crate) fn entry(node: &[u8], index: usize) -> Entry {
    let at = HEADER_BYTES + ENTRY_BYTES * index;
    node.get(at..at + ENTRY_BYTES).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}
/// The header of a node.
pub(crate) fn header(count: usize, room: usize, depth: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    set_le16(&mut header, 0, MAGIC);
    set_le16(&mut header, 2, count as u16);
    set_le16(&mut header, 4, room as u16);
    set_le16(&mut header, 6, depth as u16);
    header
}

/// Checks that a node's entries are in order, do not overlap, and lead into the file system.
pub(crate) fn check_node(superblock: &Superblock, node: &[u8]) -> Result<()> {
    let most = (node.len() - HEADER_BYTES) / ENTRY_BYTES;
    let right = le16(node, 0) == MAGIC
        && room(node) <= most
        && room(node) > 0
        && count(node) <= room(node)
        && depth(node) <= MAX_DEPTH
        && (depth(node) == 0 || count(node) > 0)
        // Its checksum follows, if it is a block.
        && (node.len() == MAP_BYTES || tail(node) + 4 <= node.len());
    if !right {
        return Err(Error::Corrupt(&"a node of an extent tree is none"));
    }
    let mut least = 0;
    for index in 0..count(node) {
        let entry = entry(node, index);
        let right = if depth(node) == 0 {
            let extent = Extent::parse(&entry);
            let right = u64::from(extent.block) >= least
                && extent.len > 0
                && extent.end() <= 1 << 32
                && superblock.has_run(extent.start, extent.len.into());
            least = extent.end();
            right
        } else {
            let right = (u64::from(key(&entry)) >= least) && superblock.has_block(child(&entry));
            least = u64::from(key(&entry)) + 1;
            right
        };
        if !right {
            return Err(Error::Corrupt(&"an entry of an extent tree makes no sense"));
        }
    }
    Ok(())
}

/// A node on the way to a leaf.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step {
    /// The block of the node; 0 is the root, in the inode.
    pub node: u64,
    /// Which of its entries leads on. In a leaf, how many begin at or before the block looked for.
    pub index: usize,
}

/// The way from the root to a leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    steps: [Step; MAX_DEPTH + 1],
    pub depth: usize,
}

impl Path {
    /// The node at a level, counted from the root.
    pub fn step(&self, level: usize) -> Step {
        self.steps.get(level).copied().unwrap_or_default()
    }
    pub fn leaf(&self) -> Step {
        self.step(self.depth)
    }
    pub fn set_step(&mut self, level: usize, step: Step) {
        if let Some(place) = self.steps.get_mut(level) {
            *place = step;
        }
    }
}

/// What a file has at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first block on the disk; `None` where the file has a hole.
    pub block: Option<u64>,
    /// Blocks of the run.
    pub count: u32,
    /// The blocks are the file's, but read as zeroes until they are written.
    pub unwritten: bool,
}

impl FileSystem {
    /// A node of a file's tree: the root for block 0.
    pub(crate) fn node<'a>(&'a mut self, inode: &'a Inode, node: u64) -> Result<&'a [u8]> {
        if node == 0 {
            return Ok(&inode.map);
        }
        let seed = self.superblock.inode_seed(inode.number, inode.generation);
        self.block(node, Kind::Extents(seed))
    }

    /// The way to the leaf in which a block of the file is, or would be.
    pub(crate) fn path(&mut self, inode: &Inode, block: u32) -> Result<Path> {
        check_node(&self.superblock, &inode.map)?;
        let depth_of_root = depth(&inode.map);
        let mut path = Path { steps: Default::default(), depth: depth_of_root };
        let mut node = 0;
        for level in 0..=depth_of_root {
            let bytes = self.node(inode, node)?;
            if depth(bytes) != depth_of_root - level {
                return Err(Error::Corrupt(&"an extent tree's levels are miscounted"));
            }
            let before = before(bytes, block);
            if level == depth_of_root {
                path.set_step(level, Step { node, index: before });
            } else {
                let index = before.saturating_sub(1);
                let next = child(&entry(bytes, index));
                path.set_step(level, Step { node, index });
                node = next;
            }
        }
        Ok(path)
    }

    /// The extent at or before a block of the file in its leaf, and the beginning of the one after it, in any leaf.
    pub(crate) fn extent_at(&mut self, inode: &Inode, block: u32) -> Result<(Option<Extent>, Option<u32>)> {
        let path = self.path(inode, block)?;
        let leaf = path.leaf();
        let bytes = self.node(inode, leaf.node)?;
        let found = leaf.index.checked_sub(1).map(|index| Extent::parse(&entry(bytes, index)));
        if leaf.index < count(bytes) {
            let next = key(&entry(bytes, leaf.index));
            return Ok((found, Some(next)));
        }
        for level in (0..path.depth).rev() {
            let step = path.step(level);
            let bytes = self.node(inode, step.node)?;
            if step.index + 1 < count(bytes) {
                let next = key(&entry(bytes, step.index + 1));
                return Ok((found, Some(next)));
            }
        }
        Ok((found, None))
    }

    /// What a file has from a block on: at most `count` blocks, which are one run on the disk or one hole.
    pub(crate) fn run(&mut self, inode: &Inode, block: u32, count: u32) -> Result<Run> {
        if !inode.has(flag::EXTENTS) {
            return self.indirect_run(inode, block, count);
        }
        let (found, next) = self.extent_at(inode, block)?;
        if let Some(extent) = found
            && u64::from(block) < extent.end()
        {
            let within = block - extent.block;
            return Ok(Run {
                block: Some(extent.start + u64::from(within)),
                count: count.min(extent.len - within),
                unwritten: extent.unwritten,
            });
        }
        let hole = next.map_or(u32::MAX, |next| next.saturating_sub(block).max(1));
        Ok(Run { block: None, count: count.min(hole), unwritten: false })
    }

    /// [`FileSystem::run`] of the whole run that a block lies in, and its first block in the file. What is no extent begins at `block`.
    pub(crate) fn run_around(&mut self, inode: &Inode, block: u32) -> Result<(u32, Run)> {
        if inode.has(flag::EXTENTS)
            && let (Some(extent), _) = self.extent_at(inode, block)?
            && u64::from(block) < extent.end()
        {
            let Extent { block, len, start, unwritten } = extent;
            return Ok((block, Run { block: Some(start), count: len, unwritten }));
        }
        Ok((block, self.run(inode, block, u32::MAX)?))
    }
}

/// How many entries of a node begin at or before a block of the file.
fn before(node: &[u8], block: u32) -> usize {
    let (mut low, mut high) = (0, count(node));
    while low < high {
        let middle = (low + high) / 2;
        if key(&entry(node, middle)) <= block {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
