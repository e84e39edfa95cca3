//! The file system of queues: one directory for each IPC namespace, shared by all that mount it there.
use super::file::QueueFile;
use super::queue::MessageQueue;
use crate::space::Handle;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::access::{self, capability, check_capability};
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Changes, DirEntry, Inode, NewNode, TakeEntry, Usage, give_to_caller};
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::{Metadata, Timestamp, device_number, entry_kind};
use coracle_core::lock::Mutex;
use coracle_fallible::{try_arc, try_arc_bytes};
use coracle_fs::memory::{DirectoryFile, name_hash, next_device};
use coracle_mqueue::Attributes;
use coracle_vfs_core::names::Names;
use core::any::Any;
use linux_raw_sys::general::{O_ACCMODE, O_CREAT, O_EXCL, S_IFDIR, S_IFMT, S_IFREG};

/// Queues at most, for programs without CAP_SYS_RESOURCE (`/proc/sys/fs/mqueue/queues_max`).
pub const MAX_QUEUES: usize = 256;
/// MQUEUE_MAGIC (statfs(2)).
const MAGIC: u64 = 0x1980_0202;
const DEVICE: u64 = device_number(0, 17);
/// Inode number of the directory.
const ROOT_INODE: u64 = 1;
/// st_size of a queue: Linux's FILENT_SIZE, the bytes that a read gives at most.
const FILE_BYTES: u64 = 80;
/// st_size of the directory for each entry (Linux's DIRENT_SIZE).
const ENTRY_BYTES: u64 = 20;
/// Longest name (NAME_MAX).
const NAME_MAX: usize = 255;
/// What statfs(2) says of it.
const USAGE: Usage = Usage { magic: MAGIC, blocks: 0, free: 0, files: 0, files_free: 0 };
/// Everyone may make queues, and remove their own.
const ROOT_MODE: u32 = S_IFDIR | 0o1777;

/// Owner, mode and times.
#[derive(Clone, Copy)]
struct Owned {
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
}

impl Owned {
    fn new(mode: u32, links: u64) -> Owned {
        let now = Timestamp::now();
        Owned { mode, uid: 0, gid: 0, links, accessed: now, modified: now, changed: now }
    }

    fn change(&mut self, changes: Changes) {
        if let Some(mode) = changes.mode {
            self.mode = self.mode & S_IFMT | mode & !S_IFMT;
        }
        self.uid = changes.uid.unwrap_or(self.uid);
        self.gid = changes.gid.unwrap_or(self.gid);
        self.accessed = changes.accessed.unwrap_or(self.accessed);
        self.modified = changes.modified.unwrap_or(self.modified);
        self.changed = Timestamp::now();
    }

    /// The content changed.
    fn touch(&mut self) {
        self.modified = Timestamp::now();
        self.changed = self.modified;
    }

    /// It has no name any more.
    fn unlinked(&mut self) {
        self.links = 0;
        self.changed = Timestamp::now();
    }

    fn metadata(&self, device: u64, inode: u64, size: u64) -> Metadata {
        Metadata {
            device,
            inode,
            mode: self.mode,
            links: self.links,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            size,
            allocated: 0,
            accessed: self.accessed,
            modified: self.modified,
            changed: self.changed,
            created: None,
        }
    }
}

/// The directory.
pub struct Tree {
    device: u64,
    queues: Names<Arc<QueueNode>>,
    next_inode: u64,
    /// Its own owner and mode, once they were asked for.
    owned: Option<Owned>,
}

/// The root of the file system: stands for the one directory of its namespace.
pub struct Root(Handle);

impl Root {
    /// ENOMEM, when it is asked for the first time.
    fn tree(&self) -> Result<&Mutex<Tree>, Errno> {
        Ok(&self.0.space()?.tree)
    }
}

/// A queue with a name.
pub struct QueueNode {
    queue: Arc<MessageQueue>,
    name: Arc<[u8]>,
    device: u64,
    inode: u64,
    owned: Mutex<Owned>,
}

impl Tree {
    /// That of the first namespace.
    pub const fn new() -> Tree {
        Tree { device: DEVICE, queues: Names::new(), next_inode: ROOT_INODE + 1, owned: None }
    }

    /// That of another one.
    pub fn another() -> Tree {
        Tree { device: next_device(), ..Tree::new() }
    }

    fn owned(&mut self) -> &mut Owned {
        self.owned.get_or_insert_with(|| Owned::new(ROOT_MODE, 2))
    }

    fn find(&self, name: &[u8]) -> Option<&Arc<QueueNode>> {
        self.queues.get(name_hash(name), name)
    }
}

/// The file system, to be mounted. ENOMEM.
pub fn filesystem() -> Result<Arc<dyn Inode>, Errno> {
    let root = Root(Handle::own());
    // For lack of memory it is known now.
    root.tree()?;
    Ok(try_arc(root)?)
}

/// Opens the queue `name`, as mq_open(2) does with `flags` and `mode` (before the umask), or makes one of these attributes, as
/// `messages` and bytes of a message. EACCES, EEXIST, EINVAL, EMFILE, ENAMETOOLONG, ENOENT, ENOMEM, ENOSPC.
pub fn open(name: &[u8], flags: u32, mode: u32, attributes: Option<(i64, i64)>) -> Result<QueueFile, Errno> {
    check_name(name)?;
    let root = Root(Handle::own());
    let node = loop {
        let found = root.tree()?.lock().find(name).cloned();
        match found {
            Some(_) if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL => return Err(Errno::EXIST),
            Some(_) if flags & O_ACCMODE == O_ACCMODE => return Err(Errno::INVAL),
            Some(node) => {
                access::check(&*node, access::wanted_by(flags & O_ACCMODE))?;
                break node;
            }
            None if flags & O_CREAT == 0 => return Err(Errno::NOENT),
            None => match root.make(name, mode, attributes) {
                // Another program was faster.
                Err(Errno::EXIST) => {}
                made => break made?,
            },
        }
    };
    Ok(QueueFile::new(node, None))
}

/// mq_unlink(2): the queue goes when no descriptor is left. EACCES, ENAMETOOLONG, ENOENT, EPERM.
pub fn unlink(name: &[u8]) -> Result<(), Errno> {
    check_name(name)?;
    let root = Root(Handle::own());
    let found = root.tree()?.lock().find(name).cloned().ok_or(Errno::NOENT)?;
    access::check_sticky(&root, &*found)?;
    root.remove(name, false)
}

/// Names are those of directory entries. EACCES, ENAMETOOLONG, ENOENT.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"" => Err(Errno::NOENT),
        b"." | b".." => Err(Errno::ACCES),
        name if name.contains(&b'/') => Err(Errno::ACCES),
        name if name.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
        _ => Ok(()),
    }
}

impl Root {
    /// A new queue. EEXIST, EINVAL, EMFILE, ENOMEM, ENOSPC.
    fn make(&self, name: &[u8], mode: u32, attributes: Option<(i64, i64)>) -> Result<Arc<QueueNode>, Errno> {
        let privileged = check_capability(capability::SYS_RESOURCE).is_ok();
        if self.tree()?.lock().queues.len() >= MAX_QUEUES && !privileged {
            return Err(Errno::NOSPC);
        }
        let attributes = match attributes {
            Some((messages, message_bytes)) => Attributes::new(messages, message_bytes, privileged)?,
            None => Attributes::default(),
        };
        let queue = coracle_core::this::with(|thread| MessageQueue::new(attributes, &thread.process))?;
        let owned = Owned::new(S_IFREG | mode & !S_IFMT, 1);
        let name_kept = try_arc_bytes(name)?;
        let mut tree = self.tree()?.lock();
        if tree.find(name).is_some() {
            return Err(Errno::EXIST);
        }
        let node = try_arc(QueueNode {
            queue,
            name: name_kept,
            device: tree.device,
            inode: tree.next_inode,
            owned: Mutex::new(owned),
        })?;
        tree.queues.insert(name_hash(name), name, node.clone()).map_err(|_| Errno::NOMEM)?;
        tree.next_inode += 1;
        tree.owned().touch();
        drop(tree);
        let made: Arc<dyn Inode> = node.clone();
        give_to_caller(&made)?;
        Ok(node)
    }
}

impl Inode for Root {
    fn metadata(&self) -> Metadata {
        let Ok(tree) = self.tree() else { return Metadata::default() };
        let mut tree = tree.lock();
        let (device, size) = (tree.device, tree.queues.len() as u64 * ENTRY_BYTES);
        tree.owned().metadata(device, ROOT_INODE, size)
    }
    fn mode(&self) -> u32 {
        self.tree().map_or(ROOT_MODE, |tree| tree.lock().owned().mode)
    }
    fn identity(&self) -> (u64, u64) {
        (self.tree().map_or(DEVICE, |tree| tree.lock().device), ROOT_INODE)
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        Ok(self.tree()?.lock().find(name).map(|node| node.clone() as Arc<dyn Inode>))
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        let tree = self.tree()?.lock();
        for (position, name, node) in tree.queues.from(from) {
            let kind = entry_kind(S_IFREG);
            if !take(DirEntry { inode: node.inode, kind, name, next: position + 1 }) {
                break;
            }
        }
        Ok(())
    }
    fn create(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        match node {
            NewNode::File => Ok(self.make(name, mode, None)?),
            _ => Err(Errno::PERM),
        }
    }
    fn remove(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        if directory {
            return Err(Errno::NOTDIR);
        }
        let mut tree = self.tree()?.lock();
        let node = tree.queues.remove(name_hash(name), name).ok_or(Errno::NOENT)?;
        tree.owned().touch();
        drop(tree);
        node.owned.lock().unlinked();
        Ok(())
    }
    fn change(&self, changes: Changes) -> Result<(), Errno> {
        self.tree()?.lock().owned().change(changes);
        Ok(())
    }
    fn open(self: Arc<Self>, place: Place, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        Ok(try_arc(DirectoryFile::new(place))?)
    }
    fn usage(&self) -> Usage {
        USAGE
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl QueueNode {
    /// The queue.
    pub fn queue(&self) -> &MessageQueue {
        &self.queue
    }

    /// Its name, also after it was removed.
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Inode for QueueNode {
    fn metadata(&self) -> Metadata {
        self.owned.lock().metadata(self.device, self.inode, FILE_BYTES)
    }
    fn mode(&self) -> u32 {
        self.owned.lock().mode
    }
    fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
    fn change(&self, changes: Changes) -> Result<(), Errno> {
        self.owned.lock().change(changes);
        Ok(())
    }
    /// Shells open with O_TRUNC.
    fn truncate(&self, _size: u64) -> Result<(), Errno> {
        Ok(())
    }
    fn open(self: Arc<Self>, place: Place, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        Ok(try_arc(QueueFile::new(self, Some(place)))?)
    }
    fn usage(&self) -> Usage {
        USAGE
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
