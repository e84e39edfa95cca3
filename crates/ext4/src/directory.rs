//! Directories: blocks of names, one after the other. An index over them ([`crate::htree`]) is hidden in entries that
//! look empty, so that reading all blocks in order is always right.
//!
//! Source: Linux's documentation of ext4's data structures, *Directory Entries*.
use crate::bytes::{le16, le32};
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, flag, kind};
use crate::superblock::incompat;

/// Bytes of an entry before its name.
pub(crate) const ENTRY_HEADER_BYTES: usize = 8;
/// The longest name.
pub(crate) const MAX_NAME: usize = 255;
/// Bytes at the end of a block that hold its checksum, in the form of an entry without a name.
pub(crate) const TAIL_BYTES: usize = 12;
const TAIL_KIND: u8 = 0xde;
/// Where the entries of an index begin in its root, and in its other nodes.
pub(crate) const ROOT_COUNTLIMIT: usize = 32;
pub(crate) const NODE_COUNTLIMIT: usize = 8;
/// Bytes of `dx_root_info`.
const ROOT_INFO_BYTES: u8 = 8;

/// Bytes of an entry with a name of so many bytes.
pub(crate) const fn entry_bytes(name: usize) -> usize {
    (ENTRY_HEADER_BYTES + name).next_multiple_of(4)
}

/// What a block of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Entries.
    Leaf,
    /// A node of the index, whose own entries begin there.
    Index { countlimit: usize },
}

/// What a block is, by how its first entries look (Linux's `get_dx_countlimit`).
pub(crate) fn layout(data: &[u8]) -> Layout {
    let whole = data.len();
    let first = usize::from(le16(data, 4));
    if first == whole && le32(data, 0) == 0 {
        return Layout::Index { countlimit: NODE_COUNTLIMIT };
    }
    let is_root = first == 12
        && usize::from(le16(data, 12 + 4)) == whole - 12
        && le32(data, 24) == 0
        && data.get(29) == Some(&ROOT_INFO_BYTES);
    if is_root { Layout::Index { countlimit: ROOT_COUNTLIMIT } } else { Layout::Leaf }
}

/// Whether the end of a block is the place of its checksum.
pub(crate) fn is_tail(bytes: &[u8]) -> bool {
    le32(bytes, 0) == 0
        && usize::from(le16(bytes, 4)) == TAIL_BYTES
        && bytes.get(6..8) == Some(&[0, TAIL_KIND])
}

/// The place of a checksum.
pub(crate) fn new_tail() -> [u8; TAIL_BYTES] {
    let mut tail = [0; TAIL_BYTES];
    tail[4] = TAIL_BYTES as u8;
    tail[7] = TAIL_KIND;
    tail
}

/// An entry within a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    /// Where it begins.
    pub at: usize,
    /// Bytes until the next.
    pub len: usize,
    /// 0: no entry, but room for one.
    pub inode: u32,
    pub kind: u8,
    pub name: &'a [u8],
}

/// The entries of a block. One that makes no sense ends them with an error.
pub(crate) struct Entries<'a> {
    data: &'a [u8],
    at: usize,
    has_kinds: bool,
}

impl<'a> Entries<'a> {
    /// Those from a place on.
    pub fn new(data: &'a [u8], at: usize, has_kinds: bool) -> Entries<'a> {
        Entries { data, at, has_kinds }
    }
    fn read(&self) -> Option<Raw<'a>> {
        let rest = self.data.get(self.at..)?;
        let len = usize::from(le16(rest, 4));
        let name_len = usize::from(if self.has_kinds { u16::from(*rest.get(6)?) } else { le16(rest, 6) });
        let name = rest.get(ENTRY_HEADER_BYTES..ENTRY_HEADER_BYTES + name_len)?;
        let inode = le32(rest, 0);
        let fits = len <= rest.len() && len.is_multiple_of(4) && len >= entry_bytes(name_len);
        let right = fits && (inode == 0 || (name_len > 0 && !name.contains(&b'/')));
        let kind = if self.has_kinds { *rest.get(7)? } else { 0 };
        right.then_some(Raw { at: self.at, len, inode, kind, name })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Raw<'a>>;
    fn next(&mut self) -> Option<Result<Raw<'a>>> {
        if self.at >= self.data.len() {
            return None;
        }
        match self.read() {
            Some(raw) => {
                self.at += raw.len;
                Some(Ok(raw))
            }
            None => {
                self.at = self.data.len();
                Some(Err(Error::Corrupt(&"an entry of a directory makes no sense")))
            }
        }
    }
}

/// An entry of a directory, as [`FileSystem::read_directory`] shows it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The number of the file's inode.
    pub inode: u32,
    /// The type of the file as `d_type` of getdents64(2) has it; 0 if the directory does not say.
    pub kind: u8,
    /// The name, without an end mark.
    pub name: &'a [u8],
    /// The position from which reading goes on behind this entry.
    pub next: u64,
}

/// `d_type` of an entry's type byte.
fn d_type(kind: u8) -> u8 {
    const TYPES: [u8; 8] = [0, 8, 4, 2, 6, 1, 12, 10];
    TYPES.get(usize::from(kind)).copied().unwrap_or(0)
}

/// The type byte of an entry for a mode.
pub(crate) fn entry_kind(mode: u16) -> u8 {
    match mode & kind::MASK {
        kind::REGULAR => 1,
        kind::DIRECTORY => 2,
        kind::CHARACTER => 3,
        kind::BLOCK => 4,
        kind::FIFO => 5,
        kind::SOCKET => 6,
        kind::SYMLINK => 7,
        _ => 0,
    }
}

/// Where an entry was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub inode: u32,
    /// The block of the directory, and the place in it.
    pub block: u32,
    pub at: usize,
}

impl FileSystem {
    pub(crate) fn has_kinds(&self) -> bool {
        self.superblock.incompat & incompat::FILETYPE != 0
    }

    /// A directory's inode.
    pub(crate) fn directory(&mut self, number: u32) -> Result<Inode> {
        let inode = self.live_inode(number)?;
        if inode.is_directory() { Ok(inode) } else { Err(Error::NotDirectory) }
    }

    /// How many blocks a directory has.
    pub(crate) fn directory_blocks(&self, directory: &Inode) -> Result<u32> {
        let blocks = directory.size >> self.superblock.block_log;
        u32::try_from(blocks).map_err(|_| Error::Corrupt(&"a directory is too large"))
    }

    /// Where a block of a directory is on the disk, and what its checksums begin with.
    pub(crate) fn directory_place(&mut self, directory: &Inode, block: u32) -> Result<(u64, Kind)> {
        let run = self.run(directory, block, 1)?;
        let place = run.block.filter(|_| !run.unwritten).ok_or(Error::Corrupt(&"a directory has a hole"))?;
        Ok((place, Kind::Directory(self.superblock.inode_seed(directory.number, directory.generation))))
    }

    /// A block of a directory.
    pub(crate) fn directory_block(&mut self, directory: &Inode, block: u32) -> Result<&[u8]> {
        let (place, kind) = self.directory_place(directory, block)?;
        self.block(place, kind)
    }

    /// Looks for a name in one block.
    pub(crate) fn find_in_block(
        &mut self,
        directory: &Inode,
        block: u32,
        name: &[u8],
    ) -> Result<Option<Found>> {
        let has_kinds = self.has_kinds();
        let data = self.directory_block(directory, block)?;
        for raw in Entries::new(data, 0, has_kinds) {
            let raw = raw?;
            if raw.inode != 0 && raw.name == name {
                return Ok(Some(Found { inode: raw.inode, block, at: raw.at }));
            }
        }
        Ok(None)
    }

    /// Looks for a name: by the index where there is one, else block by block.
    pub(crate) fn find(&mut self, directory: &Inode, name: &[u8]) -> Result<Option<Found>> {
        if name.len() > MAX_NAME {
            return Err(Error::NameTooLong);
        }
        let blocks = self.directory_blocks(directory)?;
        if self.is_indexed(directory) {
            if name == b"." || name == b".." {
                return self.find_in_block(directory, 0, name);
            }
            if let Some(path) = self.index_path(directory, name)? {
                return self.find_by_index(directory, name, path);
            }
        }
        for block in 0..blocks {
            if let Some(found) = self.find_in_block(directory, block, name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Looks a name up in a directory, and returns the number of its inode.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], [`Error::NameTooLong`], [`Error::Corrupt`], or the disk's.
    pub fn lookup(&mut self, directory: u32, name: &[u8]) -> Result<u32> {
        let directory = self.directory(directory)?;
        let found = if directory.has(flag::INLINE_DATA) {
            self.find_inline(&directory, name)?
        } else {
            self.find(&directory, name)?.map(|found| found.inode)
        };
        let number = found.ok_or(Error::NotFound)?;
        if number > self.superblock.inodes {
            return Err(Error::Corrupt(&"a name leads to an inode that is not there"));
        }
        Ok(number)
    }

    /// Shows the entries of a directory from a position on, `.` and `..` among them, until there are no more or `visit`
    /// returns false. Positions are 0 and those of entries ([`Entry::next`]).
    ///
    /// An entry made or removed meanwhile may be shown or not. A directory that grows moves entries: one shown before may be
    /// shown again.
    ///
    /// # Errors
    /// [`Error::NotDirectory`], [`Error::Corrupt`], or the disk's.
    pub fn read_directory(
        &mut self,
        directory: u32,
        position: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Result<()> {
        let directory = self.directory(directory)?;
        if directory.has(flag::INLINE_DATA) {
            return self.read_inline_directory(&directory, position, visit);
        }
        let has_kinds = self.has_kinds();
        let (log, block_bytes) = (self.superblock.block_log, u64::from(self.superblock.block_bytes));
        let first = u32::try_from(position >> log).unwrap_or(u32::MAX);
        for block in first..self.directory_blocks(&directory)? {
            let begin = u64::from(block) << log;
            let data = self.directory_block(&directory, block)?;
            for raw in Entries::new(data, 0, has_kinds) {
                let raw = raw?;
                let next = begin + (raw.at + raw.len) as u64;
                // A position within an entry is one that was joined with the entry before it.
                if raw.inode == 0 || begin + (raw.at as u64) < position {
                    continue;
                }
                let entry = Entry { inode: raw.inode, kind: d_type(raw.kind), name: raw.name, next };
                if !visit(entry) {
                    return Ok(());
                }
            }
            debug_assert!(position <= begin + block_bytes);
        }
        Ok(())
    }

    /// Whether a directory has no entries but `.` and `..`.
    pub(crate) fn is_empty(&mut self, directory: &Inode) -> Result<bool> {
        let mut empty = true;
        self.read_directory(directory.number, 0, &mut |entry| {
            empty = entry.name == b"." || entry.name == b"..";
            empty
        })?;
        Ok(empty)
    }
}

/// Entries of directories that are in their inode, which are read only.
///
/// Source: Linux's documentation of ext4's data structures, *Inline Data*, *Inline Directories*.
impl FileSystem {
    fn find_inline(&mut self, directory: &Inode, name: &[u8]) -> Result<Option<u32>> {
        let mut found = None;
        self.read_inline_directory(directory, 0, &mut |entry| {
            if entry.name == name {
                found = Some(entry.inode);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    fn read_inline_directory(
        &mut self,
        directory: &Inode,
        position: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Result<()> {
        const PARENT_BYTES: usize = 4;
        let has_kinds = self.has_kinds();
        let rest = self.inline_rest(directory)?;
        let parent = le32(&directory.map, 0);
        let dots: [(u32, &[u8]); 2] = [(directory.number, b"."), (parent, b"..")];
        for (inode, name) in dots {
            let next = name.len() as u64;
            if next > position && !visit(Entry { inode, kind: d_type(2), name, next }) {
                return Ok(());
            }
        }
        for (base, data, from) in [(0, &directory.map[..], PARENT_BYTES), (directory.map.len(), &rest[..], 0)]
        {
            for raw in Entries::new(data, from, has_kinds) {
                let raw = raw?;
                let next = (base + raw.at + raw.len) as u64;
                if raw.inode == 0 || next <= position {
                    continue;
                }
                if !visit(Entry { inode: raw.inode, kind: d_type(raw.kind), name: raw.name, next }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
