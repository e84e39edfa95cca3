//! Checkpoints: what the log holds goes to its place on the disk, and the log is empty again.
use super::log::CHUNK_BLOCKS;
use crate::cache::Buffer;
use crate::error::{Error, Result};
use crate::filesystem::{Access, FileSystem};
use alloc::vec::Vec;
use coracle_fallible::TryVec as _;
use coracle_heap_sort::heap_sort;

impl FileSystem {
    /// Blocks that the log has and their places on the disk have not.
    pub(super) fn logged(&self) -> usize {
        self.cache.buffers.iter().filter(|buffer| buffer.logged).count()
    }

    pub(super) fn cache_capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// Writes the logged blocks to their places. The running transaction is empty: a block that it changed must not be
    /// written.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        debug_assert!(self.transaction.blocks.is_empty());
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        let result = self.write_blocks(|buffer| buffer.logged).and_then(|()| {
            journal.used = 0;
            self.write_tail(&mut journal)?;
            // The log's blocks are written again only after this is durable: an older transaction must not be replayed.
            Ok(self.disk.flush()?)
        });
        self.journal = Some(journal);
        self.aborting(result)?;
        for buffer in &mut self.cache.buffers {
            buffer.logged = false;
        }
        Ok(())
    }

    /// Writes blocks of the cache to their places, and flushes the disk.
    pub(super) fn write_blocks(&mut self, which: impl Fn(&Buffer) -> bool) -> Result<()> {
        let block_bytes = self.superblock.block_bytes as usize;
        let mut slots = Vec::new();
        slots.make_room(self.cache.buffers.len())?;
        let mut chunk: Vec<u8> = Vec::new();
        chunk.make_room(CHUNK_BLOCKS * block_bytes)?;
        slots.try_extend((0..self.cache.buffers.len()).filter(|slot| which(&self.cache.buffers[*slot])))?;
        heap_sort(&mut slots, |slot| self.cache.buffers[*slot].block);
        let written = self.begin_blocks(&slots, &mut chunk);
        // Also after an error: no write is left behind.
        let flushed = self.disk.flush();
        written?;
        Ok(flushed?)
    }

    /// Begins to write buffers, whose blocks ascend. `chunk` has room.
    fn begin_blocks(&self, slots: &[usize], chunk: &mut Vec<u8>) -> Result<()> {
        let block_bytes = self.superblock.block_bytes as usize;
        let mut start = 0;
        for &slot in slots {
            let buffer = &self.cache.buffers[slot];
            let collected = chunk.len() / block_bytes;
            if collected > 0 && (buffer.block != start + collected as u64 || collected == CHUNK_BLOCKS) {
                self.disk.begin_write(self.offset(start), chunk)?;
                chunk.clear();
            }
            if chunk.is_empty() {
                start = buffer.block;
            }
            chunk.try_extend_from_slice(&buffer.data)?;
        }
        if !chunk.is_empty() {
            self.disk.begin_write(self.offset(start), chunk)?;
        }
        Ok(())
    }

    /// Commits, writes everything to its place, and marks the file system as clean. Nothing can be changed afterwards.
    ///
    /// # Errors
    /// Those of [`FileSystem::commit`].
    pub fn unmount(&mut self) -> Result<()> {
        match self.access {
            Access::Writable => {}
            Access::ReadOnly(_) => return Ok(()),
            Access::Aborted => return Err(Error::ReadOnly),
        }
        self.commit()?;
        self.checkpoint()?;
        if let Some(mut journal) = self.journal.take() {
            let result = self.write_empty(&mut journal).and_then(|()| Ok(self.disk.flush()?));
            self.journal = Some(journal);
            self.aborting(result)?;
        }
        let result = self.mark_clean();
        self.aborting(result)?;
        self.access = Access::ReadOnly("it is unmounted");
        Ok(())
    }
}
