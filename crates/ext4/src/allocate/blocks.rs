//! Blocks: taking and freeing runs of them.
//!
//! What is freed is not taken again before the commit is durable: a crash brings the file back that had it.
use super::bitmap::{self, Run, Used};
use crate::bytes::le32;
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::group::{self, BLOCKS_UNINITIALISED, Group};
use crate::superblock::{self, BYTES, field};
use crate::verify;
use coracle_fallible::TrySlice as _;

/// Groups with room that are looked at for a long run, before a shorter one is taken.
const PATIENCE: u32 = 4;
/// Bytes of a bitmap that are changed at once.
const PIECE: usize = 64;

impl FileSystem {
    /// The superblock's bytes.
    fn superblock_bytes(&mut self) -> Result<&[u8]> {
        let (block, from) = (self.superblock.superblock_block(), self.superblock.superblock_offset());
        let bytes = self.block(block, Kind::Super)?.get(from..from + BYTES);
        bytes.ok_or(Error::Corrupt(&"the superblock ends behind its block"))
    }

    /// Changes bytes of the superblock.
    pub(crate) fn put_superblock(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let (block, from) = (self.superblock.superblock_block(), self.superblock.superblock_offset());
        self.put(block, Kind::Super, from + at, bytes)
    }

    /// A field of the superblock that changes.
    pub(crate) fn superblock_field(&mut self, at: usize) -> Result<u32> {
        Ok(le32(self.superblock_bytes()?, at))
    }

    /// How many blocks and inodes are free.
    pub(crate) fn free_counts(&mut self) -> Result<(u64, u32)> {
        let bytes = self.superblock_bytes()?;
        Ok((superblock::free_blocks(bytes), le32(bytes, field::FREE_INODES)))
    }

    /// Counts blocks as taken or given back.
    fn count_blocks(&mut self, taken: u32, freed: u32) -> Result<()> {
        const MISCOUNTED: Error = Error::Corrupt(&"the superblock miscounts the free blocks");
        let (free, _) = self.free_counts()?;
        let free = free.saturating_add(freed.into()).checked_sub(taken.into()).ok_or(MISCOUNTED)?;
        self.set_free_blocks(free)
    }

    fn set_free_blocks(&mut self, free: u64) -> Result<()> {
        self.put_superblock(field::FREE_BLOCKS_LOW, &(free as u32).to_le_bytes())?;
        if self.superblock.incompat & superblock::incompat::BITS_64 != 0 {
            self.put_superblock(field::FREE_BLOCKS_HIGH, &((free >> 32) as u32).to_le_bytes())?;
        }
        Ok(())
    }

    /// Counts what is free anew, from the groups' descriptors. Linux keeps the superblock's counts in memory until it
    /// unmounts: after its crash they are old.
    pub(crate) fn recount(&mut self) -> Result<()> {
        let (mut blocks, mut inodes) = (0_u64, 0_u32);
        for number in 0..self.superblock.groups {
            let group = self.group(number)?;
            blocks += u64::from(group.free_blocks());
            inodes = inodes.saturating_add(group.free_inodes());
        }
        self.change(|fs| {
            fs.set_free_blocks(blocks)?;
            fs.put_superblock(field::FREE_INODES, &inodes.to_le_bytes())
        })
    }

    /// Counts an inode as taken or given back.
    pub(super) fn count_inode(&mut self, taken: bool) -> Result<()> {
        let (_, free) = self.free_counts()?;
        let free = if taken { free.checked_sub(1) } else { free.checked_add(1) };
        let free = free.ok_or(Error::Corrupt(&"the superblock miscounts the free inodes"))?;
        self.put_superblock(field::FREE_INODES, &free.to_le_bytes())
    }

    /// Loads a group's block bitmap, making it where the group had none.
    fn load_block_bitmap(&mut self, group: &mut Group) -> Result<()> {
        let kind = Kind::BlockBitmap(group.number);
        if self.superblock.has_group_checksums() && group.flags() & BLOCKS_UNINITIALISED != 0 {
            return self.new_block_bitmap(group);
        }
        let slot = self.slot(group.block_bitmap(), kind)?;
        let buffer = &mut self.cache.buffers[slot];
        if buffer.verified == 0 && self.superblock.has_checksums() {
            let checksum =
                verify::bitmap_checksum(&self.superblock, self.superblock.blocks_per_group, &buffer.data);
            if !group.bitmap_checksum_is(group::field::BLOCK_BITMAP_CHECKSUM, checksum) {
                return Err(Error::Corrupt(&"a block bitmap's checksum is wrong"));
            }
        }
        buffer.verified = u32::MAX;
        Ok(())
    }

    /// The bitmap of a group in which only the file system's own structures are in use.
    pub(super) fn new_block_bitmap(&mut self, group: &mut Group) -> Result<()> {
        let superblock = &self.superblock;
        let (first, blocks) = (superblock.first_block(group.number), superblock.blocks_in(group.number));
        let bits = superblock.block_bytes * 8;
        let table_bytes = u64::from(superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
        let table_blocks = table_bytes.div_ceil(superblock.block_bytes.into());
        let backup_blocks = superblock.backup_blocks(group.number);
        let own = [(group.block_bitmap(), 1), (group.inode_bitmap(), 1), (group.inode_table(), table_blocks)];
        let place = group.block_bitmap();
        self.put_fresh(place, Kind::BlockBitmap(group.number))?;
        self.fill_bits(place, Kind::BlockBitmap(group.number), 0, backup_blocks.min(blocks), true)?;
        for (start, count) in own {
            let from = start.max(first);
            let until = (start + count).min(first + u64::from(blocks));
            if from < until {
                let (from, len) = ((from - first) as u32, (until - from) as u32);
                self.fill_bits(place, Kind::BlockBitmap(group.number), from, len, true)?;
            }
        }
        // The bits behind the end of the group count as used.
        self.fill_bits(place, Kind::BlockBitmap(group.number), blocks, bits - blocks, true)?;
        group.set_flags(group.flags() & !BLOCKS_UNINITIALISED);
        self.set_group(group)
    }

    /// Sets or clears bits of a bitmap.
    pub(super) fn fill_bits(
        &mut self,
        block: u64,
        kind: Kind,
        start: u32,
        len: u32,
        set: bool,
    ) -> Result<()> {
        let (mut at, end) = (start, start + len);
        while at < end {
            let first = (at / 8) as usize;
            let next = end.min((first + PIECE) as u32 * 8);
            let bytes = (next.div_ceil(8) as usize) - first;
            let mut piece = [0; PIECE];
            let data = self.block(block, kind)?;
            let from =
                data.get(first..first + bytes).ok_or(Error::Corrupt(&"a bit lies behind its bitmap"))?;
            piece[..bytes].copy_from_slice(from);
            bitmap::fill(&mut piece, at - first as u32 * 8, next - at, set);
            self.put(block, kind, first, &piece[..bytes])?;
            at = next;
        }
        Ok(())
    }

    /// A run of free blocks of a group, near a place of it.
    fn free_run(&mut self, group: &mut Group, from: u32, want: u32, goal: bool) -> Result<Option<Run>> {
        self.load_block_bitmap(group)?;
        let blocks = self.superblock.blocks_in(group.number);
        let slot = self.slot(group.block_bitmap(), Kind::BlockBitmap(group.number))?;
        let busy = self.transaction.busy.get(&group.number).map_or(&[][..], |busy| busy);
        let used = Used { bits: &self.cache.buffers[slot].data, busy };
        // A file goes on where it ends, if only for a block.
        let next = if goal && from > 0 { used.run_at(from, blocks, want) } else { None };
        Ok(next.or_else(|| used.find(from, blocks, want)))
    }

    /// Takes a run of at most `want` blocks, at `goal` or near it. Returns the first and how many.
    pub(crate) fn allocate_blocks(&mut self, goal: u64, want: u32) -> Result<(u64, u32)> {
        let groups = self.superblock.groups;
        let (first_group, first_bit) = self.superblock.group_of(if self.superblock.has_block(goal) {
            goal
        } else {
            self.superblock.first_block(0)
        });
        let mut best: Option<(u32, Run)> = None;
        let mut looked_at = 0;
        // The first group once more at the end, from its beginning.
        for step in 0..=groups {
            let number = (first_group + step) % groups;
            let mut group = self.group(number)?;
            if group.free_blocks() == 0 {
                continue;
            }
            let from = if step == 0 { first_bit } else { 0 };
            let run = self.free_run(&mut group, from, want, step == 0)?;
            if let Some(run) = run
                && best.is_none_or(|(_, best)| run.len > best.len)
            {
                best = Some((number, run));
                if run.len >= want || (step == 0 && run.start == from && from > 0) {
                    break;
                }
            }
            looked_at += u32::from(best.is_some());
            if looked_at >= PATIENCE {
                break;
            }
        }
        let (number, run) = best.ok_or(Error::NoSpace)?;
        let mut group = self.group(number)?;
        let free = group.free_blocks().checked_sub(run.len);
        group.set_free_blocks(free.ok_or(Error::Corrupt(&"a group miscounts its free blocks"))?);
        self.fill_bits(group.block_bitmap(), Kind::BlockBitmap(number), run.start, run.len, true)?;
        self.set_group(&group)?;
        self.count_blocks(run.len, 0)?;
        let start = self.superblock.first_block(number) + u64::from(run.start);
        Ok((start, run.len))
    }

    /// Gives blocks back.
    pub(crate) fn free_blocks(&mut self, mut start: u64, mut count: u32) -> Result<()> {
        if !self.superblock.has_run(start, count.into()) {
            return Err(Error::Corrupt(&"blocks to be freed lie outside the file system"));
        }
        while count > 0 {
            let (number, bit) = self.superblock.group_of(start);
            let len = count.min(self.superblock.blocks_in(number).saturating_sub(bit));
            if len == 0 {
                return Err(Error::Corrupt(&"blocks to be freed lie in no group"));
            }
            self.free_in_group(number, bit, len)?;
            start += u64::from(len);
            count -= len;
        }
        Ok(())
    }

    fn free_in_group(&mut self, number: u32, bit: u32, len: u32) -> Result<()> {
        let mut group = self.group(number)?;
        self.load_block_bitmap(&mut group)?;
        let slot = self.slot(group.block_bitmap(), Kind::BlockBitmap(number))?;
        let bits = &self.cache.buffers[slot].data;
        if !bitmap::all(bits, bit, len, true) {
            return Err(Error::Corrupt(&"blocks to be freed are free"));
        }
        match self.transaction.busy.get_mut(&number) {
            Some(busy) => bitmap::fill(busy, bit, len, true),
            None => drop(self.transaction.busy.insert(number, bits.try_to_vec()?)?),
        }
        self.fill_bits(group.block_bitmap(), Kind::BlockBitmap(number), bit, len, false)?;
        let free = group.free_blocks().saturating_add(len);
        if free > self.superblock.blocks_in(number) {
            return Err(Error::Corrupt(&"a group miscounts its free blocks"));
        }
        group.set_free_blocks(free);
        self.set_group(&group)?;
        self.count_blocks(0, len)
    }
}
