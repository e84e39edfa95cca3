//! A file system in memory, as simple as can be, and random operations on both.
use super::NOW;
use coracle_ext4::{Allocation, Changes, Device, Error, Existence, FileSystem, NewFile, ROOT, Rename};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub const DIRECTORY: u16 = 0o040_755;
pub const REGULAR: u16 = 0o100_644;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, u32>),
    Link(Vec<u8>),
    Pipe,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub content: Content,
    pub permissions: u16,
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Nodes by the numbers of their inodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub nodes: BTreeMap<u32, Node>,
}

/// An operation. Numbers choose among what is there.
#[derive(Clone, Debug)]
pub enum Operation {
    Create {
        directory: u8,
        name: u8,
        kind: u8,
    },
    Symlink {
        directory: u8,
        name: u8,
        len: u16,
    },
    Link {
        directory: u8,
        name: u8,
        file: u8,
    },
    Remove {
        entry: u8,
    },
    Rename {
        entry: u8,
        directory: u8,
        name: u8,
        exchange: bool,
    },
    RenameOver {
        entry: u8,
        other: u8,
    },
    Write {
        file: u8,
        offset: u32,
        len: u16,
        seed: u8,
    },
    Append {
        file: u8,
        len: u16,
        seed: u8,
    },
    Resize {
        file: u8,
        size: u32,
    },
    Allocate {
        file: u8,
        offset: u32,
        len: u32,
        what: u8,
    },
    SetAttribute {
        entry: u8,
        name: u8,
        len: u16,
    },
    RemoveAttribute {
        entry: u8,
        name: u8,
    },
    Permissions {
        entry: u8,
        mode: u16,
    },
    /// Many files at once, so that directories grow.
    Crowd {
        directory: u8,
        count: u8,
    },
    SyncFile {
        file: u8,
    },
    Commit,
}

/// Any operation. Files are shorter than `size`.
pub fn operation(size: u32) -> impl Strategy<Value = Operation> {
    use Operation::*;
    let any8 = || any::<u8>();
    prop_oneof![
        4 => (any8(), any8(), any8()).prop_map(|(directory, name, kind)| Create { directory, name, kind }),
        1 => (any8(), any8(), 1..900u16).prop_map(|(directory, name, len)| Symlink { directory, name, len }),
        1 => (any8(), any8(), any8()).prop_map(|(directory, name, file)| Link { directory, name, file }),
        3 => any8().prop_map(|entry| Remove { entry }),
        2 => (any8(), any8(), any8(), any::<bool>()).prop_map(|(entry, directory, name, exchange)| Rename { entry, directory, name, exchange }),
        2 => (any8(), any8()).prop_map(|(entry, other)| RenameOver { entry, other }),
        4 => (any8(), 0..size, 1..20_000u16, any8()).prop_map(|(file, offset, len, seed)| Write { file, offset, len, seed }),
        3 => (any8(), 1..5000u16, any8()).prop_map(|(file, len, seed)| Append { file, len, seed }),
        2 => (any8(), 0..size).prop_map(|(file, size)| Resize { file, size }),
        2 => (any8(), 0..size, 1..size, any8()).prop_map(|(file, offset, len, what)| Allocate { file, offset, len, what }),
        2 => (any8(), any8(), 0..700u16).prop_map(|(entry, name, len)| SetAttribute { entry, name, len }),
        1 => (any8(), any8()).prop_map(|(entry, name)| RemoveAttribute { entry, name }),
        1 => (any8(), 0..0o7777u16).prop_map(|(entry, mode)| Permissions { entry, mode }),
        1 => (any8(), 1..40u8).prop_map(|(directory, count)| Crowd { directory, count }),
        1 => any8().prop_map(|file| SyncFile { file }),
        1 => Just(Commit),
    ]
}

pub fn new_file(mode: u16) -> NewFile {
    NewFile { mode, uid: 1000, gid: 70_000, device: Device::default() }
}

fn name(number: u8) -> Vec<u8> {
    let number = number % 24;
    let mut name = format!("name{number}").into_bytes();
    if number.is_multiple_of(5) {
        name.resize(100 + usize::from(number) * 6, b'x');
    }
    name
}

fn attribute(number: u8) -> Vec<u8> {
    format!("user.attribute{}", number % 5).into_bytes()
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed) | 1).collect()
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl Model {
    pub fn new(fs: &mut FileSystem) -> Model {
        let lost = fs.lookup(ROOT, b"lost+found").unwrap();
        let directory = |entries: &[(&[u8], u32)]| Node {
            content: Content::Directory(
                entries.iter().map(|(name, inode)| (name.to_vec(), *inode)).collect(),
            ),
            permissions: 0,
            attributes: BTreeMap::new(),
        };
        let mut model = Model { nodes: BTreeMap::new() };
        model.nodes.insert(ROOT, Node { permissions: 0o755, ..directory(&[(b"lost+found", lost)]) });
        model.nodes.insert(lost, Node { permissions: 0o700, ..directory(&[]) });
        model
    }
    fn entries_of(&self, directory: u32) -> &BTreeMap<Vec<u8>, u32> {
        match &self.nodes[&directory].content {
            Content::Directory(entries) => entries,
            _ => panic!("{directory} is no directory"),
        }
    }
    fn entries_mut(&mut self, directory: u32) -> &mut BTreeMap<Vec<u8>, u32> {
        match &mut self.nodes.get_mut(&directory).unwrap().content {
            Content::Directory(entries) => entries,
            _ => panic!("{directory} is no directory"),
        }
    }
    fn is_directory(&self, inode: u32) -> bool {
        matches!(self.nodes[&inode].content, Content::Directory(_))
    }
    /// All names but that of `lost+found`.
    pub fn entries(&self) -> Vec<(u32, Vec<u8>, u32)> {
        let mut all = Vec::new();
        for (directory, node) in &self.nodes {
            if let Content::Directory(entries) = &node.content {
                all.extend(
                    entries
                        .iter()
                        .filter(|(name, _)| *name != b"lost+found")
                        .map(|(name, inode)| (*directory, name.clone(), *inode)),
                );
            }
        }
        all
    }
    fn entry(&self, number: u8) -> Option<(u32, Vec<u8>, u32)> {
        let all = self.entries();
        (!all.is_empty()).then(|| all[usize::from(number) % all.len()].clone())
    }
    fn directory(&self, number: u8) -> u32 {
        let all: Vec<u32> = self
            .nodes
            .keys()
            .copied()
            .filter(|inode| self.is_directory(*inode) && self.nodes[inode].permissions != 0o700)
            .collect();
        all[usize::from(number) % all.len()]
    }
    pub fn file(&self, number: u8) -> Option<u32> {
        let all: Vec<u32> = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node.content, Content::File(_)))
            .map(|(inode, _)| *inode)
            .collect();
        (!all.is_empty()).then(|| all[usize::from(number) % all.len()])
    }
    fn bytes(&mut self, file: u32) -> &mut Vec<u8> {
        match &mut self.nodes.get_mut(&file).unwrap().content {
            Content::File(bytes) => bytes,
            _ => panic!("{file} is no file"),
        }
    }
    pub fn links(&self, inode: u32) -> u32 {
        let names = self.entries_with_lost().filter(|(_, _, other)| *other == inode).count() as u32;
        match &self.nodes[&inode].content {
            Content::Directory(entries) => {
                2 + entries.values().filter(|child| self.is_directory(**child)).count() as u32
            }
            _ => names,
        }
    }
    fn entries_with_lost(&self) -> impl Iterator<Item = (u32, &[u8], u32)> {
        self.nodes.iter().flat_map(|(directory, node)| {
            let entries = if let Content::Directory(entries) = &node.content { Some(entries) } else { None };
            entries.into_iter().flatten().map(|(name, inode)| (*directory, &name[..], *inode))
        })
    }
    fn is_within(&self, mut directory: u32, other: u32) -> bool {
        loop {
            if directory == other {
                return true;
            }
            if directory == ROOT {
                return false;
            }
            directory = self.entries_with_lost().find(|(_, _, inode)| *inode == directory).unwrap().0;
        }
    }
    /// Forgets a node that has no name left, and has the file system do so.
    fn evict(&mut self, fs: &mut FileSystem, inode: u32) {
        if !self.entries_with_lost().any(|(_, _, other)| other == inode) {
            self.nodes.remove(&inode);
            fs.evict(inode, NOW).unwrap();
        }
    }
    fn add(&mut self, directory: u32, name: Vec<u8>, inode: u32, content: Content, permissions: u16) {
        self.entries_mut(directory).insert(name, inode);
        self.nodes.insert(inode, Node { content, permissions, attributes: BTreeMap::new() });
    }

    /// Does an operation to both, and compares what is returned. The file that was changed in content, if one was.
    pub fn apply(&mut self, fs: &mut FileSystem, operation: &Operation) -> Option<u32> {
        use Operation::*;
        match *operation {
            Create { directory, name: number, kind } => {
                let (directory, name) = (self.directory(directory), name(number));
                let (mode, content) = match kind % 8 {
                    0..=2 => (DIRECTORY, Content::Directory(BTreeMap::new())),
                    3 => (0o010_600, Content::Pipe),
                    _ => (REGULAR, Content::File(Vec::new())),
                };
                let result = fs.create(directory, &name, &new_file(mode), NOW);
                if self.entries_of(directory).contains_key(&name) {
                    assert_eq!(result, Err(Error::Exists));
                } else {
                    self.add(directory, name, result.unwrap(), content, mode & 0o7777);
                }
            }
            Symlink { directory, name: number, len } => {
                let (directory, name) = (self.directory(directory), name(number));
                let target = vec![b'a' + (len % 26) as u8; len.into()];
                let result = fs.symlink(directory, &name, &target, &new_file(0), NOW);
                if self.entries_of(directory).contains_key(&name) {
                    assert_eq!(result, Err(Error::Exists));
                } else {
                    self.add(directory, name, result.unwrap(), Content::Link(target), 0o777);
                }
            }
            Link { directory, name: number, file } => {
                let (directory, name) = (self.directory(directory), name(number));
                let file = self.file(file)?;
                let result = fs.link(directory, &name, file, NOW);
                if self.entries_of(directory).contains_key(&name) {
                    assert_eq!(result, Err(Error::Exists));
                } else {
                    assert_eq!(result, Ok(()));
                    self.entries_mut(directory).insert(name, file);
                }
            }
            Remove { entry } => {
                let (directory, name, inode) = self.entry(entry)?;
                if self.is_directory(inode) {
                    assert_eq!(fs.unlink(directory, &name, NOW), Err(Error::IsDirectory));
                    let result = fs.rmdir(directory, &name, NOW);
                    if !self.entries_of(inode).is_empty() {
                        assert_eq!(result, Err(Error::NotEmpty));
                        return None;
                    }
                    assert_eq!(result, Ok(inode));
                } else {
                    assert_eq!(fs.rmdir(directory, &name, NOW), Err(Error::NotDirectory));
                    assert_eq!(fs.unlink(directory, &name, NOW), Ok((inode, self.links(inode) - 1)));
                }
                self.entries_mut(directory).remove(&name);
                self.evict(fs, inode);
            }
            Rename { entry, directory, name: number, exchange } => {
                let from = self.entry(entry)?;
                let to = (self.directory(directory), name(number));
                self.rename(
                    fs,
                    from,
                    to,
                    if exchange { coracle_ext4::Rename::Exchange } else { coracle_ext4::Rename::Replace },
                );
            }
            RenameOver { entry, other } => {
                let (from, other) = (self.entry(entry)?, self.entry(other)?);
                self.rename(fs, from, (other.0, other.1), coracle_ext4::Rename::Replace);
            }
            Write { file, offset, len, seed } => {
                let file = self.file(file)?;
                let data = pattern(len.into(), seed);
                assert_eq!(fs.write(file, offset.into(), &data, NOW), Ok(data.len()));
                put(self.bytes(file), offset as usize, &data);
                return Some(file);
            }
            Append { file, len, seed } => {
                let file = self.file(file)?;
                let data = pattern(len.into(), seed);
                let size = self.bytes(file).len();
                assert_eq!(fs.write(file, size as u64, &data, NOW), Ok(data.len()));
                put(self.bytes(file), size, &data);
                return Some(file);
            }
            Resize { file, size } => {
                let file = self.file(file)?;
                assert_eq!(fs.set_size(file, size.into(), NOW), Ok(()));
                self.bytes(file).resize(size as usize, 0);
                return Some(file);
            }
            Allocate { file, offset, len, what } if what % 7 >= 5 => {
                let file = self.file(file)?;
                let block = u64::from(fs.block_bytes());
                let (offset, len) =
                    (u64::from(offset) / block * block, (u64::from(len) + 1).next_multiple_of(block));
                let bytes = self.bytes(file);
                let (from, size) = (offset as usize, bytes.len());
                assert_eq!(fs.collapse(file, offset + 1, len, NOW), Err(Error::Invalid));
                if what % 7 == 5 {
                    let result = fs.collapse(file, offset, len, NOW);
                    if from + len as usize >= size {
                        assert_eq!(result, Err(Error::Invalid));
                    } else {
                        assert_eq!(result, Ok(()));
                        bytes.drain(from..from + len as usize);
                    }
                } else {
                    let result = fs.insert(file, offset, len, NOW);
                    if from >= size {
                        assert_eq!(result, Err(Error::Invalid));
                    } else {
                        assert_eq!(result, Ok(()));
                        bytes.splice(from..from, std::iter::repeat_n(0, len as usize));
                    }
                }
                return Some(file);
            }
            Allocate { file, offset, len, what } => {
                let file = self.file(file)?;
                let what = [
                    Allocation::Allocate,
                    Allocation::AllocateKeepSize,
                    Allocation::PunchHole,
                    Allocation::Zero,
                    Allocation::ZeroKeepSize,
                ][usize::from(what) % 5];
                assert_eq!(fs.allocate(file, offset.into(), len.into(), what, NOW), Ok(()));
                let bytes = self.bytes(file);
                let (from, end) = (offset as usize, (offset + len) as usize);
                if !matches!(what, Allocation::Allocate | Allocation::AllocateKeepSize) {
                    let (from, end) = (from.min(bytes.len()), end.min(bytes.len()));
                    bytes[from..end].fill(0);
                }
                if matches!(what, Allocation::Allocate | Allocation::Zero) && end > bytes.len() {
                    bytes.resize(end, 0);
                }
                return Some(file);
            }
            SetAttribute { entry, name, len } => {
                let (_, _, inode) = self.entry(entry)?;
                let (name, value) = (attribute(name), pattern(len.into(), name));
                let result = fs.set_xattr(inode, &name, &value, Existence::Either, NOW);
                // Whether there is room depends on more than the model knows.
                if result != Err(Error::NoSpace) {
                    assert_eq!(result, Ok(()));
                    self.nodes.get_mut(&inode).unwrap().attributes.insert(name, value);
                }
            }
            RemoveAttribute { entry, name } => {
                let (_, _, inode) = self.entry(entry)?;
                let name = attribute(name);
                let result = fs.remove_xattr(inode, &name, NOW);
                match self.nodes.get_mut(&inode).unwrap().attributes.remove(&name) {
                    Some(_) => assert_eq!(result, Ok(())),
                    None => assert_eq!(result, Err(Error::NoAttribute)),
                }
            }
            Permissions { entry, mode } => {
                let (_, _, inode) = self.entry(entry)?;
                let mode = if mode == 0o700 { 0o701 } else { mode };
                fs.set_attributes(inode, &Changes { permissions: Some(mode), ..Changes::default() }).unwrap();
                self.nodes.get_mut(&inode).unwrap().permissions = mode;
            }
            Crowd { directory, count } => {
                let directory = self.directory(directory);
                for number in 0..count {
                    let name =
                        format!("one of many files, whose name is long: {}, {number}", self.nodes.len())
                            .into_bytes();
                    if !self.entries_of(directory).contains_key(&name) {
                        let inode = fs.create(directory, &name, &new_file(REGULAR), NOW).unwrap();
                        self.add(directory, name, inode, Content::File(Vec::new()), 0o644);
                    }
                }
            }
            SyncFile { file } => {
                let file = self.file(file)?;
                fs.sync_file(file).unwrap();
            }
            Commit => fs.commit().unwrap(),
        }
        None
    }

    fn rename(&mut self, fs: &mut FileSystem, from: (u32, Vec<u8>, u32), to: (u32, Vec<u8>), how: Rename) {
        let (directory, old_name, inode) = from;
        let (new_directory, new_name) = to;
        let result = fs.rename((directory, &old_name), (new_directory, &new_name), how, NOW);
        let replaced = self.entries_of(new_directory).get(&new_name).copied();
        let moves = directory != new_directory;
        if moves && self.is_directory(inode) && self.is_within(new_directory, inode) {
            return assert_eq!(result, Err(Error::Invalid));
        }
        let Some(replaced) = replaced else {
            if how == Rename::Exchange {
                return assert_eq!(result, Err(Error::NotFound));
            }
            assert_eq!(result, Ok(None));
            self.entries_mut(directory).remove(&old_name);
            self.entries_mut(new_directory).insert(new_name, inode);
            return;
        };
        if replaced == inode {
            return assert_eq!(result, Ok(None));
        }
        if how == Rename::Exchange {
            if moves && self.is_directory(replaced) && self.is_within(directory, replaced) {
                return assert_eq!(result, Err(Error::Invalid));
            }
            assert_eq!(result, Ok(None));
            self.entries_mut(directory).insert(old_name, replaced);
            self.entries_mut(new_directory).insert(new_name, inode);
            return;
        }
        match (self.is_directory(inode), self.is_directory(replaced)) {
            (true, false) => return assert_eq!(result, Err(Error::NotDirectory)),
            (false, true) => return assert_eq!(result, Err(Error::IsDirectory)),
            (true, true) if !self.entries_of(replaced).is_empty() => {
                return assert_eq!(result, Err(Error::NotEmpty));
            }
            _ => {}
        }
        let left = if self.is_directory(replaced) { 0 } else { self.links(replaced) - 1 };
        assert_eq!(result, Ok(Some((replaced, left))));
        self.entries_mut(directory).remove(&old_name);
        self.entries_mut(new_directory).insert(new_name, inode);
        self.evict(fs, replaced);
    }

    /// What a file system holds.
    pub fn read(fs: &mut FileSystem) -> Model {
        let mut model = Model { nodes: BTreeMap::new() };
        let mut open = vec![ROOT];
        while let Some(inode) = open.pop() {
            if model.nodes.contains_key(&inode) {
                continue;
            }
            let attributes = fs.attributes(inode).unwrap();
            let content = match attributes.mode & 0o170_000 {
                0o040_000 => {
                    let entries: BTreeMap<_, _> = super::names(fs, inode).into_iter().collect();
                    open.extend(entries.values());
                    Content::Directory(entries)
                }
                0o100_000 => Content::File(super::content(fs, inode)),
                0o120_000 => {
                    let mut target = vec![0; 4096];
                    let len = fs.read_link(inode, &mut target).unwrap();
                    target.truncate(len);
                    Content::Link(target)
                }
                _ => Content::Pipe,
            };
            let names = fs.xattr_names(inode).unwrap();
            let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            let xattrs = names.map(|name| (name.to_vec(), fs.xattr(inode, name).unwrap())).collect();
            model
                .nodes
                .insert(inode, Node { content, permissions: attributes.mode & 0o7777, attributes: xattrs });
        }
        for inode in model.nodes.keys() {
            assert_eq!(fs.attributes(*inode).unwrap().links, model.links(*inode), "links of {inode}");
        }
        model
    }

    /// Panics with what differs.
    pub fn assert_equal(&self, other: &Model) {
        for (inode, node) in &self.nodes {
            let found = other.nodes.get(inode).unwrap_or_else(|| panic!("{inode} is missing"));
            if let (Content::File(bytes), Content::File(expected)) = (&node.content, &found.content) {
                let differs = bytes.iter().zip(expected).position(|(left, right)| left != right);
                assert_eq!((bytes.len(), differs), (expected.len(), None), "content of {inode}");
            } else {
                assert_eq!(node.content, found.content, "{inode}");
            }
            assert_eq!(
                (&node.attributes, node.permissions),
                (&found.attributes, found.permissions),
                "{inode}"
            );
        }
        assert_eq!(self.nodes.len(), other.nodes.len());
    }
}
