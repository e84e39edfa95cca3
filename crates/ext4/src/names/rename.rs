//! Renaming: rename(2), renameat2(2).
use super::insert::{Target, check_name};
use crate::directory::{Found, entry_kind};
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, Time};

/// Levels of directories that are looked at for a circle.
const MAX_DEPTH: usize = 1 << 16;

/// What becomes of a file that has the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It loses it.
    Replace,
    /// Then nothing is done (`RENAME_NOREPLACE`).
    NoReplace,
    /// It gets the old name; it must be there (`RENAME_EXCHANGE`).
    Exchange,
    /// It loses it, and the old name leads to a new character device 0/0, which hides that name in layers below
    /// (`RENAME_WHITEOUT`).
    Whiteout,
}

/// A name in a directory.
#[derive(Clone, Copy)]
struct Place<'a> {
    directory: u32,
    name: &'a [u8],
}

impl FileSystem {
    /// Renames a file, at one instant for all that look and for a crash. Returns the number of the inode that lost its name,
    /// and how many names it has left: without any, it lives until [`FileSystem::evict`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Exists`], [`Error::NotEmpty`], [`Error::IsDirectory`], [`Error::NotDirectory`],
    /// [`Error::Invalid`] where a directory would come into itself, [`Error::TooManyLinks`], [`Error::NoSpace`],
    /// [`Error::NameTooLong`], [`Error::ReadOnly`], [`Error::NoMemory`], [`Error::Corrupt`], or the disk's.
    pub fn rename(
        &mut self,
        from: (u32, &[u8]),
        to: (u32, &[u8]),
        how: Rename,
        now: Time,
    ) -> Result<Option<(u32, u32)>> {
        check_name(from.1)?;
        check_name(to.1)?;
        let from = Place { directory: from.0, name: from.1 };
        let to = Place { directory: to.0, name: to.1 };
        self.change(|fs| fs.rename_once(from, to, how, now))
    }

    /// Apart from what calls it twice, and in steps, for the stack's sake: inodes are large.
    #[inline(never)]
    fn rename_once(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        how: Rename,
        now: Time,
    ) -> Result<Option<(u32, u32)>> {
        let (old, _) = self.find_at(from)?;
        let (new, new_links) = self.find_at(to)?;
        let old = old.ok_or(Error::NotFound)?.inode;
        let moves_directory = self.is_directory(old)?;
        if moves_directory && from.directory != to.directory {
            self.check_not_within(to.directory, old)?;
        }
        let Some(new) = new else {
            if how == Rename::Exchange || new_links == 0 {
                return Err(Error::NotFound);
            }
            let whiteout = self.whiteout_for(how, from, now)?;
            self.move_name(from, to, old, whiteout, now)?;
            return Ok(None);
        };
        if how == Rename::NoReplace {
            return Err(Error::Exists);
        }
        if new.inode == old {
            return Ok(None);
        }
        let replaces_directory = self.is_directory(new.inode)?;
        if how == Rename::Exchange {
            if replaces_directory && from.directory != to.directory {
                self.check_not_within(from.directory, new.inode)?;
            }
            self.exchange(from, to, old, new.inode, now)?;
            return Ok(None);
        }
        match (moves_directory, replaces_directory) {
            (true, false) => return Err(Error::NotDirectory),
            (false, true) => return Err(Error::IsDirectory),
            _ => {}
        }
        let whiteout = self.whiteout_for(how, from, now)?;
        let left = self.replace(to, new, old, now)?;
        self.leave(from, to, old, whiteout, now)?;
        Ok(Some((new.inode, left)))
    }

    /// The entry of a directory that can be changed, and how many links the directory has.
    #[inline(never)]
    fn find_at(&mut self, place: Place<'_>) -> Result<(Option<Found>, u16)> {
        let directory = self.writable_directory(place.directory)?;
        Ok((self.find(&directory, place.name)?, directory.links))
    }

    #[inline(never)]
    fn is_directory(&mut self, inode: u32) -> Result<bool> {
        Ok(self.live_inode(inode)?.is_directory())
    }

    /// Has the entry `found` lead to the file `old`; returns how many names the other has left.
    #[inline(never)]
    fn replace(&mut self, to: Place<'_>, found: Found, old: u32, now: Time) -> Result<u32> {
        let target = self.target_of(old)?;
        let mut parent = self.writable_directory(to.directory)?;
        let mut replaced = self.live_inode(found.inode)?;
        self.set_target(&parent, found, target)?;
        let left = if replaced.is_directory() {
            self.remove_directory(&mut parent, found, &mut replaced, now)?;
            0
        } else {
            self.drop_link(&mut replaced, now)?
        };
        self.set_directory(&mut parent, now)?;
        Ok(left)
    }

    #[inline(never)]
    fn target_of(&mut self, inode: u32) -> Result<Target> {
        Ok(target(&self.live_inode(inode)?))
    }

    /// What the old name is to lead to.
    #[inline(never)]
    fn whiteout_for(&mut self, how: Rename, from: Place<'_>, now: Time) -> Result<Option<Target>> {
        if how == Rename::Whiteout { self.make_whiteout(from.directory, now).map(Some) } else { Ok(None) }
    }

    /// Gives a file a name that is free, and takes the old one from it.
    fn move_name(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        file: u32,
        whiteout: Option<Target>,
        now: Time,
    ) -> Result<()> {
        let target = self.target_of(file)?;
        self.add_name(to, target, now)?;
        self.leave(from, to, file, whiteout, now)
    }

    #[inline(never)]
    fn add_name(&mut self, to: Place<'_>, target: Target, now: Time) -> Result<()> {
        let mut parent = self.writable_directory(to.directory)?;
        self.insert_name(&mut parent, to.name, target)?;
        self.set_directory(&mut parent, now)
    }

    /// Takes the old name from a file that has the new one already.
    #[inline(never)]
    fn leave(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        file: u32,
        whiteout: Option<Target>,
        now: Time,
    ) -> Result<()> {
        let mut file = self.live_inode(file)?;
        // The new name may have moved the entry of the old one, or changed the directory.
        let mut old_parent = self.writable_directory(from.directory)?;
        let old = self.find(&old_parent, from.name)?.ok_or(Error::NotFound)?;
        match whiteout {
            Some(whiteout) => self.set_target(&old_parent, old, whiteout)?,
            None => self.remove_name(&old_parent, old)?,
        }
        if file.is_directory() && from.directory != to.directory {
            self.remove_subdirectory(&mut old_parent);
            let mut new_parent = self.writable_directory(to.directory)?;
            self.add_subdirectory(&mut new_parent)?;
            self.set_directory(&mut new_parent, now)?;
            self.set_parent(&mut file, to.directory)?;
        }
        self.set_directory(&mut old_parent, now)?;
        file.changed = now;
        self.note_inode(file.number, true)?;
        self.set_inode(&file)
    }

    /// Has two names change places.
    #[inline(never)]
    fn exchange(&mut self, from: Place<'_>, to: Place<'_>, file: u32, other: u32, now: Time) -> Result<()> {
        let (file, other) = (self.live_inode(file)?, self.live_inode(other)?);
        let moves = from.directory != to.directory;
        for (place, mut file, was_in, other) in
            [(to, file.clone(), from, &other), (from, other.clone(), to, &file)]
        {
            let mut parent = self.writable_directory(place.directory)?;
            let found = self.find(&parent, place.name)?.ok_or(Error::NotFound)?;
            self.set_target(&parent, found, target(&file))?;
            if moves && file.is_directory() {
                self.set_parent(&mut file, place.directory)?;
            }
            // A directory that leaves for a file is one subdirectory fewer.
            match (file.is_directory(), other.is_directory()) {
                (true, false) if moves => self.add_subdirectory(&mut parent)?,
                (false, true) if moves => self.remove_subdirectory(&mut parent),
                _ => {}
            }
            debug_assert!(was_in.directory != place.directory || !moves);
            self.set_directory(&mut parent, now)?;
            file.changed = now;
            self.note_inode(file.number, true)?;
            self.set_inode(&file)?;
        }
        Ok(())
    }

    /// Says in a directory that its parent is another.
    fn set_parent(&mut self, directory: &mut Inode, parent: u32) -> Result<()> {
        let found = self.find(directory, b"..")?.ok_or(Error::Corrupt(&"a directory has no parent"))?;
        self.put_directory(directory, found.block, found.at, &parent.to_le_bytes())
    }

    /// That a directory is not another one, nor somewhere in it.
    fn check_not_within(&mut self, mut directory: u32, other: u32) -> Result<()> {
        for _ in 0..MAX_DEPTH {
            if directory == other {
                return Err(Error::Invalid);
            }
            if directory == crate::ROOT {
                return Ok(());
            }
            let inode = self.directory(directory)?;
            let above = self.find(&inode, b"..")?.ok_or(Error::Corrupt(&"a directory has no parent"))?;
            directory = above.inode;
        }
        Err(Error::Corrupt(&"directories contain each other"))
    }
}

fn target(file: &Inode) -> Target {
    Target { inode: file.number, kind: entry_kind(file.mode) }
}
