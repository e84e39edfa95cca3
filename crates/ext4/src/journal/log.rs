//! The log: where its blocks are, and how much of it is in use.
use super::layout::{CHECKSUM_CRC32C, Form, MAGIC, field, incompat, kind, seal_superblock, superblock_holds};
use crate::bytes::{be32, set_be32};
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::superblock::incompat as fs_incompat;
use alloc::vec::Vec;
use coracle_fallible::{TryVec as _, filled};

/// Pieces of the journal's file at most.
const MAX_PIECES: usize = 4096;
/// Blocks that are written at once.
pub(super) const CHUNK_BLOCKS: usize = 16;
/// The shortest journal that has room for a transaction: Linux's `JBD2_MIN_JOURNAL_BLOCKS`.
const MIN_BLOCKS: u32 = 1024;
/// A transaction may fill this part of the log, as in JBD2.
const TRANSACTION_PART: u32 = 4;
/// Blocks of a transaction at most, as all of them are in memory.
const MAX_TRANSACTION: usize = 1024;

/// A run of the journal's blocks.
struct Piece {
    /// The first, in the journal.
    block: u32,
    /// The first, on the disk.
    start: u64,
    count: u32,
}

/// The journal.
pub(crate) struct Journal {
    pieces: Vec<Piece>,
    /// Its superblock.
    pub(super) superblock: Vec<u8>,
    pub(super) form: Form,
    /// The log has the blocks from here to the one before the end.
    pub(super) first: u32,
    pub(super) end: u32,
    /// Where the next transaction begins.
    pub(super) head: u32,
    /// Blocks that hold transactions which are not at their place on the disk.
    pub(super) used: u32,
    /// The number of the next transaction.
    pub(super) sequence: u32,
    /// Memory for blocks that are written together, made in advance.
    pub(super) chunk: Vec<u8>,
    /// Memory for a descriptor, of zeroes.
    pub(super) descriptor: Vec<u8>,
}

impl Journal {
    /// Where a block of the journal is on the disk.
    pub(super) fn place(&self, block: u32) -> Result<u64> {
        let index = self.pieces.partition_point(|piece| piece.block <= block);
        let piece = index.checked_sub(1).and_then(|index| self.pieces.get(index));
        let piece = piece.filter(|piece| block - piece.block < piece.count);
        let piece = piece.ok_or(Error::Corrupt(&"the journal has a hole"))?;
        Ok(piece.start + u64::from(block - piece.block))
    }

    /// The block of the log behind another.
    pub(super) fn after(&self, block: u32) -> u32 {
        if block + 1 >= self.end { self.first } else { block + 1 }
    }

    /// Blocks of the log.
    pub(super) fn blocks(&self) -> u32 {
        self.end - self.first
    }

    /// Blocks of a transaction at most.
    pub(crate) fn transaction_blocks(&self) -> usize {
        ((self.blocks() / TRANSACTION_PART) as usize).min(MAX_TRANSACTION)
    }

    /// Whether a transaction, with its descriptors and revocations, might find no room.
    pub(super) fn is_crowded(&self) -> bool {
        self.used as usize + 2 * self.transaction_blocks() > self.blocks() as usize
    }

    /// Whether the log holds transactions.
    pub(crate) fn is_empty(&self) -> bool {
        be32(&self.superblock, field::START) == 0
    }
}

impl FileSystem {
    /// Finds the journal, and reads its superblock.
    pub(crate) fn open_journal(&mut self) -> Result<Journal> {
        let number = self.superblock.journal_inode;
        if number == 0 {
            return Err(Error::Feature(&"of a journal on another disk"));
        }
        let inode = self.live_inode(number)?;
        let block_bytes = self.superblock.block_bytes;
        let blocks = u32::try_from(inode.size >> self.superblock.block_log).unwrap_or(u32::MAX);
        let mut pieces = Vec::new();
        let mut block = 0;
        while block < blocks {
            let run = self.run(&inode, block, blocks - block)?;
            let start = run.block.filter(|_| !run.unwritten && pieces.len() < MAX_PIECES);
            let start = start.ok_or(Error::Corrupt(&"the journal has a hole"))?;
            pieces.try_push(Piece { block, start, count: run.count })?;
            block += run.count.max(1);
        }
        let mut superblock = filled(0, block_bytes as usize)?;
        let start = pieces.first().ok_or(Error::Corrupt(&"the journal is empty"))?.start;
        self.disk.read(self.offset(start), &mut superblock)?;
        let (first, end) = check(&superblock, block_bytes, blocks)?;
        let mut chunk = Vec::new();
        chunk.make_room(CHUNK_BLOCKS * block_bytes as usize)?;
        let form = Form::of(&superblock);
        let sequence = be32(&superblock, field::SEQUENCE);
        let descriptor = filled(0, block_bytes as usize)?;
        Ok(Journal {
            pieces,
            superblock,
            form,
            first,
            end,
            head: first,
            used: 0,
            sequence,
            chunk,
            descriptor,
        })
    }

    /// Blocks that the running transaction may change.
    pub(crate) fn transaction_blocks(&self) -> usize {
        self.journal.as_ref().map_or(MAX_TRANSACTION, Journal::transaction_blocks)
    }

    /// Makes an empty journal ready for transactions, as Linux does for a file system of these features.
    pub(crate) fn start_journal(&mut self, journal: &mut Journal) -> Result<()> {
        let mut features = be32(&journal.superblock, field::INCOMPAT) | incompat::REVOKE;
        features &= !(incompat::CSUM_V2 | incompat::FAST_COMMIT);
        set_be32(&mut journal.superblock, 4, kind::SUPERBLOCK_2);
        if self.superblock.has_checksums() {
            features |= incompat::CSUM_V3;
            // A checksum of the whole transaction is the older way.
            set_be32(&mut journal.superblock, field::COMPAT, 0);
            if let Some(place) = journal.superblock.get_mut(field::CHECKSUM_TYPE) {
                *place = CHECKSUM_CRC32C;
            }
        }
        if self.superblock.incompat & fs_incompat::BITS_64 != 0 {
            features |= incompat::BITS_64;
        }
        set_be32(&mut journal.superblock, field::INCOMPAT, features);
        journal.form = Form::of(&journal.superblock);
        journal.head = journal.first;
        journal.used = 0;
        self.write_tail(journal)
    }

    /// Says in the journal's superblock that the log begins at its head.
    pub(super) fn write_tail(&self, journal: &mut Journal) -> Result<()> {
        set_be32(&mut journal.superblock, field::START, journal.head);
        self.write_journal_superblock(journal)
    }

    /// Says in the journal's superblock that the log is empty.
    pub(crate) fn write_empty(&self, journal: &mut Journal) -> Result<()> {
        set_be32(&mut journal.superblock, field::START, 0);
        self.write_journal_superblock(journal)
    }

    fn write_journal_superblock(&self, journal: &mut Journal) -> Result<()> {
        set_be32(&mut journal.superblock, field::SEQUENCE, journal.sequence);
        seal_superblock(&mut journal.superblock);
        let place = journal.place(0)?;
        Ok(self.disk.write(self.offset(place), &journal.superblock)?)
    }
}

/// Checks a journal's superblock, and returns where the log begins and ends.
fn check(superblock: &[u8], block_bytes: u32, blocks: u32) -> Result<(u32, u32)> {
    const KNOWN: u32 =
        incompat::REVOKE | incompat::BITS_64 | incompat::CSUM_V2 | incompat::CSUM_V3 | incompat::FAST_COMMIT;
    let version = be32(superblock, 4);
    if be32(superblock, 0) != MAGIC || !(kind::SUPERBLOCK_1..=kind::SUPERBLOCK_2).contains(&version) {
        return Err(Error::Corrupt(&"the journal has no superblock"));
    }
    let features = if version == kind::SUPERBLOCK_2 { be32(superblock, field::INCOMPAT) } else { 0 };
    if features & incompat::ASYNC_COMMIT != 0 {
        return Err(Error::Feature(&"journal_async_commit"));
    }
    if features & !KNOWN != 0 || (version == kind::SUPERBLOCK_2 && be32(superblock, field::RO_COMPAT) != 0) {
        return Err(Error::Feature(&"of a journal with unknown features"));
    }
    if !superblock_holds(superblock) {
        return Err(Error::Corrupt(&"the checksum of the journal's superblock is wrong"));
    }
    let fast =
        if features & incompat::FAST_COMMIT != 0 { be32(superblock, field::FAST_COMMIT_BLOCKS) } else { 0 };
    if fast != 0 && be32(superblock, field::START) != 0 {
        return Err(Error::Feature(&"fast_commit, with a journal to replay,"));
    }
    let (first, end) = (be32(superblock, field::FIRST), be32(superblock, field::BLOCKS));
    let right = be32(superblock, field::BLOCK_BYTES) == block_bytes
        && first > 0
        && end <= blocks
        && end.checked_sub(first).is_some_and(|log| log >= MIN_BLOCKS / 2);
    if right { Ok((first, end)) } else { Err(Error::Corrupt(&"the journal's superblock makes no sense")) }
}
