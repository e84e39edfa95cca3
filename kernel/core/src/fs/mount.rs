//! Mounts: file systems joined into one tree, and places in that tree.
use super::inode::Inode;
use super::mount_space::MOUNTS_MAX;
use super::notify;
use super::path_cache::{self, names_changed};
use crate::errno::Errno;
use crate::task::user_space::UserSpace;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::once::Once;
use coracle_hal::sync::RwLock;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::fmt;
use core::ptr;
use linux_raw_sys::general as abi;

/// A mounted file system.
pub struct Mount {
    /// Number for mountinfo.
    pub id: u64,
    /// Its root directory.
    pub root: Arc<dyn Inode>,
    /// The namespace whose tree it is in; 0 is the first (`fs::mount_space`).
    space: AtomicU32,
    /// What it covers; `None` for the top of a tree.
    at: RwLock<Option<Place>>,
    /// Its type, as /proc/mounts tells it.
    pub kind: &'static str,
    /// What it was made from.
    pub source: Vec<u8>,
    /// The file system, which other mounts may show, too.
    pub file_system: Arc<FileSystem>,
    flags: AtomicU32,
    /// Flags that may not be taken back, and whether it may not be taken away, as it came from a namespace with more rights.
    pub(super) locked: AtomicU32,
    writers: AtomicUsize,
}

bitflags::bitflags! {
    /// What may not be done through a mount, with the values of mount(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Nothing may be changed.
        const READ_ONLY = abi::MS_RDONLY;
        /// Set-user-ID and set-group-ID bits count for nothing.
        const NO_SUID = abi::MS_NOSUID;
        /// Devices can't be opened.
        const NO_DEVICES = abi::MS_NODEV;
        /// Programs can't be executed.
        const NO_EXEC = abi::MS_NOEXEC;
        /// Symbolic links are not followed.
        const NO_LINKS = abi::MS_NOSYMFOLLOW;
        /// How times of access are kept.
        const NO_ATIME = abi::MS_NOATIME;
        #[allow(missing_docs)]
        const NO_DIRECTORY_ATIME = abi::MS_NODIRATIME;
        #[allow(missing_docs)]
        const RELATIVE_ATIME = abi::MS_RELATIME;
    }
}

impl MountFlags {
    /// How times of access are kept.
    const TIMES: MountFlags =
        MountFlags::NO_ATIME.union(MountFlags::NO_DIRECTORY_ATIME).union(MountFlags::RELATIVE_ATIME);
    /// Those that mount(2) is asked for; times of access are relative unless it says otherwise.
    pub fn new(flags: u32) -> MountFlags {
        let mut own = MountFlags::from_bits_truncate(flags) - MountFlags::RELATIVE_ATIME;
        if flags & (abi::MS_NOATIME | abi::MS_STRICTATIME) == 0 {
            own |= MountFlags::RELATIVE_ATIME;
        }
        own
    }
    /// Takes the flags out of options of mount(8), with commas between them; returns the others. ENOMEM.
    pub fn split(options: &[u8]) -> Result<(MountFlags, Vec<u8>), Errno> {
        let (mut flags, mut rest) = (MountFlags::new(0), Vec::new());
        for option in options.split(|&byte| byte == b',') {
            let named = |(_, name): &&(MountFlags, &str)| name.as_bytes() == option;
            match FLAG_NAMES.iter().find(named) {
                Some((flag, _)) => flags |= *flag,
                None if option == b"ro" => flags |= MountFlags::READ_ONLY,
                None => {
                    rest.try_extend_from_slice(option)?;
                    rest.try_push(b',')?;
                }
            }
        }
        Ok((flags, rest))
    }
    /// The times of access as `other` keeps them, if `flags` of mount(2) say nothing of them (MS_REMOUNT).
    pub fn with_times_of(self, other: MountFlags, flags: u32) -> MountFlags {
        let times = MountFlags::TIMES;
        let said = abi::MS_NOATIME | abi::MS_NODIRATIME | abi::MS_RELATIME | abi::MS_STRICTATIME;
        if flags & said == 0 { (self - times) | (other & times) } else { self }
    }
}

/// What all mounts of a file system share.
#[derive(Default)]
pub struct FileSystem {
    /// The user namespace that it was made in; `None` is the first.
    pub owner: Option<Arc<UserSpace>>,
    read_only: AtomicBool,
    writers: AtomicUsize,
}

impl FileSystem {
    /// Whether nothing may be changed in it, through whichever mount.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::SeqCst)
    }
    /// Makes it read-only though files may be open to be written: it can't be written any more.
    pub fn end_writing(&self) {
        self.read_only.store(true, Ordering::SeqCst);
    }
}

/// A regular file is open for writing: meanwhile neither its mount nor its file system becomes read-only.
pub struct WriteAccess(Arc<Mount>);

impl WriteAccess {
    /// EROFS if nothing may be changed through the mount.
    pub fn new(mount: &Arc<Mount>) -> Result<WriteAccess, Errno> {
        // Counted before looking, as a change to read-only changes before it counts.
        mount.writers.fetch_add(1, Ordering::SeqCst);
        mount.file_system.writers.fetch_add(1, Ordering::SeqCst);
        let access = WriteAccess(mount.clone());
        if mount.is_read_only() { Err(Errno::ROFS) } else { Ok(access) }
    }
}

impl Drop for WriteAccess {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::SeqCst);
        self.0.file_system.writers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Mount {
    /// One that is nowhere yet. ENOMEM.
    pub(super) fn new(new: NewMount, space: u32) -> Result<Arc<Mount>, NoMemory> {
        let file_system = match new.file_system {
            Some(file_system) => file_system,
            None => {
                let read_only = AtomicBool::new(new.flags.contains(MountFlags::READ_ONLY));
                let space = || crate::this::with(|thread| thread.process.credentials.lock().space.clone());
                let owner = if crate::this::is_any() { space() } else { None };
                try_arc(FileSystem { owner, read_only, writers: AtomicUsize::new(0) })?
            }
        };
        try_arc(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            space: AtomicU32::new(space),
            root: new.root,
            at: RwLock::new(None),
            kind: new.kind,
            source: new.source,
            file_system,
            flags: AtomicU32::new(new.flags.bits()),
            locked: AtomicU32::new(0),
            writers: AtomicUsize::new(0),
        })
    }
    /// The namespace whose tree it is in; 0 is the first.
    pub fn space(&self) -> u32 {
        self.space.load(Ordering::SeqCst)
    }
    /// It comes to another tree. The list of mounts is locked.
    pub(super) fn set_space(&self, space: u32) {
        self.space.store(space, Ordering::SeqCst);
    }
    /// What it covers; `None` for the top of a tree.
    pub fn at(&self) -> Option<Place> {
        self.at.read().clone()
    }
    /// Whether it is the top of a tree.
    pub fn is_top(&self) -> bool {
        self.at.read().is_none()
    }
    /// Has it cover this. The list of mounts is locked.
    pub(super) fn put_at(&self, place: Option<Place>) {
        let old = core::mem::replace(&mut *self.at.write(), place);
        drop(old);
    }
    /// Whether it is mounted somewhere in `other`.
    pub(super) fn is_in(&self, other: &Arc<Mount>) -> bool {
        let mut at = self.at();
        while let Some(place) = at {
            if Arc::ptr_eq(&place.path.mount, other) {
                return true;
            }
            at = place.path.mount.at();
        }
        false
    }
    /// Whether it may not be taken away.
    pub(super) fn is_locked(&self) -> bool {
        self.locked.load(Ordering::SeqCst) & LOCKED != 0
    }
    /// EPERM for flags without those that are locked, and for other times of access if these are.
    pub fn check_locked(&self, flags: MountFlags) -> Result<(), Errno> {
        let locked = self.locked.load(Ordering::SeqCst);
        let changes_times = !((flags ^ self.flags()) & MountFlags::TIMES).is_empty();
        if !flags.contains(MountFlags::from_bits_truncate(locked))
            || locked & TIMES_LOCKED != 0 && changes_times
        {
            return Err(Errno::PERM);
        }
        Ok(())
    }
    /// What may not be done through it.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Ordering::SeqCst))
    }
    /// Whether nothing may be changed through it.
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::READ_ONLY) || self.file_system.is_read_only()
    }
    /// `ro` or `rw`, as /proc/mounts shows it.
    pub fn access(&self) -> &'static str {
        if self.is_read_only() { "ro" } else { "rw" }
    }
    /// The other options, as /proc/mounts shows them: each behind a comma.
    pub fn options(&self) -> MountOptions {
        MountOptions(self.flags())
    }
    /// Changes the flags of this mount alone (MS_REMOUNT with MS_BIND). EBUSY if it is to be read-only and files are open
    /// for writing.
    pub fn set_flags(&self, flags: MountFlags) -> Result<(), Errno> {
        let old = self.flags.swap(flags.bits(), Ordering::SeqCst);
        if flags.contains(MountFlags::READ_ONLY) && self.writers.load(Ordering::SeqCst) != 0 {
            self.flags.store(old, Ordering::SeqCst);
            return Err(Errno::BUSY);
        }
        // Remembered paths may lead through links.
        names_changed();
        Ok(())
    }
    /// Changes the flags of this mount, and whether its file system is read-only (MS_REMOUNT). EBUSY as above.
    pub fn reconfigure(&self, flags: MountFlags) -> Result<(), Errno> {
        let read_only = flags.contains(MountFlags::READ_ONLY);
        let was = self.file_system.read_only.swap(read_only, Ordering::SeqCst);
        if read_only && self.file_system.writers.load(Ordering::SeqCst) != 0 {
            self.file_system.read_only.store(was, Ordering::SeqCst);
            return Err(Errno::BUSY);
        }
        self.flags.store(flags.bits(), Ordering::SeqCst);
        names_changed();
        Ok(())
    }
}

/// Flags and their names, in the order in which Linux shows them.
const FLAG_NAMES: [(MountFlags, &str); 7] = [
    (MountFlags::NO_SUID, "nosuid"),
    (MountFlags::NO_DEVICES, "nodev"),
    (MountFlags::NO_EXEC, "noexec"),
    (MountFlags::NO_ATIME, "noatime"),
    (MountFlags::NO_DIRECTORY_ATIME, "nodiratime"),
    (MountFlags::RELATIVE_ATIME, "relatime"),
    (MountFlags::NO_LINKS, "nosymfollow"),
];

/// See [`Mount::options`].
pub struct MountOptions(MountFlags);

impl fmt::Display for MountOptions {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        FLAG_NAMES
            .into_iter()
            .filter(|(flag, _)| self.0.contains(*flag))
            .try_for_each(|(_, name)| write!(f, ",{name}"))
    }
}

impl Drop for Mount {
    /// A mount keeps the one it lies in, which keeps the one below: as many as a program has put on another.
    fn drop(&mut self) {
        let mut at = self.at.get_mut().take();
        while let Some(Place { path, name }) = at {
            drop(name);
            at = Arc::into_inner(path.mount).and_then(|mut mount| mount.at.get_mut().take());
        }
    }
}

/// A file, with the mount it is reached through.
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The file in it.
    pub inode: Arc<dyn Inode>,
}

/// Where a file was found: the file, and for anything but a directory the directory and name that led there.
#[derive(Clone)]
pub struct Place {
    /// The file.
    pub path: Path,
    /// Directory and name; `None` for directories (they know) and for what has no name.
    pub name: Option<(Path, Arc<[u8]>)>,
}

/// What stands behind the path of a file whose name is gone (proc(5)).
pub const DELETED: &[u8] = b" (deleted)";

/// All mounts, later ones last.
pub(super) static MOUNTS: RwLock<Vec<Arc<Mount>>> = RwLock::new(Vec::new());
static ROOT: Once<Path> = Once::new();
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The root of the tree.
pub fn root() -> Path {
    // Set by `fs::root::init` before the first process exists.
    ROOT.get().expect("the root file system is mounted first").clone()
}

/// Mounts the first file system. Called once. ENOMEM.
pub fn set_root(root: Arc<dyn Inode>, kind: &'static str) -> Result<(), NoMemory> {
    let source = kind.as_bytes().try_to_vec()?;
    let flags = MountFlags::new(0);
    let mount = Mount::new(NewMount { root: root.clone(), kind, source, flags, file_system: None }, 0)?;
    MOUNTS.write().try_push(mount.clone())?;
    ROOT.call_once(|| Path { mount, inode: root });
    Ok(())
}

/// What is to be mounted.
pub struct NewMount {
    /// Its root.
    pub root: Arc<dyn Inode>,
    /// Its type, as /proc/mounts shows it.
    pub kind: &'static str,
    /// What it is made from.
    pub source: Vec<u8>,
    /// What may not be done through it.
    pub flags: MountFlags,
    /// The file system it shows, if another mount shows it already (MS_BIND).
    pub file_system: Option<Arc<FileSystem>>,
}

/// Mounts something over the file or directory `at`. EINVAL if nothing can be mounted there, ENOSPC if there are too many
/// mounts, ENOMEM.
pub fn mount(at: Place, new: NewMount) -> Result<(), Errno> {
    let mount = Mount::new(new, at.path.mount.space())?;
    let mut mounts = MOUNTS.write();
    if mounts.len() >= MOUNTS_MAX {
        return Err(Errno::NOSPC);
    }
    check_there(&mounts, &at.path.mount)?;
    attach(&mut mounts, mount, at)
}

/// ENOENT unless a mount is in the list still: nothing is to be mounted in what was taken away.
pub(super) fn check_there(mounts: &[Arc<Mount>], mount: &Arc<Mount>) -> Result<(), Errno> {
    if mounts.iter().any(|other| Arc::ptr_eq(other, mount)) { Ok(()) } else { Err(Errno::NOENT) }
}

/// Puts a mount over a place, in the list of mounts. EINVAL if nothing can be mounted there, ENOMEM.
pub(super) fn attach(mounts: &mut Vec<Arc<Mount>>, mount: Arc<Mount>, at: Place) -> Result<(), Errno> {
    let inode = at.path.inode.clone();
    let flag = inode.mounted().ok_or(Errno::INVAL)?;
    mounts.make_room(1)?;
    mount.put_at(Some(at));
    mounts.push_reserved(mount);
    flag.store(true, Ordering::Release);
    names_changed();
    Ok(())
}

/// Takes a mount off the list, at `index`, and what it covers from its mark, if no other covers it.
pub(super) fn take_off(mounts: &mut Vec<Arc<Mount>>, index: usize) -> Arc<Mount> {
    let gone = mounts.remove(index);
    if let Some(at) = gone.at()
        && let Some(flag) = at.path.inode.mounted()
    {
        let covers = |mount: &Arc<Mount>| {
            let has_flag = |inode: &dyn Inode| inode.mounted().is_some_and(|own| ptr::eq(own, flag));
            let is_there = |inode: &Arc<dyn Inode>| same(inode, &at.path.inode) || has_flag(&**inode);
            mount.at.read().as_ref().is_some_and(|other| is_there(&other.path.inode))
        };
        flag.store(mounts.iter().any(covers), Ordering::Release);
    }
    names_changed();
    gone
}

/// Takes away the mount whose root is `path`, which keeps it alive once; EINVAL if it isn't one, EBUSY if others are mounted
/// in it, or if anything is open, executed or a working directory in it. `detach`: it goes for all that, and what is mounted
/// in it with it (MNT_DETACH).
pub fn unmount(path: Path, detach: bool) -> Result<(), Errno> {
    /// The list of mounts, and `path`.
    const IDLE_REFERENCES: usize = 2;
    if !path.is_mount_root() {
        return Err(Errno::INVAL);
    }
    // Remembered paths keep their mounts.
    path_cache::forget();
    loop {
        let mut mounts = MOUNTS.write();
        let own = mounts.iter().position(|mount| Arc::ptr_eq(mount, &path.mount)).ok_or(Errno::INVAL)?;
        if path.mount.is_top() || path.mount.is_locked() {
            return Err(Errno::INVAL);
        }
        let index = if detach {
            // Those mounted in it come after it in the list, and go before it.
            mounts.iter().rposition(|mount| mount.is_in(&path.mount)).unwrap_or(own)
        } else if Arc::strong_count(&path.mount) > IDLE_REFERENCES {
            return Err(Errno::BUSY);
        } else {
            own
        };
        let gone = take_off(&mut mounts, index);
        let device = gone.root.identity().0;
        let is_last = notify::is_on() && !mounts.iter().any(|mount| mount.root.identity().0 == device);
        drop(mounts);
        notify::mount_gone(gone.id);
        drop(gone);
        if is_last {
            notify::unmounted(device);
        }
        if index == own {
            return Ok(());
        }
    }
}

/// In [`Mount::locked`]: it may not be taken away.
pub(super) const LOCKED: u32 = 1 << 31;
/// In it: times of access are kept as they are (MNT_LOCK_ATIME).
pub(super) const TIMES_LOCKED: u32 = 1 << 30;

/// All mounts, the root first. ENOMEM.
pub fn all() -> Result<Vec<Arc<Mount>>, NoMemory> {
    MOUNTS.read().iter().cloned().try_collect_vec()
}

/// Whether two inodes are the same file.
pub fn same(a: &Arc<dyn Inode>, b: &Arc<dyn Inode>) -> bool {
    a.identity() == b.identity()
}

impl Path {
    /// Whether it is the root of what is mounted.
    pub fn is_mount_root(&self) -> bool {
        same(&self.inode, &self.mount.root)
    }
    /// Whether both are the same file reached through the same mount.
    pub fn same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && same(&self.inode, &other.inode)
    }
    /// The root of what is mounted here, or itself.
    pub fn cross(self) -> Path {
        let mut path = self;
        while path.inode.mounted().is_some_and(|flag| flag.load(Ordering::Acquire)) {
            let mounts = MOUNTS.read();
            let over = |mount: &&Arc<Mount>| mount.at.read().as_ref().is_some_and(|at| at.path.same(&path));
            let Some(mount) = mounts.iter().rev().find(over) else { break };
            path = Path { mount: mount.clone(), inode: mount.root.clone() };
        }
        path
    }
    /// `..` of a directory.
    pub fn parent(&self) -> Path {
        let mut path = self.clone();
        while same(&path.inode, &path.mount.root) {
            match path.mount.at() {
                Some(at) => path = at.path,
                None => return path,
            }
        }
        match path.inode.parent() {
            Some(inode) => Path { mount: path.mount, inode },
            None => path,
        }
    }
    /// Writes the absolute path of a directory, as seen from `root`. False, and nothing is written, if it was removed or
    /// lies outside of `root`. ENOMEM.
    pub fn write(&self, root: &Path, text: &mut Text) -> Result<bool, NoMemory> {
        let mut names = Vec::new();
        let mut path = self.clone();
        while !path.same(root) {
            if same(&path.inode, &path.mount.root) {
                let Some(at) = path.mount.at() else { return Ok(false) };
                path = at.path;
                continue;
            }
            let Some(name) = path.inode.name() else { return Ok(false) };
            names.try_push(name)?;
            path = path.parent();
        }
        for name in names.iter().rev() {
            text.push(b"/")?;
            text.push(name)?;
        }
        if names.is_empty() {
            text.push(b"/")?;
        }
        Ok(true)
    }
    /// The root of the tree that it is in.
    pub fn top(&self) -> Path {
        let mut mount = self.mount.clone();
        while let Some(at) = mount.at() {
            mount = at.path.mount;
        }
        Path { inode: mount.root.clone(), mount }
    }
    /// Writes its path from the root of the tree, or `/ (deleted)` if it was removed. ENOMEM.
    pub fn write_or_deleted(&self, text: &mut Text) -> Result<(), NoMemory> {
        if self.write(&self.top(), text)? {
            return Ok(());
        }
        text.push(b"/")?;
        text.push(DELETED)
    }
    /// EROFS if nothing may be changed through this mount.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.mount.is_read_only() { Err(Errno::ROFS) } else { Ok(()) }
    }
}

impl Place {
    /// Writes the path for /proc/self/fd and maps: with ` (deleted)` behind it if the name is gone. ENOMEM.
    pub fn write(&self, text: &mut Text) -> Result<(), NoMemory> {
        let Some((directory, name)) = &self.name else { return self.path.write_or_deleted(text) };
        directory.write(&directory.top(), text)?;
        if text.as_bytes().last() != Some(&b'/') {
            text.push(b"/")?;
        }
        text.push(name)?;
        let found = match directory.inode.lookup(name) {
            Err(Errno::NOMEM) => return Err(NoMemory),
            found => found.ok().flatten(),
        };
        let still_there = found.is_some_and(|inode| {
            // A file may be mounted over another.
            same(&inode, &self.path.inode)
                || Path { mount: directory.mount.clone(), inode }.cross().same(&self.path)
        });
        if still_there { Ok(()) } else { text.push(DELETED) }
    }
}
