//! Nodes of the file system in memory.
use super::content::{self, Content};
use super::directory::Directory;
use super::file::{DirectoryFile, MemoryFile, Name};
use super::options::{Limit, Options};
use super::xattr::ExtendedAttributes;
use crate::block::file as special;
use crate::dev;
use crate::users::{Used, Users};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::access;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Changes, FILE_CAPABILITIES, Inode, Link, NewNode, TakeEntry, Usage};
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::{Metadata, Timestamp};
use coracle_core::fs::{notify, stat};
use coracle_core::ipc::pipe::Pipe;
use coracle_core::lock::Mutex;
use coracle_core::mm::memory::forget_file_pages;
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::prelude::*;
use coracle_fallible::{try_arc, try_arc_cyclic};
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use coracle_image::archive::{self, Archive, FileKind, InodeId};
use coracle_sorted_map::SortedMap;
use core::any::Any;
use linux_raw_sys::general::{F_SEAL_EXEC, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};

/// f_type of tmpfs (statfs(2)).
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Permission bits of a mode, with set-user-ID, set-group-ID and sticky.
pub const PERMISSIONS: u32 = 0o7777;

/// The device number of a new file system. The major number 0 is Linux's for file systems without a device.
pub fn next_device() -> u64 {
    static NEXT: AtomicU32 = AtomicU32::new(20);
    stat::device_number(0, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A file system in memory.
pub struct MemoryFs {
    device: u64,
    next_inode: AtomicU64,
    /// What is there before anything is changed.
    pub(super) archive: Option<Archive<'static>>,
    /// Nodes made for files of the image that have several names.
    linked: Mutex<SortedMap<u32, Weak<Node>>>,
    /// The bound of a file system that was mounted with options.
    limit: Option<Arc<Limit>>,
    /// Held while a rename moves between directories, so that the tree stays a tree.
    pub(super) renaming: Mutex<()>,
}

impl MemoryFs {
    /// An empty one; gives its root directory. ENOMEM.
    pub fn empty(mode: u32) -> Result<Arc<Node>, Errno> {
        Self::root_of(Self::new(None, 1, None)?, Attributes::new(S_IFDIR | mode & PERMISSIONS))
    }
    /// An empty one with options; gives its root directory. ENOMEM.
    pub fn with_options(options: &Options) -> Result<Arc<Node>, Errno> {
        /// As mount(8) has it where nothing is said.
        const MODE: u32 = 0o1777;
        let mode = options.mode.unwrap_or(MODE) & PERMISSIONS;
        let (uid, gid) = (options.uid.unwrap_or_default(), options.gid.unwrap_or_default());
        let attributes = Attributes { uid, gid, ..Attributes::new(S_IFDIR | mode) };
        Self::root_of(Self::new(None, 1, options.limit()?)?, attributes)
    }
    /// Changes the bounds (MS_REMOUNT). EINVAL if the files have more, or if there was none.
    pub fn set_limit(&self, options: &Options) -> Result<(), Errno> {
        self.limit.as_ref().ok_or(Errno::INVAL)?.set(options)
    }
    fn root_of(fs: Arc<MemoryFs>, attributes: Attributes) -> Result<Arc<Node>, Errno> {
        fs.node(fs.next_inode(), attributes, Body::Directory(Directory::new(None)))
    }
    /// The files of an image; gives the root directory.
    pub fn of_image(archive: Archive<'static>) -> Result<Arc<Node>, Errno> {
        let root = archive.inode(InodeId::ROOT).map_err(|_| Errno::IO)?;
        let fs = Self::new(Some(archive), u64::from(archive.inode_count()) + 1, None)?;
        fs.image_node(&root)
    }
    fn new(
        archive: Option<Archive<'static>>,
        first_inode: u64,
        limit: Option<Arc<Limit>>,
    ) -> Result<Arc<MemoryFs>, Errno> {
        Ok(try_arc(MemoryFs {
            device: next_device(),
            next_inode: AtomicU64::new(first_inode),
            archive,
            linked: Mutex::new(SortedMap::new()),
            limit,
            renaming: Mutex::new(()),
        })?)
    }
    fn next_inode(&self) -> u64 {
        self.next_inode.fetch_add(1, Ordering::Relaxed)
    }
    fn node(self: &Arc<Self>, inode: u64, attributes: Attributes, body: Body) -> Result<Arc<Node>, Errno> {
        if let Some(limit) = &self.limit {
            limit.inodes.take()?;
        }
        let made = try_arc_cyclic(|this| Node {
            fs: self.clone(),
            inode,
            kind: attributes.mode & S_IFMT,
            attributes: Mutex::new(attributes),
            xattrs: ExtendedAttributes::default(),
            mounted: AtomicBool::new(false),
            body,
            this: this.clone(),
        });
        if made.is_err()
            && let Some(limit) = &self.limit
        {
            limit.inodes.give_back(1);
        }
        Ok(made?)
    }
    /// The node of a file of the image.
    pub(super) fn image_node(self: &Arc<Self>, inode: &archive::Inode) -> Result<Arc<Node>, Errno> {
        let archive = self.archive.ok_or(Errno::IO)?;
        let shared = inode.nlink > 1 && !inode.is_dir();
        if shared && let Some(node) = self.linked.lock().get(&inode.id.0).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let time = Timestamp { seconds: inode.mtime, nanos: inode.mtime_nsec };
        let attributes = Attributes {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            links: u64::from(inode.nlink),
            rdev: 0,
            accessed: time,
            modified: time,
            changed: time,
            created: None,
        };
        let body = match inode.kind() {
            FileKind::Directory => Body::Directory(Directory::new(Some(*inode))),
            FileKind::Symlink => Body::Link(archive.symlink(inode).map_err(|_| Errno::IO)?.try_to_vec()?),
            FileKind::Regular => {
                let data = if archive.is_on_disk() { Ok(&[][..]) } else { archive.data(inode) };
                let data = data.map_err(|_| Errno::IO)?;
                let offset = archive.data_offset(inode).map_err(|_| Errno::IO)?;
                Body::File(Content::of_image(data, offset, inode.size))
            }
        };
        let node = self.node(image_inode_number(inode.id), attributes, body)?;
        if inode.kind() == FileKind::Regular
            && let Some((_, value)) =
                archive.config().capabilities().find(|(number, _)| *number == inode.id.0)
        {
            node.xattrs.set(FILE_CAPABILITIES, Some(value), 0, None)?;
        }
        if shared {
            self.linked.lock().insert(inode.id.0, Arc::downgrade(&node))?;
        }
        Ok(node)
    }
    pub(super) fn new_node(self: &Arc<Self>, node: NewNode, mode: u32) -> Result<Arc<Node>, Errno> {
        let mode = mode & PERMISSIONS;
        let (kind, rdev, body) = match node {
            NewNode::Directory => (S_IFDIR, 0, Body::Directory(Directory::new(None))),
            NewNode::File => (S_IFREG, 0, Body::File(Content::empty(self.limit.clone()))),
            NewNode::Link(target) => (S_IFLNK, 0, Body::Link(target.try_to_vec()?)),
            NewNode::Special(S_IFIFO, _) => (S_IFIFO, 0, Body::Fifo(Pipe::named()?)),
            NewNode::Special(kind, rdev) => (kind & S_IFMT, rdev, Body::Special),
        };
        self.node(self.next_inode(), Attributes { rdev, ..Attributes::new(kind | mode) }, body)
    }
}

/// st_ino of a file of the image. Counts from 1: programs take 0 for a removed entry.
pub(super) fn image_inode_number(id: InodeId) -> u64 {
    u64::from(id.0) + 1
}

/// What stat(2) tells and chmod(2), chown(2), utimensat(2) change.
#[derive(Clone, Copy)]
pub(super) struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub rdev: u64,
    pub accessed: Timestamp,
    pub modified: Timestamp,
    pub changed: Timestamp,
    /// When it was made; the image does not say it.
    pub created: Option<Timestamp>,
}

impl Attributes {
    fn new(mode: u32) -> Self {
        let now = Timestamp::now();
        let links = if mode & S_IFMT == S_IFDIR { 2 } else { 1 };
        Attributes {
            mode,
            uid: 0,
            gid: 0,
            links,
            rdev: 0,
            accessed: now,
            modified: now,
            changed: now,
            created: Some(now),
        }
    }
}

pub(super) enum Body {
    Directory(Directory),
    File(Content),
    Link(Vec<u8>),
    Fifo(Arc<Pipe>),
    /// Sockets and devices: what they are stands in the mode and the device number.
    Special,
}

/// A file, directory, link or special file.
pub struct Node {
    pub(super) fs: Arc<MemoryFs>,
    pub(super) inode: u64,
    /// The kind bits of the mode, which never change.
    pub(super) kind: u32,
    pub(super) attributes: Mutex<Attributes>,
    xattrs: ExtendedAttributes,
    mounted: AtomicBool,
    pub(super) body: Body,
    this: Weak<Node>,
}

impl Used for Node {
    fn users(&self) -> Option<&Users> {
        self.content().map(|content| &content.users)
    }
}

impl Node {
    /// A regular file without a name, for memfd_create(2).
    pub fn nameless_file(fs: &Arc<MemoryFs>, mode: u32) -> Result<Arc<Node>, Errno> {
        let node = fs.new_node(NewNode::File, mode)?;
        node.attributes.lock().links = 0;
        Ok(node)
    }
    /// The file system it belongs to.
    pub fn fs(&self) -> &Arc<MemoryFs> {
        &self.fs
    }
    /// The bytes of a regular file.
    pub fn content(&self) -> Option<&Content> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }
    pub(super) fn directory(&self) -> Result<&Directory, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }
    pub(super) fn directory_mut(&mut self) -> Result<&mut Directory, Errno> {
        match &mut self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }
    pub(super) fn this(&self) -> Arc<Node> {
        // A method runs on a node that somebody holds.
        self.this.upgrade().expect("a node in use is alive")
    }
    /// The content was written: its times change. Returns the mode.
    pub(super) fn touch(&self) -> u32 {
        let now = Timestamp::now();
        let mut attributes = self.attributes.lock();
        attributes.modified = now;
        attributes.changed = now;
        attributes.mode
    }
    pub(super) fn add_links(&self, change: i64) {
        let mut attributes = self.attributes.lock();
        attributes.links = attributes.links.saturating_add_signed(change);
        attributes.changed = Timestamp::now();
    }
}

impl Drop for Node {
    /// Those that watch a file hear of its end when it has no name and no user any more (inotify(7), IN_DELETE_SELF).
    fn drop(&mut self) {
        if let Some(limit) = &self.fs.limit {
            // Giving back takes nothing.
            let _ = limit.exchange_attributes(self.xattrs.cost(), 0);
            limit.inodes.give_back(1);
        }
        if notify::is_on() && self.attributes.get_mut().links == 0 {
            notify::inode_gone((self.fs.device, self.inode));
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let attributes = *self.attributes.lock();
        let (size, allocated) = match &self.body {
            Body::File(content) => (content.size(), content.allocated()),
            Body::Link(target) => (target.len() as u64, 0),
            Body::Directory(directory) => (directory.size(), 0),
            _ => (0, 0),
        };
        Metadata {
            device: self.fs.device,
            inode: self.inode,
            mode: attributes.mode,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            rdev: attributes.rdev,
            size,
            allocated,
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            created: attributes.created,
        }
    }
    fn mode(&self) -> u32 {
        self.attributes.lock().mode
    }
    fn kind(&self) -> (u32, bool) {
        (self.kind, self.mounted.load(Ordering::Acquire))
    }
    fn identity(&self) -> (u64, u64) {
        (self.fs.device, self.inode)
    }
    fn mounted(&self) -> Option<&AtomicBool> {
        Some(&self.mounted)
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        Ok(self.directory()?.lookup(self, name)?.map(|node| node as Arc<dyn Inode>))
    }
    fn is_lasting(&self) -> bool {
        true
    }
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        self.directory().ok()?.parent().map(|node| node as Arc<dyn Inode>)
    }
    fn name(&self) -> Option<Arc<[u8]>> {
        self.directory().ok()?.name()
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        self.directory()?.list(self, from, take)
    }
    fn link(&self) -> Result<Link, Errno> {
        match &self.body {
            Body::Link(target) => Ok(Link::Path(target.try_to_vec()?)),
            _ => Err(Errno::INVAL),
        }
    }
    fn create(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        let directory = self.directory()?;
        let node = self.fs.new_node(node, mode)?;
        directory.insert(self, name, &node)?;
        Ok(node)
    }
    fn create_nameless(&self, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        Ok(Node::nameless_file(&self.fs, mode)?)
    }
    fn add_link(&self, name: &[u8], node: &Arc<dyn Inode>) -> Result<(), Errno> {
        let node = node.as_any().downcast_ref::<Node>().ok_or(Errno::XDEV)?.this();
        if !Arc::ptr_eq(&node.fs, &self.fs) {
            return Err(Errno::XDEV);
        }
        if node.directory().is_ok() {
            return Err(Errno::PERM);
        }
        self.directory()?.insert(self, name, &node)?;
        node.add_links(1);
        Ok(())
    }
    fn remove(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        self.directory()?.remove(self, name, directory)
    }
    fn rename(&self, from: &[u8], target: &Arc<dyn Inode>, to: &[u8], flags: u32) -> Result<(), Errno> {
        let target = target.as_any().downcast_ref::<Node>().ok_or(Errno::XDEV)?;
        if !Arc::ptr_eq(&target.fs, &self.fs) {
            return Err(Errno::XDEV);
        }
        super::directory::rename(self, from, target, to, flags)
    }
    fn change(&self, changes: Changes) -> Result<(), Errno> {
        const EXECUTE: u32 = 0o111;
        let is_fixed = self.content().is_some_and(|content| content.seals() & F_SEAL_EXEC != 0);
        let mut attributes = self.attributes.lock();
        if let Some(mode) = changes.mode {
            if is_fixed && (mode ^ attributes.mode) & EXECUTE != 0 {
                return Err(Errno::PERM);
            }
            attributes.mode = attributes.mode & S_IFMT | mode & PERMISSIONS;
        }
        attributes.uid = changes.uid.unwrap_or(attributes.uid);
        attributes.gid = changes.gid.unwrap_or(attributes.gid);
        attributes.accessed = changes.accessed.unwrap_or(attributes.accessed);
        attributes.modified = changes.modified.unwrap_or(attributes.modified);
        attributes.changed = Timestamp::now();
        Ok(())
    }
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.xattrs.get(name)
    }
    fn set_xattr(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> Result<(), Errno> {
        self.xattrs.set(name, value, flags, self.fs.limit.as_deref())?;
        self.attributes.lock().changed = Timestamp::now();
        Ok(())
    }
    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.xattrs.names()
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        let content = self.content().ok_or(Errno::INVAL)?;
        content.users.check_not_executed()?;
        let before = content.size();
        content.truncate(size)?;
        if size < before && content.is_mapped() {
            // What was mapped past the new end is gone (mmap(2): SIGBUS).
            forget_file_pages(size, |file| {
                let file = file.as_any().downcast_ref::<MemoryFile>();
                file.is_some_and(|file| core::ptr::eq(Arc::as_ptr(file.node()), self))
            });
        }
        access::written(self, self.touch());
        Ok(())
    }
    fn put_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let content = self.content().ok_or(Errno::INVAL)?;
        let written = content.write(&mut UserBuf::kernel_in(bytes), offset)?;
        if written == bytes.len() { Ok(()) } else { Err(Errno::NOSPC) }
    }
    fn open(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        match &self.body {
            Body::Directory(_) => Ok(try_arc(DirectoryFile::new(place))?),
            Body::File(_) => Ok(try_arc(MemoryFile::new(self.clone(), Name::Place(place), flags)?)?),
            Body::Link(_) => Err(Errno::LOOP),
            Body::Fifo(pipe) => Pipe::open(pipe, flags, self.metadata().stat(), place),
            Body::Special => {
                let attributes = *self.attributes.lock();
                match attributes.mode & S_IFMT {
                    S_IFCHR => dev::open(attributes.rdev, place, flags),
                    S_IFBLK => special::open(attributes.rdev, place, flags),
                    _ => Err(Errno::NXIO),
                }
            }
        }
    }
    fn usage(&self) -> Usage {
        let (mut total, mut free) = content::page_bounds();
        let (mut files, mut files_free) = (total, free);
        if let Some(limit) = &self.fs.limit {
            let (most, left) = limit.pages.of_all();
            (total, free) = (most, left.min(free));
            (files, files_free) = limit.inodes.of_all();
        }
        Usage {
            magic: TMPFS_MAGIC,
            blocks: total as u64,
            free: free as u64,
            files: files as u64,
            files_free: files_free as u64,
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
