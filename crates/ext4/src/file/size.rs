//! Truncation.
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, Time};

/// Extents that one operation frees at most: each may lie in a group of its own.
const STEP: usize = 12;
/// A file has at most so many blocks.
pub(crate) const ALL_BLOCKS: u64 = u32::MAX as u64;

impl FileSystem {
    /// Sets the size of a file: truncate(2). What it grows by reads as zeroes.
    ///
    /// # Errors
    /// As [`FileSystem::write`].
    pub fn set_size(&mut self, inode: u32, size: u64, now: Time) -> Result<()> {
        self.check_writable()?;
        self.span(size)?;
        let file = self.writable_file(inode)?;
        if size > file.size {
            self.clear_behind_end(&file)?;
        }
        let more = self.change(|fs| {
            let mut file = fs.writable_file(inode)?;
            let shrinks = size < file.size;
            file.size = size;
            (file.modified, file.changed) = (now, now);
            fs.note_inode(inode, true)?;
            // Blocks may lie behind the end, too, where some were allocated in advance.
            let more = shrinks && fs.remove_step(&mut file, fs.first_behind(size), ALL_BLOCKS)?;
            if more {
                fs.add_orphan(&mut file)?;
            }
            fs.set_inode(&file)?;
            Ok(more)
        })?;
        if more { self.finish_truncation(inode) } else { Ok(()) }
    }

    /// The first block behind a file's end.
    pub(crate) fn first_behind(&self, size: u64) -> u32 {
        u32::try_from(self.blocks_of(size)).unwrap_or(u32::MAX)
    }

    /// Frees blocks of a range of a file, the last first. Whether there may be more.
    pub(crate) fn remove_step(&mut self, inode: &mut Inode, from: u32, end: u64) -> Result<bool> {
        for _ in 0..STEP {
            if !self.remove_last(inode, from, end)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Frees what an orphan with a name has behind its end, and takes it out of the list.
    pub(crate) fn finish_truncation(&mut self, number: u32) -> Result<()> {
        loop {
            let more = self.change(|fs| {
                let mut inode = fs.live_inode(number)?;
                if !inode.has_blocks() || !inode.has(crate::inode::flag::EXTENTS) {
                    fs.remove_orphan(&mut inode)?;
                    fs.set_inode(&inode)?;
                    return Ok(false);
                }
                let from = fs.first_behind(inode.size);
                let more = fs.remove_step(&mut inode, from, ALL_BLOCKS)?;
                if !more {
                    fs.remove_orphan(&mut inode)?;
                }
                fs.note_inode(number, true)?;
                fs.set_inode(&inode)?;
                Ok(more)
            })?;
            if !more {
                return Ok(());
            }
        }
    }

    /// That a range of a file lies where files can have bytes.
    pub(crate) fn check_file_range(&self, offset: u64, len: u64) -> Result<u64> {
        let end = offset.checked_add(len).ok_or(Error::FileTooLarge)?;
        self.span(end)?;
        if len == 0 { Err(Error::Invalid) } else { Ok(end) }
    }
}
