//! Inodes and directory entries as the archive stores them.

use crate::format::{INODE_LEN, get_u32, get_u64};

/// Mask of the bits of a mode that are the type of file (inode(7)).
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// The number of an inode in its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub u32);

impl InodeId {
    /// The root directory.
    pub const ROOT: InodeId = InodeId(0);
}

/// The kinds of file an archive can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
}

impl FileKind {
    /// The kind that the bits of `mode` name, if an archive can hold it.
    pub const fn of_mode(mode: u32) -> Option<FileKind> {
        match mode & S_IFMT {
            S_IFDIR => Some(FileKind::Directory),
            S_IFREG => Some(FileKind::Regular),
            S_IFLNK => Some(FileKind::Symlink),
            _ => None,
        }
    }

    /// The bits of this kind in a mode.
    pub const fn mode_bits(self) -> u32 {
        match self {
            FileKind::Directory => S_IFDIR,
            FileKind::Regular => S_IFREG,
            FileKind::Symlink => S_IFLNK,
        }
    }
}

/// What the archive knows of one file. A copy; the data is reached through [`super::Archive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub id: InodeId,
    /// Kind and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names (for a directory 2 plus its subdirectories).
    pub nlink: u32,
    /// Last change of the data: seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of the last change.
    pub mtime_nsec: u32,
    /// The directory that holds this one (`..`); of use for directories only.
    pub parent: InodeId,
    /// Regular file: offset of the data in the archive. Directory: number of its first entry. Link: offset in the names.
    pub(super) place: u64,
    /// Regular file: bytes. Directory: number of entries (without `.` and `..`). Link: bytes of the target.
    pub size: u64,
}

impl Inode {
    /// Reads the record of inode `id`.
    pub(super) fn read(id: InodeId, record: &[u8]) -> Option<Inode> {
        if record.len() < INODE_LEN {
            return None;
        }
        let mode = get_u32(record, 0)?;
        FileKind::of_mode(mode)?;
        Some(Inode {
            id,
            mode,
            uid: get_u32(record, 4)?,
            gid: get_u32(record, 8)?,
            nlink: get_u32(record, 12)?,
            mtime: get_u64(record, 16)?.cast_signed(),
            mtime_nsec: get_u32(record, 24)?,
            parent: InodeId(get_u32(record, 28)?),
            place: get_u64(record, 32)?,
            size: get_u64(record, 40)?,
        })
    }

    /// The kind of file.
    pub const fn kind(&self) -> FileKind {
        match FileKind::of_mode(self.mode) {
            Some(kind) => kind,
            // `read` takes no other mode.
            None => FileKind::Regular,
        }
    }

    /// Whether this is a directory.
    pub const fn is_dir(&self) -> bool {
        matches!(self.kind(), FileKind::Directory)
    }

    /// Whether this is a regular file.
    pub const fn is_file(&self) -> bool {
        matches!(self.kind(), FileKind::Regular)
    }

    /// Whether this is a symbolic link.
    pub const fn is_symlink(&self) -> bool {
        matches!(self.kind(), FileKind::Symlink)
    }
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name; never empty, `.`, `..`, nor with a slash.
    pub name: &'a [u8],
    /// The inode it names.
    pub inode: InodeId,
    /// The kind of that inode, so that listing a directory need not read it.
    pub kind: FileKind,
}
