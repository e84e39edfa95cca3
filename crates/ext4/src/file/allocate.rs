//! Blocks in advance, and holes: fallocate(2).
use super::size::ALL_BLOCKS;
use crate::error::{Error, Result};
use crate::extent::{Extent, MAX_UNWRITTEN};
use crate::filesystem::FileSystem;
use crate::inode::Time;

/// What is done to a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// The range has blocks afterwards; what it held stays, and the rest is zeroes. The file may grow.
    Allocate,
    /// The same, and the file's size stays (`FALLOC_FL_KEEP_SIZE`).
    AllocateKeepSize,
    /// The range is zeroes without blocks afterwards, as far as they are whole (`FALLOC_FL_PUNCH_HOLE`).
    PunchHole,
    /// The range is zeroes that have blocks afterwards (`FALLOC_FL_ZERO_RANGE`). The file may grow.
    Zero,
    /// The same, and the file's size stays.
    ZeroKeepSize,
}

impl FileSystem {
    /// Gives blocks to a range of a file, or takes them. A failure may leave a part of it done.
    ///
    /// # Errors
    /// As [`FileSystem::write`], and [`Error::Invalid`] for an empty range.
    pub fn allocate(&mut self, inode: u32, offset: u64, len: u64, what: Allocation, now: Time) -> Result<()> {
        self.check_writable()?;
        let end = self.check_file_range(offset, len)?;
        if matches!(what, Allocation::PunchHole | Allocation::Zero | Allocation::ZeroKeepSize) {
            self.punch(inode, offset, end, now)?;
        }
        if what == Allocation::PunchHole {
            return Ok(());
        }
        let file = self.writable_file(inode)?;
        let keeps = matches!(what, Allocation::AllocateKeepSize | Allocation::ZeroKeepSize);
        if end > file.size && !keeps {
            self.clear_behind_end(&file)?;
        }
        let first = self.span(offset)?.block;
        let last = self.blocks_of(end);
        let mut block = first;
        while u64::from(block) < last {
            let left = (last - u64::from(block)) as u32;
            block += self.allocate_piece(inode, block, left)?;
        }
        self.change(|fs| {
            let mut file = fs.writable_file(inode)?;
            if !keeps {
                file.size = file.size.max(end);
                file.modified = now;
            }
            file.changed = now;
            fs.note_inode(inode, true)?;
            fs.set_inode(&file)
        })
    }

    /// Gives blocks to the first hole, and returns how many blocks of the file were passed.
    fn allocate_piece(&mut self, number: u32, block: u32, left: u32) -> Result<u32> {
        self.change(|fs| {
            let mut inode = fs.writable_file(number)?;
            let run = fs.run(&inode, block, left.min(MAX_UNWRITTEN))?;
            if run.block.is_some() {
                return Ok(run.count);
            }
            let goal = fs.goal(&inode, block)?;
            let (start, len) = fs.allocate_blocks(goal, run.count)?;
            fs.insert_extent(&mut inode, Extent { block, len, start, unwritten: true })?;
            fs.count_file_blocks(&mut inode, len, 0);
            fs.note_inode(number, true)?;
            fs.set_inode(&inode)?;
            Ok(len)
        })
    }

    /// Makes a hole: whole blocks are freed, parts of blocks are written with zeroes.
    fn punch(&mut self, number: u32, offset: u64, end: u64, now: Time) -> Result<()> {
        let file = self.writable_file(number)?;
        let block_bytes = u64::from(self.superblock.block_bytes);
        // What lies behind the end of the file is no content.
        let cut = end.min(file.size);
        let first = u32::try_from(self.blocks_of(offset)).map_err(|_| Error::FileTooLarge)?;
        let last = if end >= file.size { self.blocks_of(end) } else { end / block_bytes };
        let head = (offset, cut.min(offset.next_multiple_of(block_bytes)));
        // The block of the file's end goes as a whole.
        let tail = if end < file.size { (offset.max(cut - cut % block_bytes), cut) } else { (cut, cut) };
        for (from, until) in [head, tail] {
            if from < until && !(from.is_multiple_of(block_bytes) && until == from + block_bytes) {
                self.write_zeroes(number, from, until, now)?;
            }
        }
        while u64::from(first) < last {
            let more = self.change(|fs| {
                let mut inode = fs.writable_file(number)?;
                let more = fs.remove_step(&mut inode, first, last.min(ALL_BLOCKS))?;
                (inode.modified, inode.changed) = (now, now);
                fs.note_inode(number, true)?;
                fs.set_inode(&inode)?;
                Ok(more)
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Writes zeroes over a part of a block, if it is there.
    fn write_zeroes(&mut self, number: u32, from: u64, until: u64, now: Time) -> Result<()> {
        let inode = self.writable_file(number)?;
        let run = self.run(&inode, self.span(from)?.block, 1)?;
        if run.block.is_none() || run.unwritten {
            return Ok(());
        }
        let zeroes = coracle_fallible::filled(0, (until - from) as usize)?;
        self.write(number, from, &zeroes, now).map(drop)
    }
}
