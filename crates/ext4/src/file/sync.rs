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
        self.sync(inode, true)
    }

    /// The same, but that times may stay behind: fdatasync(2).
    ///
    /// # Errors
    /// Those of [`FileSystem::commit`].
    pub fn sync_data(&mut self, inode: u32) -> Result<()> {
        self.sync(inode, false)
    }

    fn sync(&mut self, inode: u32, times: bool) -> Result<()> {
        let changed = self.transaction.inodes.get(&inode).copied();
        if changed.is_some_and(|data| data || times) || self.check_writable().is_err() {
            return self.commit();
        }
        // What was written went over blocks that the file had.
        Ok(self.disk.flush()?)
    }
}
