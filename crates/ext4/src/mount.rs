//! Mounting: what the superblock allows, what a crash left, and what a mounted file system says about itself.
use crate::bytes::{le16, le32, set_le16, set_le32};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::filesystem::{Access, FileSystem};
use crate::inode::Time;
use crate::superblock::{
    self, BYTES, OFFSET_BYTES, STATE_CLEAN, Superblock, compat, field, incompat, ro_compat,
};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_block::Disk;
use coracle_fallible::filled;

/// Where the superblock ends on the disk, in whole sectors of any disk.
const READ_BYTES: usize = 4096;

/// How a file system is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// It is not to be changed. What a crash left in the journal is replayed all the same, unless the disk can't be written.
    pub read_only: bool,
    /// Blocks of metadata that stay in memory while they are clean.
    pub cache_blocks: usize,
    /// The time, for files whose deletion is completed.
    pub now: Time,
}

impl Default for Options {
    fn default() -> Options {
        Options { read_only: false, cache_blocks: 256, now: Time::default() }
    }
}

/// The superblock's bytes as the disk has them.
fn read_superblock(disk: &dyn Disk) -> Result<Vec<u8>> {
    if disk.size_bytes() < READ_BYTES as u64 {
        return Err(Error::NotExt4);
    }
    let mut bytes = filled(0, READ_BYTES)?;
    disk.read(0, &mut bytes)?;
    let from = OFFSET_BYTES as usize;
    bytes.copy_within(from..from + BYTES, 0);
    bytes.truncate(BYTES);
    Ok(bytes)
}

/// Whether a disk seems to hold an ext2, ext3 or ext4 file system.
///
/// # Errors
/// The disk's, [`Error::NoMemory`].
pub fn probe(disk: &dyn Disk) -> Result<bool> {
    match read_superblock(disk) {
        Ok(bytes) => Ok(!matches!(Superblock::parse(&bytes), Err(Error::NotExt4))),
        Err(Error::NotExt4) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why a file system can't be written, if it can't.
fn read_only_reason(
    disk: &dyn Disk,
    superblock: &Superblock,
    bytes: &[u8],
    options: &Options,
) -> Option<&'static str> {
    let has_journal = superblock.compat & compat::HAS_JOURNAL != 0;
    let reasons = [
        (options.read_only, "it is mounted so"),
        (disk.read_only(), "the disk is"),
        (superblock.ro_compat & !ro_compat::KNOWN != 0, "it has features that allow only reading"),
        (superblock.incompat & incompat::EXTENTS == 0, "it is an ext2 or ext3, without extents"),
        (superblock.incompat & incompat::INLINE_DATA != 0, "it has the feature inline_data"),
        (
            !has_journal && le16(bytes, field::STATE) & STATE_CLEAN == 0,
            "it has no journal and was not unmounted (e2fsck checks it)",
        ),
    ];
    reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
}

/// Whether a file system can be written.
fn access(disk: &dyn Disk, superblock: &Superblock, bytes: &[u8], options: &Options) -> Result<Access> {
    if superblock.blocks > disk.size_bytes() >> superblock.block_log {
        return Err(Error::Corrupt(&"the disk is smaller than the file system"));
    }
    if disk.sector_bytes() > superblock.block_bytes {
        return Err(Error::Feature(&"of blocks smaller than the disk's sectors"));
    }
    let reason = read_only_reason(disk, superblock, bytes, options);
    Ok(reason.map_or(Access::Writable, Access::ReadOnly))
}

/// Whether a superblock is whole but for the bit that says that the journal is in use, which may have been on its way to the
/// disk when the power failed: only one of its sectors arrived.
fn is_whole_but_for_recover(bytes: &mut [u8]) -> bool {
    let flags = le32(bytes, field::INCOMPAT);
    set_le32(bytes, field::INCOMPAT, flags ^ incompat::RECOVER);
    let holds = superblock::checksum_holds(bytes);
    set_le32(bytes, field::INCOMPAT, flags);
    holds
}

impl FileSystem {
    /// Mounts the file system on a disk: replays the journal if a crash left one, and completes deletions that were under way.
    ///
    /// # Errors
    /// [`Error::NotExt4`], [`Error::Feature`], [`Error::UnknownFeatures`] and [`Error::Corrupt`] where it can't be used;
    /// [`Error::ReadOnly`] where the journal is to be replayed and the disk can't be written; the disk's;
    /// [`Error::NoMemory`].
    pub fn mount(disk: Arc<dyn Disk>, options: &Options) -> Result<FileSystem> {
        let bytes = read_superblock(&*disk)?;
        let mut fs = FileSystem::with_superblock(disk, &bytes, options)?;
        fs.bring_up(bytes, options)?;
        fs.complete_deletions(options.now)?;
        Ok(fs)
    }

    /// Replays the journal, and makes the file system one that can be written if it may be.
    #[inline(never)]
    fn bring_up(&mut self, bytes: Vec<u8>, options: &Options) -> Result<()> {
        let has_journal = self.superblock.compat & compat::HAS_JOURNAL != 0;
        let torn = !superblock::checksum_holds(&bytes);
        // A superblock that a checkpoint was writing is in the log as well.
        if torn && (!has_journal || self.disk.read_only()) {
            return Err(Error::Corrupt(&"the superblock's checksum is wrong"));
        }
        let mut journal = None;
        if has_journal && (torn || le32(&bytes, field::INCOMPAT) & incompat::RECOVER != 0) {
            let mut opened = self.open_journal()?;
            if !self.disk.read_only() {
                self.replay(&mut opened)?;
                // What was read before is of no worth.
                let bytes = self.settle_superblock()?;
                let superblock = Superblock::parse(&bytes)?;
                if superblock.block_log != self.superblock.block_log {
                    return Err(Error::Corrupt(&"the journal changes the size of blocks"));
                }
                self.superblock = superblock;
                self.access = access(&*self.disk, &self.superblock, &bytes, options)?;
                self.cache.shrink();
            } else if !opened.is_empty() {
                return Err(Error::ReadOnly);
            }
            journal = Some(opened);
        }
        if self.access != Access::Writable {
            return Ok(());
        }
        let was_in_use = journal.is_some();
        self.start(has_journal, journal)?;
        if was_in_use { self.recount() } else { Ok(()) }
    }

    /// A file system without a journal yet, whose cache is empty.
    fn with_superblock(disk: Arc<dyn Disk>, bytes: &[u8], options: &Options) -> Result<FileSystem> {
        let superblock = Superblock::parse(bytes)?;
        let access = access(&*disk, &superblock, bytes, options)?;
        let cache = Cache::new(superblock.block_bytes, options.cache_blocks.max(16));
        Ok(FileSystem {
            disk,
            superblock,
            cache,
            access,
            journal: None,
            transaction: Default::default(),
            change: Default::default(),
            inode_table: None,
        })
    }

    /// After the log was replayed: the superblock says so, and must be whole.
    fn settle_superblock(&mut self) -> Result<Vec<u8>> {
        let mut bytes = read_superblock(&*self.disk)?;
        if !superblock::checksum_holds(&bytes) && !is_whole_but_for_recover(&mut bytes) {
            return Err(Error::Corrupt(&"the superblock's checksum is wrong"));
        }
        self.patch_superblock(|bytes| {
            let flags = le32(bytes, field::INCOMPAT);
            set_le32(bytes, field::INCOMPAT, flags & !incompat::RECOVER);
        })?;
        self.disk.flush()?;
        read_superblock(&*self.disk)
    }

    /// Changes the superblock on the disk, past the journal.
    pub(crate) fn patch_superblock(&mut self, change: impl FnOnce(&mut [u8])) -> Result<()> {
        let block = self.superblock.superblock_block();
        let from = self.superblock.superblock_offset();
        self.cache.remove(block);
        let mut data = filled(0, self.superblock.block_bytes as usize)?;
        self.disk.read(self.offset(block), &mut data)?;
        let bytes = data.get_mut(from..from + BYTES).ok_or(Error::NotExt4)?;
        change(bytes);
        if self.superblock.has_checksums() {
            let checksum = superblock::checksum(bytes);
            set_le32(bytes, field::CHECKSUM, checksum);
        }
        Ok(self.disk.write(self.offset(block), &data)?)
    }

    /// Makes the file system one that is being written.
    fn start(&mut self, has_journal: bool, journal: Option<crate::journal::Journal>) -> Result<()> {
        if !has_journal {
            self.patch_superblock(|bytes| {
                let state = le16(bytes, field::STATE);
                set_le16(bytes, field::STATE, state & !STATE_CLEAN);
            })?;
            return Ok(self.disk.flush()?);
        }
        let mut journal = match journal {
            Some(journal) => journal,
            None => self.open_journal()?,
        };
        self.start_journal(&mut journal)?;
        self.journal = Some(journal);
        // Both writes are durable before the first commit is.
        self.patch_superblock(|bytes| {
            let flags = le32(bytes, field::INCOMPAT);
            set_le32(bytes, field::INCOMPAT, flags | incompat::RECOVER);
        })
    }

    /// Says in the superblock that nothing is left to be replayed or checked.
    pub(crate) fn mark_clean(&mut self) -> Result<()> {
        let has_journal = self.journal.is_some();
        self.patch_superblock(|bytes| {
            let flags = le32(bytes, field::INCOMPAT);
            set_le32(bytes, field::INCOMPAT, flags & !incompat::RECOVER);
            if !has_journal {
                let state = le16(bytes, field::STATE);
                set_le16(bytes, field::STATE, state | STATE_CLEAN);
            }
        })?;
        Ok(self.disk.flush()?)
    }
}

/// How full a file system is: statfs(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Blocks, without those that the file system's own structures take in each group.
    pub blocks: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Those that users other than root may take.
    pub available_blocks: u64,
    /// Inodes.
    pub inodes: u32,
    /// Inodes that are free.
    pub free_inodes: u32,
}

impl FileSystem {
    /// How full the file system is.
    ///
    /// # Errors
    /// The disk's, [`Error::Corrupt`].
    pub fn statistics(&mut self) -> Result<Statistics> {
        let (free_blocks, free_inodes) = self.free_counts()?;
        let superblock = &self.superblock;
        let table_bytes = u64::from(superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
        let table_blocks = table_bytes.div_ceil(superblock.block_bytes.into());
        let groups = u64::from(superblock.groups);
        let backups: u64 =
            (0..superblock.groups).map(|group| u64::from(superblock.backup_blocks(group))).sum();
        let overhead = u64::from(superblock.first_data_block) + backups + groups * (table_blocks + 2);
        Ok(Statistics {
            block_bytes: superblock.block_bytes,
            blocks: superblock.blocks.saturating_sub(overhead),
            free_blocks,
            available_blocks: free_blocks.saturating_sub(superblock.reserved_blocks),
            inodes: superblock.inodes,
            free_inodes,
        })
    }
}
