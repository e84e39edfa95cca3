//! Commits: the running transaction goes to the log, after the data of files that it is about.
//!
//! What was written into files is on its way to the disk when their metadata changes. The flush before the commit block
//! makes both durable, the data and the log; the commit block is written so that it is durable itself. So a commit that is found after
//! a crash speaks of blocks that are there.
use super::layout::{HEADER_BYTES, MAGIC, REVOKE_COUNT, REVOKE_HEADER_BYTES, Tag, kind, set_header, tag};
use super::log::{CHUNK_BLOCKS, Journal};
use crate::bytes::{be32, set_be32};
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::{Access, FileSystem};
use crate::group::field;
use crate::verify;
use alloc::vec::Vec;
use coracle_fallible::TryVec as _;
use coracle_heap_sort::heap_sort;

impl FileSystem {
    /// Makes everything durable that was changed and written before. With nothing changed it only flushes the disk.
    ///
    /// # Errors
    /// [`Error::Disk`]: then the file system is [`Access::Aborted`], and what was changed since the last commit is lost.
    /// [`Error::NoMemory`]: nothing is lost, and the commit can be tried again.
    pub fn commit(&mut self) -> Result<()> {
        self.commit_after(&mut || true).map(drop)
    }

    /// The same, where the caller [has begun](FileSystem::begin_write) to write bytes of files: `settle` waits for that, and says
    /// whether they are with the disk. It is called once, unless there is an error before. False: they are not, and nothing was committed: what
    /// the files got for them [is to be taken back](FileSystem::lose_begun).
    pub(crate) fn commit_after(&mut self, settle: &mut dyn FnMut() -> bool) -> Result<bool> {
        match self.access {
            Access::Writable => {}
            Access::ReadOnly(_) => return Ok(true),
            Access::Aborted => return Err(Error::Disk(coracle_block::Error::Io)),
        }
        if self.transaction.blocks.is_empty() && self.transaction.revokes.is_empty() {
            self.transaction.inodes = Default::default();
            let is_settled = settle();
            self.disk.flush()?;
            return Ok(is_settled);
        }
        self.seal();
        heap_sort(&mut self.transaction.blocks, |block| *block);
        let committed = match self.journal.take() {
            Some(mut journal) => {
                let result = self.commit_to(&mut journal, settle);
                self.journal = Some(journal);
                result
            }
            // Without a journal, blocks go to their places at once.
            None if settle() => self.write_blocks(|buffer| buffer.running).map(|()| true),
            None => Ok(false),
        };
        if !self.aborting(committed)? {
            return Ok(false);
        }
        self.end_transaction(self.journal.is_some());
        match self.make_log_room() {
            // The next operation tries again.
            Ok(()) | Err(Error::NoMemory) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that the log has room for a transaction, while none is running.
    pub(crate) fn make_log_room(&mut self) -> Result<()> {
        let crowded = self.journal.as_ref().is_some_and(Journal::is_crowded);
        if self.transaction.blocks.is_empty() && (crowded || self.logged() > self.cache_capacity() / 2) {
            return self.checkpoint();
        }
        Ok(())
    }

    /// After an error of the disk what it holds is not known: nothing more is written.
    pub(super) fn aborting<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(Error::Disk(_) | Error::Corrupt(_)) = result {
            self.access = Access::Aborted;
        }
        result
    }

    /// Begins a new transaction.
    fn end_transaction(&mut self, logged: bool) {
        for block in &self.transaction.blocks {
            if let Some(slot) = self.cache.find(*block) {
                self.cache.buffers[slot].running = false;
                self.cache.buffers[slot].logged = logged;
            }
        }
        self.transaction.blocks.clear();
        self.transaction.revokes = Default::default();
        self.transaction.inodes = Default::default();
        self.transaction.busy = Default::default();
        self.transaction.begun = None;
    }

    /// Gives the changed blocks their checksums. Those of bitmaps are in the groups' descriptors, which changed as well.
    fn seal(&mut self) {
        for index in 0..self.transaction.blocks.len() {
            let Some(slot) = self.transaction.blocks.get(index).and_then(|block| self.cache.find(*block))
            else {
                continue;
            };
            let buffer = &mut self.cache.buffers[slot];
            match buffer.kind {
                Kind::BlockBitmap(group) if self.superblock.has_checksums() => {
                    let bits = self.superblock.blocks_per_group;
                    let checksum = verify::bitmap_checksum(&self.superblock, bits, &buffer.data);
                    self.seal_bitmap(group, field::BLOCK_BITMAP_CHECKSUM, checksum);
                }
                Kind::InodeBitmap(group) if self.superblock.has_checksums() => {
                    let bits = self.superblock.inodes_per_group;
                    let checksum = verify::bitmap_checksum(&self.superblock, bits, &buffer.data);
                    self.seal_bitmap(group, field::INODE_BITMAP_CHECKSUM, checksum);
                }
                kind => verify::seal(&self.superblock, kind, buffer.block, &mut buffer.data),
            }
        }
    }

    /// Writes a bitmap's checksum into its group's descriptor, which is in the transaction.
    fn seal_bitmap(&mut self, number: u32, place: (usize, usize), checksum: u32) {
        if let Ok(mut group) = self.group(number) {
            group.set_bitmap_checksum(place, checksum);
            self.patch_group(&group);
        }
    }

    /// Writes the transaction to the log, while what files got is on its way as well. False: that did not arrive, and the
    /// log is as before.
    fn commit_to(&mut self, journal: &mut Journal, settle: &mut dyn FnMut() -> bool) -> Result<bool> {
        let block_bytes = self.superblock.block_bytes as usize;
        let mut log = Log { fs: self, journal, head: 0, used: 0, start: 0 };
        log.head = log.journal.head;
        log.journal.chunk.clear();
        let begun =
            log.blocks(block_bytes).and_then(|()| log.revokes(block_bytes)).and_then(|()| log.write_chunk());
        let is_settled = settle();
        // Also after an error: no write is left behind.
        let flushed = log.fs.disk.flush();
        flushed?;
        if !is_settled {
            return Ok(false);
        }
        begun?;
        log.commit()?;
        let (head, used) = (log.head, log.used);
        journal.head = head;
        journal.used += used;
        journal.sequence = journal.sequence.wrapping_add(1);
        Ok(true)
    }
}

/// A transaction on its way to the log.
struct Log<'a> {
    fs: &'a mut FileSystem,
    journal: &'a mut Journal,
    head: u32,
    used: u32,
    /// Where the blocks begin on the disk that are collected to be written at once.
    start: u64,
}

impl Log<'_> {
    /// Takes the next block of the log, and returns where it is on the disk.
    fn take(&mut self) -> Result<u64> {
        if self.journal.used + self.used >= self.journal.blocks() {
            return Err(Error::Corrupt(&"a transaction is larger than the journal"));
        }
        let place = self.journal.place(self.head)?;
        self.head = self.journal.after(self.head);
        self.used += 1;
        Ok(place)
    }

    /// Adds a block. Blocks that follow each other on the disk are written together.
    fn push(&mut self, block: &[u8]) -> Result<()> {
        let place = self.take()?;
        let collected = (self.journal.chunk.len() / block.len()) as u64;
        if collected > 0 && (place != self.start + collected || collected as usize >= CHUNK_BLOCKS) {
            self.write_chunk()?;
        }
        if self.journal.chunk.is_empty() {
            self.start = place;
        }
        // The room was made when the journal was opened.
        Ok(self.journal.chunk.try_extend_from_slice(block)?)
    }

    fn write_chunk(&mut self) -> Result<()> {
        if !self.journal.chunk.is_empty() {
            self.fs.disk.begin_write(self.fs.offset(self.start), &self.journal.chunk)?;
            self.journal.chunk.clear();
        }
        Ok(())
    }

    /// The changed blocks, each descriptor before those that it describes.
    fn blocks(&mut self, block_bytes: usize) -> Result<()> {
        let per_block = self.journal.form.tags_per_block(block_bytes);
        let count = self.fs.transaction.blocks.len();
        let mut from = 0;
        while from < count {
            let until = count.min(from + per_block);
            self.descriptor(from, until)?;
            for index in from..until {
                let (slot, escaped) = self.logged_block(index)?;
                // The log must have no block that looks like one of its own.
                if escaped {
                    self.fs.cache.buffers[slot].data[..4].fill(0);
                }
                let data = core::mem::take(&mut self.fs.cache.buffers[slot].data);
                let result = self.push(&data);
                self.fs.cache.buffers[slot].data = data;
                if escaped {
                    set_be32(&mut self.fs.cache.buffers[slot].data, 0, MAGIC);
                }
                result?;
            }
            from = until;
        }
        Ok(())
    }

    /// A block of the transaction in the cache, and whether it begins as blocks of the log do.
    fn logged_block(&mut self, index: usize) -> Result<(usize, bool)> {
        let block = self.fs.transaction.blocks.get(index).copied();
        let slot = block.and_then(|block| self.fs.cache.find(block));
        let slot = slot.ok_or(Error::Corrupt(&"a changed block is not in memory"))?;
        Ok((slot, be32(&self.fs.cache.buffers[slot].data, 0) == MAGIC))
    }

    fn descriptor(&mut self, from: usize, until: usize) -> Result<()> {
        let (form, sequence) = (self.journal.form, self.journal.sequence);
        let mut descriptor = core::mem::take(&mut self.journal.descriptor);
        set_header(&mut descriptor, kind::DESCRIPTOR, sequence);
        let mut at = HEADER_BYTES;
        for index in from..until {
            let (slot, escaped) = self.logged_block(index)?;
            let buffer = &self.fs.cache.buffers[slot];
            let checksum = if !form.has_checksums() {
                0
            } else if escaped {
                form.escaped_checksum(sequence, &buffer.data)
            } else {
                form.data_checksum(sequence, &buffer.data)
            };
            let mut flags = if index == from { 0 } else { tag::SAME_UUID };
            if escaped {
                flags |= tag::ESCAPED;
            }
            if index + 1 == until {
                flags |= tag::LAST;
            }
            let uuid = &self.journal.superblock[super::layout::field::UUID..][..16];
            at = form.set_tag(&mut descriptor, at, Tag { block: buffer.block, flags, checksum }, uuid);
        }
        form.seal(&mut descriptor);
        let result = self.push(&descriptor);
        self.give_back(descriptor, at);
        result
    }

    /// The revoked blocks.
    fn revokes(&mut self, block_bytes: usize) -> Result<()> {
        let (form, sequence) = (self.journal.form, self.journal.sequence);
        let size = form.number_bytes();
        let revokes = core::mem::take(&mut self.fs.transaction.revokes);
        let mut block = core::mem::take(&mut self.journal.descriptor);
        let end = form.end(&block);
        debug_assert_eq!(block.len(), block_bytes);
        let mut result = Ok(());
        let mut at = 0;
        let mut left = revokes.len();
        for (number, ()) in revokes.iter() {
            if at == 0 {
                set_header(&mut block, kind::REVOKE, sequence);
                at = REVOKE_HEADER_BYTES;
            }
            if size == 8 {
                set_be32(&mut block, at, (number >> 32) as u32);
            }
            set_be32(&mut block, at + size - 4, *number as u32);
            at += size;
            left -= 1;
            if left == 0 || at + size > end {
                set_be32(&mut block, REVOKE_COUNT, at as u32);
                form.seal(&mut block);
                result = result.and_then(|()| self.push(&block));
                self.journal.form.clear(&mut block, at);
                at = 0;
            }
        }
        self.journal.descriptor = block;
        self.fs.transaction.revokes = revokes;
        result
    }

    /// The commit block, which is written alone, and is durable then.
    fn commit(&mut self) -> Result<()> {
        let mut block = core::mem::take(&mut self.journal.descriptor);
        set_header(&mut block, kind::COMMIT, self.journal.sequence);
        self.journal.form.seal(&mut block);
        let result =
            self.take().and_then(|place| Ok(self.fs.disk.write_durable(self.fs.offset(place), &block)?));
        self.give_back(block, HEADER_BYTES);
        result
    }

    /// Zeroes what was used of the memory for descriptors, up to a place and the checksum.
    fn give_back(&mut self, mut block: Vec<u8>, used: usize) {
        self.journal.form.clear(&mut block, used);
        self.journal.descriptor = block;
    }
}
