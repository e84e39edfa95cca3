//! The maps of files without extents, as ext2 and ext3 made them: twelve blocks in the inode, then one, two and three
//! levels of blocks with the numbers of others. They are read only.
//!
//! Source: Linux's documentation of ext4's data structures, *Direct/Indirect Block Addressing*.
use crate::bytes::le32;
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::extent::Run;
use crate::filesystem::FileSystem;
use crate::inode::Inode;

const DIRECT: u64 = 12;
const LEVELS: u32 = 3;

impl FileSystem {
    /// What such a file has from a block on.
    pub(crate) fn indirect_run(&mut self, inode: &Inode, block: u32, count: u32) -> Result<Run> {
        let mut run = Run { block: None, count: 0, unwritten: false };
        for index in 0..count {
            let Some(next) = block.checked_add(index) else { break };
            let (found, hole) = self.indirect_block(inode, next)?;
            let expected = run.block.map(|first| first + u64::from(index));
            if index == 0 {
                run.block = found;
            } else if found != expected {
                break;
            }
            run.count += 1;
            if hole > 1 && run.block.is_none() {
                // A hole of a whole subtree is passed at once.
                run.count = run.count.saturating_add(hole - 1).min(count);
                break;
            }
        }
        Ok(run)
    }

    /// Where one block is, and where it is nowhere, how many blocks from it on are nowhere for the same reason.
    fn indirect_block(&mut self, inode: &Inode, block: u32) -> Result<(Option<u64>, u32)> {
        let per_block = u64::from(self.superblock.block_bytes / 4);
        let mut rest = u64::from(block);
        if rest < DIRECT {
            return Ok((self.checked(le32(&inode.map, 4 * rest as usize))?, 1));
        }
        rest -= DIRECT;
        let mut levels = 1;
        let mut covered = per_block;
        while rest >= covered {
            if levels == LEVELS {
                return Err(Error::FileTooLarge);
            }
            rest -= covered;
            covered *= per_block;
            levels += 1;
        }
        let mut pointer = le32(&inode.map, 4 * (DIRECT as usize + levels as usize - 1));
        for _ in 0..levels {
            let Some(table) = self.checked(pointer)? else {
                return Ok((None, u32::try_from(covered - rest % covered).unwrap_or(u32::MAX)));
            };
            covered /= per_block;
            let index = (rest / covered % per_block) as usize;
            pointer = le32(self.block(table, Kind::Indirect)?, 4 * index);
        }
        Ok((self.checked(pointer)?, 1))
    }

    /// A block's number, which must lie in the file system. 0 is none.
    fn checked(&self, block: u32) -> Result<Option<u64>> {
        match u64::from(block) {
            0 => Ok(None),
            block if self.superblock.has_block(block) => Ok(Some(block)),
            _ => Err(Error::Corrupt(&"a file's block lies outside the file system")),
        }
    }
}
