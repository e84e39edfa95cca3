//! Root, working directory and umask of a process.
use super::mount::{self, Path};
use super::mount_space::Copies;
use alloc::sync::Arc;
use coracle_hal::sync::RwLock;
use coracle_hal::sync::atomic::{AtomicU32, Ordering};

/// The umask that the first process has.
const FIRST_UMASK: u32 = 0o022;
/// Bits that umask(2) keeps.
const UMASK_BITS: u32 = 0o777;

struct Places {
    root: Path,
    /// chroot(2) was called.
    moved: bool,
    directory: Path,
}

impl Places {
    /// The root of the tree.
    fn of_tree() -> Self {
        let root = mount::root();
        Places { directory: root.clone(), root, moved: false }
    }
}

/// What path resolution starts from.
pub struct FsContext {
    places: RwLock<Places>,
    umask: AtomicU32,
}

impl Default for FsContext {
    fn default() -> Self {
        FsContext::new()
    }
}

impl FsContext {
    /// Root and working directory are the root of the tree. The root has been mounted by then.
    pub fn new() -> Self {
        FsContext { places: RwLock::new(Places::of_tree()), umask: AtomicU32::new(FIRST_UMASK) }
    }
    /// A copy (fork).
    pub fn duplicate(&self) -> Self {
        let places = self.places.read();
        FsContext {
            places: RwLock::new(Places {
                root: places.root.clone(),
                moved: places.moved,
                directory: places.directory.clone(),
            }),
            umask: AtomicU32::new(self.umask()),
        }
    }
    /// The root directory.
    pub fn root(&self) -> Path {
        self.places.read().root.clone()
    }
    /// Whether the root is that of the tree.
    pub fn has_plain_root(&self) -> bool {
        !self.places.read().moved
    }
    /// Whether the root is not that of a tree of mounts (chroot(2)).
    pub fn is_chrooted(&self) -> bool {
        let root = self.root();
        !root.mount.is_top() || !root.is_mount_root()
    }
    /// Root and working directory are the same places on copies of their mounts.
    pub fn move_to(&self, copies: &Copies) {
        let mut places = self.places.write();
        let places = &mut *places;
        places.moved = true;
        for path in [&mut places.root, &mut places.directory] {
            if let Some((_, copy)) = copies.iter().find(|(old, _)| Arc::ptr_eq(old, &path.mount)) {
                path.mount = copy.clone();
            }
        }
    }
    /// Root and working directory are `new` where they were `old` (pivot_root(2)).
    pub fn replace(&self, old: &Path, new: &Path) {
        let mut places = self.places.write();
        let places = &mut *places;
        places.moved = true;
        for path in [&mut places.root, &mut places.directory] {
            if path.same(old) {
                *path = new.clone();
            }
        }
    }
    /// The working directory.
    pub fn directory(&self) -> Path {
        self.places.read().directory.clone()
    }
    /// chroot(2).
    pub fn set_root(&self, root: Path) {
        let mut places = self.places.write();
        places.moved = true;
        let old = core::mem::replace(&mut places.root, root);
        drop(places);
        drop(old);
    }
    /// chdir(2).
    pub fn set_directory(&self, directory: Path) {
        let old = core::mem::replace(&mut self.places.write().directory, directory);
        drop(old);
    }
    /// Its process ends: root and working directory are those of the tree again.
    pub fn leave(&self) {
        let old = core::mem::replace(&mut *self.places.write(), Places::of_tree());
        drop(old);
    }
    /// The permission bits that new files don't get.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }
    /// umask(2): gives the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        self.umask.swap(umask & UMASK_BITS, Ordering::Relaxed)
    }
}
