//! What stat(2) shows of a file, and what chmod(2), chown(2) and utimensat(2) change.
use crate::bytes::{le32, set_le32};
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, Time, kind};

/// A device's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Device {
    /// From the two forms in an inode: one word of two bytes, or one that has more room.
    fn read(map: &[u8]) -> Device {
        let old = le32(map, 0);
        if old != 0 {
            return Device { major: old >> 8 & 0xff, minor: old & 0xff };
        }
        let new = le32(map, 4);
        Device { major: new >> 8 & 0xfff, minor: new & 0xff | new >> 12 & 0xf_ff00 }
    }
    /// As Linux writes it.
    pub(crate) fn write(self, map: &mut [u8]) {
        if self.major < 256 && self.minor < 256 {
            set_le32(map, 0, self.major << 8 | self.minor);
            set_le32(map, 4, 0);
        } else {
            set_le32(map, 0, 0);
            set_le32(map, 4, self.minor & 0xff | (self.major & 0xfff) << 8 | (self.minor & 0xf_ff00) << 12);
        }
    }
}

/// What a file is: stat(2), statx(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The number of the inode.
    pub inode: u32,
    /// Type and permissions, as `st_mode`.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Names that the file has.
    pub links: u32,
    /// Bytes.
    pub size: u64,
    /// What the file takes on the disk, in units of 512 bytes.
    pub blocks: u64,
    /// The last access.
    pub accessed: Time,
    /// The last change of content.
    pub modified: Time,
    /// The last change of anything.
    pub changed: Time,
    /// When the file was made; zero where inodes have no room for it.
    pub created: Time,
    /// The device that the file stands for, if it does.
    pub device: Device,
    /// `i_flags`, as FS_IOC_GETFLAGS of ioctl_iflags(2) returns them.
    pub flags: u32,
    /// Another number for another file that had the same inode.
    pub generation: u32,
}

/// What is to be changed of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// The permissions: the lower twelve bits.
    pub permissions: Option<u16>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The last access.
    pub accessed: Option<Time>,
    /// The last change of content.
    pub modified: Option<Time>,
    /// The last change of anything.
    pub changed: Option<Time>,
}

impl FileSystem {
    /// What a file is.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or the disk's.
    pub fn attributes(&mut self, inode: u32) -> Result<Attributes> {
        let inode = self.live_inode(inode)?;
        let is_device = matches!(inode.kind(), kind::CHARACTER | kind::BLOCK);
        Ok(Attributes {
            inode: inode.number,
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            links: inode.links.into(),
            size: inode.size,
            blocks: inode.blocks,
            accessed: inode.accessed,
            modified: inode.modified,
            changed: inode.changed,
            created: inode.created,
            device: if is_device { Device::read(&inode.map) } else { Device::default() },
            flags: inode.flags,
            generation: inode.generation,
        })
    }

    /// Changes what is given of a file.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Corrupt`], [`Error::NoMemory`], or the disk's.
    pub fn set_attributes(&mut self, inode: u32, changes: &Changes) -> Result<()> {
        self.change(|fs| {
            let mut inode = fs.live_inode(inode)?;
            inode.apply(changes);
            let more_than_times =
                changes.permissions.is_some() || changes.uid.is_some() || changes.gid.is_some();
            fs.note_inode(inode.number, more_than_times)?;
            fs.set_inode(&inode)
        })
    }

    /// The target of a symbolic link, in a buffer: returns how many bytes of it there are.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the file is none, [`Error::Corrupt`], or the disk's.
    pub fn read_link(&mut self, inode: u32, into: &mut [u8]) -> Result<usize> {
        let inode = self.live_inode(inode)?;
        if inode.kind() != kind::SYMLINK {
            return Err(Error::Invalid);
        }
        let len = usize::try_from(inode.size).unwrap_or(usize::MAX).min(into.len());
        if !inode.is_short_link() {
            if inode.size > self.superblock.block_bytes.into() {
                return Err(Error::Corrupt(&"a symbolic link is too long"));
            }
            return self.read_inode(&inode, 0, into.get_mut(..len).unwrap_or_default());
        }
        if let (Some(to), Some(from)) = (into.get_mut(..len), inode.map.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }
}

impl Inode {
    fn apply(&mut self, changes: &Changes) {
        if let Some(permissions) = changes.permissions {
            self.mode = self.kind() | permissions & !kind::MASK;
        }
        self.uid = changes.uid.unwrap_or(self.uid);
        self.gid = changes.gid.unwrap_or(self.gid);
        self.accessed = changes.accessed.unwrap_or(self.accessed);
        self.modified = changes.modified.unwrap_or(self.modified);
        self.changed = changes.changed.unwrap_or(self.changed);
    }
}
