//! Inodes: taking and freeing them.
use super::bitmap::{self, Used};
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::group::{self, BLOCKS_UNINITIALISED, Group, INODES_UNINITIALISED};
use crate::verify;

impl FileSystem {
    /// Loads a group's inode bitmap, making it where the group had none.
    fn load_inode_bitmap(&mut self, group: &mut Group) -> Result<()> {
        let kind = Kind::InodeBitmap(group.number);
        let (place, inodes) = (group.inode_bitmap(), self.superblock.inodes_per_group);
        if self.superblock.has_group_checksums() && group.flags() & INODES_UNINITIALISED != 0 {
            self.put_fresh(place, kind)?;
            self.fill_bits(place, kind, inodes, self.superblock.block_bytes * 8 - inodes, true)?;
            group.set_flags(group.flags() & !INODES_UNINITIALISED);
            return self.set_group(group);
        }
        let slot = self.slot(place, kind)?;
        let buffer = &mut self.cache.buffers[slot];
        if buffer.verified == 0 && self.superblock.has_checksums() {
            let checksum = verify::bitmap_checksum(&self.superblock, inodes, &buffer.data);
            if !group.bitmap_checksum_is(group::field::INODE_BITMAP_CHECKSUM, checksum) {
                return Err(Error::Corrupt(&"an inode bitmap's checksum is wrong"));
            }
        }
        buffer.verified = u32::MAX;
        Ok(())
    }

    /// The group for a new inode: that of its directory, or the next with room. Directories are spread over groups that have
    /// as much room as others.
    fn group_for_inode(&mut self, parent: u32, is_directory: bool) -> Result<Group> {
        let groups = self.superblock.groups;
        let (free_blocks, free_inodes) = self.free_counts()?;
        if free_inodes == 0 {
            return Err(Error::NoSpace);
        }
        let (least_inodes, least_blocks) = (free_inodes / groups, free_blocks / u64::from(groups));
        for picky in [is_directory, false] {
            for step in 0..groups {
                let group = self.group((parent + step) % groups)?;
                let roomy =
                    group.free_inodes() >= least_inodes && u64::from(group.free_blocks()) >= least_blocks;
                if group.free_inodes() > 0 && (roomy || !picky) {
                    return Ok(group);
                }
            }
        }
        Err(Error::NoSpace)
    }

    /// Takes an inode near that of its directory.
    pub(crate) fn allocate_inode(&mut self, directory: u32, is_directory: bool) -> Result<u32> {
        let per_group = self.superblock.inodes_per_group;
        let mut group = self.group_for_inode(directory.saturating_sub(1) / per_group, is_directory)?;
        self.load_inode_bitmap(&mut group)?;
        if self.superblock.has_group_checksums() && group.flags() & BLOCKS_UNINITIALISED != 0 {
            // As on Linux: a group with inodes in use has both bitmaps.
            self.new_block_bitmap(&mut group)?;
        }
        let kind = Kind::InodeBitmap(group.number);
        let first = if group.number == 0 { self.superblock.first_inode - 1 } else { 0 };
        let data = self.block(group.inode_bitmap(), kind)?;
        let run = Used { bits: data, busy: &[] }.find(first, per_group, 1);
        let index = run.ok_or(Error::Corrupt(&"a group miscounts its free inodes"))?.start;
        self.fill_bits(group.inode_bitmap(), kind, index, 1, true)?;
        group.set_free_inodes(group.free_inodes().saturating_sub(1));
        if self.superblock.has_group_checksums() {
            // Inodes behind this one have not been written yet.
            group.set_unused_inodes(group.unused_inodes().min(per_group - index - 1));
        }
        if is_directory {
            group.set_directories(group.directories().saturating_add(1));
        }
        self.set_group(&group)?;
        self.count_inode(true)?;
        group.number.checked_mul(per_group).and_then(|base| base.checked_add(index + 1)).ok_or(Error::NoSpace)
    }

    /// Gives an inode back.
    pub(crate) fn free_inode(&mut self, number: u32, is_directory: bool) -> Result<()> {
        let per_group = self.superblock.inodes_per_group;
        let index = number.checked_sub(1).ok_or(Error::Corrupt(&"an inode has the number 0"))?;
        let mut group = self.group(index / per_group)?;
        self.load_inode_bitmap(&mut group)?;
        let kind = Kind::InodeBitmap(group.number);
        if !bitmap::all(self.block(group.inode_bitmap(), kind)?, index % per_group, 1, true) {
            return Err(Error::Corrupt(&"an inode to be freed is free"));
        }
        self.fill_bits(group.inode_bitmap(), kind, index % per_group, 1, false)?;
        group.set_free_inodes(group.free_inodes().saturating_add(1));
        if is_directory {
            group.set_directories(group.directories().saturating_sub(1));
        }
        self.set_group(&group)?;
        self.count_inode(false)
    }
}
