//! Mounts: file systems joined into one tree, and places in that tree.
use super::inode::Inode;
use super::names_changed;
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
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
    pub source: Vec<u8>,
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
    pub name: Option<(Path, Arc<[u8]>)>,
}

/// What stands behind the path of a file whose name is gone (proc(5)).
pub const DELETED: &[u8] = b" (deleted)";

/// All mounts but the root, later ones last.
static MOUNTS: RwLock<Vec<Arc<Mount>>> = RwLock::new(Vec::new());
static ROOT: Once<Path> = Once::new();
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The root of the tree.
pub fn root() -> Path {
    // Set by `fs::init` before the first process exists.
    ROOT.get().expect("the root file system is mounted first").clone()
}

/// Mounts the first file system. Called once. ENOMEM.
pub fn set_root(root: Arc<dyn Inode>, kind: &'static str) -> Result<(), NoMemory> {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let source = kind.as_bytes().try_to_vec()?;
    let mount = try_arc(Mount { id, root: root.clone(), at: None, kind, source, read_only: false })?;
    ROOT.call_once(|| Path { mount, inode: root });
    Ok(())
}

/// Mounts `root` over the directory `at`. EINVAL if nothing can be mounted there; ENOMEM.
pub fn mount(
    at: Path,
    root: Arc<dyn Inode>,
    kind: &'static str,
    source: Vec<u8>,
    read_only: bool,
) -> Result<(), Errno> {
    let inode = at.inode.clone();
    let covered = inode.mounted().ok_or(Errno::INVAL)?;
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let mount = try_arc(Mount { id, root, at: Some(at), kind, source, read_only })?;
    let mut mounts = MOUNTS.write();
    mounts.make_room(1)?;
    covered.store(true, Ordering::Release);
    mounts.push_reserved(mount);
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

/// All mounts, the root first. ENOMEM.
pub fn all() -> Result<Vec<Arc<Mount>>, NoMemory> {
    let mounts = MOUNTS.read();
    core::iter::once(root().mount).chain(mounts.iter().cloned()).try_collect_vec()
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
    /// Writes the absolute path of a directory, as seen from `root`. False, and nothing is written, if it was removed or
    /// lies outside of `root`. ENOMEM.
    pub fn write(&self, root: &Path, text: &mut Text) -> Result<bool, NoMemory> {
        let mut names = Vec::new();
        let mut path = self.clone();
        while !path.same(root) {
            if same(&path.inode, &path.mount.root) {
                let Some(at) = path.mount.at.clone() else { return Ok(false) };
                path = at;
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
    /// Writes its path from the root of the tree, or `/ (deleted)` if it was removed. ENOMEM.
    pub fn write_or_deleted(&self, text: &mut Text) -> Result<(), NoMemory> {
        if self.write(&root(), text)? {
            return Ok(());
        }
        text.push(b"/")?;
        text.push(DELETED)
    }
    /// EROFS if nothing may be changed through this mount.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.mount.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }
}

impl Place {
    /// Writes the path for /proc/self/fd and maps: with ` (deleted)` behind it if the name is gone. ENOMEM.
    pub fn write(&self, text: &mut Text) -> Result<(), NoMemory> {
        let Some((directory, name)) = &self.name else { return self.path.write_or_deleted(text) };
        directory.write(&root(), text)?;
        if text.as_bytes().last() != Some(&b'/') {
            text.push(b"/")?;
        }
        text.push(name)?;
        let found = match directory.inode.lookup(name) {
            Err(Errno::NOMEM) => return Err(NoMemory),
            found => found.ok().flatten(),
        };
        let still_there = found.is_some_and(|inode| same(&inode, &self.path.inode));
        if still_there { Ok(()) } else { text.push(DELETED) }
    }
}
