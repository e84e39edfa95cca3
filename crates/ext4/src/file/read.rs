//! Reading files, and where their blocks are.
use crate::error::{Error, Result};
use crate::extent::Run;
use crate::filesystem::FileSystem;
use crate::inode::{Inode, flag};
use coracle_fallible::filled;

/// Bytes of a file that lie in whole blocks, or within one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The first block.
    pub block: u32,
    /// Where the bytes begin in it.
    pub within: usize,
}

impl FileSystem {
    /// The block that an offset of a file is in. A file has fewer than 2^32 blocks.
    pub(crate) fn span(&self, offset: u64) -> Result<Span> {
        let block = u32::try_from(offset >> self.superblock.block_log).ok().filter(|block| *block < u32::MAX);
        let within = (offset & u64::from(self.superblock.block_bytes - 1)) as usize;
        Ok(Span { block: block.ok_or(Error::FileTooLarge)?, within })
    }

    /// Blocks of a file that bytes up to an end take.
    pub(crate) fn blocks_of(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.superblock.block_bytes.into())
    }

    /// Where a file has its blocks, from a block of it on: one run of at most `count`. The blocks of a run that is written can
    /// be read from and written to the disk at `block * block_bytes` as long as the file has them. Behind the end of the file
    /// the disk's bytes mean nothing.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the file's content lies in its inode, [`Error::Invalid`] if it is of a type without content,
    /// [`Error::Corrupt`], or the disk's.
    pub fn map(&mut self, inode: u32, block: u32, count: u32) -> Result<Run> {
        let inode = self.mapped_inode(inode)?;
        self.run(&inode, block, count.max(1))
    }

    /// [`FileSystem::map`] of all of the run that a block lies in, with the first block of the file that it has. A hole is told from `block` on.
    ///
    /// # Errors
    /// As [`FileSystem::map`].
    pub fn map_around(&mut self, inode: u32, block: u32) -> Result<(u32, Run)> {
        let inode = self.mapped_inode(inode)?;
        self.run_around(&inode, block)
    }

    /// The inode of a file that has its content in blocks.
    fn mapped_inode(&mut self, inode: u32) -> Result<Inode> {
        let inode = self.live_inode(inode)?;
        if inode.has(flag::INLINE_DATA) {
            return Err(Error::Unsupported(&"a map of a file whose content lies in its inode"));
        }
        if !inode.has_blocks() {
            return Err(Error::Invalid);
        }
        Ok(inode)
    }

    /// Reads from a file, and returns how many bytes there were: fewer than asked for at its end.
    ///
    /// # Errors
    /// [`Error::IsDirectory`], [`Error::Invalid`] if the file is of a type without content, [`Error::Corrupt`],
    /// [`Error::NoMemory`], or the disk's.
    pub fn read(&mut self, inode: u32, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.live_inode(inode)?;
        if inode.is_directory() {
            return Err(Error::IsDirectory);
        }
        self.read_inode(&inode, offset, into)
    }

    pub(crate) fn read_inode(&mut self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(inode.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = left.min(into.len());
        let into = into.get_mut(..len).unwrap_or_default();
        if inode.has(flag::INLINE_DATA) {
            return self.read_inline(inode, offset, into);
        }
        if !inode.has_blocks() {
            return Err(Error::Invalid);
        }
        let mut done = 0;
        while done < len {
            done += self.read_piece(inode, offset + done as u64, into.get_mut(done..).unwrap_or_default())?;
        }
        Ok(len)
    }

    /// Reads what lies in one run.
    fn read_piece(&mut self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<usize> {
        let block_bytes = self.superblock.block_bytes as usize;
        let span = self.span(offset)?;
        let wanted = u32::try_from((span.within + into.len()).div_ceil(block_bytes)).unwrap_or(u32::MAX);
        let run = self.run(inode, span.block, wanted)?;
        let bytes = (run.count as usize).saturating_mul(block_bytes).saturating_sub(span.within);
        let len = bytes.min(into.len());
        let Some(start) = run.block.filter(|_| !run.unwritten) else {
            into.get_mut(..len).unwrap_or_default().fill(0);
            return Ok(len);
        };
        // Whole blocks go straight into the buffer, others by way of one.
        let whole = len / block_bytes * block_bytes;
        if span.within == 0 && whole > 0 {
            self.disk.read(self.offset(start), into.get_mut(..whole).unwrap_or_default())?;
            return Ok(whole);
        }
        let len = len.min(block_bytes - span.within);
        let mut block = filled(0, block_bytes)?;
        self.disk.read(self.offset(start), &mut block)?;
        if let (Some(to), Some(from)) = (into.get_mut(..len), block.get(span.within..span.within + len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    /// Reads content that lies in the inode: at first in the place for its blocks, then in an attribute.
    fn read_inline(&mut self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<usize> {
        let rest = self.inline_rest(inode)?;
        let content = inode.map.iter().chain(&rest).skip(usize::try_from(offset).unwrap_or(usize::MAX));
        into.fill(0);
        for (to, from) in into.iter_mut().zip(content) {
            *to = *from;
        }
        Ok(into.len())
    }
}
