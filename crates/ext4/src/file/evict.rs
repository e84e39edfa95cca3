//! The end of a file.
use super::size::ALL_BLOCKS;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Time, flag};

impl FileSystem {
    /// Frees the inode and the blocks of a file that has no name any more, and that no one has open any more. It does
    /// nothing to a file that has one.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::NoMemory`], [`Error::Corrupt`], or the disk's. The file stays in the list of orphans
    /// then, and the next mount frees it.
    pub fn evict(&mut self, inode: u32, now: Time) -> Result<()> {
        self.check_writable()?;
        loop {
            let done = self.change(|fs| {
                let mut file = fs.live_inode(inode)?;
                if file.links > 0 {
                    return Ok(true);
                }
                if file.has_blocks() {
                    if !file.has(flag::EXTENTS) {
                        return Err(Error::Unsupported(&"the deletion of a file without extents"));
                    }
                    if fs.remove_step(&mut file, 0, ALL_BLOCKS + 1)? {
                        fs.set_inode(&file)?;
                        return Ok(false);
                    }
                }
                fs.free_attributes(&mut file)?;
                fs.remove_orphan(&mut file)?;
                file.size = 0;
                file.deleted = (now.seconds as u32).max(1);
                let is_directory = file.is_directory();
                fs.set_inode(&file)?;
                fs.transaction.inodes.remove(&inode);
                fs.free_inode(inode, is_directory)?;
                Ok(true)
            })?;
            if done {
                return Ok(());
            }
        }
    }
}
