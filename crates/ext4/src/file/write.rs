//! Writing files.
//!
//! Data goes to its place on the disk at once, before the metadata that makes it the file's is committed: that is what ext4
//! calls ordered mode.
use super::allocate::Allocation;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::{Access, FileSystem};
use crate::inode::{Inode, Time, check_live, flag, kind};
use coracle_fallible::filled;

/// Blocks that are taken at once.
const MAX_RUN: u32 = 2048;

/// Where data goes on the disk.
#[derive(Clone, Copy)]
struct Target {
    /// The first block.
    start: u64,
    /// Where the data begins in it.
    within: usize,
    /// Bytes of the first block that are the file's; the rest of it and the blocks behind hold none.
    kept: usize,
    /// The same of the block in which the data ends.
    kept_at_end: usize,
    /// The file had no bytes there.
    is_new: bool,
}

impl FileSystem {
    /// A file that can be written.
    pub(crate) fn writable_file(&mut self, number: u32) -> Result<Inode> {
        self.inode_if(number, |mode, flags| {
            check_live(mode)?;
            match mode & kind::MASK {
                kind::REGULAR => {}
                kind::DIRECTORY => return Err(Error::IsDirectory),
                _ => return Err(Error::Invalid),
            }
            if flags & flag::INLINE_DATA != 0 || flags & flag::EXTENTS == 0 {
                return Err(Error::Unsupported(&"a change of a file without extents"));
            }
            Ok(())
        })
    }

    /// Writes into a file, which grows as far as that needs, and returns how many bytes were written: fewer than given if
    /// something failed behind them.
    ///
    /// The bytes are on their way to the disk afterwards; [`FileSystem::commit`] makes them durable.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::FileTooLarge`], [`Error::IsDirectory`], [`Error::Invalid`] for files of other types
    /// without content, [`Error::Unsupported`] for a file without extents, [`Error::ReadOnly`], [`Error::NoMemory`],
    /// [`Error::Corrupt`], or the disk's.
    pub fn write(&mut self, inode: u32, offset: u64, data: &[u8], now: Time) -> Result<usize> {
        self.check_writable()?;
        let end = offset.checked_add(data.len() as u64).ok_or(Error::FileTooLarge)?;
        self.span(end)?;
        if data.is_empty() {
            return self.writable_file(inode).map(|_| 0);
        }
        let mut done = 0;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            let piece = self.change(|fs| {
                let (target, len) = fs.take_piece(inode, offset + done as u64, rest.len(), now)?;
                // Last, since it is all that can't be undone. The commit that makes the changes durable is still to come.
                fs.write_data(target, rest.get(..len).unwrap_or_default())?;
                Ok(len)
            });
            match piece {
                Ok(len) => done += len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Gives a file blocks and size for up to `len` bytes at an offset, which is a block's multiple, and has the caller begin to write them: `begin`
    /// is told where on the disk that is, in bytes, and for how many. The caller writes whole blocks, with zeroes behind the last byte, and waits for that in
    /// [`FileSystem::sync_after`], before which it calls nothing else that changes the file system. Returns how many bytes were begun: those that lie together.
    ///
    /// # Errors
    /// Those of [`FileSystem::write`], and those of `begin`: the file is as it was.
    pub fn begin_write(
        &mut self,
        inode: u32,
        offset: u64,
        len: usize,
        now: Time,
        begin: &mut dyn FnMut(u64, usize) -> Result<()>,
    ) -> Result<usize> {
        self.check_writable()?;
        let end = offset.checked_add(len as u64).ok_or(Error::FileTooLarge)?;
        self.span(end)?;
        let block_bytes = u64::from(self.superblock.block_bytes);
        if !offset.is_multiple_of(block_bytes) || len == 0 {
            return Err(Error::Invalid);
        }
        let (target, len) = self.change(|fs| {
            let (target, len) = fs.take_piece(inode, offset, len, now)?;
            begin(fs.offset(target.start), len)?;
            Ok((target, len))
        })?;
        let whole = (len as u64).next_multiple_of(block_bytes);
        self.transaction.begun = target.is_new.then_some((inode, offset, whole));
        Ok(len)
    }

    /// What [was begun](FileSystem::begin_write) did not arrive: it reads as zeroes.
    pub(crate) fn lose_begun(&mut self) -> Result<()> {
        let Some((inode, offset, len)) = self.transaction.begun.take() else { return Ok(()) };
        let now = self.live_inode(inode)?.changed;
        let lost = self.allocate(inode, offset, len, Allocation::ZeroKeepSize, now);
        if lost.is_err() {
            // It must not show what another file had there.
            self.access = Access::Aborted;
        }
        lost
    }

    /// Before a file grows: what is behind its end in its last block becomes zeroes.
    pub(crate) fn clear_behind_end(&mut self, inode: &Inode) -> Result<()> {
        let span = self.span(inode.size)?;
        let run = self.run(inode, span.block, 1)?;
        match run.block.filter(|_| span.within > 0 && !run.unwritten) {
            Some(start) => self.clear_from(start, span.within),
            None => Ok(()),
        }
    }

    /// Writes zeroes over a block's bytes from a place on.
    fn clear_from(&mut self, block: u64, within: usize) -> Result<()> {
        let mut data = filled(0, self.superblock.block_bytes as usize)?;
        self.disk.read(self.offset(block), &mut data)?;
        data.get_mut(within..).unwrap_or_default().fill(0);
        Ok(self.disk.write(self.offset(block), &data)?)
    }

    /// Gives a file the blocks and the size for what goes into one run of blocks, and returns where that is, and how many bytes it has.
    fn take_piece(&mut self, number: u32, offset: u64, len: usize, now: Time) -> Result<(Target, usize)> {
        let fs = self;
        let block_bytes = fs.superblock.block_bytes as usize;
        let mut inode = fs.writable_file(number)?;
        let span = fs.span(offset)?;
        // Where the data begins in the file's last block, writing it clears what is between.
        if offset > inode.size && offset >> fs.superblock.block_log != inode.size >> fs.superblock.block_log {
            fs.clear_behind_end(&inode)?;
        }
        let wanted = (span.within + len).div_ceil(block_bytes).min(MAX_RUN as usize) as u32;
        let mut run = fs.run(&inode, span.block, wanted)?;
        let was_hole = run.block.is_none();
        let is_new = was_hole || run.unwritten;
        if was_hole {
            let goal = fs.goal(&inode, span.block)?;
            let (start, count) = fs.allocate_blocks(goal, run.count)?;
            (run.block, run.count) = (Some(start), count);
        }
        let start = run.block.ok_or(Error::NoSpace)?;
        let len = len.min(run.count as usize * block_bytes - span.within);
        let end = offset + len as u64;
        let kept = |at: u64| {
            if is_new { 0 } else { inode.size.saturating_sub(at).min(block_bytes as u64) as usize }
        };
        let target = Target {
            start,
            within: span.within,
            kept: kept(offset - span.within as u64),
            kept_at_end: kept(end - end % block_bytes as u64),
            is_new,
        };
        let written = (span.within + len).div_ceil(block_bytes) as u32;
        if was_hole {
            let new = Extent { block: span.block, len: run.count, start, unwritten: false };
            fs.insert_extent(&mut inode, new)?;
            fs.count_file_blocks(&mut inode, run.count, 0);
        } else if run.unwritten {
            fs.mark_written(&mut inode, span.block, written)?;
        }
        let grows = end > inode.size;
        inode.size = inode.size.max(end);
        (inode.modified, inode.changed) = (now, now);
        fs.note_inode(number, is_new || grows)?;
        fs.set_inode(&inode)?;
        Ok((target, len))
    }

    /// Where a file's next blocks would best be: behind those before them.
    pub(crate) fn goal(&mut self, inode: &Inode, block: u32) -> Result<u64> {
        if let (Some(before), _) = self.extent_at(inode, block)? {
            return Ok(before.start + u64::from(block - before.block));
        }
        let group = inode.number.saturating_sub(1) / self.superblock.inodes_per_group;
        Ok(self.superblock.first_block(group))
    }

    /// Writes data to the disk. Of the blocks in which it begins and ends the rest stays as it is, or becomes zeroes.
    fn write_data(&mut self, target: Target, data: &[u8]) -> Result<()> {
        let block_bytes = self.superblock.block_bytes as usize;
        let (mut start, mut data) = (target.start, data);
        if target.within > 0 || data.len() < block_bytes {
            let head = data.len().min(block_bytes - target.within);
            let (first, rest) = data.split_at(head);
            self.write_partly(start, target.within, first, target.kept)?;
            (start, data) = (start + 1, rest);
        }
        let (whole, tail) = data.split_at(data.len() / block_bytes * block_bytes);
        if !whole.is_empty() {
            self.disk.write(self.offset(start), whole)?;
            start += (whole.len() / block_bytes) as u64;
        }
        if tail.is_empty() { Ok(()) } else { self.write_partly(start, 0, tail, target.kept_at_end) }
    }

    /// Writes a part of a block, of which so many bytes at its beginning are kept.
    fn write_partly(&mut self, block: u64, within: usize, data: &[u8], kept: usize) -> Result<()> {
        let mut whole = filled(0, self.superblock.block_bytes as usize)?;
        let end = within + data.len();
        if kept > 0 && (within > 0 || kept > end) {
            self.disk.read(self.offset(block), &mut whole)?;
            whole.get_mut(kept..).unwrap_or_default().fill(0);
        }
        if let Some(place) = whole.get_mut(within..end) {
            place.copy_from_slice(data);
        }
        Ok(self.disk.write(self.offset(block), &whole)?)
    }
}
