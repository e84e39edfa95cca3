//! New files: open(2) with O_CREAT or O_TMPFILE, mkdir(2), mknod(2), symlink(2), link(2).
use super::insert::{Target, check_name, write_entry};
use crate::attributes::Device;
use crate::directory::entry_kind;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::FileSystem;
use crate::inode::{Inode, MAP_BYTES, Time, flag, kind};
use crate::superblock::{compat, ro_compat};
use coracle_fallible::filled;

/// Links of a file at most: Linux's `EXT4_LINK_MAX`.
const MAX_LINKS: u16 = 65_000;
/// The number of links of a directory that has too many to be counted.
const UNCOUNTED: u16 = 1;
/// Bytes of the entry for the directory itself.
const DOT_BYTES: usize = 12;

/// What a new file is.
#[derive(Clone, Copy, Debug)]
pub struct NewFile {
    /// Its type and permissions, as `st_mode`.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The device number of a device node.
    pub device: Device,
}

impl FileSystem {
    /// Makes a file of any type but a symbolic link, and returns the number of its inode. A directory has `.` and `..`.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotDirectory`], [`Error::NameTooLong`], [`Error::Invalid`] for a name that no file can
    /// have or an unknown type, [`Error::TooManyLinks`], [`Error::NoSpace`], [`Error::ReadOnly`], [`Error::NoMemory`],
    /// [`Error::Corrupt`], or the disk's.
    pub fn create(&mut self, directory: u32, name: &[u8], new: &NewFile, now: Time) -> Result<u32> {
        check_name(name)?;
        self.change(|fs| {
            let mut inode = fs.begin_file(directory, new, now)?;
            if inode.is_directory() {
                fs.begin_directory(&mut inode, directory)?;
            }
            fs.set_new_inode(&inode)?;
            fs.name_file(directory, name, &inode, now)?;
            Ok(inode.number)
        })
    }

    /// Makes a symbolic link, and returns the number of its inode.
    ///
    /// # Errors
    /// [`Error::NameTooLong`] where the target does not fit into a block, and as [`FileSystem::create`].
    pub fn symlink(
        &mut self,
        directory: u32,
        name: &[u8],
        target: &[u8],
        new: &NewFile,
        now: Time,
    ) -> Result<u32> {
        check_name(name)?;
        if target.is_empty() {
            return Err(Error::NotFound);
        }
        if target.len() >= self.superblock.block_bytes as usize {
            return Err(Error::NameTooLong);
        }
        let new = NewFile { mode: kind::SYMLINK | 0o777, ..*new };
        self.change(|fs| {
            let mut inode = fs.begin_file(directory, &new, now)?;
            inode.size = target.len() as u64;
            if target.len() < MAP_BYTES {
                inode.flags &= !flag::EXTENTS;
                inode.map = [0; MAP_BYTES];
                inode.map[..target.len()].copy_from_slice(target);
            } else {
                fs.write_link(&mut inode, target)?;
            }
            fs.set_new_inode(&inode)?;
            fs.name_file(directory, name, &inode, now)?;
            Ok(inode.number)
        })
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// [`Error::IsDirectory`] for a directory, and as [`FileSystem::create`]. A file without a name, made by
    /// [`FileSystem::create_unnamed`], may be given one.
    pub fn link(&mut self, directory: u32, name: &[u8], inode: u32, now: Time) -> Result<()> {
        check_name(name)?;
        self.change(|fs| {
            let mut file = fs.live_inode(inode)?;
            if file.is_directory() {
                return Err(Error::IsDirectory);
            }
            if file.links >= MAX_LINKS {
                return Err(Error::TooManyLinks);
            }
            if file.links == 0 {
                fs.remove_orphan(&mut file)?;
            }
            file.links += 1;
            file.changed = now;
            fs.note_inode(inode, true)?;
            fs.set_inode(&file)?;
            fs.name_file(directory, name, &file, now)
        })
    }

    /// Makes a file without a name, which [`FileSystem::evict`] ends or [`FileSystem::link`] names: O_TMPFILE of open(2).
    ///
    /// # Errors
    /// As [`FileSystem::create`].
    pub fn create_unnamed(&mut self, directory: u32, new: &NewFile, now: Time) -> Result<u32> {
        self.change(|fs| {
            let mut inode = fs.begin_file(directory, new, now)?;
            inode.links = 0;
            fs.add_orphan(&mut inode)?;
            fs.set_new_inode(&inode)?;
            Ok(inode.number)
        })
    }

    /// Makes a character device 0/0, which the caller gives a name in the directory.
    pub(super) fn make_whiteout(&mut self, directory: u32, now: Time) -> Result<Target> {
        let device = Device { major: 0, minor: 0 };
        let new = NewFile { mode: kind::CHARACTER, uid: 0, gid: 0, device };
        let inode = self.begin_file(directory, &new, now)?;
        self.set_new_inode(&inode)?;
        Ok(Target { inode: inode.number, kind: entry_kind(inode.mode) })
    }

    /// Takes an inode for a new file.
    fn begin_file(&mut self, directory: u32, new: &NewFile, now: Time) -> Result<Inode> {
        let parent = self.writable_directory(directory)?;
        if parent.links == 0 {
            return Err(Error::NotFound);
        }
        if entry_kind(new.mode) == 0 {
            return Err(Error::Invalid);
        }
        let is_directory = new.mode & kind::MASK == kind::DIRECTORY;
        let number = self.allocate_inode(directory, is_directory)?;
        let mut inode = self.new_inode(number, new.mode, now);
        (inode.uid, inode.gid) = (new.uid, new.gid);
        inode.flags = parent.flags & flag::INHERITED;
        match inode.kind() {
            kind::CHARACTER | kind::BLOCK => new.device.write(&mut inode.map),
            kind::REGULAR | kind::DIRECTORY | kind::SYMLINK => inode.begin_extents(),
            _ => {}
        }
        self.note_inode(number, true)?;
        Ok(inode)
    }

    /// Gives a new directory its first block.
    pub(crate) fn begin_directory(&mut self, inode: &mut Inode, parent: u32) -> Result<()> {
        let has_kinds = self.has_kinds();
        let mut block = self.empty_leaf()?;
        let end = self.leaf_bytes();
        let target = |inode| Target { inode, kind: entry_kind(kind::DIRECTORY) };
        write_entry(&mut block, DOT_BYTES, target(inode.number), b".", has_kinds);
        write_entry(&mut block[DOT_BYTES..], end - DOT_BYTES, target(parent), b"..", has_kinds);
        inode.links = 2;
        self.append_block(inode, &block)?;
        Ok(())
    }

    /// Writes the target of a symbolic link into a block of its own.
    fn write_link(&mut self, inode: &mut Inode, target: &[u8]) -> Result<()> {
        let goal = self.goal(inode, 0)?;
        let (start, len) = self.allocate_blocks(goal, 1)?;
        let mut block = filled(0, self.superblock.block_bytes as usize)?;
        if let Some(place) = block.get_mut(..target.len()) {
            place.copy_from_slice(target);
        }
        self.disk.write(self.offset(start), &block)?;
        self.insert_extent(inode, Extent { block: 0, len, start, unwritten: false })?;
        self.count_file_blocks(inode, len, 0);
        Ok(())
    }

    /// Puts a file's name into a directory, where it must be new.
    fn name_file(&mut self, directory: u32, name: &[u8], file: &Inode, now: Time) -> Result<()> {
        let mut parent = self.writable_directory(directory)?;
        if parent.links == 0 {
            return Err(Error::NotFound);
        }
        if self.find(&parent, name)?.is_some() {
            return Err(Error::Exists);
        }
        if file.is_directory() {
            self.add_subdirectory(&mut parent)?;
        }
        self.insert_name(&mut parent, name, Target { inode: file.number, kind: entry_kind(file.mode) })?;
        self.set_directory(&mut parent, now)
    }

    /// Writes a directory's inode after its entries changed.
    pub(super) fn set_directory(&mut self, directory: &mut Inode, now: Time) -> Result<()> {
        (directory.modified, directory.changed) = (now, now);
        self.note_inode(directory.number, true)?;
        self.set_inode(directory)
    }

    /// Counts a directory in a directory, whose `..` is a link.
    pub(super) fn add_subdirectory(&self, parent: &mut Inode) -> Result<()> {
        if parent.links == UNCOUNTED {
            return Ok(());
        }
        parent.links = parent.links.saturating_add(1);
        if parent.links > MAX_LINKS {
            let has_many = self.superblock.ro_compat & ro_compat::DIR_NLINK != 0;
            if !has_many || self.superblock.compat & compat::DIR_INDEX == 0 {
                return Err(Error::TooManyLinks);
            }
            parent.links = UNCOUNTED;
        }
        Ok(())
    }

    /// Counts one less.
    pub(super) fn remove_subdirectory(&self, parent: &mut Inode) {
        if parent.links > 2 {
            parent.links -= 1;
        }
    }
}
