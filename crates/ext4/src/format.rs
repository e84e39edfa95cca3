//! Making file systems, as mkfs.ext4(8) does: with a journal, checksums, extents, 64 bits and flexible groups, in blocks of
//! 4096 bytes.
//!
//! At first the structures are written that a file system has before it can be mounted: superblock, descriptors, bitmaps. It is
//! then mounted without a journal, and the root, `lost+found` and the journal are made in it like other files.
use crate::allocate::fill_bitmap;
use crate::bytes::{le32, set_le16, set_le32};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::FileSystem;
use crate::group::{BLOCKS_UNINITIALISED, INODES_UNINITIALISED, field as group_field};
use crate::inode::{MAP_BYTES, Time, kind};
use crate::journal::format_journal;
use crate::mount::Options;
use crate::names::NewFile;
use crate::superblock::{
    self, BYTES, OFFSET_BYTES, STATE_CLEAN, Superblock, compat, field, incompat, ro_compat,
};
use crate::verify;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_block::Disk;
use coracle_fallible::filled;

const BLOCK_BYTES: u32 = 4096;
const BLOCKS_PER_GROUP: u32 = 8 * BLOCK_BYTES;
const INODE_BYTES: u32 = 256;
const INODES_PER_BLOCK: u32 = BLOCK_BYTES / INODE_BYTES;
const DESCRIPTOR_BYTES: usize = 64;
/// Groups whose bitmaps and inodes lie together, as a power of two.
const FLEX_LOG: u32 = 4;
/// One inode for so many bytes of the disk.
const BYTES_PER_INODE: u64 = 16_384;
/// Inodes up to this one are the file system's own.
const RESERVED_INODES: u32 = 10;
const JOURNAL_INODE: u32 = 8;
/// A last group with fewer blocks for files is left out.
const LEAST_IN_GROUP: u32 = 50;
/// The smallest disk: it has room for the smallest journal.
const LEAST_BLOCKS: u64 = 2048;
/// Bytes of `lost+found`, which e2fsck fills when it can't allocate.
const LOST_BYTES: u64 = 16_384;

/// How a file system is made.
#[derive(Clone, Copy, Debug)]
pub struct Format<'a> {
    /// The name of the volume: at most 16 bytes.
    pub label: &'a [u8],
    /// Its identity: 16 random bytes, in the form of RFC 9562.
    pub uuid: [u8; 16],
    /// What hashes of names begin with: random, so that no one can make names that collide.
    pub hash_seed: [u8; 16],
    /// The time.
    pub now: Time,
}

/// Where things lie.
struct Plan {
    blocks: u64,
    groups: u32,
    inodes_per_group: u32,
    table_blocks: u32,
    descriptor_blocks: u32,
}

/// Makes a file system on a disk, whatever was on it, and flushes it.
///
/// # Errors
/// [`Error::Invalid`] for a label that is too long; [`Error::NoSpace`] for a disk of less than 8 MiB;
/// [`Error::NoMemory`], or the disk's.
pub fn format(disk: &Arc<dyn Disk>, format: &Format<'_>) -> Result<()> {
    if format.label.len() > 16 {
        return Err(Error::Invalid);
    }
    let plan = Plan::new(disk.size_bytes())?;
    let mut bytes = plan.superblock(format)?;
    let geometry = Superblock::parse(&bytes)?;
    let descriptors = plan.write_groups(&**disk, &geometry)?;
    plan.write_descriptors(&**disk, 0, &descriptors)?;
    write_superblock(&**disk, 0, &mut bytes)?;
    disk.flush()?;

    let options = Options { now: format.now, ..Options::default() };
    let mut fs = FileSystem::mount(disk.clone(), &options)?;
    fs.make_root(format.now)?;
    let map = fs.make_journal(plan.journal_blocks(), &format.uuid, format.now)?;
    fs.unmount()?;
    fs.add_journal(&map)?;
    plan.write_backups(&**disk, &geometry)?;
    Ok(disk.flush()?)
}

impl Plan {
    fn new(disk_bytes: u64) -> Result<Plan> {
        let mut blocks = disk_bytes / u64::from(BLOCK_BYTES);
        if blocks < LEAST_BLOCKS {
            return Err(Error::NoSpace);
        }
        loop {
            let groups =
                u32::try_from(blocks.div_ceil(BLOCKS_PER_GROUP.into())).map_err(|_| Error::NoSpace)?;
            let inodes = (blocks * u64::from(BLOCK_BYTES) / BYTES_PER_INODE).div_ceil(groups.into());
            let inodes_per_group =
                (inodes as u32).next_multiple_of(INODES_PER_BLOCK).clamp(INODES_PER_BLOCK, BLOCKS_PER_GROUP);
            let descriptor_blocks =
                (u64::from(groups) * DESCRIPTOR_BYTES as u64).div_ceil(BLOCK_BYTES.into());
            let plan = Plan {
                blocks,
                groups,
                inodes_per_group,
                table_blocks: inodes_per_group / INODES_PER_BLOCK,
                descriptor_blocks: descriptor_blocks as u32,
            };
            if u64::from(groups) * u64::from(inodes_per_group) > u32::MAX.into() {
                return Err(Error::NoSpace);
            }
            let last = (blocks - u64::from(groups - 1) * u64::from(BLOCKS_PER_GROUP)) as u32;
            let own = 1 + plan.descriptor_blocks + 2 + plan.table_blocks;
            if groups == 1 || last >= own + LEAST_IN_GROUP {
                return Ok(plan);
            }
            blocks -= u64::from(last);
        }
    }

    /// How many blocks the journal has: as mke2fs(8) chooses, up to 64 MiB.
    fn journal_blocks(&self) -> u32 {
        match self.blocks {
            0..32_768 => 1024,
            32_768..262_144 => 4096,
            262_144..524_288 => 8192,
            _ => 16_384,
        }
    }

    fn is_lead(group: u32) -> bool {
        group.is_multiple_of(1 << FLEX_LOG)
    }

    /// Groups whose structures a group has.
    fn members(&self, lead: u32) -> u32 {
        (self.groups - lead).min(1 << FLEX_LOG)
    }

    fn superblock(&self, format: &Format<'_>) -> Result<Vec<u8>> {
        let mut bytes = filled(0, BYTES)?;
        let inodes = self.groups * self.inodes_per_group;
        let words: [(usize, u32); 20] = [
            (0x0, inodes),
            (0x4, self.blocks as u32),
            (0x10, inodes - RESERVED_INODES),
            (0x18, BLOCK_BYTES.ilog2() - 10),
            (0x1c, BLOCK_BYTES.ilog2() - 10),
            (0x20, BLOCKS_PER_GROUP),
            (0x24, BLOCKS_PER_GROUP),
            (0x28, self.inodes_per_group),
            (0x30, format.now.seconds as u32),
            (0x40, format.now.seconds as u32),
            (0x4c, 1),
            (0x54, RESERVED_INODES + 1),
            (0x5c, compat::EXT_ATTR | compat::DIR_INDEX),
            (0x60, incompat::FILETYPE | incompat::EXTENTS | incompat::BITS_64 | incompat::FLEX_BG),
            (
                0x64,
                ro_compat::SPARSE_SUPER
                    | ro_compat::LARGE_FILE
                    | ro_compat::HUGE_FILE
                    | ro_compat::DIR_NLINK
                    | ro_compat::EXTRA_ISIZE
                    | ro_compat::METADATA_CSUM,
            ),
            // Attributes and access control lists are on when Linux mounts it.
            (0x100, 0xc),
            (0x108, format.now.seconds as u32),
            (0x150, (self.blocks >> 32) as u32),
            // Characters have signs in the hashes of names.
            (0x160, 1),
            (0x174, FLEX_LOG | 1 << 8),
        ];
        for (at, word) in words {
            set_le32(&mut bytes, at, word);
        }
        // No count of mounts after which it is checked; magic; state; what is done on errors: nothing.
        for (at, half) in [
            (0x36, 0xffff),
            (0x38, 0xef53),
            (field::STATE, STATE_CLEAN),
            (0x3c, 1),
            (0x58, INODE_BYTES as u16),
            (0xfe, DESCRIPTOR_BYTES as u16),
            (0x15c, 32),
            (0x15e, 32),
        ] {
            set_le16(&mut bytes, at, half);
        }
        bytes[0x68..0x78].copy_from_slice(&format.uuid);
        bytes[0x78..0x78 + format.label.len()].copy_from_slice(format.label);
        bytes[0xec..0xfc].copy_from_slice(&format.hash_seed);
        // Half MD4.
        bytes[0xfc] = 1;
        let geometry = Superblock::parse(&bytes)?;
        let free: u64 = (0..self.groups).map(|group| u64::from(self.free_blocks(&geometry, group))).sum();
        set_le32(&mut bytes, field::FREE_BLOCKS_LOW, free as u32);
        set_le32(&mut bytes, field::FREE_BLOCKS_HIGH, (free >> 32) as u32);
        Ok(bytes)
    }

    /// Blocks at the beginning of a group that structures take.
    fn used_blocks(&self, geometry: &Superblock, group: u32) -> u32 {
        let own = geometry.backup_blocks(group);
        if Plan::is_lead(group) { own + self.members(group) * (2 + self.table_blocks) } else { own }
    }

    fn free_blocks(&self, geometry: &Superblock, group: u32) -> u32 {
        geometry.blocks_in(group).saturating_sub(self.used_blocks(geometry, group))
    }

    /// Writes the bitmaps that are not left uninitialised, and returns the descriptors.
    fn write_groups(&self, disk: &dyn Disk, geometry: &Superblock) -> Result<Vec<u8>> {
        let mut all = filled(0, (self.descriptor_blocks * BLOCK_BYTES) as usize)?;
        let mut block = filled(0, BLOCK_BYTES as usize)?;
        for (group, descriptor) in (0..self.groups).zip(all.chunks_exact_mut(DESCRIPTOR_BYTES)) {
            let lead = group & !((1 << FLEX_LOG) - 1);
            let (member, members) = (group - lead, self.members(lead));
            let first = geometry.first_block(lead) + u64::from(geometry.backup_blocks(lead));
            let block_bitmap = first + u64::from(member);
            let inode_bitmap = first + u64::from(members + member);
            let table = first + u64::from(2 * members) + u64::from(member) * u64::from(self.table_blocks);
            for ((low, high), place) in [
                (group_field::BLOCK_BITMAP, block_bitmap),
                (group_field::INODE_BITMAP, inode_bitmap),
                (group_field::INODE_TABLE, table),
            ] {
                set_le32(descriptor, low, place as u32);
                set_le32(descriptor, high, (place >> 32) as u32);
            }
            let mut flags = 0;
            if Plan::is_lead(group) || group + 1 == self.groups {
                let (used, blocks) = (self.used_blocks(geometry, group), geometry.blocks_in(group));
                block.fill(0);
                fill_bitmap(&mut block, 0, used.min(blocks), true);
                fill_bitmap(&mut block, blocks, BLOCKS_PER_GROUP - blocks, true);
                disk.write(block_bitmap * u64::from(BLOCK_BYTES), &block)?;
                let checksum = verify::bitmap_checksum(geometry, BLOCKS_PER_GROUP, &block);
                set_halves(descriptor, group_field::BLOCK_BITMAP_CHECKSUM, checksum);
            } else {
                flags |= BLOCKS_UNINITIALISED;
            }
            let used_inodes = if group == 0 { RESERVED_INODES } else { 0 };
            if group == 0 {
                block.fill(0);
                disk.write(table * u64::from(BLOCK_BYTES), &block)?;
                fill_bitmap(&mut block, 0, RESERVED_INODES, true);
                fill_bitmap(
                    &mut block,
                    self.inodes_per_group,
                    BLOCKS_PER_GROUP - self.inodes_per_group,
                    true,
                );
                disk.write(inode_bitmap * u64::from(BLOCK_BYTES), &block)?;
                let checksum = verify::bitmap_checksum(geometry, self.inodes_per_group, &block);
                set_halves(descriptor, group_field::INODE_BITMAP_CHECKSUM, checksum);
                // The root, which is made in an inode that counts as used.
                set_halves(descriptor, group_field::DIRECTORIES, 1);
            } else {
                flags |= INODES_UNINITIALISED;
            }
            set_halves(descriptor, group_field::FREE_BLOCKS, self.free_blocks(geometry, group));
            set_halves(descriptor, group_field::FREE_INODES, self.inodes_per_group - used_inodes);
            set_halves(descriptor, group_field::UNUSED_INODES, self.inodes_per_group - used_inodes);
            set_le16(descriptor, group_field::FLAGS, flags);
            verify::seal_descriptor(geometry, group, descriptor);
        }
        Ok(all)
    }

    /// Writes the descriptors behind a group's superblock.
    fn write_descriptors(&self, disk: &dyn Disk, group: u32, descriptors: &[u8]) -> Result<()> {
        let block = u64::from(group) * u64::from(BLOCKS_PER_GROUP) + 1;
        Ok(disk.write(block * u64::from(BLOCK_BYTES), descriptors)?)
    }

    /// Copies the superblock and the descriptors to the groups that have copies.
    fn write_backups(&self, disk: &dyn Disk, geometry: &Superblock) -> Result<()> {
        let mut descriptors = filled(0, (self.descriptor_blocks * BLOCK_BYTES) as usize)?;
        disk.read(BLOCK_BYTES.into(), &mut descriptors)?;
        let mut first = filled(0, BLOCK_BYTES as usize)?;
        disk.read(0, &mut first)?;
        let mut bytes = first.split_off(OFFSET_BYTES as usize);
        bytes.truncate(BYTES);
        for group in (1..self.groups).filter(|group| geometry.has_backup(*group)) {
            write_superblock(disk, group, &mut bytes)?;
            self.write_descriptors(disk, group, &descriptors)?;
        }
        Ok(())
    }
}

/// Writes a number in the two halves that a descriptor has for it.
fn set_halves(descriptor: &mut [u8], (low, high): (usize, usize), value: u32) {
    set_le16(descriptor, low, value as u16);
    set_le16(descriptor, high, (value >> 16) as u16);
}

/// Writes the superblock of a group: the first behind room for a boot sector, the others at the beginning.
fn write_superblock(disk: &dyn Disk, group: u32, bytes: &mut [u8]) -> Result<()> {
    const GROUP: usize = 0x5a;
    set_le16(bytes, GROUP, group as u16);
    let checksum = superblock::checksum(bytes);
    set_le32(bytes, field::CHECKSUM, checksum);
    let mut block = filled(0, BLOCK_BYTES as usize)?;
    let at = if group == 0 { OFFSET_BYTES as usize } else { 0 };
    if let Some(place) = block.get_mut(at..at + BYTES) {
        place.copy_from_slice(bytes);
    }
    Ok(disk.write(u64::from(group) * u64::from(BLOCKS_PER_GROUP) * u64::from(BLOCK_BYTES), &block)?)
}

impl FileSystem {
    /// Makes the root and `lost+found`.
    fn make_root(&mut self, now: Time) -> Result<()> {
        self.change(|fs| {
            let mut root = fs.new_inode(crate::ROOT, kind::DIRECTORY | 0o755, now);
            root.begin_extents();
            fs.begin_directory(&mut root, crate::ROOT)?;
            fs.set_new_inode(&root)
        })?;
        let lost = NewFile { mode: kind::DIRECTORY | 0o700, uid: 0, gid: 0, device: Default::default() };
        let number = self.create(crate::ROOT, b"lost+found", &lost, now)?;
        self.change(|fs| {
            let mut directory = fs.directory(number)?;
            while directory.size < LOST_BYTES {
                let leaf = fs.empty_leaf()?;
                fs.append_block(&mut directory, &leaf)?;
            }
            fs.set_inode(&directory)
        })
    }

    /// Makes the journal's file, and returns its map.
    fn make_journal(&mut self, blocks: u32, uuid: &[u8; 16], now: Time) -> Result<[u8; MAP_BYTES]> {
        let middle = self.superblock.first_block(self.superblock.groups / 2);
        let (block_bytes, log) = (self.superblock.block_bytes as usize, self.superblock.block_log);
        self.change(|fs| {
            let mut journal = fs.new_inode(JOURNAL_INODE, kind::REGULAR | 0o600, now);
            journal.begin_extents();
            let mut done = 0;
            while done < blocks {
                let goal = if done == 0 { middle } else { fs.goal(&journal, done)? };
                let (start, len) = fs.allocate_blocks(goal, blocks - done)?;
                fs.insert_extent(&mut journal, Extent { block: done, len, start, unwritten: false })?;
                fs.count_file_blocks(&mut journal, len, 0);
                done += len;
            }
            journal.size = u64::from(blocks) << log;
            fs.set_new_inode(&journal)?;
            let start = fs.run(&journal, 0, 1)?.block.ok_or(Error::NoSpace)?;
            let mut superblock = filled(0, block_bytes)?;
            format_journal(&mut superblock, blocks, uuid);
            fs.disk.write(fs.offset(start), &superblock)?;
            Ok(journal.map)
        })
    }

    /// Says in the superblock that there is a journal, and keeps a copy of where it is.
    fn add_journal(&mut self, map: &[u8; MAP_BYTES]) -> Result<()> {
        const COPY: usize = 0x10c;
        const COPY_KIND: usize = 0xfd;
        let size = self.inode(JOURNAL_INODE)?.size;
        self.patch_superblock(|bytes| {
            set_le32(bytes, 0x5c, le32(bytes, 0x5c) | compat::HAS_JOURNAL);
            set_le32(bytes, 0xe0, JOURNAL_INODE);
            bytes[COPY..COPY + MAP_BYTES].copy_from_slice(map);
            set_le32(bytes, COPY + MAP_BYTES, (size >> 32) as u32);
            set_le32(bytes, COPY + MAP_BYTES + 4, size as u32);
            bytes[COPY_KIND] = 1;
        })
    }
}
