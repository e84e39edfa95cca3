//! Path resolution over the mounted tree.
use super::access;
use super::context::FsContext;
use super::file::File;
use super::inode::{Inode, Link};
use super::mount::{Mount, MountFlags, Path, Place};
use super::path_cache;
use crate::errno::Errno;
use alloc::borrow::Cow;
use alloc::sync::Arc;
use coracle_fallible::try_arc_bytes;
use coracle_vfs_core::path::{self, Found, PathError, Step, Target, Walker};
pub use coracle_vfs_core::path::{Follow, Limits};
use linux_raw_sys::general::{S_IFDIR, S_IFLNK};

impl From<PathError> for Errno {
    fn from(error: PathError) -> Errno {
        match error {
            PathError::NotFound => Errno::NOENT,
            PathError::NotDirectory => Errno::NOTDIR,
            PathError::Loop => Errno::LOOP,
            PathError::NameTooLong => Errno::NAMETOOLONG,
            PathError::Escapes => Errno::XDEV,
            PathError::NoMemory => Errno::NOMEM,
        }
    }
}

/// What a path leads to.
#[derive(Clone)]
pub enum Node {
    /// A file in the tree.
    Path(Path),
    /// An open file without a place in it, by way of /proc/self/fd.
    File(Arc<dyn File>),
}

/// Where a path leads.
pub struct Resolved<'p> {
    /// The directory of the last component.
    pub directory: Path,
    /// The last component; empty if the path ended in `/`, `.` or `..`.
    pub name: Cow<'p, [u8]>,
    /// What it names.
    pub node: Option<Node>,
    /// It ended in a slash.
    pub slash: bool,
}

/// What a step found: most files are of the mount that the walk is in already.
enum Entry {
    Here(Arc<dyn Inode>),
    Elsewhere(Path),
    File(Arc<dyn File>),
}

/// A walk: where it stands, and what it may not leave.
struct Walk<'c> {
    context: &'c FsContext,
    at: Path,
    /// RESOLVE_BENEATH and RESOLVE_IN_ROOT: the top is not the root, but this.
    top: Option<Path>,
    beneath: bool,
    stay_on_mount: bool,
    /// All it came through is such that the path may be remembered.
    lasting: bool,
    /// It went up from a directory that the program may not search.
    denied: bool,
}

fn step_of(kind: u32) -> Step {
    match kind {
        S_IFDIR => Step::Directory,
        S_IFLNK => Step::Link,
        _ => Step::Other,
    }
}

impl Walk<'_> {
    fn path_of(&self, entry: Entry) -> Node {
        match entry {
            Entry::Here(inode) => Node::Path(Path { mount: self.at.mount.clone(), inode }),
            Entry::Elsewhere(path) => Node::Path(path),
            Entry::File(file) => Node::File(file),
        }
    }
    fn check_mount(&self, mount: &Arc<Mount>) -> Result<(), Errno> {
        if self.stay_on_mount && !Arc::ptr_eq(mount, &self.at.mount) { Err(Errno::XDEV) } else { Ok(()) }
    }
}

impl Walker for Walk<'_> {
    type Node = Entry;
    type Error = Errno;

    fn child(&mut self, name: &[u8]) -> Result<Option<(Entry, Step)>, Errno> {
        access::check(&*self.at.inode, access::EXECUTE)?;
        let Some(inode) = self.at.inode.lookup(name)? else { return Ok(None) };
        let (kind, covered) = inode.kind();
        self.lasting &= inode.is_lasting() && access::everybody_searches(&*self.at.inode);
        if !covered {
            return Ok(Some((Entry::Here(inode), step_of(kind))));
        }
        let path = Path { mount: self.at.mount.clone(), inode }.cross();
        self.lasting &= path.inode.is_lasting();
        self.check_mount(&path.mount)?;
        let step = step_of(path.inode.kind().0);
        Ok(Some((Entry::Elsewhere(path), step)))
    }
    fn target(&mut self, link: &Entry) -> Result<Target<Entry>, Errno> {
        let (mount, inode) = match link {
            Entry::Here(inode) => (&self.at.mount, inode),
            Entry::Elsewhere(path) => (&path.mount, &path.inode),
            Entry::File(_) => return Err(Errno::INVAL),
        };
        if mount.flags().contains(MountFlags::NO_LINKS) {
            return Err(Errno::LOOP);
        }
        Ok(match inode.link()? {
            Link::Path(target) => Target::Path(target),
            Link::Place(path) => {
                self.check_mount(&path.mount)?;
                let step = step_of(path.inode.kind().0);
                Target::Node(Entry::Elsewhere(path), step)
            }
            Link::File(file) => Target::Node(Entry::File(file), Step::Other),
        })
    }
    fn enter(&mut self, directory: Entry) {
        match directory {
            Entry::Here(inode) => self.at.inode = inode,
            Entry::Elsewhere(path) => self.at = path,
            // Not a directory: never entered.
            Entry::File(_) => {}
        }
    }
    fn enter_root(&mut self, by_link: bool) -> Result<(), Errno> {
        let root = match &self.top {
            Some(top) if !self.beneath => top.clone(),
            _ => self.context.root(),
        };
        // An absolute path starts at the root, whatever mount that is on; an absolute link must lead nowhere else.
        if by_link {
            self.check_mount(&root.mount)?;
        }
        self.at = root;
        Ok(())
    }
    fn enter_parent(&mut self) -> Result<bool, Errno> {
        // Going up is looking up `..`.
        self.denied |= access::check(&*self.at.inode, access::EXECUTE).is_err();
        self.lasting &= access::everybody_searches(&*self.at.inode);
        let at_top = match &self.top {
            Some(top) => self.at.same(top),
            None => self.at.same(&self.context.root()),
        };
        if !at_top {
            let parent = self.at.parent();
            self.check_mount(&parent.mount)?;
            self.at = parent;
        }
        Ok(!at_top)
    }
}

/// How far openat2(2) may go.
#[derive(Clone, Copy, Default)]
pub struct Bounds {
    /// Limits of the walk itself.
    pub limits: Limits,
    /// RESOLVE_NO_XDEV.
    pub stay_on_mount: bool,
    /// RESOLVE_IN_ROOT: the start is the root.
    pub in_root: bool,
}

impl Bounds {
    /// Whether nothing is bounded.
    fn is_plain(&self) -> bool {
        let Limits { beneath, no_links, no_jumps } = self.limits;
        !(beneath || no_links || no_jumps || self.stay_on_mount || self.in_root)
    }
}

/// Walks `path` from `start`, or the working directory.
pub fn resolve<'p>(
    context: &FsContext,
    start: Option<&Path>,
    path: &'p [u8],
    follow: Follow,
    bounds: Bounds,
) -> Result<Resolved<'p>, Errno> {
    let beneath = bounds.limits.beneath;
    // Only plain walks from the root of the tree to a file are remembered.
    let plain = path.first() == Some(&b'/')
        && path.last() != Some(&b'/')
        && follow == Follow::Always
        && bounds.is_plain()
        && context.has_plain_root();
    let generation = path_cache::generation();
    if plain && let Some((directory, file, name)) = path_cache::find(path) {
        return Ok(Resolved {
            directory,
            name: Cow::Borrowed(name),
            node: Some(Node::Path(file)),
            slash: false,
        });
    }
    let at = match start {
        Some(start) => start.clone(),
        // The walk goes to the root by itself if the path is absolute: no need to fetch both.
        None if path.first() == Some(&b'/') && !bounds.in_root && !beneath => context.root(),
        None => context.directory(),
    };
    let top = (beneath || bounds.in_root).then(|| at.clone());
    let mut walk =
        Walk { context, at, top, beneath, stay_on_mount: bounds.stay_on_mount, lasting: true, denied: false };
    let found = path::resolve(&mut walk, path, follow, bounds.limits);
    if walk.denied {
        return Err(Errno::ACCES);
    }
    let found = found?;
    let node = match found.found {
        Found::Nothing => None,
        Found::Here => Some(Node::Path(walk.at.clone())),
        Found::Node(entry, _) => Some(walk.path_of(entry)),
    };
    // A name that came out of a link's target is not a part of the path.
    if plain
        && walk.lasting
        && let (Some(Node::Path(file)), Cow::Borrowed(name)) = (&node, &found.name)
        && !name.is_empty()
    {
        path_cache::remember(path, name, generation, &walk.at, file);
    }
    Ok(Resolved { directory: walk.at, name: found.name, node, slash: found.slash })
}

/// The file in the tree that `path` leads to; ENOENT. Links to open files that have no place give ENOENT too.
pub fn find(context: &FsContext, start: Option<&Path>, path: &[u8], follow: Follow) -> Result<Place, Errno> {
    let mut found = resolve(context, start, path, follow, Bounds::default())?;
    match found.node.take() {
        Some(Node::Path(path)) => found.into_place(path),
        Some(Node::File(file)) => file.place().cloned().ok_or(Errno::NOENT),
        None => Err(Errno::NOENT),
    }
}

impl Resolved<'_> {
    /// The place of the file found. ENOMEM.
    pub fn into_place(self, path: Path) -> Result<Place, Errno> {
        let Resolved { directory, name, .. } = self;
        let is_named = !name.is_empty() && !path.inode.is_directory();
        let name = if is_named { Some((directory, try_arc_bytes(&name)?)) } else { None };
        Ok(Place { path, name })
    }
}
