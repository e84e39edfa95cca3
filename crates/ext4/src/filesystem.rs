//! The mounted file system, and how its metadata is read and changed.
use crate::cache::{Cache, Kind, same_kind};
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::superblock::Superblock;
use crate::transaction::{Change, Transaction};
use crate::verify::verify;
use alloc::sync::Arc;
use coracle_block::Disk;

/// Whether the file system can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can.
    Writable,
    /// It can't, for this reason.
    ReadOnly(&'static str),
    /// It could, until a commit failed: what was changed since the last one is lost when it is unmounted.
    Aborted,
}

/// A mounted file system. See the crate's documentation.
pub struct FileSystem {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) superblock: Superblock,
    pub(crate) cache: Cache,
    pub(crate) access: Access,
    pub(crate) journal: Option<Journal>,
    pub(crate) transaction: Transaction,
    pub(crate) change: Change,
    /// A group whose inodes were used last, and where its inode table begins: that never changes.
    pub(crate) inode_table: Option<(u32, u64)>,
}

impl FileSystem {
    /// Whether the file system can be written.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u32 {
        self.superblock.block_bytes
    }

    /// The name of the volume, without trailing zeroes.
    pub fn label(&self) -> &[u8] {
        let label = &self.superblock.label;
        let len = label.iter().position(|byte| *byte == 0).unwrap_or(label.len());
        &label[..len]
    }

    /// The identity of the file system.
    pub fn uuid(&self) -> [u8; 16] {
        self.superblock.uuid
    }

    /// Gives the memory of clean blocks of metadata back.
    pub fn shrink(&mut self) {
        self.cache.shrink();
    }

    /// Where a block lies on the disk.
    pub(crate) fn offset(&self, block: u64) -> u64 {
        block << self.superblock.block_log
    }

    /// Where a block of metadata is in the cache. It is read and verified if it is not there.
    pub(crate) fn slot(&mut self, block: u64, kind: Kind) -> Result<usize> {
        if let Some(slot) = self.cache.find(block) {
            same_kind(self.cache.buffers[slot].kind, kind)?;
            return Ok(slot);
        }
        let is_first = kind == Kind::Super && block == self.superblock.superblock_block();
        if !is_first && !self.superblock.has_block(block) {
            return Err(Error::Corrupt(&"a block's number lies outside the file system"));
        }
        let mut data = self.cache.room()?;
        self.disk.read(self.offset(block), &mut data)?;
        verify(&self.superblock, kind, block, &data)?;
        self.cache.insert(block, kind, data, 0)
    }

    /// A block of metadata.
    pub(crate) fn block(&mut self, block: u64, kind: Kind) -> Result<&[u8]> {
        let slot = self.slot(block, kind)?;
        Ok(&self.cache.buffers[slot].data)
    }
}
