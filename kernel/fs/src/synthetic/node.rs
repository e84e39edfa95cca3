//! The inodes of made files.
use super::file::MadeFile;
use super::table::{Directory, Kind, Made};
use crate::memory::DirectoryFile;
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{DirEntry, Inode, Link, TakeEntry, Usage};
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::{Metadata, Timestamp, entry_kind};
use coracle_fallible::{NoMemory, try_arc, try_arc_bytes, try_arc_cyclic};
use coracle_hal::sync::atomic::AtomicBool;
use core::any::Any;
use linux_raw_sys::general::{S_IFDIR, S_IFLNK, S_IFREG};

/// Device number and magic of a file system of made files.
#[derive(Clone, Copy)]
pub struct FsId {
    /// st_dev.
    pub device: u64,
    /// f_type.
    pub magic: u64,
}

/// A made file.
pub struct Node {
    fs: FsId,
    inode: u64,
    kind: Kind,
    /// Directory it was found in, and its name there; none for the root.
    parent: Option<(Arc<Node>, Arc<[u8]>)>,
    owner: (u32, u32),
    /// Something is mounted somewhere in the file system: its nodes are made anew each time, and can't know better.
    mounted: Arc<AtomicBool>,
    this: alloc::sync::Weak<Node>,
}

impl Node {
    /// The root directory of a file system. ENOMEM.
    pub fn root(fs: FsId, directory: Box<dyn Directory>) -> Result<Arc<Node>, NoMemory> {
        const ROOT_INODE: u64 = 1;
        Self::new(fs, ROOT_INODE, Kind::Directory(directory), None)
    }
    /// A read-only file that no directory lists. ENOMEM.
    pub fn file(fs: FsId, made: Box<dyn Made>) -> Result<Arc<Node>, NoMemory> {
        /// Beside the root's number, and below those of entries.
        const FILE_INODE: u64 = 2;
        Self::new(fs, FILE_INODE, Kind::File(made), None)
    }
    fn new(
        fs: FsId,
        inode: u64,
        kind: Kind,
        parent: Option<(Arc<Node>, Arc<[u8]>)>,
    ) -> Result<Arc<Node>, NoMemory> {
        let own = if let Kind::Directory(directory) = &kind { directory.owner() } else { None };
        let mounted = match &parent {
            Some((node, _)) => node.mounted.clone(),
            None => try_arc(AtomicBool::new(false))?,
        };
        let as_entry = || {
            let (node, name) = parent.as_ref()?;
            let Kind::Directory(directory) = &node.kind else { return None };
            Some(directory.owner_of(name).unwrap_or(node.owner))
        };
        let owner = own.or_else(as_entry).unwrap_or_default();
        try_arc_cyclic(|this| Node { fs, inode, kind, parent, owner, mounted, this: this.clone() })
    }
    /// The inode number of an entry follows from where it is (FNV-1a), so that it is the same each time it is made.
    fn child_inode(&self, name: &[u8]) -> u64 {
        const PRIME: u64 = 0x0100_0000_01b3;
        let start = self.inode ^ 0xcbf2_9ce4_8422_2325;
        name.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)) >> 8 | 1 << 40
    }
    /// What makes its text, if it is a regular file.
    pub(super) fn made(&self) -> Option<&dyn Made> {
        match &self.kind {
            Kind::File(made) | Kind::Setting(made) => Some(&**made),
            Kind::Directory(_) | Kind::Link(_) => None,
        }
    }
    fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let now = Timestamp::now();
        Metadata {
            device: self.fs.device,
            inode: self.inode,
            mode: self.mode(),
            links: if self.is_dir() { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            accessed: now,
            modified: now,
            changed: now,
            ..Metadata::default()
        }
    }
    fn mode(&self) -> u32 {
        match &self.kind {
            Kind::Directory(_) => S_IFDIR | 0o555,
            Kind::File(_) => S_IFREG | 0o444,
            Kind::Setting(_) => S_IFREG | 0o644,
            Kind::Link(_) => S_IFLNK | 0o777,
        }
    }
    fn identity(&self) -> (u64, u64) {
        (self.fs.device, self.inode)
    }
    fn mounted(&self) -> Option<&AtomicBool> {
        Some(&self.mounted)
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        let Kind::Directory(directory) = &self.kind else { return Err(Errno::NOTDIR) };
        let Some(kind) = directory.lookup(name)? else { return Ok(None) };
        let name_kept = try_arc_bytes(name)?;
        let parent = self.this.upgrade().map(|this| (this, name_kept));
        Ok(Some(Node::new(self.fs, self.child_inode(name), kind, parent)?))
    }
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        self.parent.as_ref().map(|(parent, _)| parent.clone() as Arc<dyn Inode>)
    }
    fn name(&self) -> Option<Arc<[u8]>> {
        self.parent.as_ref().map(|(_, name)| name.clone())
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        let Kind::Directory(directory) = &self.kind else { return Err(Errno::NOTDIR) };
        directory.list(from, &mut |next, name, mode| {
            take(DirEntry { inode: self.child_inode(name), kind: entry_kind(mode), name, next })
        })
    }
    fn link(&self) -> Result<Link, Errno> {
        match &self.kind {
            Kind::Link(made) => made.link(),
            _ => Err(Errno::INVAL),
        }
    }
    fn truncate(&self, _size: u64) -> Result<(), Errno> {
        // Shells open settings with O_TRUNC, and pam_loginuid(8) truncates them: as on Linux, they stay what they are.
        match &self.kind {
            Kind::File(_) | Kind::Setting(_) => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }
    fn open(self: Arc<Self>, place: Place, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        match &self.kind {
            Kind::Directory(_) => Ok(try_arc(DirectoryFile::new(place))?),
            Kind::Link(_) => Err(Errno::LOOP),
            Kind::File(made) | Kind::Setting(made) => match made.open(&place) {
                Some(opened) => opened,
                None => Ok(try_arc(MadeFile::new(self, place))?),
            },
        }
    }
    fn process(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match &self.kind {
            Kind::Directory(directory) => directory.process().map(|process| process as _),
            _ => None,
        }
    }
    fn usage(&self) -> Usage {
        Usage { magic: self.fs.magic, ..Usage::default() }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
