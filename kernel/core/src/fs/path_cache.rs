//! Paths that were walked before. An entry holds until the tree of names changes anywhere; it keeps no file alive.
use super::inode::Inode;
use super::mount::{Mount, Path};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::{AtomicU64, Ordering};
use coracle_hal::sync::{LazyLock, RwLock};
use hashbrown::HashMap;

/// Paths kept; when it is full, all are let go of.
const CAPACITY: usize = 128;
/// Longer paths are not kept.
const LONGEST: usize = 256;

/// Counts changes of the tree of names.
static GENERATION: AtomicU64 = AtomicU64::new(0);
static CACHE: LazyLock<RwLock<HashMap<Box<[u8]>, Entry>>> = LazyLock::new(|| RwLock::new(HashMap::new()));

struct Entry {
    generation: u64,
    directory: WeakPath,
    file: WeakPath,
    /// Where the last component begins in the path.
    name: usize,
}

struct WeakPath {
    mount: Arc<Mount>,
    inode: Weak<dyn Inode>,
}

impl WeakPath {
    fn new(path: &Path) -> Self {
        WeakPath { mount: path.mount.clone(), inode: Arc::downgrade(&path.inode) }
    }
    fn get(&self) -> Option<Path> {
        Some(Path { mount: self.mount.clone(), inode: self.inode.upgrade()? })
    }
}

/// The tree of names changes: what is known of it is so no longer. To be called after the change, and before the call
/// that made it returns.
pub fn names_changed() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
}

/// Forgets all, and lets go of the mounts that they lay in.
pub fn forget() {
    let all = core::mem::take(&mut *CACHE.write());
    drop(all);
}

/// The state of the tree that a walk sees which starts now.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::SeqCst)
}

/// The directory and the file that `path` led to, and its last component.
pub fn find(path: &[u8]) -> Option<(Path, Path, &[u8])> {
    let cache = CACHE.read();
    let entry = cache.get(path)?;
    if entry.generation != generation() {
        return None;
    }
    Some((entry.directory.get()?, entry.file.get()?, &path[entry.name..]))
}

/// Remembers where the absolute `path` led in a walk that began at `generation`. Its last component `name` is a part of
/// it, and the path was walked without links that depend on who asks.
pub fn remember(path: &[u8], name: &[u8], generation: u64, directory: &Path, file: &Path) {
    if path.len() > LONGEST || !path.ends_with(name) {
        return;
    }
    let entry = Entry {
        generation,
        directory: WeakPath::new(directory),
        file: WeakPath::new(file),
        name: path.len() - name.len(),
    };
    let mut cache = CACHE.write();
    let full = if cache.len() >= CAPACITY { core::mem::take(&mut *cache) } else { HashMap::new() };
    // Where there is no memory, the path is walked again.
    let old = path.try_to_boxed().and_then(|path| cache.try_put(path, entry));
    drop(cache);
    drop((full, old));
}
