//! Renaming: rename(2), renameat2(2).
use super::insert::{Target, check_name};
use crate::directory::entry_kind;
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

    /// Apart from what calls it twice, for the stack's sake.
    #[inline(never)]
    fn rename_once(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        how: Rename,
        now: Time,
    ) -> Result<Option<(u32, u32)>> {
        let old_parent = self.writable_directory(from.directory)?;
        let new_parent = self.writable_directory(to.directory)?;
        let old = self.find(&old_parent, from.name)?.ok_or(Error::NotFound)?;
        let new = self.find(&new_parent, to.name)?;
        let file = self.live_inode(old.inode)?;
        let moves = from.directory != to.directory;
        if file.is_directory() && moves {
            self.check_not_within(to.directory, file.number)?;
        }
        let Some(new) = new else {
            if how == Rename::Exchange || new_parent.links == 0 {
                return Err(Error::NotFound);
            }
            let whiteout = self.whiteout_for(how, from, now)?;
            self.move_name(from, to, file, whiteout, now)?;
            return Ok(None);
        };
        if how == Rename::NoReplace {
            return Err(Error::Exists);
        }
        if new.inode == old.inode {
            return Ok(None);
        }
        let mut replaced = self.live_inode(new.inode)?;
        if how == Rename::Exchange {
            if replaced.is_directory() && moves {
                self.check_not_within(from.directory, replaced.number)?;
            }
            self.exchange(from, to, file, replaced, now)?;
            return Ok(None);
        }
        match (file.is_directory(), replaced.is_directory()) {
            (true, false) => return Err(Error::NotDirectory),
            (false, true) => return Err(Error::IsDirectory),
            _ => {}
        }
        let whiteout = self.whiteout_for(how, from, now)?;
        let mut new_parent = new_parent;
        self.set_target(&new_parent, new, target(&file))?;
        let left = if replaced.is_directory() {
            self.remove_directory(&mut new_parent, new, &mut replaced, now)?;
            0
        } else {
            self.drop_link(&mut replaced, now)?
        };
        self.set_directory(&mut new_parent, now)?;
        self.leave(from, to, file, whiteout, now)?;
        Ok(Some((replaced.number, left)))
    }

    /// What the old name is to lead to.
    fn whiteout_for(&mut self, how: Rename, from: Place<'_>, now: Time) -> Result<Option<Target>> {
        if how == Rename::Whiteout { self.make_whiteout(from.directory, now).map(Some) } else { Ok(None) }
    }

    /// Gives a file a name that is free, and takes the old one from it.
    fn move_name(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        file: Inode,
        whiteout: Option<Target>,
        now: Time,
    ) -> Result<()> {
        let mut new_parent = self.writable_directory(to.directory)?;
        self.insert_name(&mut new_parent, to.name, target(&file))?;
        self.set_directory(&mut new_parent, now)?;
        self.leave(from, to, file, whiteout, now)
    }

    /// Takes the old name from a file that has the new one already.
    fn leave(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        mut file: Inode,
        whiteout: Option<Target>,
        now: Time,
    ) -> Result<()> {
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
    fn exchange(
        &mut self,
        from: Place<'_>,
        to: Place<'_>,
        file: Inode,
        other: Inode,
        now: Time,
    ) -> Result<()> {
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
