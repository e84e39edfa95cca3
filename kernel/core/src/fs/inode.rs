//! What the tree of files is made of: inodes of any file system.
use super::file::File;
use super::mount::Place;
use super::stat::{Metadata, Timestamp};
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use core::any::Any;
use linux_raw_sys::general::{S_IFDIR, S_IFLNK, S_IFMT};

/// The extended attribute that has the capabilities of a program (capabilities(7)).
pub const FILE_CAPABILITIES: &[u8] = b"security.capability";

/// A name in a directory listing.
pub struct DirEntry<'a> {
    /// Inode number.
    pub inode: u64,
    /// DT_* kind.
    pub kind: u8,
    /// The name.
    pub name: &'a [u8],
    /// The position after it, where a listing can go on.
    pub next: u64,
}

/// Takes an entry of a directory; false if it is one too many.
pub type TakeEntry<'a> = &'a mut dyn FnMut(DirEntry) -> bool;

/// Where a symbolic link leads.
pub enum Link {
    /// To a path.
    Path(Vec<u8>),
    /// Straight to a directory, whatever its path (/proc/self/cwd).
    Place(super::mount::Path),
    /// Straight to an open file, which may have no place in the tree (/proc/self/fd/0); opening it opens it anew.
    File(Arc<dyn File>),
}

/// What mknod(2), mkdir(2), symlink(2) and open(2) make.
pub enum NewNode<'a> {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link(&'a [u8]),
    /// A fifo, socket or device: the kind bits and the device number.
    Special(u32, u64),
}

/// Attributes to change; `None` stays.
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Changes {
    /// Permission bits.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub accessed: Option<Timestamp>,
    pub modified: Option<Timestamp>,
    /// The times are the current one: who may write to the file may set that.
    pub now: bool,
}

/// What statfs(2) tells.
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Usage {
    /// f_type.
    pub magic: u64,
    pub blocks: u64,
    pub free: u64,
    pub files: u64,
    pub files_free: u64,
}

/// An inode. Default bodies give the errors Linux gives for inodes that can't do it: those of directories for other
/// files (ENOTDIR), and those of a file system that doesn't let itself be changed (EPERM, as /proc).
pub trait Inode: Send + Sync + Any {
    /// All of stat(2).
    fn metadata(&self) -> Metadata;
    /// Kind and permissions.
    fn mode(&self) -> u32;
    /// The kind bits of its mode, and whether something is mounted here: what path resolution asks at every step.
    fn kind(&self) -> (u32, bool) {
        (self.mode() & S_IFMT, self.mounted().is_some_and(|flag| flag.load(Ordering::Acquire)))
    }
    /// (device, inode number): what makes it itself.
    fn identity(&self) -> (u64, u64);
    /// The device number of the file system that its changes go to: another than its own for layers over one.
    fn backing_device(&self) -> u64 {
        self.identity().0
    }
    /// Writes the options of its file system's own as /proc/mounts shows them, each behind a comma. ENOMEM.
    fn show_options(&self, text: &mut Text) -> Result<(), NoMemory> {
        let _ = text;
        Ok(())
    }
    /// Set when something is mounted here; `None` if nothing can be.
    fn mounted(&self) -> Option<&AtomicBool> {
        None
    }
    /// The entry `name` of a directory.
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        let _ = name;
        Err(Errno::NOTDIR)
    }
    /// Whether its entries change only by calls that tell [`names_changed`](super::names_changed): then paths through it
    /// may be remembered.
    fn is_lasting(&self) -> bool {
        false
    }
    /// The directory that holds this directory; `None` at the root of the file system.
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        None
    }
    /// This directory's name in its parent; `None` if it was removed.
    fn name(&self) -> Option<Arc<[u8]>> {
        None
    }
    /// The process ([`Process`](crate::task::process::Process), of a higher layer) that a directory of /proc is about.
    fn process(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
    /// The entries of a directory without `.` and `..`, from a position on (0: all), until `take` wants no more. An entry
    /// that is there from the first call to the last is taken once, whatever others come and go between the calls
    /// (readdir(3p)). `take` is called with the directory locked.
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        let _ = (from, take);
        Err(Errno::NOTDIR)
    }
    /// The target of a symbolic link.
    fn link(&self) -> Result<Link, Errno> {
        Err(Errno::INVAL)
    }
    /// Makes an entry; EEXIST.
    fn create(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        let _ = (name, node, mode);
        Err(Errno::PERM)
    }
    /// Makes a regular file without a name (O_TMPFILE).
    fn create_nameless(&self, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        let _ = mode;
        Err(Errno::OPNOTSUPP)
    }
    /// A further name for `node`.
    fn add_link(&self, name: &[u8], node: &Arc<dyn Inode>) -> Result<(), Errno> {
        let _ = (name, node);
        Err(Errno::PERM)
    }
    /// Removes an entry: an empty directory if `directory`, else anything but a directory.
    fn remove(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        let _ = (name, directory);
        Err(Errno::PERM)
    }
    /// Moves the entry `from` to `to` of directory `target` (rename(2)). `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT.
    fn rename(&self, from: &[u8], target: &Arc<dyn Inode>, to: &[u8], flags: u32) -> Result<(), Errno> {
        let _ = (from, target, to, flags);
        Err(Errno::PERM)
    }
    /// Changes attributes.
    fn change(&self, changes: Changes) -> Result<(), Errno> {
        let _ = changes;
        Err(Errno::PERM)
    }
    /// An extended attribute: getxattr(2). ENODATA.
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = name;
        Err(Errno::OPNOTSUPP)
    }
    /// Sets an extended attribute (setxattr(2); `flags`: XATTR_CREATE, XATTR_REPLACE), or removes it.
    /// EEXIST, ENODATA, ENOSPC.
    fn set_xattr(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> Result<(), Errno> {
        let _ = (name, value, flags);
        Err(Errno::OPNOTSUPP)
    }
    /// The names of all extended attributes, each with a zero behind it.
    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        Ok(Vec::new())
    }
    /// Sets the size of a regular file.
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        let _ = size;
        Err(Errno::INVAL)
    }
    /// Writes bytes of up to a page to a regular file with no file open. ENOSPC, EIO, ENOMEM.
    fn put_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let _ = (offset, bytes);
        Err(Errno::IO)
    }
    /// The bytes of a range of a regular file are on its disk, if it has one, when it returns.
    fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        let _ = (start, end);
        Ok(())
    }
    /// A regular file is to be opened for writing; `truncates`: what is in it does not matter. Apart from [`Inode::open`], by which programs are
    /// loaded deep on the stack.
    fn prepare_writing(&self, truncates: bool) -> Result<(), Errno> {
        let _ = truncates;
        Ok(())
    }
    /// Opens it: `place` says where, `flags` are those of open(2).
    fn open(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno>;
    /// fsync(2) of a directory: when it returns, its entries are on stable storage.
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let _ = data_only;
        Ok(())
    }
    /// statfs(2).
    fn usage(&self) -> Usage {
        Usage::default()
    }
    /// For looking at what kind it is.
    fn as_any(&self) -> &dyn Any;
}

/// A file that the running program made belongs to its user and group (credentials(7): the file system ids).
pub fn give_to_caller(made: &Arc<dyn Inode>) -> Result<(), Errno> {
    /// Index of the file system id among a process's ids.
    const FILE_SYSTEM: usize = 3;
    let (uid, gid) = crate::this::with(|thread| {
        let ids = thread.process.credentials.lock();
        (ids.uid[FILE_SYSTEM], ids.gid[FILE_SYSTEM])
    });
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    made.change(Changes { uid: Some(uid), gid: Some(gid), ..Changes::default() })
}

impl dyn Inode {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind().0 == S_IFDIR
    }
    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        self.kind().0 == S_IFLNK
    }
}
