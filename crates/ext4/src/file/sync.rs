//! Making files durable.
use crate::error::Result;
use crate::filesystem::FileSystem;

impl FileSystem {
    /// Makes a file durable, its content as far as it was written and all that is known about it: fsync(2). The names of a
    /// new file become durable with it.
    ///
    /// # Errors
    /// Those of [`FileSystem::commit`].
    pub fn sync_file(&mut self, inode: u32) -> Result<()> {
        self.sync_after(inode, false, &mut || true).map(drop)
    }

    /// The same, but that times may stay behind: fdatasync(2).
    ///
    /// # Errors
    /// Those of [`FileSystem::commit`].
    pub fn sync_data(&mut self, inode: u32) -> Result<()> {
        self.sync_after(inode, true, &mut || true).map(drop)
    }

    /// [`FileSystem::sync_file`], or [`FileSystem::sync_data`] if `data_only`, where the caller [has begun](FileSystem::begin_write) to write bytes of files:
    /// they and the metadata go to the disk together. `settle` waits for those writes, and says whether they have arrived; it is called once,
    /// unless there is an error before. False, if they have not: then nothing was committed, and what files got for them reads as zeroes.
    ///
    /// # Errors
    /// Those of [`FileSystem::commit`].
    pub fn sync_after(
        &mut self,
        inode: u32,
        data_only: bool,
        settle: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        if !self.is_committed(inode, data_only) || self.check_writable().is_err() {
            let is_settled = self.commit_after(settle)?;
            if !is_settled {
                self.lose_begun()?;
            }
            return Ok(is_settled);
        }
        // What was written went over blocks that the file had.
        let is_settled = settle();
        self.disk.flush()?;
        Ok(is_settled)
    }

    /// Whether all that is known about a file is committed, or, if `data_only`, what its content needs: then a file whose bytes are durable is synced.
    pub fn is_committed(&self, inode: u32, data_only: bool) -> bool {
        !self.transaction.inodes.get(&inode).is_some_and(|data| *data || !data_only)
    }
}
