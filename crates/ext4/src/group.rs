//! Groups of blocks: their descriptors, and where their bitmaps and inode tables lie.
//!
//! Source: Linux's documentation of ext4's data structures, *Block Group Descriptors*.
use crate::bytes::{le16, le32, set_le16};
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::verify;

/// Places of fields within a descriptor. The upper halves are there in descriptors of 64 bytes.
pub(crate) mod field {
    pub const BLOCK_BITMAP: (usize, usize) = (0x0, 0x20);
    pub const INODE_BITMAP: (usize, usize) = (0x4, 0x24);
    pub const INODE_TABLE: (usize, usize) = (0x8, 0x28);
    pub const FREE_BLOCKS: (usize, usize) = (0xc, 0x2c);
    pub const FREE_INODES: (usize, usize) = (0xe, 0x2e);
    pub const DIRECTORIES: (usize, usize) = (0x10, 0x30);
    pub const FLAGS: usize = 0x12;
    pub const BLOCK_BITMAP_CHECKSUM: (usize, usize) = (0x18, 0x38);
    pub const INODE_BITMAP_CHECKSUM: (usize, usize) = (0x1a, 0x3a);
    pub const UNUSED_INODES: (usize, usize) = (0x1c, 0x32);
    pub const CHECKSUM: usize = 0x1e;
}

/// `bg_flags`: the inode bitmap is not written; no inode is in use.
pub(crate) const INODES_UNINITIALISED: u16 = 1;
/// `bg_flags`: the block bitmap is not written; only metadata is in use.
pub(crate) const BLOCKS_UNINITIALISED: u16 = 2;

/// Bytes of a descriptor that have a meaning.
const MOST_BYTES: usize = 64;
/// From so many bytes on a descriptor has the upper halves.
const WIDE: usize = 64;

/// A group's descriptor, as it lies on the disk.
#[derive(Clone)]
pub(crate) struct Group {
    pub number: u32,
    bytes: [u8; MOST_BYTES],
    wide: bool,
}

impl Group {
    fn half(&self, (low, high): (usize, usize)) -> u32 {
        let upper = if self.wide { u32::from(le16(&self.bytes, high)) << 16 } else { 0 };
        u32::from(le16(&self.bytes, low)) | upper
    }
    fn set_half(&mut self, (low, high): (usize, usize), value: u32) {
        set_le16(&mut self.bytes, low, value as u16);
        if self.wide {
            set_le16(&mut self.bytes, high, (value >> 16) as u16);
        }
    }
    fn place(&self, (low, high): (usize, usize)) -> u64 {
        let upper = if self.wide { u64::from(le32(&self.bytes, high)) << 32 } else { 0 };
        u64::from(le32(&self.bytes, low)) | upper
    }

    pub fn block_bitmap(&self) -> u64 {
        self.place(field::BLOCK_BITMAP)
    }
    pub fn inode_bitmap(&self) -> u64 {
        self.place(field::INODE_BITMAP)
    }
    pub fn inode_table(&self) -> u64 {
        self.place(field::INODE_TABLE)
    }
    pub fn free_blocks(&self) -> u32 {
        self.half(field::FREE_BLOCKS)
    }
    pub fn set_free_blocks(&mut self, count: u32) {
        self.set_half(field::FREE_BLOCKS, count);
    }
    pub fn free_inodes(&self) -> u32 {
        self.half(field::FREE_INODES)
    }
    pub fn set_free_inodes(&mut self, count: u32) {
        self.set_half(field::FREE_INODES, count);
    }
    pub fn directories(&self) -> u32 {
        self.half(field::DIRECTORIES)
    }
    pub fn set_directories(&mut self, count: u32) {
        self.set_half(field::DIRECTORIES, count);
    }
    pub fn unused_inodes(&self) -> u32 {
        self.half(field::UNUSED_INODES)
    }
    pub fn set_unused_inodes(&mut self, count: u32) {
        self.set_half(field::UNUSED_INODES, count);
    }
    pub fn flags(&self) -> u16 {
        le16(&self.bytes, field::FLAGS)
    }
    pub fn set_flags(&mut self, flags: u16) {
        set_le16(&mut self.bytes, field::FLAGS, flags);
    }
    /// Whether the checksum of a bitmap is the one that the descriptor has.
    pub fn bitmap_checksum_is(&self, place: (usize, usize), checksum: u32) -> bool {
        let mask = if self.wide { u32::MAX } else { u16::MAX.into() };
        self.half(place) == checksum & mask
    }
    pub fn set_bitmap_checksum(&mut self, place: (usize, usize), checksum: u32) {
        self.set_half(place, checksum);
    }
}

impl FileSystem {
    /// Where the descriptor of a group is: its block, what that block holds, and the offset there.
    fn descriptor_place(&self, group: u32) -> (u64, Kind, usize) {
        let per_block = self.superblock.descriptors_per_block();
        let block = u64::from(self.superblock.first_data_block) + 1 + u64::from(group / per_block);
        let kind = Kind::Descriptors(group / per_block * per_block);
        (block, kind, (group % per_block * self.superblock.descriptor_bytes) as usize)
    }

    /// Reads a group's descriptor.
    pub(crate) fn group(&mut self, number: u32) -> Result<Group> {
        if number >= self.superblock.groups {
            return Err(Error::Corrupt(&"there is no such group"));
        }
        let (block, kind, at) = self.descriptor_place(number);
        let len = (self.superblock.descriptor_bytes as usize).min(MOST_BYTES);
        let mut bytes = [0; MOST_BYTES];
        let data = self.block(block, kind)?;
        if let (Some(to), Some(from)) = (bytes.get_mut(..len), data.get(at..at + len)) {
            to.copy_from_slice(from);
        }
        let group = Group { number, bytes, wide: len >= WIDE };
        let table_blocks = u64::from(self.superblock.inodes_per_group)
            * u64::from(self.superblock.inode_bytes)
            / u64::from(self.superblock.block_bytes);
        let right = self.superblock.has_block(group.block_bitmap())
            && self.superblock.has_block(group.inode_bitmap())
            && self.superblock.has_run(group.inode_table(), table_blocks);
        if right { Ok(group) } else { Err(Error::Corrupt(&"a group's bitmaps or inodes lie nowhere")) }
    }

    /// Writes a group's descriptor into its block in the cache, which the transaction has changed before.
    pub(crate) fn patch_group(&mut self, group: &Group) {
        let (block, _, at) = self.descriptor_place(group.number);
        let len = (self.superblock.descriptor_bytes as usize).min(MOST_BYTES);
        let mut bytes = group.bytes;
        verify::seal_descriptor(&self.superblock, group.number, &mut bytes[..len]);
        self.patch(block, at, &bytes[..len]);
    }

    /// Writes a group's descriptor, with its checksum.
    pub(crate) fn set_group(&mut self, group: &Group) -> Result<()> {
        let (block, kind, at) = self.descriptor_place(group.number);
        let len = (self.superblock.descriptor_bytes as usize).min(MOST_BYTES);
        let mut bytes = group.bytes;
        verify::seal_descriptor(&self.superblock, group.number, &mut bytes[..len]);
        self.put(block, kind, at, &bytes[..len])
    }
}
