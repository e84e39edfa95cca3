//! Putting a name into a directory, and taking one out.
use crate::bytes::{set_le16, set_le32};
use crate::directory::{ENTRY_HEADER_BYTES, Entries, Found, MAX_NAME, TAIL_BYTES, entry_bytes, new_tail};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::FileSystem;
use crate::hash::Version;
use crate::inode::{Inode, flag};
use crate::superblock::compat;
use alloc::vec::Vec;
use coracle_fallible::filled;

/// What an entry says.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub inode: u32,
    /// The type byte.
    pub kind: u8,
}

/// Writes an entry that takes `len` bytes, of which there are as many.
pub(super) fn write_entry(place: &mut [u8], len: usize, target: Target, name: &[u8], has_kinds: bool) {
    set_le32(place, 0, target.inode);
    set_le16(place, 4, len as u16);
    set_le16(place, 6, name.len() as u16);
    if has_kinds && let Some(kind) = place.get_mut(7) {
        *kind = target.kind;
    }
    if let Some(to) = place.get_mut(ENTRY_HEADER_BYTES..ENTRY_HEADER_BYTES + name.len()) {
        to.copy_from_slice(name);
    }
}

/// That a name can be given to a file.
pub(super) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > MAX_NAME {
        return Err(Error::NameTooLong);
    }
    let bad = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
    if bad { Err(Error::Invalid) } else { Ok(()) }
}

impl FileSystem {
    /// A directory whose entries can be changed.
    pub(super) fn writable_directory(&mut self, number: u32) -> Result<Inode> {
        let inode = self.directory(number)?;
        if inode.has(flag::INLINE_DATA) || !inode.has(flag::EXTENTS) {
            return Err(Error::Unsupported(&"a change of a directory without extents"));
        }
        Ok(inode)
    }

    /// Bytes of a directory's block that entries may take.
    pub(super) fn leaf_bytes(&self) -> usize {
        let tail = if self.superblock.has_checksums() { TAIL_BYTES } else { 0 };
        self.superblock.block_bytes as usize - tail
    }

    /// The bytes of a block with entries, without any yet.
    pub(crate) fn empty_leaf(&self) -> Result<Vec<u8>> {
        let mut leaf = filled(0, self.superblock.block_bytes as usize)?;
        let end = self.leaf_bytes();
        set_le16(&mut leaf, 4, end as u16);
        if let Some(place) = leaf.get_mut(end..end + TAIL_BYTES) {
            place.copy_from_slice(&new_tail());
        }
        Ok(leaf)
    }

    /// Adds a block to a directory, and returns its number in it.
    pub(crate) fn append_block(&mut self, directory: &mut Inode, content: &[u8]) -> Result<u32> {
        let block = self.directory_blocks(directory)?;
        self.span(directory.size)?;
        let goal = self.goal(directory, block)?;
        let (start, len) = self.allocate_blocks(goal, 1)?;
        self.insert_extent(directory, Extent { block, len, start, unwritten: false })?;
        self.count_file_blocks(directory, len, 0);
        directory.size += u64::from(self.superblock.block_bytes);
        let (place, kind) = self.directory_place(directory, block)?;
        self.put_fresh(place, kind)?;
        self.put(place, kind, 0, content)?;
        Ok(block)
    }

    /// Writes bytes of a block of a directory.
    pub(super) fn put_directory(
        &mut self,
        directory: &Inode,
        block: u32,
        at: usize,
        bytes: &[u8],
    ) -> Result<()> {
        let (place, kind) = self.directory_place(directory, block)?;
        self.put(place, kind, at, bytes)
    }

    /// Puts an entry into a block, if there is room.
    pub(super) fn insert_in_block(
        &mut self,
        directory: &Inode,
        block: u32,
        name: &[u8],
        target: Target,
    ) -> Result<bool> {
        let need = entry_bytes(name.len());
        let (has_kinds, end) = (self.has_kinds(), self.leaf_bytes());
        let data = self.directory_block(directory, block)?;
        let mut room = None;
        for raw in Entries::new(data.get(..end).unwrap_or_default(), 0, has_kinds) {
            let raw = raw?;
            let taken = if raw.inode == 0 { 0 } else { entry_bytes(raw.name.len()) };
            if raw.len >= taken + need {
                room = Some((raw.at, taken, raw.len));
                break;
            }
        }
        let Some((at, taken, len)) = room else { return Ok(false) };
        if taken > 0 {
            self.put_directory(directory, block, at + 4, &(taken as u16).to_le_bytes())?;
        }
        let mut entry = [0; entry_bytes(MAX_NAME)];
        write_entry(&mut entry, len - taken, target, name, has_kinds);
        self.put_directory(directory, block, at + taken, entry.get(..need).unwrap_or_default())?;
        Ok(true)
    }

    /// Puts a name into a directory that does not have it. The directory's inode is changed in memory: its caller writes
    /// it.
    pub(super) fn insert_name(&mut self, directory: &mut Inode, name: &[u8], target: Target) -> Result<()> {
        if self.is_indexed(directory) {
            return self.insert_by_index(directory, name, target);
        }
        let blocks = self.directory_blocks(directory)?;
        for block in 0..blocks {
            if self.insert_in_block(directory, block, name, target)? {
                return Ok(());
            }
        }
        let has_hash = Version::new(self.superblock.hash_version, self.superblock.hash_unsigned).is_some();
        if blocks == 1 && has_hash && self.superblock.compat & compat::DIR_INDEX != 0 {
            self.begin_index(directory)?;
            return self.insert_by_index(directory, name, target);
        }
        let leaf = self.empty_leaf()?;
        let block = self.append_block(directory, &leaf)?;
        if self.insert_in_block(directory, block, name, target)? { Ok(()) } else { Err(Error::NoSpace) }
    }

    /// Takes an entry out of its block: the one before it takes its room.
    pub(super) fn remove_name(&mut self, directory: &Inode, found: Found) -> Result<()> {
        let (has_kinds, end) = (self.has_kinds(), self.leaf_bytes());
        let data = self.directory_block(directory, found.block)?;
        let mut before = None;
        for raw in Entries::new(data.get(..end).unwrap_or_default(), 0, has_kinds) {
            let raw = raw?;
            if raw.at == found.at {
                return match before {
                    Some((at, len)) => {
                        let len = (len + raw.len) as u16;
                        self.put_directory(directory, found.block, at + 4, &len.to_le_bytes())
                    }
                    None => self.put_directory(directory, found.block, found.at, &[0; 4]),
                };
            }
            before = Some((raw.at, raw.len));
        }
        Err(Error::Corrupt(&"a name is not where it was found"))
    }

    /// Has an entry lead to another file.
    pub(super) fn set_target(&mut self, directory: &Inode, found: Found, target: Target) -> Result<()> {
        self.put_directory(directory, found.block, found.at, &target.inode.to_le_bytes())?;
        if self.has_kinds() {
            self.put_directory(directory, found.block, found.at + 7, &[target.kind])?;
        }
        Ok(())
    }
}
