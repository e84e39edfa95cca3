//! What is done with the log after a crash: each transaction whose commit is there is written to its place.
use super::layout::{HEADER_BYTES, MAGIC, REVOKE_COUNT, REVOKE_HEADER_BYTES, field, kind, tag};
use super::log::Journal;
use crate::bytes::{be32, set_be32};
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use coracle_fallible::filled;
use coracle_sorted_map::SortedMap;

/// A way through the log.
struct Cursor {
    block: u32,
    sequence: u32,
    /// Blocks that were passed.
    passed: u32,
}

/// What is done on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Look for the last commit.
    Scan,
    /// Collect the revocations.
    Revoke,
    /// Write the blocks.
    Replay,
}

/// Of each revoked block the last transaction that revoked it.
type Revokes = SortedMap<u64, u32>;

impl FileSystem {
    /// Replays the journal, and empties it.
    pub(crate) fn replay(&mut self, journal: &mut Journal) -> Result<()> {
        if journal.is_empty() {
            return Ok(());
        }
        let mut block = filled(0, self.superblock.block_bytes as usize)?;
        let mut data = filled(0, self.superblock.block_bytes as usize)?;
        let mut revokes = Revokes::new();
        let mut end = None;
        for pass in [Pass::Scan, Pass::Revoke, Pass::Replay] {
            let reached = self.pass(journal, pass, end, &mut revokes, &mut block, &mut data)?;
            end = Some(reached);
        }
        self.disk.flush()?;
        // The number of a transaction that was begun is not used again.
        journal.sequence = end.unwrap_or(journal.sequence).wrapping_add(1);
        self.write_empty(journal)?;
        Ok(self.disk.flush()?)
    }

    /// One way through the log, to its end or to a transaction. Returns the number of the first that is not there.
    fn pass(
        &mut self,
        journal: &Journal,
        pass: Pass,
        end: Option<u32>,
        revokes: &mut Revokes,
        block: &mut [u8],
        data: &mut [u8],
    ) -> Result<u32> {
        let mut cursor = Cursor {
            block: be32(&journal.superblock, field::START),
            sequence: be32(&journal.superblock, field::SEQUENCE),
            passed: 0,
        };
        if !(journal.first..journal.end).contains(&cursor.block) {
            return Err(Error::Corrupt(&"the journal begins outside itself"));
        }
        while cursor.passed < journal.blocks() && end != Some(cursor.sequence) {
            self.disk.read(self.offset(journal.place(cursor.block)?), block)?;
            if be32(block, 0) != MAGIC || be32(block, 8) != cursor.sequence {
                break;
            }
            let what = be32(block, 4);
            if !matches!(what, kind::DESCRIPTOR | kind::COMMIT | kind::REVOKE)
                || !journal.form.checksum_holds(block)
            {
                break;
            }
            cursor.step(journal);
            match what {
                kind::DESCRIPTOR => self.descriptor(journal, pass, &mut cursor, revokes, block, data)?,
                kind::REVOKE if pass == Pass::Revoke => self.revocations(journal, &cursor, revokes, block)?,
                kind::COMMIT => cursor.sequence = cursor.sequence.wrapping_add(1),
                _ => {}
            }
        }
        Ok(cursor.sequence)
    }

    /// Passes the blocks that a descriptor describes.
    fn descriptor(
        &mut self,
        journal: &Journal,
        pass: Pass,
        cursor: &mut Cursor,
        revokes: &Revokes,
        descriptor: &[u8],
        data: &mut [u8],
    ) -> Result<()> {
        let mut at = HEADER_BYTES;
        while let Some((found, next)) = journal.form.tag(descriptor, at) {
            if pass == Pass::Replay {
                let revoked = revokes.get(&found.block);
                // Numbers go round: later is what is less than half the way ahead.
                let is_revoked = revoked.is_some_and(|last| (last.wrapping_sub(cursor.sequence) as i32) >= 0);
                if !is_revoked {
                    self.disk.read(self.offset(journal.place(cursor.block)?), data)?;
                    if !journal.form.data_checksum_holds(cursor.sequence, data, &found) {
                        return Err(Error::Corrupt(&"a block in the journal has a wrong checksum"));
                    }
                    if found.flags & tag::ESCAPED != 0 {
                        set_be32(data, 0, MAGIC);
                    }
                    self.replay_block(found.block, data)?;
                }
            }
            cursor.step(journal);
            at = next;
            if found.flags & tag::LAST != 0 || cursor.passed > journal.blocks() {
                break;
            }
        }
        Ok(())
    }

    fn replay_block(&mut self, block: u64, data: &[u8]) -> Result<()> {
        let first = self.superblock.superblock_block();
        if block != first && !self.superblock.has_block(block) {
            return Err(Error::Corrupt(&"the journal has a block from outside the file system"));
        }
        Ok(self.disk.write(self.offset(block), data)?)
    }

    fn revocations(
        &mut self,
        journal: &Journal,
        cursor: &Cursor,
        revokes: &mut Revokes,
        block: &[u8],
    ) -> Result<()> {
        let used = (be32(block, REVOKE_COUNT) as usize).min(journal.form.end(block));
        let size = journal.form.number_bytes();
        for number in block.get(REVOKE_HEADER_BYTES..used).unwrap_or_default().chunks_exact(size) {
            let number = match size {
                8 => u64::from(be32(number, 0)) << 32 | u64::from(be32(number, 4)),
                _ => be32(number, 0).into(),
            };
            revokes.insert(number, cursor.sequence)?;
        }
        Ok(())
    }
}

impl Cursor {
    fn step(&mut self, journal: &Journal) {
        self.block = journal.after(self.block);
        self.passed += 1;
    }
}
