//! Mounts: file systems joined into one tree, and places in that tree.
use super::inode::Inode;
use super::names_changed;
use crate::errno::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::{Once, RwLock};

/// A mounted file system.
pub struct Mount {
    /// Number for mountinfo.
    pub id: u64,
    /// Its root directory.
    pub root: Arc<dyn Inode>,
    /// The directory it covers; `None` for the root.
    pub at: Option<Path>,
    /// Its type, as /proc/mounts tells it.
    pub kind: &'static str,
    /// What it was made from.
    pub source: String,
    /// Nothing may be changed through it.
    pub read_only: bool,
}

impl Drop for Mount {
    /// A mount keeps the one it lies in, which keeps the one below: as many as a program has put on another.
    fn drop(&mut self) {
        let mut at = self.at.take();
        while let Some(mut mount) = at.and_then(|at| Arc::into_inner(at.mount)) {
            at = mount.at.take();
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
    pub name: Option<(Path, Vec<u8>)>,
}

/// All mounts but the root, later ones last.
static MOUNTS: RwLock<Vec<Arc<Mount>>> = RwLock::new(Vec::new());
static ROOT: Once<Path> = Once::new();
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The root of the tree.
pub fn root() -> Path {
    // Set by `fs::init` before the first process exists.
    ROOT.get().expect("the root file system is mounted first").clone()
}

/// Mounts the first file system. Called once.
pub fn set_root(root: Arc<dyn Inode>, kind: &'static str) {
    ROOT.call_once(|| {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mount = Mount { id, root: root.clone(), at: None, kind, source: kind.into(), read_only: false };
        Path { mount: Arc::new(mount), inode: root }
    });
}

/// Mounts `root` over the directory `at`.
pub fn mount(
    at: Path,
    root: Arc<dyn Inode>,
    kind: &'static str,
    source: String,
    read_only: bool,
) -> Result<(), Errno> {
    let mut mounts = MOUNTS.write();
    at.inode.mounted().ok_or(Errno::INVAL)?.store(true, Ordering::Release);
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    mounts.push(Arc::new(Mount { id, root, at: Some(at), kind, source, read_only }));
    names_changed();
    Ok(())
}

/// Takes away the mount whose root is `path`; EINVAL if it isn't one, EBUSY if others stand in it.
pub fn unmount(path: &Path) -> Result<(), Errno> {
    if !same(&path.inode, &path.mount.root) {
        return Err(Errno::INVAL);
    }
    let mut mounts = MOUNTS.write();
    let inside = |mount: &Arc<Mount>| mount.at.as_ref().is_some_and(|at| Arc::ptr_eq(&at.mount, &path.mount));
    if mounts.iter().any(inside) {
        return Err(Errno::BUSY);
    }
    let index = mounts.iter().position(|mount| Arc::ptr_eq(mount, &path.mount)).ok_or(Errno::INVAL)?;
    let gone = mounts.remove(index);
    names_changed();
    drop(mounts);
    drop(gone);
    Ok(())
}

/// All mounts, the root first.
pub fn all() -> Vec<Arc<Mount>> {
    let mut all = alloc::vec![root().mount];
    all.extend(MOUNTS.read().iter().cloned());
    all
}

/// Whether two inodes are the same file.
pub fn same(a: &Arc<dyn Inode>, b: &Arc<dyn Inode>) -> bool {
    a.identity() == b.identity()
}

impl Path {
    /// Whether both are the same file reached through the same mount.
    pub fn same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && same(&self.inode, &other.inode)
    }
    /// The root of what is mounted here, or itself.
    pub fn cross(self) -> Path {
        let mut path = self;
        while path.inode.mounted().is_some_and(|flag| flag.load(Ordering::Acquire)) {
            let mounts = MOUNTS.read();
            let over = |mount: &&Arc<Mount>| mount.at.as_ref().is_some_and(|at| at.same(&path));
            let Some(mount) = mounts.iter().rev().find(over) else { break };
            path = Path { mount: mount.clone(), inode: mount.root.clone() };
        }
        path
    }
    /// `..` of a directory.
    pub fn parent(&self) -> Path {
        let mut path = self.clone();
        while same(&path.inode, &path.mount.root) {
            match path.mount.at.clone() {
                Some(at) => path = at,
                None => return path,
            }
        }
        match path.inode.parent() {
            Some(inode) => Path { mount: path.mount, inode },
            None => path,
        }
    }
    /// The absolute path of a directory, as seen from `root`; `None` if it was removed or lies outside of `root`.
    pub fn to_bytes(&self, root: &Path) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        let mut path = self.clone();
        while !path.same(root) {
            if same(&path.inode, &path.mount.root) {
                path = path.mount.at.clone()?;
                continue;
            }
            names.push(path.inode.name()?);
            path = path.parent();
        }
        let mut bytes = Vec::new();
        for name in names.iter().rev() {
            bytes.push(b'/');
            bytes.extend_from_slice(name);
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        Some(bytes)
    }
    /// EROFS if nothing may be changed through this mount.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.mount.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }
}

impl Place {
    /// The path for /proc/self/fd, maps and getcwd(2): with ` (deleted)` behind it if the name is gone.
    pub fn to_bytes(&self) -> Vec<u8> {
        const DELETED: &[u8] = b" (deleted)";
        let root = root();
        let Some((directory, name)) = &self.name else {
            return self.path.to_bytes(&root).unwrap_or_else(|| [b"/", DELETED].concat());
        };
        let mut bytes = directory.to_bytes(&root).unwrap_or_default();
        if bytes.last() != Some(&b'/') {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        let still_there =
            directory.inode.lookup(name).ok().flatten().is_some_and(|n| same(&n, &self.path.inode));
        if !still_there {
            bytes.extend_from_slice(DELETED);
        }
        bytes
    }
}
