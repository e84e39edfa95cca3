//! The files of an archive while they are being collected.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use super::Content;
use crate::archive::FileKind;

/// Owner, permissions and time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits (the low twelve of a mode).
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change: seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of the last change.
    pub mtime_nsec: u32,
}

impl Meta {
    /// Owned by root, changed at the epoch, with these permissions.
    pub const fn root(permissions: u32) -> Self {
        Meta { permissions, uid: 0, gid: 0, mtime: 0, mtime_nsec: 0 }
    }
}

/// A file of the tree.
#[derive(Clone, Debug)]
pub enum Node<'d> {
    /// A directory and what is in it.
    Directory(Meta, BTreeMap<Vec<u8>, Node<'d>>),
    /// A regular file.
    File(Meta, Content<'d>),
    /// A symbolic link.
    Symlink(Meta, Vec<u8>),
}

impl Node<'_> {
    /// Owner, permissions and time.
    pub const fn meta(&self) -> &Meta {
        match self {
            Node::Directory(meta, _) | Node::File(meta, _) | Node::Symlink(meta, _) => meta,
        }
    }

    /// The kind of file.
    pub const fn kind(&self) -> FileKind {
        match self {
            Node::Directory(..) => FileKind::Directory,
            Node::File(..) => FileKind::Regular,
            Node::Symlink(..) => FileKind::Symlink,
        }
    }
}

/// Why a file could not be put at the requested path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// The path is not absolute, names the root, or has `.`, `..` or a NUL in it.
    BadPath(String),
    /// A part of the path is there already and is not a directory.
    NotADirectory(String),
    /// A file of another kind is there already.
    Exists(String),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TreeError::BadPath(path) => {
                write!(f, "`{path}` is not an absolute path of a file (without `.` and `..`)")
            }
            TreeError::NotADirectory(path) => {
                write!(f, "`{path}` is in the image already, not as a directory")
            }
            TreeError::Exists(path) => {
                write!(f, "`{path}` is in the image already, as a file of another kind")
            }
        }
    }
}

impl core::error::Error for TreeError {}

/// The files of an archive by path. Directories on the way are made as needed.
#[derive(Clone, Debug)]
pub struct Tree<'d> {
    pub(super) root: Node<'d>,
    /// Values of the attribute `security.capability` of files, by path.
    pub(super) capabilities: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Permissions of directories that were not added explicitly.
const DIRECTORY_PERMISSIONS: u32 = 0o755;

impl Default for Tree<'_> {
    fn default() -> Self {
        let root = Node::Directory(Meta::root(DIRECTORY_PERMISSIONS), BTreeMap::new());
        Tree { root, capabilities: BTreeMap::new() }
    }
}

impl<'d> Tree<'d> {
    /// An empty root directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is at `path`, which is taken literally (no link is followed).
    pub fn get(&self, path: &[u8]) -> Option<&Node<'d>> {
        let mut node = &self.root;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            match node {
                Node::Directory(_, children) => node = children.get(name)?,
                _ => return None,
            }
        }
        Some(node)
    }

    /// Puts a file at an absolute path. A file or link there is replaced; a directory stays and takes the new one's `Meta`.
    ///
    /// # Errors
    /// If the path cannot be, or runs through something that is not a directory.
    pub fn insert(&mut self, path: &[u8], node: Node<'d>) -> Result<(), TreeError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let relative = path.strip_prefix(b"/").ok_or_else(|| TreeError::BadPath(shown()))?;
        let names: Vec<&[u8]> =
            relative.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        if names.iter().any(|name| *name == b"." || *name == b".." || name.contains(&0)) {
            return Err(TreeError::BadPath(shown()));
        }
        let Some((last, parents)) = names.split_last() else {
            return self.set_root(node).ok_or_else(|| TreeError::BadPath(shown()));
        };
        let mut here = &mut self.root;
        for name in parents {
            let Node::Directory(_, children) = here else { return Err(TreeError::NotADirectory(shown())) };
            here = children
                .entry(name.to_vec())
                .or_insert_with(|| Node::Directory(Meta::root(DIRECTORY_PERMISSIONS), BTreeMap::new()));
        }
        let Node::Directory(_, children) = here else { return Err(TreeError::NotADirectory(shown())) };
        match (children.get_mut(*last), node) {
            (Some(Node::Directory(meta, old)), Node::Directory(new_meta, new)) => {
                *meta = new_meta;
                old.extend(new);
            }
            (Some(Node::Directory(..)), _) | (Some(_), Node::Directory(..)) => {
                return Err(TreeError::Exists(shown()));
            }
            (_, node) => {
                children.insert(last.to_vec(), node);
                self.capabilities.remove(path);
            }
        }
        Ok(())
    }

    /// Gives the regular file at `path` capabilities (capabilities(7)): the value of its attribute `security.capability`. They go when another file
    /// is put there.
    pub fn set_capabilities(&mut self, path: &[u8], value: Vec<u8>) {
        self.capabilities.insert(path.to_vec(), value);
    }

    fn set_root(&mut self, node: Node<'d>) -> Option<()> {
        match (&mut self.root, node) {
            (Node::Directory(meta, old), Node::Directory(new_meta, new)) => {
                *meta = new_meta;
                old.extend(new);
                Some(())
            }
            _ => None,
        }
    }

    /// Calls `visit` with the path of every file below the root, parents before children, in the order of names.
    pub fn visit<'t>(&'t self, visit: &mut impl FnMut(&[u8], &'t Node<'d>)) {
        fn walk<'t, 'd>(path: &mut Vec<u8>, node: &'t Node<'d>, visit: &mut impl FnMut(&[u8], &'t Node<'d>)) {
            let Node::Directory(_, children) = node else { return };
            for (name, child) in children {
                let length = path.len();
                path.push(b'/');
                path.extend_from_slice(name);
                visit(path, child);
                walk(path, child, visit);
                path.truncate(length);
            }
        }
        walk(&mut Vec::new(), &self.root, visit);
    }
}
