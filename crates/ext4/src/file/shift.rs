//! Taking a range out of a file, and putting one in: fallocate(2) with `FALLOC_FL_COLLAPSE_RANGE` and `FALLOC_FL_INSERT_RANGE`.
use super::size::ALL_BLOCKS;
use crate::error::{Error, Result};
use crate::extent::{self, Extent};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, Time};

/// Extents that one operation moves: it is there after a crash as a whole, so it must fit into the log and into memory.
const MOST_MOVED: usize = 512;

impl FileSystem {
    /// Takes a range out of a file: what follows moves to its beginning. A failure may leave the range zeroed, and nothing moved.
    ///
    /// # Errors
    /// As [`FileSystem::allocate`]; [`Error::Invalid`] unless the range is of whole blocks and ends before the file does;
    /// [`Error::Unsupported`] if too many extents would move.
    pub fn collapse(&mut self, inode: u32, offset: u64, len: u64, now: Time) -> Result<()> {
        let (first, count) = self.whole_blocks(offset, len)?;
        if offset
            .checked_add(len)
            .is_none_or(|end| end >= self.writable_file(inode).map_or(0, |file| file.size))
        {
            return Err(Error::Invalid);
        }
        self.allocate(inode, offset, len, super::Allocation::PunchHole, now)?;
        self.change(|fs| {
            let mut file = fs.writable_file(inode)?;
            fs.shift_left(&mut file, first + count, count)?;
            file.size = file.size.saturating_sub(len);
            fs.end_shift(file, now)
        })
    }

    /// Puts a hole into a file: what was there moves behind it.
    ///
    /// # Errors
    /// As [`FileSystem::collapse`]; [`Error::Invalid`] unless the place is before the end of the file; [`Error::FileTooLarge`].
    pub fn insert(&mut self, inode: u32, offset: u64, len: u64, now: Time) -> Result<()> {
        let (first, count) = self.whole_blocks(offset, len)?;
        self.change(|fs| {
            let mut file = fs.writable_file(inode)?;
            if offset >= file.size {
                return Err(Error::Invalid);
            }
            let size = file.size.checked_add(len).ok_or(Error::FileTooLarge)?;
            fs.check_file_range(0, size)?;
            fs.shift_right(&mut file, first, count)?;
            file.size = size;
            fs.end_shift(file, now)
        })
    }

    /// A range as blocks of a file: the first one and how many. [`Error::Invalid`] if they are not whole.
    fn whole_blocks(&mut self, offset: u64, len: u64) -> Result<(u32, u32)> {
        self.check_writable()?;
        let block_bytes = u64::from(self.superblock.block_bytes);
        if len == 0 || !(offset | len).is_multiple_of(block_bytes) {
            return Err(Error::Invalid);
        }
        self.check_file_range(offset, len)?;
        let blocks = |bytes: u64| u32::try_from(bytes / block_bytes).map_err(|_| Error::FileTooLarge);
        Ok((blocks(offset)?, blocks(len)?))
    }

    fn end_shift(&mut self, mut file: Inode, now: Time) -> Result<()> {
        (file.modified, file.changed) = (now, now);
        self.note_inode(file.number, true)?;
        self.set_inode(&file)
    }

    /// Moves the extents from a block on, where one begins if there is one, to the left.
    fn shift_left(&mut self, file: &mut Inode, from: u32, by: u32) -> Result<()> {
        let mut at = from;
        let mut moved = 0;
        loop {
            let run = self.run(file, at, u32::MAX - at)?;
            if run.block.is_none() {
                match at.checked_add(run.count) {
                    Some(next) if run.count > 0 && next < u32::MAX => at = next,
                    _ => return Ok(()),
                }
                continue;
            }
            let path = self.path(file, at)?;
            let leaf = path.leaf();
            let index =
                leaf.index.checked_sub(1).ok_or(Error::Corrupt(&"an extent that was found is gone"))?;
            let found = Extent::parse(&extent::entry(self.node(file, leaf.node)?, index));
            let block =
                found.block.checked_sub(by).ok_or(Error::Corrupt(&"an extent lies where none can"))?;
            count_moved(&mut moved)?;
            self.remove_entry(file, &path, index)?;
            self.insert_extent(file, Extent { block, ..found })?;
            match u32::try_from(found.end()) {
                Ok(end) if end < u32::MAX => at = end,
                _ => return Ok(()),
            }
        }
    }

    /// Moves what lies from a block on to the right, the last first.
    fn shift_right(&mut self, file: &mut Inode, from: u32, by: u32) -> Result<()> {
        let mut end = ALL_BLOCKS;
        let mut moved = 0;
        while let Some((path, index, found)) = self.last_before(file, end)? {
            if found.end() <= from.into() {
                break;
            }
            if found.end() + u64::from(by) > ALL_BLOCKS {
                return Err(Error::FileTooLarge);
            }
            count_moved(&mut moved)?;
            // What lies before the place stays.
            let stays = from.saturating_sub(found.block);
            if stays > 0 {
                let left = Extent { len: stays, ..found };
                self.set_entry(file, path.leaf().node, index, &left.entry())?;
            } else {
                self.remove_entry(file, &path, index)?;
            }
            let new = Extent {
                block: found.block + stays + by,
                len: found.len - stays,
                start: found.start + u64::from(stays),
                unwritten: found.unwritten,
            };
            self.insert_extent(file, new)?;
            end = u64::from(found.block);
        }
        Ok(())
    }
}

fn count_moved(moved: &mut usize) -> Result<()> {
    *moved += 1;
    if *moved > MOST_MOVED { Err(Error::Unsupported(&"moving so many extents of a file")) } else { Ok(()) }
}
