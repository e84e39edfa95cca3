//! What path walking, stat(2) and the calls that change directories ask of the files of a share.
use super::file::ShareFile;
use super::node::Node;
use super::session::{Fid, read_frames};
use crate::block::file as special;
use crate::dev;
use crate::memory::DirectoryFile;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Changes, DirEntry, Inode, Link, NewNode, TakeEntry, Usage};
use coracle_core::fs::mount::Place;
use coracle_core::fs::names_changed;
use coracle_core::fs::stat::{Metadata, Timestamp, split_device};
use coracle_core::ipc::pipe::Pipe;
use coracle_core::task::long_call;
use coracle_fallible::prelude::*;
use coracle_fallible::{filled, try_arc};
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_p9::{Entries, REMOVE_DIRECTORY, Reader, Request, Statistics, Time, change, open};
use core::any::Any;
use linux_raw_sys::general::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, XATTR_SIZE_MAX};

/// f_type of 9P (statfs(2)).
const MAGIC: u64 = 0x0102_1997;
/// Permission bits of a mode, with set-user-ID, set-group-ID and sticky.
const PERMISSIONS: u32 = 0o7777;
/// The group of what is made is the server's choice; its owner is set when it is made.
const ANY_GROUP: u32 = u32::MAX;
/// The longest target of a symbolic link (PATH_MAX).
const LONGEST_LINK: usize = 4096;

fn from_timestamp(time: Option<Timestamp>) -> Time {
    let time = time.unwrap_or_default();
    Time { seconds: time.seconds, nanoseconds: time.nanos }
}

impl Node {
    fn check_directory(&self) -> Result<(), Errno> {
        if self.kind_bits() == S_IFDIR { Ok(()) } else { Err(Errno::NOTDIR) }
    }

    /// The file that an entry leads to, if anything is known of it.
    fn known_entry(&self, name: &[u8]) -> Option<Arc<Node>> {
        let (_, qid) = self.session.walk(self.fid().number(), Some(name)).ok()?;
        self.session.known(qid.path)
    }

    /// After a change of the directory's entries.
    fn entries_changed(&self) {
        names_changed();
        self.doubt();
    }

    fn same_session<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a Node, Errno> {
        let other = other.as_any().downcast_ref::<Node>().ok_or(Errno::XDEV)?;
        if core::ptr::eq(self.session, other.session) { Ok(other) } else { Err(Errno::XDEV) }
    }

    fn find(&self, name: &[u8]) -> Result<Arc<Node>, Errno> {
        let (fid, _) = self.session.walk(self.fid().number(), Some(name))?;
        self.session.node(fid, Some((self, name)))
    }

    /// Makes a regular file, and keeps the fid that is open then: the file's permissions may forbid to open it again.
    fn create_file(&self, name: &[u8], mode: u32) -> Result<Arc<Node>, Errno> {
        let (maker, _) = self.session.walk(self.fid().number(), None)?;
        let flags = open::CREATE | open::EXCLUSIVE | open::READ_WRITE;
        self.session.tell(&Request::Create { fid: maker.number(), name, flags, mode, gid: ANY_GROUP })?;
        let node = self.find(name)?;
        node.open.lock().maker = Some(maker);
        Ok(node)
    }

    /// A fid by which entries are read: the one by which a listing was begun that goes on.
    fn listing(&self, from: u64) -> Result<Arc<Fid>, Errno> {
        let known = self.listing.lock().clone();
        match known {
            Some(known) if from != 0 => Ok(known),
            _ => {
                let new = self.session.open(&self.fid(), open::READ | open::DIRECTORY)?;
                let old = self.listing.lock().replace(new.clone());
                drop(old);
                Ok(new)
            }
        }
    }

    /// Reads an extended attribute, or with an empty name the names of all.
    fn read_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let new = self.session.new_fid()?;
        let request = Request::XattrWalk { fid: self.fid().number(), new: new.number(), name };
        let size = self.session.ask(&request, |body| body.u64())?;
        if size > XATTR_SIZE_MAX.into() {
            return Err(Errno::TOOBIG);
        }
        let mut value = filled(0, size as usize)?;
        let mut done = 0;
        while done < value.len() {
            let frames: Vec<Frame> = (0..(value.len() - done).div_ceil(FRAME_SIZE))
                .map(|_| Frame::alloc().ok_or(Errno::NOMEM))
                .try_collect_ok()?;
            let count = self.session.read(&new, done as u64, &frames, value.len() - done)?;
            if count == 0 {
                break;
            }
            read_frames(&frames, 0, &mut value[done..done + count]);
            done += count;
        }
        value.truncate(done);
        Ok(value)
    }

    /// Opens a regular file on the server.
    fn open_regular(&self, flags: u32) -> Result<Arc<Fid>, Errno> {
        let (server_flags, reads, writes) = ShareFile::server_flags(flags);
        if self.is_gone() {
            let open = self.open.lock();
            let fid = if writes { &open.writer } else { &open.reader };
            let does_both = || {
                let both = open.reader.as_ref().zip(open.writer.as_ref());
                both.is_some_and(|(reader, writer)| Arc::ptr_eq(reader, writer))
            };
            return fid.clone().filter(|_| !(reads && writes) || does_both()).ok_or(Errno::NOENT);
        }
        let is_plain = server_flags & !open::READ_WRITE & !open::WRITE == 0;
        let maker = self.open.lock().maker.take();
        match maker {
            Some(maker) if is_plain => Ok(maker),
            _ => {
                self.revalidate_to_open()?;
                self.session.open(&self.fid(), server_flags)
            }
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        // What is known is better than nothing.
        let _ = if self.is_written() { self.refresh() } else { self.revalidate() };
        self.known_metadata()
    }
    fn mode(&self) -> u32 {
        self.mode_bits()
    }
    fn kind(&self) -> (u32, bool) {
        (self.kind_bits(), self.mounted.load(Ordering::Acquire))
    }
    fn identity(&self) -> (u64, u64) {
        (self.session.number, self.number())
    }
    fn mounted(&self) -> Option<&AtomicBool> {
        Some(&self.mounted)
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        self.check_directory()?;
        match self.find(name) {
            Ok(node) => Ok(Some(node)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
    fn is_lasting(&self) -> bool {
        self.session.caching() == super::caching::Caching::Always
    }
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        if self.session.is_root(self) {
            return None;
        }
        if let (Some(parent), _) = self.place() {
            return Some(parent);
        }
        Some(self.session.node(self.session.walk(self.fid().number(), Some(b"..")).ok()?.0, None).ok()?)
    }
    fn name(&self) -> Option<Arc<[u8]>> {
        if self.is_gone() || self.session.is_root(self) { None } else { self.place().1 }
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        self.check_directory()?;
        let fid = self.listing(from)?;
        let frame = Frame::alloc().ok_or(Errno::NOMEM)?;
        let mut at = from;
        let mut bytes = Vec::new();
        loop {
            let len = self.session.read_directory(&fid, at, &frame)?;
            if len == 0 {
                let ended = self.listing.lock().take();
                drop(ended);
                return Ok(());
            }
            bytes.try_resize(len, 0)?;
            frame.read(0, &mut bytes);
            let mut is_any = false;
            for entry in Entries(Reader::new(&bytes)) {
                is_any = true;
                at = entry.next;
                let is_dot = entry.name == b"." || entry.name == b"..";
                let (inode, kind, name, next) = (entry.qid.path, entry.kind, entry.name, entry.next);
                if !is_dot && !take(DirEntry { inode, kind, name, next }) {
                    return Ok(());
                }
            }
            if !is_any {
                return Err(Errno::IO);
            }
            long_call::pause_unless_killed()?;
        }
    }
    fn link(&self) -> Result<Link, Errno> {
        if self.kind_bits() != S_IFLNK {
            return Err(Errno::INVAL);
        }
        let request = Request::ReadLink { fid: self.fid().number() };
        let target = self.session.ask(&request, |body| Some(body.text()?.try_to_vec()))??;
        if target.is_empty() || target.len() >= LONGEST_LINK || target.contains(&0) {
            return Err(Errno::IO);
        }
        Ok(Link::Path(target))
    }
    fn create(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        self.check_directory()?;
        let mode = mode & PERMISSIONS;
        let directory = self.fid();
        let directory = directory.number();
        let gid = ANY_GROUP;
        let request = match node {
            NewNode::File => {
                let made = self.create_file(name, mode)?;
                self.entries_changed();
                return Ok(made);
            }
            NewNode::Directory => Request::Mkdir { directory, name, mode, gid },
            NewNode::Link(target) => Request::Symlink { directory, name, target, gid },
            NewNode::Special(kind, rdev) => {
                let (major, minor) = split_device(rdev);
                Request::Mknod { directory, name, mode: kind & S_IFMT | mode, major, minor, gid }
            }
        };
        self.session.tell(&request)?;
        self.entries_changed();
        Ok(self.find(name)?)
    }
    fn add_link(&self, name: &[u8], node: &Arc<dyn Inode>) -> Result<(), Errno> {
        let node = self.same_session(node)?;
        if node.kind_bits() == S_IFDIR {
            return Err(Errno::PERM);
        }
        let (directory, file) = (self.fid(), node.fid());
        self.session.tell(&Request::Link { directory: directory.number(), fid: file.number(), name })?;
        self.entries_changed();
        node.doubt();
        Ok(())
    }
    fn remove(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        self.check_directory()?;
        let victim = self.known_entry(name);
        let flags = if directory { REMOVE_DIRECTORY } else { 0 };
        self.session.tell(&Request::Unlink { directory: self.fid().number(), name, flags })?;
        self.entries_changed();
        if let Some(victim) = victim {
            victim.unlinked();
        }
        Ok(())
    }
    fn rename(&self, from: &[u8], target: &Arc<dyn Inode>, to: &[u8], flags: u32) -> Result<(), Errno> {
        let target = self.same_session(target)?;
        // The protocol has no flags, and Linux's v9fs takes none.
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        let (moved, replaced) = (self.known_entry(from), target.known_entry(to));
        let (here, there) = (self.fid(), target.fid());
        let request = Request::Rename { from: here.number(), name: from, to: there.number(), new_name: to };
        self.session.tell(&request)?;
        self.entries_changed();
        target.doubt();
        let is_same = |a: &Arc<Node>, b: &Arc<Node>| Arc::ptr_eq(a, b);
        match (moved, replaced) {
            // Two names of one file: both stay (rename(2)).
            (Some(moved), Some(replaced)) if is_same(&moved, &replaced) => {}
            (moved, replaced) => {
                if let Some(replaced) = replaced {
                    replaced.unlinked();
                }
                if let Some(moved) = moved {
                    moved.note_place(Some((target, to)));
                    moved.doubt();
                }
            }
        }
        Ok(())
    }
    fn change(&self, changes: Changes) -> Result<(), Errno> {
        // What was written is older than a time that is set.
        if changes.modified.is_some() {
            self.write_back(0, u64::MAX)?;
        }
        if self.is_gone() {
            self.change_known(|known| {
                let mode = changes.mode.map(|mode| known.mode & S_IFMT | mode & PERMISSIONS);
                known.mode = mode.unwrap_or(known.mode);
                known.uid = changes.uid.unwrap_or(known.uid);
                known.gid = changes.gid.unwrap_or(known.gid);
                if changes.accessed.is_some() {
                    known.accessed = from_timestamp(changes.accessed);
                }
                if changes.modified.is_some() {
                    known.modified = from_timestamp(changes.modified);
                }
            });
            return Ok(());
        }
        let bit = |is_set: bool, bits: u32| if is_set { bits } else { 0 };
        let valid = bit(changes.mode.is_some(), change::MODE)
            | bit(changes.uid.is_some(), change::UID)
            | bit(changes.gid.is_some(), change::GID)
            | bit(changes.accessed.is_some(), change::ACCESSED | change::ACCESSED_SET)
            | bit(changes.modified.is_some(), change::MODIFIED | change::MODIFIED_SET)
            | change::CHANGED;
        let fid = self.fid();
        self.session.tell(&Request::SetAttributes {
            fid: fid.number(),
            valid,
            mode: changes.mode.unwrap_or(0) & PERMISSIONS,
            uid: changes.uid.unwrap_or(0),
            gid: changes.gid.unwrap_or(0),
            size: 0,
            accessed: from_timestamp(changes.accessed),
            modified: from_timestamp(changes.modified),
        })?;
        self.refresh()
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        if self.kind_bits() != S_IFREG {
            return Err(Errno::INVAL);
        }
        self.users.check_not_executed()?;
        self.set_size(size)
    }
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.read_xattr(name)
    }
    fn set_xattr(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> Result<(), Errno> {
        // The server takes a value without bytes for a removal.
        if value.is_some_and(<[u8]>::is_empty) {
            return Err(Errno::OPNOTSUPP);
        }
        let value = value.unwrap_or_default();
        let (fid, _) = self.session.walk(self.fid().number(), None)?;
        let size = value.len() as u64;
        self.session.tell(&Request::XattrCreate { fid: fid.number(), name, size, flags })?;
        for (number, piece) in value.chunks(FRAME_SIZE).enumerate() {
            let frame = Frame::alloc().ok_or(Errno::NOMEM)?;
            frame.write(0, piece);
            let frames = core::slice::from_ref(&frame);
            let offset = (number * FRAME_SIZE) as u64;
            if self.session.write(&fid, offset, frames, piece.len(), true)? != piece.len() {
                return Err(Errno::IO);
            }
        }
        let changed = self.session.tell(&Request::Clunk { fid: fid.number() });
        self.doubt();
        changed
    }
    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.read_xattr(b"")
    }
    fn open(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        match self.kind_bits() {
            S_IFDIR => Ok(try_arc(DirectoryFile::new(place))?),
            S_IFREG => {
                let fid = self.open_regular(flags)?;
                Ok(try_arc(ShareFile::new(self, place, flags, fid)?)?)
            }
            S_IFLNK => Err(Errno::LOOP),
            S_IFIFO => {
                if self.pipe.get().is_none() {
                    let new = Pipe::named()?;
                    self.pipe.call_once(|| new);
                }
                let pipe = self.pipe.get().ok_or(Errno::NOMEM)?;
                Pipe::open(pipe, flags, self.metadata().stat(), place)
            }
            S_IFCHR => dev::open(self.known_metadata().rdev, place, flags),
            S_IFBLK => special::open(self.known_metadata().rdev, place, flags),
            _ => Err(Errno::NXIO),
        }
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let fid = self.session.open(&self.fid(), open::READ)?;
        self.session.tell(&Request::Sync { fid: fid.number(), data_only })
    }
    fn usage(&self) -> Usage {
        const BLOCK: u64 = 4096;
        let request = Request::Statistics { fid: self.fid().number() };
        let Ok(found) = self.session.ask(&request, Statistics::read) else {
            return Usage { magic: MAGIC, ..Usage::default() };
        };
        let scaled = |blocks: u64| blocks.saturating_mul(found.block_bytes.into()) / BLOCK;
        Usage {
            magic: MAGIC,
            blocks: scaled(found.blocks),
            free: scaled(found.free),
            files: found.files,
            files_free: found.files_free,
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
