//! Path resolution over the mounted tree.
use super::context::FsContext;
use super::file::File;
use super::inode::Link;
use super::mount::{Path, Place};
use crate::errno::Errno;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_vfs_core::path::{self, PathError, Step, Tree};
pub use coracle_vfs_core::path::{Follow, Limits};

impl From<PathError> for Errno {
    fn from(error: PathError) -> Errno {
        match error {
            PathError::NotFound => Errno::NOENT,
            PathError::NotDirectory => Errno::NOTDIR,
            PathError::Loop => Errno::LOOP,
            PathError::NameTooLong => Errno::NAMETOOLONG,
            PathError::Escapes => Errno::XDEV,
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
pub struct Resolved {
    /// The directory of the last component.
    pub directory: Path,
    /// The last component; empty if the path ended in `/`, `.` or `..`.
    pub name: Vec<u8>,
    /// What it names.
    pub node: Option<Node>,
    /// It ended in a slash.
    pub slash: bool,
}

struct Mounted {
    stay_on_mount: bool,
}

impl Tree for Mounted {
    type Node = Node;
    type Error = Errno;

    fn lookup(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>, Errno> {
        let Node::Path(directory) = directory else { return Err(Errno::NOTDIR) };
        let Some(inode) = directory.inode.lookup(name)? else { return Ok(None) };
        let found = Path { mount: directory.mount.clone(), inode }.cross();
        if self.stay_on_mount && !Arc::ptr_eq(&found.mount, &directory.mount) {
            return Err(Errno::XDEV);
        }
        Ok(Some(Node::Path(found)))
    }
    fn parent(&self, directory: &Node) -> Node {
        match directory {
            Node::Path(path) => Node::Path(path.parent()),
            other => other.clone(),
        }
    }
    fn step(&self, node: &Node, follow: bool) -> Result<Step<Node>, Errno> {
        let Node::Path(path) = node else { return Ok(Step::Other) };
        if path.inode.is_directory() {
            return Ok(Step::Directory);
        }
        if !path.inode.is_link() {
            return Ok(Step::Other);
        }
        if !follow {
            return Ok(Step::Link(Vec::new()));
        }
        Ok(match path.inode.link()? {
            Link::Path(target) => Step::Link(target),
            Link::Place(place) => Step::Jump(Node::Path(place)),
            Link::File(file) => Step::Jump(Node::File(file)),
        })
    }
    fn same(&self, a: &Node, b: &Node) -> bool {
        match (a, b) {
            (Node::Path(a), Node::Path(b)) => a.same(b),
            _ => false,
        }
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

/// Walks `path` from `start`, or the working directory.
pub fn resolve(
    context: &FsContext,
    start: Option<&Path>,
    path: &[u8],
    follow: Follow,
    bounds: Bounds,
) -> Result<Resolved, Errno> {
    let start = start.cloned().unwrap_or_else(|| context.directory());
    let root = if bounds.in_root { start.clone() } else { context.root() };
    let tree = Mounted { stay_on_mount: bounds.stay_on_mount };
    let found = path::resolve(&tree, &Node::Path(root), &Node::Path(start), path, follow, bounds.limits)?;
    let Node::Path(directory) = found.directory else { return Err(Errno::NOTDIR) };
    Ok(Resolved { directory, name: found.name, node: found.node, slash: found.slash })
}

/// The file in the tree that `path` leads to; ENOENT. Links to open files that have no place give ENOENT too.
pub fn find(context: &FsContext, start: Option<&Path>, path: &[u8], follow: Follow) -> Result<Place, Errno> {
    let found = resolve(context, start, path, follow, Bounds::default())?;
    match &found.node {
        Some(Node::Path(path)) => Ok(found.place(path.clone())),
        Some(Node::File(file)) => file.place().ok_or(Errno::NOENT),
        None => Err(Errno::NOENT),
    }
}

impl Resolved {
    /// The place of the file found.
    pub fn place(&self, path: Path) -> Place {
        let named = !self.name.is_empty() && !path.inode.is_directory();
        Place { path, name: named.then(|| (self.directory.clone(), self.name.clone())) }
    }
}
