//! The file system of the slaves, and of the device that makes them (pts(4); Linux's `Documentation/filesystems/devpts.rst`).
//! Each mount is an instance of its own.
use super::master;
use super::pair::{Pty, SLAVE_MAJOR};
use alloc::sync::{Arc, Weak};
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Changes, DirEntry, Inode, TakeEntry, Usage};
use coracle_core::fs::mount::{Path, Place};
use coracle_core::fs::pty_limit::MOST_EVER;
use coracle_core::fs::stat::{Metadata, Timestamp, device_number, entry_kind};
use coracle_core::lock::Mutex;
use coracle_core::task::credentials::machine_id;
use coracle_core::task::user_space::Kind;
use coracle_fallible::{try_arc, try_arc_bytes};
use coracle_fs::memory::{DirectoryFile, next_device};
use coracle_hal::sync::atomic::AtomicBool;
use coracle_sorted_map::SortedMap;
use core::any::Any;
use core::fmt::Write as _;
use linux_raw_sys::general::{S_IFCHR, S_IFDIR, S_IFMT};

/// f_type (`DEVPTS_SUPER_MAGIC`).
const MAGIC: u64 = 0x1cd1;
/// The inode numbers: the root's, that of ptmx, and the first slave's.
const ROOT_INODE: u64 = 1;
const PTMX_INODE: u64 = 2;
const FIRST_INODE: u64 = 3;
/// The name of the device that makes pseudo-terminals, and its number (Linux's devices.txt).
const PTMX: &[u8] = b"ptmx";
const PTMX_DEVICE: u64 = device_number(5, 2);
/// Permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;
/// Index of the file system id among a process's ids.
const FILE_SYSTEM: usize = 3;

/// What mount(2) may ask for.
#[derive(Clone, Copy)]
struct Options {
    /// Owner and group of slaves; `None`: those of the process that makes one.
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
    ptmx_mode: u32,
    most: u32,
}

impl Options {
    /// From a list that is separated by commas. EINVAL.
    fn parse(text: &[u8]) -> Result<Options, Errno> {
        /// Mode of slaves that no option names.
        const MODE: u32 = 0o600;
        let mut options = Options { uid: None, gid: None, mode: MODE, ptmx_mode: 0, most: MOST_EVER };
        let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let number = |radix| u32::from_str_radix(value, radix).map_err(|_| Errno::INVAL);
            match name {
                "uid" => options.uid = Some(number(10)?),
                "gid" => options.gid = Some(number(10)?),
                "mode" => options.mode = number(8)? & PERMISSIONS,
                "ptmxmode" => options.ptmx_mode = number(8)? & PERMISSIONS,
                "max" => {
                    options.most = Some(number(10)?).filter(|most| *most <= MOST_EVER).ok_or(Errno::INVAL)?
                }
                "newinstance" if value.is_empty() => {}
                _ => return Err(Errno::INVAL),
            }
        }
        Ok(options)
    }
}

/// What chmod(2) and its like change.
#[derive(Clone, Copy)]
pub(super) struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
}

impl Attributes {
    fn new(mode: u32, uid: u32, gid: u32) -> Attributes {
        let now = Timestamp::now();
        Attributes { mode, uid, gid, accessed: now, modified: now, changed: now }
    }

    /// Gives the slave to a user.
    pub(super) fn set_user(&mut self, uid: u32) {
        self.uid = uid;
    }
}

/// A file system.
pub struct Instance {
    device: u64,
    options: Options,
    root: Mutex<Attributes>,
    ptmx: Mutex<Attributes>,
    entries: Mutex<Entries>,
}

struct Entries {
    /// Kept by their masters.
    ptys: SortedMap<u32, Weak<Pty>>,
    /// No lower number is free.
    lowest_free: u32,
    count: u32,
}

/// A new file system, with the options of mount(2); gives its root. EINVAL, ENOMEM.
pub fn filesystem(options: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
    let mut options = Options::parse(options)?;
    options.uid = options.uid.map(|id| machine_id(Kind::User, id)).transpose()?;
    options.gid = options.gid.map(|id| machine_id(Kind::Group, id)).transpose()?;
    let instance = try_arc(Instance {
        device: next_device(),
        options,
        root: Mutex::new(Attributes::new(S_IFDIR | 0o755, 0, 0)),
        ptmx: Mutex::new(Attributes::new(S_IFCHR | options.ptmx_mode, 0, 0)),
        entries: Mutex::new(Entries { ptys: SortedMap::new(), lowest_free: 0, count: 0 }),
    })?;
    Ok(Node::new(instance, Body::Root)?)
}

/// Opens /dev/ptmx or the ptmx of a mounted file system (ptmx(4)): the new slave is in the file system of that ptmx, or in the
/// one that is mounted at `pts` beside it. ENODEV if there is none, and what making a pair reports.
pub fn open_ptmx(place: Place) -> Result<Arc<dyn File>, Errno> {
    let (directory, _) = place.name.as_ref().ok_or(Errno::NODEV)?;
    let directory = if place.path.inode.as_any().is::<Node>() {
        directory.clone()
    } else {
        let inode = directory.inode.lookup(b"pts")?.ok_or(Errno::NODEV)?;
        Path { mount: directory.mount.clone(), inode }.cross()
    };
    let instance = directory.inode.as_any().downcast_ref::<Node>().ok_or(Errno::NODEV)?.instance.clone();
    master::open(&instance, directory, place)
}

impl Instance {
    /// A new pseudo-terminal with the lowest number that is free. ENOSPC if there are too many, ENOMEM.
    pub(super) fn add(self: &Arc<Self>) -> Result<Arc<Pty>, Errno> {
        let (uid, gid) = coracle_core::this::with(|thread| {
            let ids = thread.process.credentials.lock();
            (ids.uid[FILE_SYSTEM], ids.gid[FILE_SYSTEM])
        });
        let Options { mode, most, .. } = self.options;
        let (uid, gid) = (self.options.uid.unwrap_or(uid), self.options.gid.unwrap_or(gid));
        let attributes = Attributes::new(S_IFCHR | mode, uid, gid);
        // Made before the lock is taken, under which its number is found.
        let pty = Pty::new(self.clone(), attributes)?;
        let mut entries = self.entries.lock();
        if entries.count >= most {
            return Err(Errno::NOSPC);
        }
        let mut index = entries.lowest_free;
        while entries.ptys.contains_key(&index) {
            index += 1;
        }
        pty.set_index(index);
        entries.ptys.insert(index, Arc::downgrade(&pty))?;
        entries.lowest_free = index + 1;
        entries.count += 1;
        Ok(pty)
    }

    /// The pseudo-terminal of that number.
    pub(super) fn find(&self, index: u32) -> Option<Arc<Pty>> {
        self.entries.lock().ptys.get(&index).and_then(Weak::upgrade)
    }

    /// A pair is gone.
    pub(super) fn remove(&self, index: u32) {
        let mut entries = self.entries.lock();
        if entries.ptys.remove(&index).is_some() {
            entries.lowest_free = entries.lowest_free.min(index);
            entries.count -= 1;
        }
    }

    /// The place of a slave, in the directory that is this file system's root. EIO if it is gone, ENOMEM.
    pub(super) fn place(self: &Arc<Self>, directory: &Path, index: u32) -> Result<Place, Errno> {
        let pty = self.find(index).ok_or(Errno::IO)?;
        let inode = Node::new(self.clone(), Body::Slave(pty))?;
        let name = try_arc_bytes(name_of(index).as_bytes())?;
        let path = Path { mount: directory.mount.clone(), inode };
        Ok(Place { path, name: Some((directory.clone(), name)) })
    }
}

/// A slave's name.
fn name_of(index: u32) -> heapless::String<10> {
    let mut name = heapless::String::new();
    // Ten digits hold any u32.
    let _ = write!(name, "{index}");
    name
}

/// An inode.
struct Node {
    instance: Arc<Instance>,
    body: Body,
    mounted: AtomicBool,
}

enum Body {
    Root,
    Ptmx,
    Slave(Arc<Pty>),
}

impl Node {
    fn new(instance: Arc<Instance>, body: Body) -> Result<Arc<Node>, Errno> {
        Ok(try_arc(Node { instance, body, mounted: AtomicBool::new(false) })?)
    }

    fn attributes(&self) -> &Mutex<Attributes> {
        match &self.body {
            Body::Root => &self.instance.root,
            Body::Ptmx => &self.instance.ptmx,
            Body::Slave(pty) => &pty.attributes,
        }
    }

    fn inode(&self) -> u64 {
        match &self.body {
            Body::Root => ROOT_INODE,
            Body::Ptmx => PTMX_INODE,
            Body::Slave(pty) => FIRST_INODE + u64::from(pty.index()),
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let Attributes { mode, uid, gid, accessed, modified, changed } = *self.attributes().lock();
        Metadata {
            device: self.instance.device,
            inode: self.inode(),
            mode,
            links: if matches!(self.body, Body::Root) { 2 } else { 1 },
            uid,
            gid,
            rdev: match &self.body {
                Body::Root => 0,
                Body::Ptmx => PTMX_DEVICE,
                Body::Slave(pty) => device_number(SLAVE_MAJOR, pty.index()),
            },
            accessed,
            modified,
            changed,
            ..Metadata::default()
        }
    }

    fn mode(&self) -> u32 {
        self.attributes().lock().mode
    }

    fn identity(&self) -> (u64, u64) {
        (self.instance.device, self.inode())
    }

    fn mounted(&self) -> Option<&AtomicBool> {
        // The other inodes are made when they are looked up.
        matches!(self.body, Body::Root).then_some(&self.mounted)
    }

    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        let Body::Root = self.body else { return Err(Errno::NOTDIR) };
        let body = if name == PTMX {
            Body::Ptmx
        } else {
            let number = core::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            let found = number.filter(|number| name_of(*number).as_bytes() == name);
            match found.and_then(|index| self.instance.find(index)) {
                Some(pty) => Body::Slave(pty),
                None => return Ok(None),
            }
        };
        Ok(Some(Node::new(self.instance.clone(), body)?))
    }

    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        /// Positions are the inode numbers: that after ptmx is the first slave's.
        const AFTER_PTMX: u64 = FIRST_INODE;
        let Body::Root = self.body else { return Err(Errno::NOTDIR) };
        let kind = entry_kind(S_IFCHR);
        if from < AFTER_PTMX && !take(DirEntry { inode: PTMX_INODE, kind, name: PTMX, next: AFTER_PTMX }) {
            return Ok(());
        }
        let first = u32::try_from(from.saturating_sub(FIRST_INODE)).unwrap_or(u32::MAX);
        let entries = self.instance.entries.lock();
        for (index, _) in entries.ptys.iter_from(&first) {
            let inode = FIRST_INODE + u64::from(*index);
            let name = name_of(*index);
            if !take(DirEntry { inode, kind, name: name.as_bytes(), next: inode + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn change(&self, changes: Changes) -> Result<(), Errno> {
        let mut attributes = self.attributes().lock();
        if let Some(mode) = changes.mode {
            attributes.mode = attributes.mode & S_IFMT | mode & PERMISSIONS;
        }
        attributes.uid = changes.uid.unwrap_or(attributes.uid);
        attributes.gid = changes.gid.unwrap_or(attributes.gid);
        attributes.accessed = changes.accessed.unwrap_or(attributes.accessed);
        attributes.modified = changes.modified.unwrap_or(attributes.modified);
        attributes.changed = Timestamp::now();
        Ok(())
    }

    fn open(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        match &self.body {
            Body::Root => Ok(try_arc(DirectoryFile::new(place))?),
            Body::Ptmx => open_ptmx(place),
            Body::Slave(pty) => pty.open_slave(place, flags),
        }
    }

    fn usage(&self) -> Usage {
        Usage { magic: MAGIC, ..Usage::default() }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
