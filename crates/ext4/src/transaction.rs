//! Changes of metadata. All go through [`FileSystem::change`]: what is changed joins the running transaction if the whole
//! operation succeeds, and is undone if it fails anywhere, for lack of space or memory or by an error of the disk.
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::{Access, FileSystem};
use alloc::vec::Vec;
use coracle_fallible::TryVec as _;
use coracle_sorted_map::SortedMap;

/// Blocks that one operation changes at most. The running transaction is committed before it has less room than that.
pub(crate) const OPERATION_BLOCKS: usize = 64;
/// Groups in which one transaction may free blocks: each takes the memory of a bitmap until the commit.
const MAX_BUSY: usize = 64;
/// Revoked blocks of one transaction.
pub(crate) const MAX_REVOKES: usize = 2048;
/// Inodes of one transaction.
const MAX_INODES: usize = 8192;
/// Bytes of undo memory that are kept from one operation to the next.
const KEPT_UNDO: usize = 16 << 10;

/// What was changed since the last commit.
#[derive(Default)]
pub(crate) struct Transaction {
    /// The blocks of metadata.
    pub blocks: Vec<u64>,
    /// Blocks of metadata that were freed: what older transactions say about them must not be replayed.
    pub revokes: SortedMap<u64, ()>,
    /// The inodes, and whether more of them changed than times.
    pub inodes: SortedMap<u32, bool>,
    /// Bitmaps of groups in which blocks were freed, with these still in use: until the commit is durable their content is
    /// that of files which a crash brings back.
    pub busy: SortedMap<u32, Vec<u8>>,
    /// What a file got whose bytes are still being written: inode, offset and length, in whole blocks.
    pub begun: Option<(u32, u64, u64)>,
}

/// Bytes of a block before they were changed.
struct Undo {
    block: u64,
    at: usize,
    /// Where the bytes begin among those kept, and how many they are.
    from: usize,
    len: usize,
}

/// What the operation under way changed.
#[derive(Default)]
pub(crate) struct Change {
    undo: Vec<Undo>,
    old: Vec<u8>,
    /// Blocks that were none of metadata before.
    fresh: Vec<u64>,
    /// Blocks of metadata that are free if the operation succeeds.
    freed: Vec<u64>,
    open: bool,
}

/// How many bytes at the beginning of two slices of one length are the same.
fn same_from_start(one: &[u8], other: &[u8]) -> usize {
    /// Bytes that are compared at a time.
    const STEP: usize = size_of::<u64>();
    let ((words, _), (others, _)) = (one.as_chunks::<STEP>(), other.as_chunks::<STEP>());
    let same = words.iter().zip(others).take_while(|(one, other)| one == other).count() * STEP;
    let rest = one.iter().zip(other).skip(same);
    same + rest.take_while(|(one, other)| one == other).count()
}

impl FileSystem {
    /// Carries out an operation wholly or not at all. Where it finds no space it is tried again after a commit, which gives
    /// blocks free that were in use until then.
    pub(crate) fn change<T>(&mut self, mut operation: impl FnMut(&mut FileSystem) -> Result<T>) -> Result<T> {
        self.begin()?;
        let mut result = operation(self);
        if matches!(result, Err(Error::NoSpace)) && self.begin_again()? {
            result = operation(self);
        }
        self.finish(result.is_ok());
        result
    }

    /// That the file system can be changed.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.access {
            Access::Writable => Ok(()),
            Access::ReadOnly(_) | Access::Aborted => Err(Error::ReadOnly),
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.check_writable()?;
        debug_assert!(!self.change.open, "operations do not nest");
        let transaction = &self.transaction;
        let full = transaction.blocks.len() + OPERATION_BLOCKS > self.transaction_blocks()
            || transaction.busy.len() > MAX_BUSY
            || transaction.revokes.len() > MAX_REVOKES
            || transaction.inodes.len() > MAX_INODES;
        if full {
            self.commit()?;
        }
        if self.transaction.blocks.is_empty() {
            self.make_log_room()?;
        }
        self.change.open = true;
        Ok(())
    }

    /// Undoes the operation and commits; false if there was nothing to commit.
    fn begin_again(&mut self) -> Result<bool> {
        self.finish(false);
        let again = !self.transaction.busy.is_empty();
        if again {
            self.commit()?;
        }
        self.change.open = true;
        Ok(again)
    }

    /// Ends the operation.
    fn finish(&mut self, succeeded: bool) {
        let mut change = core::mem::take(&mut self.change);
        if !succeeded {
            for undo in change.undo.iter().rev() {
                let old = change.old.get(undo.from..undo.from + undo.len).unwrap_or_default();
                self.patch(undo.block, undo.at, old);
            }
            for block in &change.freed {
                self.transaction.revokes.remove(block);
            }
        }
        let gone = if succeeded { &change.freed } else { &change.fresh };
        for block in gone {
            self.forget(*block);
        }
        if change.old.capacity() > KEPT_UNDO {
            return;
        }
        change.undo.clear();
        change.old.clear();
        change.fresh.clear();
        change.freed.clear();
        change.open = false;
        self.change = change;
    }

    /// Takes a block out of the cache and of the transaction.
    fn forget(&mut self, block: u64) {
        if let Some(index) = self.transaction.blocks.iter().rposition(|other| *other == block) {
            self.transaction.blocks.swap_remove(index);
        }
        self.cache.remove(block);
    }

    /// Writes into a block of the cache, if it is there, and leaves no trace of that.
    pub(crate) fn patch(&mut self, block: u64, at: usize, bytes: &[u8]) {
        if let Some(slot) = self.cache.find(block)
            && let Some(place) = self.cache.buffers[slot].data.get_mut(at..at + bytes.len())
        {
            place.copy_from_slice(bytes);
        }
    }

    /// Makes a block of the cache one of the transaction.
    fn join(&mut self, slot: usize) -> Result<()> {
        let buffer = &mut self.cache.buffers[slot];
        if !buffer.running {
            self.transaction.blocks.try_push(buffer.block)?;
            buffer.running = true;
        }
        Ok(())
    }

    /// Changes bytes of a block of metadata.
    pub(crate) fn put(&mut self, block: u64, kind: Kind, at: usize, bytes: &[u8]) -> Result<()> {
        debug_assert!(self.change.open, "metadata changes within operations only");
        let slot = self.slot(block, kind)?;
        let data = &self.cache.buffers[slot].data;
        let old = at.checked_add(bytes.len()).and_then(|end| data.get(at..end));
        let old = old.ok_or(Error::Corrupt(&"a structure ends behind its block"))?;
        // Only what differs is kept and written.
        let before = same_from_start(old, bytes);
        if before == bytes.len() {
            return Ok(());
        }
        let after = old.iter().rev().zip(bytes.iter().rev()).take_while(|(old, new)| old == new).count();
        let (at, bytes) = (at + before, &bytes[before..bytes.len() - after]);
        let from = self.change.old.len();
        self.change.old.try_extend_from_slice(&data[at..at + bytes.len()])?;
        self.change.undo.try_push(Undo { block, at, from, len: bytes.len() })?;
        self.join(slot)?;
        self.cache.buffers[slot].data[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Begins a block of metadata, of zeroes, where there was none.
    pub(crate) fn put_fresh(&mut self, block: u64, kind: Kind) -> Result<()> {
        debug_assert!(self.change.open, "metadata changes within operations only");
        self.change.fresh.make_room(1)?;
        // It may be there as what it was when it was last in use, or was not verified.
        self.cache.remove(block);
        let mut data = self.cache.room()?;
        data.fill(0);
        let slot = self.cache.insert(block, kind, data, u32::MAX)?;
        self.change.fresh.push_reserved(block);
        self.join(slot)
    }

    /// Notes that a block is no metadata any more.
    pub(crate) fn put_freed(&mut self, block: u64) -> Result<()> {
        self.change.freed.make_room(1)?;
        self.transaction.revokes.insert(block, ())?;
        self.change.freed.push_reserved(block);
        Ok(())
    }

    /// Notes that an inode changed; `data` says that what fdatasync(2) makes durable did.
    pub(crate) fn note_inode(&mut self, number: u32, data: bool) -> Result<()> {
        let data = data || self.transaction.inodes.get(&number).copied().unwrap_or(false);
        self.transaction.inodes.insert(number, data)?;
        Ok(())
    }
}
