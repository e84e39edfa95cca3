//! Inodes: what the disk says about a file.
//!
//! Source: Linux's documentation of ext4's data structures, *Index Nodes*.
use crate::bytes::{le16, le32, le32_pair, le48, set_le16, set_le32};
use crate::cache::Kind;
use crate::crc::{crc32c, crc32c_zeroes};
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::superblock::ro_compat;

/// Bytes of an inode in every file system.
const OLD_BYTES: usize = 128;
/// Bytes of an inode of which this file knows the meaning.
const KNOWN_BYTES: usize = 160;
/// Bytes of an inode for its blocks.
pub(crate) const MAP_BYTES: usize = 60;
/// Of which size `i_blocks` counts the blocks.
pub(crate) const COUNTED_BYTES: u64 = 512;
/// Where some fields are.
const MODE: usize = 0;
const FLAGS: usize = 0x20;
const CHECKSUM_LOW: usize = 0x7c;
const CHECKSUM_HIGH: usize = 0x82;
const MAP: usize = 0x28;
/// `i_extra_isize` as it is where all known fields are there.
const FULL_EXTRA: u16 = 32;

/// Bits of `i_flags`.
pub(crate) mod flag {
    pub const INDEX: u32 = 0x1000;
    pub const HUGE_FILE: u32 = 0x4_0000;
    pub const EXTENTS: u32 = 0x8_0000;
    pub const INLINE_DATA: u32 = 0x1000_0000;
    /// Those that a new file takes from its directory.
    pub const INHERITED: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x1_0000;
}

/// The type of a file, in its mode (inode(7)).
pub(crate) mod kind {
    pub const MASK: u16 = 0o170_000;
    pub const FIFO: u16 = 0o010_000;
    pub const CHARACTER: u16 = 0o020_000;
    pub const DIRECTORY: u16 = 0o040_000;
    pub const BLOCK: u16 = 0o060_000;
    pub const REGULAR: u16 = 0o100_000;
    pub const SYMLINK: u16 = 0o120_000;
    pub const SOCKET: u16 = 0o140_000;
}

/// A time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds. ext4 keeps 34 bits of them, until 2446.
    pub seconds: i64,
    /// Nanoseconds, below a thousand million.
    pub nanoseconds: u32,
}

impl Time {
    /// From the field of seconds, and the one that has nanoseconds and two more bits of the seconds.
    fn read(bytes: &[u8], low: usize, extra: usize, has_extra: bool) -> Time {
        let seconds = i64::from(le32(bytes, low) as i32);
        if !has_extra {
            return Time { seconds, nanoseconds: 0 };
        }
        let extra = le32(bytes, extra);
        Time { seconds: seconds + (i64::from(extra & 3) << 32), nanoseconds: (extra >> 2).min(999_999_999) }
    }
    fn write(self, bytes: &mut [u8], low: usize, extra: usize, has_extra: bool) {
        let least = i64::from(i32::MIN);
        let most = if has_extra { i64::from(i32::MAX) + (3 << 32) } else { i64::from(i32::MAX) };
        let seconds = self.seconds.clamp(least, most);
        set_le32(bytes, low, seconds as u32);
        if has_extra {
            let epoch = (seconds - i64::from(seconds as i32)) >> 32;
            set_le32(bytes, extra, self.nanoseconds << 2 | epoch as u32 & 3);
        }
    }
}

/// An inode, as it was read or will be written.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub number: u32,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub accessed: Time,
    pub changed: Time,
    pub modified: Time,
    pub created: Time,
    /// When it was deleted; while it is an orphan, the next one.
    pub deleted: u32,
    pub links: u16,
    /// Blocks that it takes, also for its tree and attributes, in units of 512 bytes.
    pub blocks: u64,
    pub flags: u32,
    pub map: [u8; MAP_BYTES],
    pub generation: u32,
    /// The block with extended attributes, or 0.
    pub attributes: u64,
    /// Bytes after the first 128 that are fields. Attributes follow them.
    pub extra: u16,
}

impl Inode {
    pub fn kind(&self) -> u16 {
        self.mode & kind::MASK
    }
    pub fn is_directory(&self) -> bool {
        self.kind() == kind::DIRECTORY
    }
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
    /// Whether a field of so many bytes that ends there is part of the inode.
    fn has_until(&self, end: usize) -> bool {
        OLD_BYTES + usize::from(self.extra) >= end
    }
    /// Whether it can have blocks of data: devices, pipes, sockets and short symbolic links have none.
    pub fn has_blocks(&self) -> bool {
        match self.kind() {
            kind::REGULAR | kind::DIRECTORY => !self.has(flag::INLINE_DATA),
            kind::SYMLINK => !self.has(flag::INLINE_DATA) && !self.is_short_link(),
            _ => false,
        }
    }
    /// Whether it is a symbolic link whose target is in the inode, in the place for its blocks.
    pub fn is_short_link(&self) -> bool {
        self.kind() == kind::SYMLINK && self.size < MAP_BYTES as u64
    }

    fn parse(number: u32, bytes: &[u8], has_huge: bool, block_bytes: u32) -> Inode {
        let extra =
            if bytes.len() > OLD_BYTES { le16(bytes, 0x80).min((bytes.len() - OLD_BYTES) as u16) } else { 0 };
        let has = |end: usize| OLD_BYTES + usize::from(extra) >= end;
        let flags = le32(bytes, FLAGS);
        let mut blocks = u64::from(le32(bytes, 0x1c));
        if has_huge {
            blocks = le48(bytes, 0x1c, 0x74);
            if flags & flag::HUGE_FILE != 0 {
                blocks = blocks.saturating_mul(u64::from(block_bytes) / COUNTED_BYTES);
            }
        }
        let mut map = [0; MAP_BYTES];
        map.copy_from_slice(&bytes[MAP..MAP + MAP_BYTES]);
        Inode {
            number,
            mode: le16(bytes, MODE),
            uid: u32::from(le16(bytes, 0x2)) | u32::from(le16(bytes, 0x78)) << 16,
            gid: u32::from(le16(bytes, 0x18)) | u32::from(le16(bytes, 0x7a)) << 16,
            size: le32_pair(bytes, 0x4, 0x6c),
            accessed: Time::read(bytes, 0x8, 0x8c, has(0x90)),
            changed: Time::read(bytes, 0xc, 0x84, has(0x88)),
            modified: Time::read(bytes, 0x10, 0x88, has(0x8c)),
            created: if has(0x98) { Time::read(bytes, 0x90, 0x94, true) } else { Time::default() },
            deleted: le32(bytes, 0x14),
            links: le16(bytes, 0x1a),
            blocks,
            flags,
            map,
            generation: le32(bytes, 0x64),
            attributes: le48(bytes, 0x68, 0x76),
            extra,
        }
    }

    /// Writes the fields over those of the inode on the disk.
    fn write(&self, bytes: &mut [u8], block_bytes: u32) -> Result<()> {
        set_le16(bytes, MODE, self.mode);
        set_le16(bytes, 0x2, self.uid as u16);
        set_le16(bytes, 0x78, (self.uid >> 16) as u16);
        set_le16(bytes, 0x18, self.gid as u16);
        set_le16(bytes, 0x7a, (self.gid >> 16) as u16);
        set_le32(bytes, 0x4, self.size as u32);
        set_le32(bytes, 0x6c, (self.size >> 32) as u32);
        self.accessed.write(bytes, 0x8, 0x8c, self.has_until(0x90));
        self.changed.write(bytes, 0xc, 0x84, self.has_until(0x88));
        self.modified.write(bytes, 0x10, 0x88, self.has_until(0x8c));
        if self.has_until(0x98) {
            self.created.write(bytes, 0x90, 0x94, true);
        }
        set_le32(bytes, 0x14, self.deleted);
        set_le16(bytes, 0x1a, self.links);
        let (mut blocks, mut flags) = (self.blocks, self.flags & !flag::HUGE_FILE);
        if blocks >> 48 != 0 {
            blocks /= u64::from(block_bytes) / COUNTED_BYTES;
            flags |= flag::HUGE_FILE;
        }
        set_le32(bytes, 0x1c, blocks as u32);
        set_le16(bytes, 0x74, (blocks >> 32) as u16);
        set_le32(bytes, FLAGS, flags);
        if let Some(map) = bytes.get_mut(MAP..MAP + MAP_BYTES) {
            map.copy_from_slice(&self.map);
        }
        set_le32(bytes, 0x64, self.generation);
        set_le32(bytes, 0x68, self.attributes as u32);
        set_le16(bytes, 0x76, (self.attributes >> 32) as u16);
        if bytes.len() > OLD_BYTES {
            set_le16(bytes, 0x80, self.extra);
        }
        Ok(())
    }
}

/// An inode with a name is in use.
pub(crate) fn check_live(mode: u16) -> Result<()> {
    if mode == 0 {
        return Err(Error::Corrupt(&"a name or a number leads to an inode that is free"));
    }
    Ok(())
}

impl FileSystem {
    /// Where an inode lies: its block, and the offset there.
    pub(crate) fn inode_place(&mut self, number: u32) -> Result<(u64, usize)> {
        let index = number.checked_sub(1).filter(|_| number <= self.superblock.inodes);
        let index = index.ok_or(Error::Corrupt(&"an inode's number is too large"))?;
        let group = index / self.superblock.inodes_per_group;
        let table = match self.inode_table {
            Some((known, table)) if known == group => table,
            _ => self.group(group)?.inode_table(),
        };
        self.inode_table = Some((group, table));
        let at = u64::from(index % self.superblock.inodes_per_group) * u64::from(self.superblock.inode_bytes);
        let block_bytes = u64::from(self.superblock.block_bytes);
        Ok((table + at / block_bytes, (at % block_bytes) as usize))
    }

    /// The inode's bytes, and whether their checksum was found right.
    fn inode_bytes(&mut self, number: u32) -> Result<(&[u8], &mut u32, u32)> {
        let (block, at) = self.inode_place(number)?;
        let len = self.superblock.inode_bytes as usize;
        let slot = self.slot(block, Kind::Inodes)?;
        let buffer = &mut self.cache.buffers[slot];
        let bit = 1 << ((at / len) % 32);
        Ok((&buffer.data[at..at + len], &mut buffer.verified, bit))
    }

    /// Reads an inode, in use or not. Its checksum must be right.
    pub(crate) fn inode(&mut self, number: u32) -> Result<Inode> {
        self.inode_if(number, |_, _| Ok(()))
    }

    /// Reads an inode whose mode and flags `check` finds to be in order. It is looked at where it lies, so that the inode is put once where it
    /// is to be.
    pub(crate) fn inode_if(&mut self, number: u32, check: fn(u16, u32) -> Result<()>) -> Result<Inode> {
        let superblock = self.superblock.inode_rules();
        let (bytes, verified, bit) = self.inode_bytes(number)?;
        if *verified & bit == 0 {
            if !superblock.inode_checksum_holds(number, bytes) {
                return Err(Error::Corrupt(&"an inode's checksum is wrong"));
            }
            *verified |= bit;
        }
        check(le16(bytes, MODE), le32(bytes, FLAGS))?;
        Ok(Inode::parse(number, bytes, superblock.has_huge_files, superblock.block_bytes))
    }

    /// Reads an inode of a file that has a name, or had one while it was opened.
    pub(crate) fn live_inode(&mut self, number: u32) -> Result<Inode> {
        self.inode_if(number, |mode, _| check_live(mode))
    }

    /// Writes an inode, with its checksum.
    pub(crate) fn set_inode(&mut self, inode: &Inode) -> Result<()> {
        let (block, at) = self.inode_place(inode.number)?;
        let len = self.superblock.inode_bytes as usize;
        let known = len.min(KNOWN_BYTES);
        let mut bytes = [0; KNOWN_BYTES];
        bytes[..known].copy_from_slice(&self.block(block, Kind::Inodes)?[at..at + known]);
        inode.write(&mut bytes[..known], self.superblock.block_bytes)?;
        self.put(block, Kind::Inodes, at, &bytes[..known])?;
        self.seal_inode(inode.number, block, at)
    }

    /// Writes an inode where nothing of what is there counts.
    pub(crate) fn set_new_inode(&mut self, inode: &Inode) -> Result<()> {
        let (block, at) = self.inode_place(inode.number)?;
        let zeroes = coracle_fallible::filled(0, self.superblock.inode_bytes as usize)?;
        self.put(block, Kind::Inodes, at, &zeroes)?;
        self.set_inode(inode)
    }

    /// Writes bytes of an inode behind its known fields.
    pub(crate) fn put_in_inode(&mut self, number: u32, offset: usize, bytes: &[u8]) -> Result<()> {
        let (block, at) = self.inode_place(number)?;
        self.put(block, Kind::Inodes, at + offset, bytes)?;
        self.seal_inode(number, block, at)
    }

    /// The bytes of an inode, for its attributes. It was read before.
    pub(crate) fn raw_inode(&mut self, number: u32) -> Result<&[u8]> {
        Ok(self.inode_bytes(number)?.0)
    }

    /// Gives an inode the checksum of what it holds now.
    fn seal_inode(&mut self, number: u32, block: u64, at: usize) -> Result<()> {
        let superblock = self.superblock.inode_rules();
        let slot = self.slot(block, Kind::Inodes)?;
        let len = self.superblock.inode_bytes as usize;
        self.cache.buffers[slot].verified |= 1 << ((at / len) % 32);
        if !superblock.has_checksums {
            return Ok(());
        }
        let bytes = &self.cache.buffers[slot].data[at..at + len];
        let (checksum, has_high) = superblock.inode_checksum(number, bytes);
        self.put(block, Kind::Inodes, at + CHECKSUM_LOW, &(checksum as u16).to_le_bytes())?;
        if has_high {
            self.put(block, Kind::Inodes, at + CHECKSUM_HIGH, &((checksum >> 16) as u16).to_le_bytes())?;
        }
        Ok(())
    }

    /// What a new inode begins with.
    pub(crate) fn new_inode(&self, number: u32, mode: u16, now: Time) -> Inode {
        let room = self.superblock.inode_bytes.saturating_sub(OLD_BYTES as u32) as u16;
        let extra =
            if room == 0 { 0 } else { self.superblock.extra_inode_bytes.max(FULL_EXTRA).min(room) & !3 };
        Inode {
            number,
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            accessed: now,
            changed: now,
            modified: now,
            created: now,
            deleted: 0,
            links: 1,
            blocks: 0,
            flags: 0,
            map: [0; MAP_BYTES],
            generation: now.nanoseconds.rotate_left(2)
                ^ (now.seconds as u32)
                ^ number.wrapping_mul(0x9e37_79b1),
            attributes: 0,
            extra,
        }
    }
}

/// What of the superblock reading an inode needs.
struct InodeRules {
    has_checksums: bool,
    has_huge_files: bool,
    block_bytes: u32,
    checksum_seed: u32,
}

impl crate::superblock::Superblock {
    fn inode_rules(&self) -> InodeRules {
        InodeRules {
            has_checksums: self.has_checksums(),
            has_huge_files: self.ro_compat & ro_compat::HUGE_FILE != 0,
            block_bytes: self.block_bytes,
            checksum_seed: self.checksum_seed,
        }
    }
}

impl InodeRules {
    /// The checksum of an inode, and whether it has a field for its upper half.
    fn inode_checksum(&self, number: u32, bytes: &[u8]) -> (u32, bool) {
        let generation = le32(bytes, 0x64);
        let mut crc = crc32c(crc32c(self.checksum_seed, &number.to_le_bytes()), &generation.to_le_bytes());
        crc = crc32c(crc, &bytes[..CHECKSUM_LOW]);
        crc = crc32c(crc32c_zeroes(crc, 2), &bytes[CHECKSUM_LOW + 2..OLD_BYTES]);
        if bytes.len() == OLD_BYTES {
            return (crc, false);
        }
        crc = crc32c(crc, &bytes[OLD_BYTES..CHECKSUM_HIGH]);
        if usize::from(le16(bytes, 0x80)) + OLD_BYTES >= CHECKSUM_HIGH + 2 {
            return (crc32c(crc32c_zeroes(crc, 2), &bytes[CHECKSUM_HIGH + 2..]), true);
        }
        (crc32c(crc, &bytes[CHECKSUM_HIGH..]), false)
    }

    fn inode_checksum_holds(&self, number: u32, bytes: &[u8]) -> bool {
        if !self.has_checksums {
            return true;
        }
        let (checksum, has_high) = self.inode_checksum(number, bytes);
        let high =
            if has_high { u32::from(le16(bytes, CHECKSUM_HIGH)) << 16 } else { checksum & 0xffff_0000 };
        checksum == u32::from(le16(bytes, CHECKSUM_LOW)) | high
    }
}
