//! Files whose content is made when they are read: the common part of /proc and /sys.
use super::file::File;
use super::inode::{DirEntry, Inode, Link, TakeEntry, Usage};
use super::memory::DirectoryFile;
use super::mount::Place;
use super::stat::{BLOCK_SIZE, Metadata, Timestamp, entry_kind};
use crate::errno::{Errno, SysResult};
use crate::mm::user_buf::UserBuf;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::try_arc;
use core::any::Any;
use core::fmt::{self, Write};
use core::sync::atomic::AtomicBool;
use linux_raw_sys::general::{S_IFDIR, S_IFLNK, S_IFREG, stat as Stat};
use spin::Mutex;

/// An item of a static table; `C` is whom it is about.
pub enum Item<C: 'static> {
    /// A read-only file: its text.
    Text(fn(&C) -> Vec<u8>),
    /// A read-only file whose text may be long: made piece by piece, as it is read.
    Pieces(fn(&C, u64, &mut Text) -> Option<u64>),
    /// A file that takes writes: its text, and what a write does.
    Setting(fn(&C) -> Vec<u8>, fn(&C, &[u8]) -> Result<(), Errno>),
    /// A symbolic link.
    Link(fn(&C) -> Result<Link, Errno>),
    /// A directory of further items.
    Directory(Table<C>),
    /// A directory with entries of its own making.
    Dynamic(fn(&C) -> Box<dyn Directory>),
}

/// Names and items of a directory.
pub type Table<C> = &'static [(&'static str, Item<C>)];

/// Entries that are made when looked for.
pub trait Directory: Send + Sync {
    /// The entry of that name.
    fn lookup(&self, name: &[u8]) -> Option<Kind>;
    /// Calls `take` for the entries from a position on, each with the position after it, its name and its kind (mode
    /// bits), until that returns false.
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno>;
    /// User and group that own the directory and what is in it, if they are not those of the directory it is in.
    fn owner(&self) -> Option<(u32, u32)> {
        None
    }
}

/// Takes a name of a made directory: the position after it, the name, and the kind.
pub type TakeName<'a> = &'a mut dyn FnMut(u64, &[u8], u32) -> bool;

/// Positions of entries that are numbers begin here; below are those of tables, which are short.
const NUMBERS: u64 = 1 << 32;

/// Lists numbers: `next` returns the first there is from a number on. Their positions follow from themselves, so that a
/// listing goes on in the right place whatever came and went.
pub fn list_numbers(
    from: u64,
    prefix: &str,
    kind: u32,
    take: TakeName,
    mut next: impl FnMut(i32) -> Option<i32>,
) {
    let mut at = i32::try_from(from.saturating_sub(NUMBERS)).ok();
    while let Some(number) = at.and_then(&mut next) {
        let mut name = heapless::String::<24>::new();
        let after = NUMBERS + number as u64 + 1;
        if write!(name, "{prefix}{number}").is_err() || !take(after, name.as_bytes(), kind) {
            return;
        }
        at = number.checked_add(1);
    }
}

/// Lists a table, and after it directories whose names are numbers behind a prefix.
pub fn list_after_table(
    table: &dyn Directory,
    from: u64,
    take: TakeName,
    prefix: &str,
    next: impl FnMut(i32) -> Option<i32>,
) -> Result<(), Errno> {
    let mut more = true;
    if from < NUMBERS {
        table.list(from, &mut |after, name, kind| {
            more = take(after, name, kind);
            more
        })?;
    }
    if more {
        list_numbers(from, prefix, S_IFDIR, take, next);
    }
    Ok(())
}

/// What a made file is.
pub enum Kind {
    /// A directory.
    Directory(Box<dyn Directory>),
    /// A file with a text, and what a write does, if it takes one.
    File(Box<dyn Fn() -> Vec<u8> + Send + Sync>, Option<WriteFn>),
    /// A file whose text is made piece by piece.
    Pieces(PieceFn),
    /// A symbolic link.
    Link(Box<dyn Fn() -> Result<Link, Errno> + Send + Sync>),
}

/// Appends the piece of a text that begins at a position of its own choice (0 for the first), and returns the position of
/// the next; `None` at the end. Positions that mean the same after a change keep a reader in its place.
pub type PieceFn = Box<dyn Fn(u64, &mut Text) -> Option<u64> + Send + Sync>;

/// A text that is being made. Writing to it fails where there is no memory.
#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
    /// A write failed.
    broken: bool,
}

impl Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.bytes.try_reserve(part.len()).is_err() {
            self.broken = true;
            return Err(fmt::Error);
        }
        self.bytes.extend_from_slice(part.as_bytes());
        Ok(())
    }
}

/// What a write does.
pub type WriteFn = Box<dyn Fn(&[u8]) -> Result<(), Errno> + Send + Sync>;

/// A table together with whom it is about.
pub struct Listed<C: 'static> {
    /// The items.
    pub table: Table<C>,
    /// Whom they are about.
    pub context: C,
}

impl<C: Clone + Send + Sync + 'static> Directory for Listed<C> {
    fn lookup(&self, name: &[u8]) -> Option<Kind> {
        let (_, item) = self.table.iter().find(|(known, _)| known.as_bytes() == name)?;
        let context = self.context.clone();
        Some(match item {
            Item::Text(text) => Kind::File(Box::new(move || text(&context)), None),
            Item::Setting(text, set) => {
                let writer = context.clone();
                Kind::File(Box::new(move || text(&context)), Some(Box::new(move |bytes| set(&writer, bytes))))
            }
            Item::Pieces(make) => Kind::Pieces(Box::new(move |from, text| make(&context, from, text))),
            Item::Link(link) => Kind::Link(Box::new(move || link(&context))),
            Item::Directory(table) => Kind::Directory(Box::new(Listed { table, context })),
            Item::Dynamic(make) => Kind::Directory(make(&context)),
        })
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let kind = |item: &Item<C>| match item {
            Item::Text(_) | Item::Pieces(_) | Item::Setting(..) => S_IFREG,
            Item::Link(_) => S_IFLNK,
            Item::Directory(_) | Item::Dynamic(_) => S_IFDIR,
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        for (index, (name, item)) in self.table.iter().enumerate().skip(from) {
            if !take(index as u64 + 1, name.as_bytes(), kind(item)) {
                break;
            }
        }
        Ok(())
    }
}

/// Device number and magic of a file system of made files.
#[derive(Clone, Copy)]
pub struct FsId {
    /// st_dev.
    pub device: u64,
    /// f_type.
    pub magic: u64,
}

/// A made file.
pub struct Node {
    fs: FsId,
    inode: u64,
    kind: Kind,
    /// Directory it was found in, and its name there; none for the root.
    parent: Option<(Arc<Node>, Vec<u8>)>,
    owner: (u32, u32),
    mounted: AtomicBool,
    this: alloc::sync::Weak<Node>,
}

impl Node {
    /// The root directory of a file system.
    pub fn root(fs: FsId, directory: Box<dyn Directory>) -> Arc<Node> {
        const ROOT_INODE: u64 = 1;
        Self::new(fs, ROOT_INODE, Kind::Directory(directory), None)
    }
    /// A file that stands alone.
    pub fn file(fs: FsId, text: Box<dyn Fn() -> Vec<u8> + Send + Sync>) -> Arc<Node> {
        /// Beside the root's number, and below those of entries.
        const FILE_INODE: u64 = 2;
        Self::new(fs, FILE_INODE, Kind::File(text, None), None)
    }
    fn new(fs: FsId, inode: u64, kind: Kind, parent: Option<(Arc<Node>, Vec<u8>)>) -> Arc<Node> {
        let own = if let Kind::Directory(directory) = &kind { directory.owner() } else { None };
        let owner = own.or(parent.as_ref().map(|(node, _)| node.owner)).unwrap_or_default();
        Arc::new_cyclic(|this| Node {
            fs,
            inode,
            kind,
            parent,
            owner,
            mounted: AtomicBool::new(false),
            this: this.clone(),
        })
    }
    /// The inode number of an entry follows from where it is (FNV-1a), so that it is the same each time it is made.
    fn child_inode(&self, name: &[u8]) -> u64 {
        const PRIME: u64 = 0x0100_0000_01b3;
        let start = self.inode ^ 0xcbf2_9ce4_8422_2325;
        name.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)) >> 8 | 1 << 40
    }
    fn text(&self) -> Vec<u8> {
        match &self.kind {
            Kind::File(text, _) => text(),
            _ => Vec::new(),
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let now = Timestamp::now();
        Metadata {
            device: self.fs.device,
            inode: self.inode,
            mode: self.mode(),
            links: if self.is_dir() { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            accessed: now,
            modified: now,
            changed: now,
            ..Metadata::default()
        }
    }
    fn mode(&self) -> u32 {
        match &self.kind {
            Kind::Directory(_) => S_IFDIR | 0o555,
            Kind::File(_, None) | Kind::Pieces(_) => S_IFREG | 0o444,
            Kind::File(_, Some(_)) => S_IFREG | 0o644,
            Kind::Link(_) => S_IFLNK | 0o777,
        }
    }
    fn identity(&self) -> (u64, u64) {
        (self.fs.device, self.inode)
    }
    fn mounted(&self) -> Option<&AtomicBool> {
        Some(&self.mounted)
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        let Kind::Directory(directory) = &self.kind else { return Err(Errno::NOTDIR) };
        let Some(kind) = directory.lookup(name) else { return Ok(None) };
        let parent = self.this.upgrade().map(|this| (this, name.to_vec()));
        Ok(Some(Node::new(self.fs, self.child_inode(name), kind, parent)))
    }
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        self.parent.as_ref().map(|(parent, _)| parent.clone() as Arc<dyn Inode>)
    }
    fn name(&self) -> Option<Vec<u8>> {
        self.parent.as_ref().map(|(_, name)| name.clone())
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        let Kind::Directory(directory) = &self.kind else { return Err(Errno::NOTDIR) };
        directory.list(from, &mut |next, name, mode| {
            take(DirEntry { inode: self.child_inode(name), kind: entry_kind(mode), name, next })
        })
    }
    fn link(&self) -> Result<Link, Errno> {
        match &self.kind {
            Kind::Link(link) => link(),
            _ => Err(Errno::INVAL),
        }
    }
    fn truncate(&self, _size: u64) -> Result<(), Errno> {
        // Settings are opened with O_TRUNC by shells.
        match &self.kind {
            Kind::File(..) | Kind::Pieces(_) => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }
    fn open(self: Arc<Self>, place: Place, _flags: u32) -> Result<Arc<dyn File>, Errno> {
        match &self.kind {
            Kind::Directory(_) => Ok(try_arc(DirectoryFile::new(place))?),
            Kind::Link(_) => Err(Errno::LOOP),
            Kind::File(..) => Ok(Arc::new(TextFile { node: self, place, text: Mutex::new(None) })),
            Kind::Pieces(_) => Ok(Arc::new(PiecesFile { node: self, place, reading: Mutex::new(None) })),
        }
    }
    fn usage(&self) -> Usage {
        Usage { magic: self.fs.magic, ..Usage::default() }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Node {
    fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }
}

/// An open made file: its text is made when it is read from the start, so that one read sees one state.
struct TextFile {
    node: Arc<Node>,
    place: Place,
    text: Mutex<Option<Arc<Vec<u8>>>>,
}

impl File for TextFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        let known = self.text.lock().clone();
        let text = match known {
            Some(text) if offset > 0 => text,
            _ => {
                let text = Arc::new(self.node.text());
                *self.text.lock() = Some(text.clone());
                text
            }
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        dst.put(&text[from..])
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        let Kind::File(_, Some(set)) = &self.node.kind else { return Err(Errno::INVAL) };
        let mut bytes = coracle_fallible::filled(0, src.remaining().min(BLOCK_SIZE as usize))?;
        let len = src.take(&mut bytes)?;
        set(&bytes[..len])?;
        Ok(len)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn place(&self) -> Option<Place> {
        Some(self.place.clone())
    }
    fn path(&self) -> String {
        String::from_utf8_lossy(&self.place.to_bytes()).into_owned()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open file whose text is made piece by piece.
struct PiecesFile {
    node: Arc<Node>,
    place: Place,
    /// Where the last read ended; away while a read goes on.
    reading: Mutex<Option<Reading>>,
}

/// The piece that was made last.
#[derive(Default)]
struct Reading {
    text: Text,
    /// Offset in the file where the piece begins.
    offset: u64,
    /// Position of the piece after it.
    next: Option<u64>,
}

impl Reading {
    fn start() -> Self {
        Reading { next: Some(0), ..Reading::default() }
    }
    /// Reads from `offset` on, with further pieces as they are needed.
    fn read(&mut self, make: &PieceFn, dst: &mut UserBuf, mut offset: u64) -> Result<(), Errno> {
        if offset < self.offset {
            *self = Reading::start();
        }
        while dst.remaining() > 0 {
            let from = (offset - self.offset) as usize;
            if let Some(bytes) = self.text.bytes.get(from..).filter(|bytes| !bytes.is_empty()) {
                match dst.put(bytes)? {
                    0 => break,
                    done => offset += done as u64,
                }
                continue;
            }
            let Some(next) = self.next else { break };
            self.offset += self.text.bytes.len() as u64;
            self.text.bytes.clear();
            self.next = make(next, &mut self.text);
            if core::mem::take(&mut self.text.broken) {
                *self = Reading::start();
                return Err(Errno::NOMEM);
            }
        }
        Ok(())
    }
}

impl File for PiecesFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        let Kind::Pieces(make) = &self.node.kind else { return Err(Errno::INVAL) };
        let before = dst.done();
        let mut reading = self.reading.lock().take().unwrap_or_else(Reading::start);
        let result = reading.read(make, dst, offset);
        *self.reading.lock() = Some(reading);
        match dst.done() - before {
            0 => result.map(|()| 0),
            done => Ok(done),
        }
    }
    fn seekable(&self) -> bool {
        true
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn place(&self) -> Option<Place> {
        Some(self.place.clone())
    }
    fn path(&self) -> String {
        String::from_utf8_lossy(&self.place.to_bytes()).into_owned()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
