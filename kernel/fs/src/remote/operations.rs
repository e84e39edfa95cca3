//! What path walking, stat(2) and the calls that change directories ask of the files of a share.
use super::file::ShareFile;
use super::node::Node;
use super::server::{Found, Handle};
use crate::block::file as special;
use crate::dev;
use crate::memory::DirectoryFile;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Changes, Inode, Link, NewNode, TakeEntry, Usage};
use coracle_core::fs::mount::Place;
use coracle_core::fs::names_changed;
use coracle_core::fs::stat::Metadata;
use coracle_core::ipc::pipe::Pipe;
use coracle_core::task::long_call;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::frame::Frame;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_wire::open;
use core::any::Any;
use linux_raw_sys::general::{RENAME_EXCHANGE, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};

/// Permission bits of a mode, with set-user-ID, set-group-ID and sticky.
const PERMISSIONS: u32 = 0o7777;
/// The longest target of a symbolic link (PATH_MAX).
const LONGEST_LINK: usize = 4096;

impl Node {
    /// ENOTDIR if it is no directory, ENOENT if it is one that was removed: nothing is found or made in it any more.
    fn check_directory(&self) -> Result<(), Errno> {
        match self.kind_bits() {
            S_IFDIR if self.is_gone() => Err(Errno::NOENT),
            S_IFDIR => Ok(()),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The file that an entry leads to, if anything is known of it.
    fn known_entry(&self, name: &[u8]) -> Option<Arc<Node>> {
        self.session.known(self.session.server.number_of(&self.handle(), name).ok()?)
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
        let found = self.session.server.lookup(&self.handle(), name)?;
        self.note_found(found, name)
    }

    /// The node of what was found or made in this directory.
    fn note_found(&self, (handle, attributes): Found, name: &[u8]) -> Result<Arc<Node>, Errno> {
        self.session.node(handle, &attributes, Some((self, name)))
    }

    /// Makes a regular file, and keeps the handle that is open then: the file's permissions may forbid to open it again.
    fn create_file(&self, name: &[u8], mode: u32) -> Result<Arc<Node>, Errno> {
        let (found, maker) = self.session.server.create(&self.handle(), name, mode)?;
        let node = self.note_found(found, name)?;
        let old = node.open.lock().maker.replace(maker);
        drop(old);
        Ok(node)
    }

    /// A handle by which entries are read: the one by which a listing was begun that goes on.
    fn listing(&self, from: u64) -> Result<Arc<Handle>, Errno> {
        let known = self.listing.lock().clone();
        match known {
            Some(known) if from != 0 => Ok(known),
            _ => {
                let new = self.session.server.open(&self.handle(), open::READ | open::DIRECTORY)?;
                let old = self.listing.lock().replace(new.clone());
                drop(old);
                Ok(new)
            }
        }
    }

    /// A regular file. Apart from the others, which may need the stack that this takes.
    #[inline(never)]
    fn open_file(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let handle = self.open_regular(flags)?;
        Ok(try_arc(ShareFile::new(self, place, flags, handle)?)?)
    }

    #[inline(never)]
    fn open_pipe(&self, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        if self.pipe.get().is_none() {
            let new = Pipe::named()?;
            self.pipe.call_once(|| new);
        }
        let pipe = self.pipe.get().ok_or(Errno::NOMEM)?;
        Pipe::open(pipe, flags, self.metadata().stat(), place)
    }

    /// Opens a regular file on the server.
    fn open_regular(&self, flags: u32) -> Result<Arc<Handle>, Errno> {
        let (server_flags, reads, writes) = ShareFile::server_flags(flags);
        if self.is_lost() {
            let open = self.open.lock();
            let handle = if writes { &open.writer } else { &open.reader };
            let does_both = || {
                let both = open.reader.as_ref().zip(open.writer.as_ref());
                both.is_some_and(|(reader, writer)| Arc::ptr_eq(reader, writer))
            };
            return handle.clone().filter(|_| !(reads && writes) || does_both()).ok_or(Errno::NOENT);
        }
        let is_plain = server_flags & !open::READ_WRITE & !open::WRITE == 0;
        let maker = self.open.lock().maker.take();
        match maker {
            Some(maker) if is_plain => Ok(maker),
            _ => {
                self.revalidate_to_open()?;
                self.session.server.open(&self.handle(), server_flags)
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
        (self.session.number, self.inode_number())
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
        let (handle, attributes) = self.session.server.lookup(&self.handle(), b"..").ok()?;
        Some(self.session.node(handle, &attributes, None).ok()?)
    }
    fn name(&self) -> Option<Arc<[u8]>> {
        if self.is_gone() || self.session.is_root(self) { None } else { self.place().1 }
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        self.check_directory()?;
        let handle = self.listing(from)?;
        let frame = Frame::alloc().ok_or(Errno::NOMEM)?;
        let mut at = from;
        let mut bytes = Vec::new();
        loop {
            let len = self.session.server.read_directory(&handle, at, &frame)?;
            if len == 0 {
                let ended = self.listing.lock().take();
                drop(ended);
                return Ok(());
            }
            bytes.try_resize(len, 0)?;
            frame.read(0, &mut bytes);
            let (mut left, mut is_any) = (bytes.as_slice(), false);
            while let Some(entry) = self.session.server.entry(&mut left) {
                is_any = true;
                at = entry.next;
                let is_dot = entry.name == b"." || entry.name == b"..";
                if !is_dot && !take(entry) {
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
        let target = self.session.server.target(&self.handle())?;
        if target.is_empty() || target.len() >= LONGEST_LINK || target.contains(&0) {
            return Err(Errno::IO);
        }
        Ok(Link::Path(target))
    }
    fn create(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        self.check_directory()?;
        let mode = mode & PERMISSIONS;
        let made = match node {
            NewNode::File => self.create_file(name, mode)?,
            node => self.note_found(self.session.server.make(&self.handle(), name, &node, mode)?, name)?,
        };
        self.entries_changed();
        Ok(made)
    }
    fn add_link(&self, name: &[u8], node: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.check_directory()?;
        let node = self.same_session(node)?;
        if node.kind_bits() == S_IFDIR {
            return Err(Errno::PERM);
        }
        self.session.server.add_link(&self.handle(), name, &node.handle())?;
        self.entries_changed();
        node.doubt();
        Ok(())
    }
    fn remove(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        self.check_directory()?;
        let victim = self.known_entry(name);
        self.session.server.unlink(&self.handle(), name, directory)?;
        self.entries_changed();
        if let Some(victim) = victim {
            victim.unlinked();
        }
        Ok(())
    }
    fn rename(&self, from: &[u8], target: &Arc<dyn Inode>, to: &[u8], flags: u32) -> Result<(), Errno> {
        let target = self.same_session(target)?;
        target.check_directory()?;
        let (moved, replaced) = (self.known_entry(from), target.known_entry(to));
        self.session.server.rename((&self.handle(), from), (&target.handle(), to), flags)?;
        self.entries_changed();
        target.doubt();
        let is_same = |a: &Arc<Node>, b: &Arc<Node>| Arc::ptr_eq(a, b);
        match (moved, replaced) {
            // Two names of one file: both stay (rename(2)).
            (Some(moved), Some(replaced)) if is_same(&moved, &replaced) => {}
            (moved, replaced) => {
                match replaced {
                    Some(replaced) if flags & RENAME_EXCHANGE != 0 => {
                        replaced.note_place(Some((self, from)));
                        replaced.doubt();
                    }
                    Some(replaced) => replaced.unlinked(),
                    None => {}
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
        if self.is_lost() {
            self.change_known(|known| {
                let mode = changes.mode.map(|mode| known.mode & S_IFMT | mode & PERMISSIONS);
                known.mode = mode.unwrap_or(known.mode);
                known.uid = changes.uid.unwrap_or(known.uid);
                known.gid = changes.gid.unwrap_or(known.gid);
                if changes.accessed.is_some() {
                    known.accessed = changes.accessed.unwrap_or_default();
                }
                if changes.modified.is_some() {
                    known.modified = changes.modified.unwrap_or_default();
                }
            });
            return Ok(());
        }
        self.session.server.change(&self.handle(), &changes, None)?;
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
        self.session.server.xattr(&self.handle(), name)
    }
    fn set_xattr(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> Result<(), Errno> {
        let changed = self.session.server.set_xattr(&self.handle(), name, value, flags);
        self.doubt();
        changed
    }
    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.session.server.xattr(&self.handle(), b"")
    }
    fn open(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        match self.kind_bits() {
            S_IFDIR => Ok(try_arc(DirectoryFile::new(place))?),
            S_IFREG => self.open_file(place, flags),
            S_IFLNK => Err(Errno::LOOP),
            S_IFIFO => self.open_pipe(place, flags),
            S_IFCHR => dev::open(self.known_metadata().rdev, place, flags),
            S_IFBLK => special::open(self.known_metadata().rdev, place, flags),
            _ => Err(Errno::NXIO),
        }
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let handle = self.session.server.open(&self.handle(), open::READ | open::DIRECTORY)?;
        self.session.server.sync(&handle, data_only)
    }
    fn usage(&self) -> Usage {
        let known = self.session.server.usage(&self.handle()).unwrap_or_default();
        Usage { magic: self.session.server.kind().magic, ..known }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
