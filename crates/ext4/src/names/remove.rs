//! Removing names: unlink(2), rmdir(2).
use crate::directory::Found;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, Time};

impl FileSystem {
    /// Removes a name of a file that is no directory. Returns the number of its inode, and how many names are left: without
    /// any, the file lives until [`FileSystem::evict`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsDirectory`], [`Error::NotDirectory`] where `directory` is none, [`Error::ReadOnly`],
    /// [`Error::NoMemory`], [`Error::Corrupt`], or the disk's.
    pub fn unlink(&mut self, directory: u32, name: &[u8], now: Time) -> Result<(u32, u32)> {
        self.change(|fs| {
            let mut parent = fs.writable_directory(directory)?;
            let found = fs.find(&parent, name)?.ok_or(Error::NotFound)?;
            let mut file = fs.live_inode(found.inode)?;
            if file.is_directory() {
                return Err(Error::IsDirectory);
            }
            fs.remove_name(&parent, found)?;
            fs.set_directory(&mut parent, now)?;
            let left = fs.drop_link(&mut file, now)?;
            Ok((file.number, left))
        })
    }

    /// Removes an empty directory. Returns the number of its inode, which lives until [`FileSystem::evict`].
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::NotFound`], [`Error::NotDirectory`], [`Error::Invalid`] for `.`, [`Error::ReadOnly`],
    /// [`Error::NoMemory`], [`Error::Corrupt`], or the disk's.
    pub fn rmdir(&mut self, directory: u32, name: &[u8], now: Time) -> Result<u32> {
        match name {
            b"." => return Err(Error::Invalid),
            b".." => return Err(Error::NotEmpty),
            _ => {}
        }
        self.change(|fs| {
            let mut parent = fs.writable_directory(directory)?;
            let found = fs.find(&parent, name)?.ok_or(Error::NotFound)?;
            let mut file = fs.live_inode(found.inode)?;
            if !file.is_directory() {
                return Err(Error::NotDirectory);
            }
            fs.remove_directory(&mut parent, found, &mut file, now)?;
            fs.remove_name(&parent, found)?;
            fs.set_directory(&mut parent, now)?;
            Ok(file.number)
        })
    }

    /// Makes an empty directory an orphan, and counts it no more. Its name is left to the caller.
    pub(super) fn remove_directory(
        &mut self,
        parent: &mut Inode,
        found: Found,
        file: &mut Inode,
        now: Time,
    ) -> Result<()> {
        if found.inode == parent.number || !self.is_empty(file)? {
            return Err(Error::NotEmpty);
        }
        self.remove_subdirectory(parent);
        file.links = 0;
        file.changed = now;
        self.note_inode(file.number, true)?;
        self.add_orphan(file)?;
        self.set_inode(file)
    }

    /// Takes a link from a file, which becomes an orphan with its last. Returns how many are left.
    pub(super) fn drop_link(&mut self, file: &mut Inode, now: Time) -> Result<u32> {
        file.links = file.links.checked_sub(1).ok_or(Error::Corrupt(&"a file has a name and no links"))?;
        file.changed = now;
        if file.links == 0 {
            self.add_orphan(file)?;
        }
        self.note_inode(file.number, true)?;
        self.set_inode(file)?;
        Ok(file.links.into())
    }
}
