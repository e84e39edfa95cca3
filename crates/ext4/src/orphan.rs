//! Orphans: inodes without a name that are still open, or whose blocks are being freed. They are in a list on the disk, so
//! that after a crash the next mount completes what was begun.
//!
//! Source: Linux's documentation of ext4's data structures, *Orphan file*, and `fs/ext4/orphan.c`.
use crate::bytes::{le32, set_le32};
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, Time};
use crate::superblock::{compat, field, ro_compat};
use coracle_fallible::filled;

/// Bytes at the end of a block of the orphan file that name no inodes.
const ORPHAN_TAIL_BYTES: usize = 8;

impl FileSystem {
    /// Puts an inode at the head of the list. Its caller writes it.
    pub(crate) fn add_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        inode.deleted = self.superblock_field(field::LAST_ORPHAN)?;
        self.put_superblock(field::LAST_ORPHAN, &inode.number.to_le_bytes())
    }

    /// Takes an inode out of the list. Its caller writes it.
    pub(crate) fn remove_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        let next = inode.deleted;
        inode.deleted = 0;
        let mut at = self.superblock_field(field::LAST_ORPHAN)?;
        if at == inode.number {
            return self.put_superblock(field::LAST_ORPHAN, &next.to_le_bytes());
        }
        for _ in 0..self.superblock.inodes {
            if at == 0 {
                break;
            }
            let mut before = self.inode(at)?;
            if before.deleted == inode.number {
                before.deleted = next;
                return self.set_inode(&before);
            }
            at = before.deleted;
        }
        Err(Error::Corrupt(&"an orphan is not in the list of orphans"))
    }

    /// Completes the deletions and truncations that were under way when the file system was last in use.
    #[inline(never)]
    pub(crate) fn complete_deletions(&mut self, now: Time) -> Result<()> {
        if self.check_writable().is_err() {
            return Ok(());
        }
        for _ in 0..self.superblock.inodes {
            let number = self.superblock_field(field::LAST_ORPHAN)?;
            if number == 0 {
                return self.complete_orphan_file(now);
            }
            self.complete(number, now)?;
            if self.superblock_field(field::LAST_ORPHAN)? == number {
                return Err(Error::Corrupt(&"an orphan stays in the list of orphans"));
            }
        }
        Err(Error::Corrupt(&"the list of orphans is a circle"))
    }

    fn complete(&mut self, number: u32, now: Time) -> Result<()> {
        let inode = self.live_inode(number)?;
        if inode.links == 0 { self.evict(number, now) } else { self.finish_truncation(number) }
    }

    /// The same for those that another system put into the orphan file.
    fn complete_orphan_file(&mut self, now: Time) -> Result<()> {
        let file = self.superblock.orphan_inode;
        let has_file = self.superblock.compat & compat::ORPHAN_FILE != 0;
        if !has_file || file == 0 || self.superblock.ro_compat & ro_compat::ORPHAN_PRESENT == 0 {
            return Ok(());
        }
        let inode = self.live_inode(file)?;
        let seed = self.superblock.inode_seed(inode.number, inode.generation);
        let mut block = filled(0, self.superblock.block_bytes as usize)?;
        let names = block.len() - ORPHAN_TAIL_BYTES;
        for index in 0..self.blocks_of(inode.size).min(u32::MAX.into()) as u32 {
            let place =
                self.run(&inode, index, 1)?.block.ok_or(Error::Corrupt(&"the orphan file has a hole"))?;
            block.copy_from_slice(self.block(place, Kind::Orphans(seed))?);
            for at in (0..names).step_by(4) {
                let number = le32(&block, at);
                if number == 0 {
                    continue;
                }
                // The list of Coracle takes the orphan over in the same transaction.
                self.change(|fs| {
                    fs.put(place, Kind::Orphans(seed), at, &[0; 4])?;
                    let mut inode = fs.live_inode(number)?;
                    fs.add_orphan(&mut inode)?;
                    fs.set_inode(&inode)
                })?;
                self.complete(number, now)?;
            }
        }
        self.change(|fs| {
            let mut flags = [0; 4];
            set_le32(&mut flags, 0, fs.superblock_field(field::RO_COMPAT)? & !ro_compat::ORPHAN_PRESENT);
            fs.put_superblock(field::RO_COMPAT, &flags)
        })
    }
}
