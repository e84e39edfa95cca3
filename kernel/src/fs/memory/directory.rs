//! Directories in memory: entries by name, over those of a directory of the image.
use super::node::Node;
use crate::errno::Errno;
use crate::fs::inode::{DirEntry, Inode};
use crate::fs::names_changed;
use crate::fs::stat::entry_kind;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_hal::frame;
use coracle_image::archive;
use core::sync::atomic::Ordering;
use hashbrown::HashMap;
use linux_raw_sys::general::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use spin::Mutex;

/// Bytes that st_size counts for an entry, as Linux's tmpfs does.
const ENTRY_SIZE: u64 = 20;

/// An entry that differs from the image's, or that was looked up before.
enum Entry {
    Present(Arc<Node>),
    /// The image has this name, and it was removed.
    Whiteout,
}

struct State {
    entries: HashMap<Box<[u8]>, Entry>,
    /// The directory of the image that shows through.
    base: Option<archive::Inode>,
    parent: Weak<Node>,
    /// The name in the parent; `None` for the root and when removed.
    name: Option<Box<[u8]>>,
    removed: bool,
}

/// A directory.
pub struct Directory {
    state: Mutex<State>,
}

impl Directory {
    /// An empty one, or one of the image.
    pub fn new(base: Option<archive::Inode>) -> Self {
        let state = State { entries: HashMap::new(), base, parent: Weak::new(), name: None, removed: false };
        Directory { state: Mutex::new(state) }
    }
    pub fn parent(&self) -> Option<Arc<Node>> {
        self.state.lock().parent.upgrade()
    }
    pub fn name(&self) -> Option<Vec<u8>> {
        self.state.lock().name.as_ref().map(|name| name.to_vec())
    }
    pub fn size(&self, node: &Node) -> u64 {
        self.state.lock().count(node) * ENTRY_SIZE + 2 * ENTRY_SIZE
    }
    pub fn lookup(&self, node: &Node, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        self.state.lock().lookup(node, name)
    }
    pub fn list(&self, node: &Node) -> Result<Vec<DirEntry>, Errno> {
        let state = self.state.lock();
        let mut list = Vec::new();
        if let (Some(base), Some(archive)) = (&state.base, node.fs.archive) {
            for entry in archive.entries(base) {
                let entry = entry.map_err(|_| Errno::IO)?;
                if !state.entries.contains_key(entry.name) {
                    list.push(DirEntry {
                        inode: u64::from(entry.inode.0) + 1,
                        kind: entry_kind(entry.kind.mode_bits()),
                        name: entry.name.into(),
                    });
                }
            }
        }
        for (name, entry) in &state.entries {
            if let Entry::Present(node) = entry {
                list.push(DirEntry { inode: node.inode, kind: entry_kind(node.mode()), name: name.clone() });
            }
        }
        Ok(list)
    }
    /// Adds an entry; EEXIST, and ENOENT in a removed directory.
    pub fn insert(&self, node: &Node, name: &[u8], child: &Arc<Node>) -> Result<(), Errno> {
        {
            let mut state = self.state.lock();
            if state.removed {
                return Err(Errno::NOENT);
            }
            if state.lookup(node, name)?.is_some() {
                return Err(Errno::EXIST);
            }
            if frame::low() {
                return Err(Errno::NOSPC);
            }
            state.put(node, name, child.clone());
        }
        names_changed();
        if child.directory().is_ok() {
            node.add_links(1);
        }
        node.touch();
        Ok(())
    }
    /// Removes an entry: an empty directory, or anything else.
    pub fn remove(&self, node: &Node, name: &[u8], directory: bool) -> Result<(), Errno> {
        let child = {
            let mut state = self.state.lock();
            let child = state.lookup(node, name)?.ok_or(Errno::NOENT)?;
            match child.directory() {
                Ok(_) if !directory => return Err(Errno::ISDIR),
                Err(_) if directory => return Err(Errno::NOTDIR),
                Ok(inner) => inner.close(&child)?,
                Err(_) => {}
            }
            state.take(node, name);
            child
        };
        names_changed();
        if directory {
            node.add_links(-1);
            child.add_links(-2);
        } else {
            child.add_links(-1);
        }
        node.touch();
        Ok(())
    }
    /// Marks it removed; ENOTEMPTY, EBUSY if something is mounted on it. The parent's lock is held: parents before
    /// children is the order.
    fn close(&self, node: &Node) -> Result<(), Errno> {
        if node.mounted().is_some_and(|mounted| mounted.load(Ordering::Acquire)) {
            return Err(Errno::BUSY);
        }
        let mut state = self.state.lock();
        if state.count(node) > 0 {
            return Err(Errno::NOTEMPTY);
        }
        state.removed = true;
        state.name = None;
        Ok(())
    }
    fn set_parent(&self, parent: &Node, name: &[u8]) {
        let mut state = self.state.lock();
        state.parent = Arc::downgrade(&parent.this());
        state.name = Some(name.into());
    }
}

impl State {
    fn in_base(&self, node: &Node, name: &[u8]) -> Result<Option<archive::Inode>, Errno> {
        let (Some(base), Some(archive)) = (&self.base, node.fs.archive) else { return Ok(None) };
        let Some(entry) = archive.lookup(base, name).map_err(|_| Errno::IO)? else { return Ok(None) };
        archive.inode(entry.inode).map(Some).map_err(|_| Errno::IO)
    }
    fn lookup(&mut self, node: &Node, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        match self.entries.get(name) {
            Some(Entry::Present(child)) => return Ok(Some(child.clone())),
            Some(Entry::Whiteout) => return Ok(None),
            None => {}
        }
        let Some(inode) = self.in_base(node, name)? else { return Ok(None) };
        let child = node.fs.image_node(&inode)?;
        self.put(node, name, child.clone());
        Ok(Some(child))
    }
    fn put(&mut self, node: &Node, name: &[u8], child: Arc<Node>) {
        if let Ok(directory) = child.directory() {
            directory.set_parent(node, name);
        }
        self.entries.insert(name.into(), Entry::Present(child));
    }
    fn take(&mut self, node: &Node, name: &[u8]) {
        if self.in_base(node, name).is_ok_and(|found| found.is_some()) {
            self.entries.insert(name.into(), Entry::Whiteout);
        } else {
            self.entries.remove(name);
        }
    }
    /// Entries that show.
    fn count(&self, node: &Node) -> u64 {
        let base = self.base.as_ref().map_or(0, |base| base.size);
        let mut count = base;
        for (name, entry) in &self.entries {
            let in_base = base > 0 && self.in_base(node, name).is_ok_and(|found| found.is_some());
            match entry {
                Entry::Present(_) if !in_base => count += 1,
                Entry::Whiteout if in_base => count -= 1,
                _ => {}
            }
        }
        count
    }
}

/// rename(2) and renameat2(2) within one file system.
pub(super) fn rename(
    from_dir: &Node,
    from: &[u8],
    to_dir: &Node,
    to: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    let _tree = from_dir.fs.renaming.lock();
    let child = from_dir.directory()?.lookup(from_dir, from)?.ok_or(Errno::NOENT)?;
    let old = to_dir.directory()?.lookup(to_dir, to)?;
    let moves_directory = child.directory().is_ok();
    if flags & RENAME_NOREPLACE != 0 && old.is_some() {
        return Err(Errno::EXIST);
    }
    if moves_directory && is_within(to_dir, &child) {
        return Err(Errno::INVAL);
    }
    if flags & RENAME_EXCHANGE != 0 {
        let old = old.ok_or(Errno::NOENT)?;
        if old.directory().is_ok() && is_within(from_dir, &old) {
            return Err(Errno::INVAL);
        }
        set(from_dir, from, Some(&old))?;
        set(to_dir, to, Some(&child))?;
    } else {
        if let Some(old) = &old {
            if Arc::ptr_eq(old, &child) {
                return Ok(());
            }
            match old.directory() {
                Ok(_) if !moves_directory => return Err(Errno::ISDIR),
                Err(_) if moves_directory => return Err(Errno::NOTDIR),
                // The place that is moved over may be the very directory that holds the moved one: not empty then.
                Ok(inner) => inner.close(old)?,
                Err(_) => {}
            }
        }
        set(to_dir, to, Some(&child))?;
        set(from_dir, from, None)?;
        if let Some(old) = &old {
            old.add_links(if moves_directory { -2 } else { -1 });
        }
        if moves_directory {
            from_dir.add_links(-1);
            if old.is_none() {
                to_dir.add_links(1);
            }
        }
    }
    names_changed();
    child.add_links(0);
    from_dir.touch();
    to_dir.touch();
    Ok(())
}

fn set(directory: &Node, name: &[u8], child: Option<&Arc<Node>>) -> Result<(), Errno> {
    let mut state = directory.directory()?.state.lock();
    match child {
        Some(child) => state.put(directory, name, child.clone()),
        None => state.take(directory, name),
    }
    Ok(())
}

/// Whether `node` is `directory` or lies below it.
fn is_within(node: &Node, directory: &Arc<Node>) -> bool {
    let mut at = Some(node.this());
    while let Some(node) = at {
        if Arc::ptr_eq(&node, directory) {
            return true;
        }
        at = node.directory().ok().and_then(Directory::parent);
    }
    false
}
