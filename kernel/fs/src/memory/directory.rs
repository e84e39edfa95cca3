//! Directories in memory: entries by name, over those of a directory of the image.
use super::node::{Node, image_inode_number};
use super::remains;
use alloc::sync::{Arc, Weak};
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{DirEntry, Inode, NewNode, TakeEntry};
use coracle_core::fs::names_changed;
use coracle_core::fs::stat::entry_kind;
use coracle_core::lock::Mutex;
use coracle_fallible::{NoMemory, try_arc_bytes};
use coracle_hal::frame::{self, Watermark};
use coracle_hal::sync::atomic::Ordering;
use coracle_hal::sync::{LazyLock, MutexGuard};
use coracle_image::archive;
use coracle_vfs_core::names::Names;
use core::hash::Hasher;
use linux_raw_sys::general::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFCHR};
use siphasher::sip::SipHasher13;

/// Bytes that st_size counts for an entry, as Linux's tmpfs does.
const ENTRY_SIZE: u64 = 20;

/// An entry that differs from the image's, or that was looked up before.
enum Entry {
    Present {
        node: Arc<Node>,
        /// The image has this name.
        in_base: bool,
    },
    /// The image has this name, and it was removed.
    Whiteout,
}

struct State {
    entries: Names<Entry>,
    /// The directory of the image that shows through.
    base: Option<archive::Inode>,
    /// Entries that the image doesn't have.
    added: u64,
    /// Entries of the image that were removed.
    hidden: u64,
    removed: bool,
}

/// Where a directory lies.
#[derive(Default)]
struct Location {
    parent: Weak<Node>,
    /// The name in the parent; `None` for the root and when removed.
    name: Option<Arc<[u8]>>,
}

/// A directory.
///
/// Locks are taken in this order: that of the tree while something is moved (`MemoryFs::renaming`), the states of
/// directories from the root downwards, and last a location, so that the way up can be looked at under any of them.
pub struct Directory {
    state: Mutex<State>,
    location: Mutex<Location>,
    /// The next in a list of directories to be dropped.
    next_to_drop: Mutex<Option<Arc<Node>>>,
}

impl Drop for Directory {
    fn drop(&mut self) {
        let entries = core::mem::take(&mut self.state.get_mut().entries);
        remains::free_contents(Contents { entries, list: None });
    }
}

/// What lay in a directory that is gone.
pub(super) struct Contents {
    entries: Names<Entry>,
    /// Directories that are to follow.
    list: Option<Arc<Node>>,
}

impl Contents {
    /// Drops what lies in it directory by directory, not one within the other: a tree may be as deep as a program likes. Returns
    /// true when all is done, and false after a number of steps.
    pub fn take_down(&mut self) -> bool {
        /// Entries, or directories, that are dropped.
        const STEPS: usize = 1024;
        for _ in 0..STEPS {
            if let Some(entry) = self.entries.pop() {
                if let Entry::Present { node, .. } = entry
                    && let Ok(directory) = node.directory()
                {
                    *directory.next_to_drop.lock() = self.list.take();
                    self.list = Some(node);
                }
                continue;
            }
            let Some(node) = self.list.take() else { return true };
            self.list = node.directory().ok().and_then(|directory| directory.next_to_drop.lock().take());
            self.entries = Directory::last_entries(node);
        }
        false
    }
}

/// Where there is no memory to put it aside.
impl Drop for Contents {
    fn drop(&mut self) {
        while !self.take_down() {}
    }
}

impl Directory {
    /// The entries of a directory that goes. One that is still used is dropped by the one that uses it, and gives none. Apart,
    /// so that its node is not on the stack while what lies in it is dropped.
    #[inline(never)]
    fn last_entries(node: Arc<Node>) -> Names<Entry> {
        let mut node = Arc::into_inner(node);
        let directory = node.as_mut().and_then(|node| node.directory_mut().ok());
        directory.map(|directory| core::mem::take(&mut directory.state.get_mut().entries)).unwrap_or_default()
    }
    /// An empty one, or one of the image.
    pub fn new(base: Option<archive::Inode>) -> Self {
        Directory {
            state: Mutex::new(State { entries: Names::new(), base, added: 0, hidden: 0, removed: false }),
            location: Mutex::new(Location::default()),
            next_to_drop: Mutex::new(None),
        }
    }
    pub fn parent(&self) -> Option<Arc<Node>> {
        self.location.lock().parent.upgrade()
    }
    pub fn name(&self) -> Option<Arc<[u8]>> {
        self.location.lock().name.clone()
    }
    /// st_size.
    pub fn size(&self) -> u64 {
        self.state.lock().count() * ENTRY_SIZE + 2 * ENTRY_SIZE
    }
    pub fn lookup(&self, node: &Node, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        self.state.lock().lookup(node, name)
    }
    /// Entries from a position on. First come those whose names the image has, at the places they have there; then the
    /// others by their hash.
    pub fn list(&self, node: &Node, from: u64, take: TakeEntry) -> Result<(), Errno> {
        let state = self.state.lock();
        let in_image = state.base_len();
        if let (Some(base), Some(archive)) = (&state.base, node.fs.archive) {
            for index in from..in_image {
                let Some(entry) = archive.entry(base, index).map_err(|_| Errno::IO)? else { break };
                let (inode, kind) = match state.entries.get(name_hash(entry.name), entry.name) {
                    Some(Entry::Whiteout) => continue,
                    Some(Entry::Present { node, .. }) => (node.inode, node.kind),
                    None => (image_inode_number(entry.inode), entry.kind.mode_bits()),
                };
                let entry = DirEntry { inode, kind: entry_kind(kind), name: entry.name, next: index + 1 };
                if !take(entry) {
                    return Ok(());
                }
            }
        }
        for (position, name, entry) in state.entries.from(from.saturating_sub(in_image)) {
            if let Entry::Present { node, in_base: false } = entry {
                let kind = entry_kind(node.kind);
                let next = in_image + position + 1;
                if !take(DirEntry { inode: node.inode, kind, name, next }) {
                    break;
                }
            }
        }
        Ok(())
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
            if frame::is_below(Watermark::High) {
                return Err(Errno::NOSPC);
            }
            let own_name = own_name(child, name)?;
            state.put(node, name, child.clone(), own_name)?;
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
            state.take(name);
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
        if state.count() > 0 {
            return Err(Errno::NOTEMPTY);
        }
        state.removed = true;
        self.location.lock().name = None;
        Ok(())
    }
}

impl State {
    fn in_base(&self, node: &Node, name: &[u8]) -> Result<Option<archive::Inode>, Errno> {
        let (Some(base), Some(archive)) = (&self.base, node.fs.archive) else { return Ok(None) };
        let Some(entry) = archive.lookup(base, name).map_err(|_| Errno::IO)? else { return Ok(None) };
        archive.inode(entry.inode).map(Some).map_err(|_| Errno::IO)
    }
    fn lookup(&mut self, node: &Node, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        match self.entries.get(name_hash(name), name) {
            Some(Entry::Present { node, .. }) => return Ok(Some(node.clone())),
            Some(Entry::Whiteout) => return Ok(None),
            None => {}
        }
        let Some(inode) = self.in_base(node, name)? else { return Ok(None) };
        let child = node.fs.image_node(&inode)?;
        let own_name = own_name(&child, name)?;
        self.put(node, name, child.clone(), own_name)?;
        Ok(Some(child))
    }
    /// Makes `name` an entry for `child`, in place of what it was; `own_name` is what [`own_name`] gave for them. ENOMEM, only
    /// where the name is new.
    fn put(
        &mut self,
        node: &Node,
        name: &[u8],
        child: Arc<Node>,
        own_name: Option<Arc<[u8]>>,
    ) -> Result<(), Errno> {
        let hash = name_hash(name);
        let old = self.entries.get(hash, name);
        let (is_new, was_hidden) = (old.is_none(), matches!(old, Some(Entry::Whiteout)));
        let in_base = match old {
            Some(Entry::Present { in_base, .. }) => *in_base,
            Some(Entry::Whiteout) => true,
            None => self.in_base(node, name)?.is_some(),
        };
        let entry = Entry::Present { node: child.clone(), in_base };
        self.entries.insert(hash, name, entry).map_err(|_| Errno::NOMEM)?;
        if let Ok(directory) = child.directory() {
            *directory.location.lock() = Location { parent: Arc::downgrade(&node.this()), name: own_name };
        }
        self.added += u64::from(is_new && !in_base);
        self.hidden -= u64::from(was_hidden);
        Ok(())
    }
    /// Takes out an entry that is there.
    fn take(&mut self, name: &[u8]) {
        match self.entries.get_mut(name_hash(name), name) {
            Some(entry @ Entry::Present { in_base: true, .. }) => {
                *entry = Entry::Whiteout;
                self.hidden += 1;
            }
            Some(Entry::Present { .. }) => {
                self.entries.remove(name_hash(name), name);
                self.added -= 1;
            }
            _ => {}
        }
    }
    /// Entries of the directory of the image.
    fn base_len(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.size)
    }
    /// Entries that show.
    fn count(&self) -> u64 {
        self.base_len() + self.added - self.hidden
    }
}

/// What a directory remembers as its name; other files have none of their own. ENOMEM.
fn own_name(child: &Node, name: &[u8]) -> Result<Option<Arc<[u8]>>, NoMemory> {
    if child.directory().is_err() { Ok(None) } else { try_arc_bytes(name).map(Some) }
}

/// The hash of a name, keyed so that no program can choose names that share theirs.
pub fn name_hash(name: &[u8]) -> u64 {
    static KEY: LazyLock<(u64, u64)> =
        LazyLock::new(|| (coracle_core::random::u64(), coracle_core::random::u64()));
    let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
    hasher.write(name);
    hasher.finish()
}

/// The states of the two directories of a rename, which may be one.
struct Both<'a> {
    upper: MutexGuard<'a, State>,
    /// `None`: they are one.
    lower: Option<MutexGuard<'a, State>>,
    from_is_upper: bool,
    /// The entry of the upper one that is the lower one or leads to it.
    between: Option<Arc<Node>>,
}

impl<'a> Both<'a> {
    /// Locks them, from the root downwards; those of which none lies in the other by their numbers. The tree is locked.
    fn lock(from: &'a Node, to: &'a Node) -> Result<Both<'a>, Errno> {
        let (from_state, to_state) = (&from.directory()?.state, &to.directory()?.state);
        if core::ptr::eq(from, to) {
            return Ok(Both { upper: from_state.lock(), lower: None, from_is_upper: true, between: None });
        }
        let (from_is_upper, between) = match way(from, to) {
            None => match way(to, from) {
                None => (from.inode < to.inode, None),
                between => (false, between),
            },
            between => (true, between),
        };
        let (upper, lower) = if from_is_upper { (from_state, to_state) } else { (to_state, from_state) };
        Ok(Both { upper: upper.lock(), lower: Some(lower.lock()), from_is_upper, between })
    }
    /// Whether `node`, an entry of the directory that is renamed from, is the one that is renamed to, or leads to it.
    fn leads_to_target(&self, node: &Arc<Node>) -> bool {
        self.from_is_upper && self.between.as_ref().is_some_and(|between| Arc::ptr_eq(between, node))
    }
    /// Whether `node`, an entry of the directory that is renamed to, is the one that is renamed from, or leads to it.
    fn leads_to_source(&self, node: &Arc<Node>) -> bool {
        !self.from_is_upper && self.between.as_ref().is_some_and(|between| Arc::ptr_eq(between, node))
    }
    fn from(&mut self) -> &mut State {
        if self.from_is_upper { &mut self.upper } else { self.lower.as_mut().unwrap_or(&mut self.upper) }
    }
    fn to(&mut self) -> &mut State {
        if self.from_is_upper { self.lower.as_mut().unwrap_or(&mut self.upper) } else { &mut self.upper }
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
    let tree = from_dir.fs.renaming.lock();
    let mut both = Both::lock(from_dir, to_dir)?;
    let child = both.from().lookup(from_dir, from)?.ok_or(Errno::NOENT)?;
    let old = both.to().lookup(to_dir, to)?;
    if both.to().removed {
        return Err(Errno::NOENT);
    }
    let moves_directory = child.directory().is_ok();
    let replaces_directory = old.as_ref().is_some_and(|old| old.directory().is_ok());
    if flags & RENAME_NOREPLACE != 0 && old.is_some() {
        return Err(Errno::EXIST);
    }
    if both.leads_to_target(&child) {
        return Err(Errno::INVAL);
    }
    let new_name = own_name(&child, to)?;
    let whiteout = match flags & RENAME_WHITEOUT {
        0 => None,
        _ => Some(from_dir.fs.new_node(NewNode::Special(S_IFCHR, 0), 0)?),
    };
    if flags & RENAME_EXCHANGE != 0 {
        let old = old.ok_or(Errno::NOENT)?;
        if both.leads_to_source(&old) {
            return Err(Errno::INVAL);
        }
        let old_name = own_name(&old, from)?;
        both.from().put(from_dir, from, old, old_name)?;
        both.to().put(to_dir, to, child.clone(), new_name)?;
    } else {
        if let Some(old) = &old {
            if Arc::ptr_eq(old, &child) {
                return Ok(());
            }
            match old.directory() {
                Ok(_) if !moves_directory => return Err(Errno::ISDIR),
                Err(_) if moves_directory => return Err(Errno::NOTDIR),
                // What leads to the directory that the moved one is in isn't empty. Its lock would be the wrong way round.
                Ok(_) if both.leads_to_source(old) => return Err(Errno::NOTEMPTY),
                Ok(inner) => inner.close(old)?,
                Err(_) => {}
            }
        }
        both.to().put(to_dir, to, child.clone(), new_name)?;
        match whiteout {
            Some(whiteout) => both.from().put(from_dir, from, whiteout, None)?,
            None => both.from().take(from),
        }
        if let Some(old) = &old {
            old.add_links(if moves_directory { -2 } else { -1 });
        }
    }
    drop(both);
    drop(tree);
    // A directory counts as a link to the one that it is in.
    let exchanged = flags & RENAME_EXCHANGE != 0;
    let change = i64::from(moves_directory) - i64::from(replaces_directory);
    to_dir.add_links(change);
    from_dir.add_links(if exchanged { -change } else { -i64::from(moves_directory) });
    names_changed();
    child.add_links(0);
    from_dir.touch();
    to_dir.touch();
    Ok(())
}

/// The entry of `upper` that is `lower` or leads to it; `None` if `lower` does not lie below `upper`.
fn way(upper: &Node, lower: &Node) -> Option<Arc<Node>> {
    let mut at = lower.this();
    loop {
        let parent = at.directory().ok().and_then(Directory::parent)?;
        if core::ptr::eq(&*parent, upper) {
            return Some(at);
        }
        at = parent;
    }
}
