//! The inodes of a volume.
use super::file::Ext4File;
use super::runs::Runs;
use super::volume::{Volume, errno, now};
use crate::block::file as special;
use crate::cache::pages::{Cache, PAGE};
use crate::cache::pool;
use crate::dev;
use crate::memory::DirectoryFile;
use crate::users::{Used, Users};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::access;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Changes, DirEntry, Inode, Link, NewNode, TakeEntry, Usage};
use coracle_core::fs::mount::Place;
use coracle_core::fs::names_changed;
use coracle_core::fs::stat::{Metadata, Timestamp, device_number, split_device};
use coracle_core::ipc::pipe::Pipe;
use coracle_core::lock::Mutex;
use coracle_core::mm::memory::forget_file_pages;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::sleeping::Sleeping;
use coracle_ext4::{Allocation, Attributes, Device, Existence, FileSystem, NewFile, ROOT, Rename, Time};
use coracle_fallible::prelude::*;
use coracle_fallible::{filled, try_arc, try_arc_bytes, try_arc_cyclic, try_box};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::any::Any;
use linux_raw_sys::general::{
    RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT,
    S_IFREG, S_ISGID, XATTR_CREATE, XATTR_REPLACE,
};

/// Permission bits of a mode, with set-user-ID, set-group-ID and sticky.
const PERMISSIONS: u32 = 0o7777;
/// The longest target of a symbolic link (PATH_MAX).
const LONGEST_LINK: usize = 4096;

/// A file, directory, link or special file.
pub struct Node {
    volume: &'static Volume,
    number: u32,
    /// As the volume has them, but for size and the time of the last write.
    pub(super) attributes: Mutex<Attributes>,
    /// Bytes of a regular file, of which the volume may have fewer.
    pub(super) size: AtomicU64,
    /// Bytes that the volume has it have.
    pub(super) volume_size: AtomicU64,
    /// The file has blocks for all bytes below this.
    allocated: AtomicU64,
    mounted: AtomicBool,
    /// Pages of a regular file, once there are any.
    cache: Once<Arc<Cache>>,
    /// Held while bytes are written, or the size changes.
    pub(super) writing: Sleeping<()>,
    /// It is in the volume's list of dirty nodes.
    is_listed: AtomicBool,
    /// Some page was given out to be mapped.
    pub(super) is_mapped: AtomicBool,
    pub(super) runs: Runs,
    /// The time of the last write is not the volume's.
    pub(super) has_new_times: AtomicBool,
    pub(super) users: Users,
    /// The name of a directory, as it was found last.
    name: Mutex<Option<Arc<[u8]>>>,
    pipe: Once<Arc<Pipe>>,
    this: Weak<Node>,
}

fn time(time: Time) -> Timestamp {
    Timestamp { seconds: time.seconds, nanos: time.nanoseconds }
}

fn from_timestamp(time: Timestamp) -> Time {
    Time { seconds: time.seconds, nanoseconds: time.nanos }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.volume.dropped(self.number, self.attributes.get_mut().links == 0);
    }
}

impl Used for Node {
    fn users(&self) -> Option<&Users> {
        Some(&self.users)
    }
}

impl Node {
    pub(super) fn new(volume: &'static Volume, attributes: Attributes) -> Result<Arc<Node>, Errno> {
        let writing = Sleeping::new(try_box(())?);
        Ok(try_arc_cyclic(|this| Node {
            volume,
            number: attributes.inode,
            size: AtomicU64::new(attributes.size),
            volume_size: AtomicU64::new(attributes.size),
            allocated: AtomicU64::new(0),
            attributes: Mutex::new(attributes),
            mounted: AtomicBool::new(false),
            cache: Once::new(),
            writing,
            is_listed: AtomicBool::new(false),
            is_mapped: AtomicBool::new(false),
            runs: Runs::new(),
            has_new_times: AtomicBool::new(false),
            users: Users::new(),
            name: Mutex::new(None),
            pipe: Once::new(),
            this: this.clone(),
        })?)
    }
    /// Another node of the same file was there already.
    pub(super) fn forget_quietly(&self) {
        self.attributes.lock().links = u32::MAX;
    }
    pub(super) fn volume(&self) -> &'static Volume {
        self.volume
    }
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
    pub(crate) fn this(&self) -> Arc<Node> {
        // A method runs on a node that its caller holds.
        self.this.upgrade().expect("a node in use is alive")
    }
    /// The pages. ENOMEM.
    pub(super) fn cache(&self) -> Result<&Arc<Cache>, Errno> {
        if self.cache.get().is_none() {
            let new = Cache::new()?;
            self.cache.call_once(|| new);
        }
        self.cache.get().ok_or(Errno::NOMEM)
    }
    pub(super) fn kind_bits(&self) -> u32 {
        u32::from(self.attributes.lock().mode) & S_IFMT
    }

    /// Reads the attributes again, after the volume changed them.
    pub(super) fn refresh(&self) -> Result<(), Errno> {
        self.refresh_from(&mut self.volume.read())
    }
    fn refresh_from(&self, fs: &mut FileSystem) -> Result<(), Errno> {
        let new = fs.attributes(self.number).map_err(errno)?;
        self.volume_size.store(new.size, Ordering::Release);
        *self.attributes.lock() = new;
        Ok(())
    }

    /// The content was written past the volume, which learns of the new times later: at fsync(2), or when pages are written back that are
    /// old. ENOMEM.
    pub(super) fn note_new_times(&self) -> Result<(), Errno> {
        self.touch();
        self.has_new_times.store(true, Ordering::Release);
        self.volume.note_change();
        self.note_dirty()
    }

    /// Tells the volume the times that it does not know.
    fn write_times(&self) -> Result<(), Errno> {
        if !self.has_new_times.load(Ordering::Acquire) {
            return Ok(());
        }
        self.write_times_to(&mut self.volume.change())
    }

    /// The same, with the file system locked.
    pub(super) fn write_times_to(&self, fs: &mut FileSystem) -> Result<(), Errno> {
        if !self.has_new_times.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let Attributes { modified, changed, .. } = *self.attributes.lock();
        let changes =
            coracle_ext4::Changes { modified: Some(modified), changed: Some(changed), ..Default::default() };
        fs.set_attributes(self.number, &changes).map_err(errno)
    }

    /// The content is being written: its times change.
    pub(super) fn touch(&self) {
        let now = now();
        let mut attributes = self.attributes.lock();
        attributes.modified = now;
        attributes.changed = now;
    }

    /// Sees to it that the range has blocks. ENOSPC.
    pub(super) fn take_blocks(&self, start: u64, end: u64) -> Result<(), Errno> {
        if end <= self.allocated.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut fs = self.volume.read();
        let known = self.find_allocated(&mut fs, end)?;
        if end <= known {
            return Ok(());
        }
        drop(fs);
        let (from, end) = (start / PAGE * PAGE, end.next_multiple_of(PAGE));
        let mut fs = self.volume.change();
        fs.allocate(self.number, from, end - from, Allocation::AllocateKeepSize, now()).map_err(errno)?;
        self.attributes.lock().blocks = fs.attributes(self.number).map_err(errno)?.blocks;
        if from <= known {
            self.allocated.fetch_max(end, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Up to where the file has blocks without a hole, as far as it takes to know whether `end` lies before that.
    fn find_allocated(&self, fs: &mut FileSystem, end: u64) -> Result<u64, Errno> {
        let block_bytes = u64::from(fs.block_bytes());
        let mut known = self.allocated.load(Ordering::Relaxed);
        while known < end {
            match fs.map(self.number, (known / block_bytes) as u32, u32::MAX) {
                // Blocks that were never written count.
                Ok(run) if run.block.is_some() && run.count > 0 => {
                    known += u64::from(run.count) * block_bytes
                }
                // A file in its inode has none.
                Ok(_) | Err(coracle_ext4::Error::Unsupported(_)) => break,
                Err(error) => return Err(errno(error)),
            }
        }
        self.allocated.store(known / PAGE * PAGE, Ordering::Relaxed);
        Ok(known)
    }

    /// Blocks were taken from the file, and the file system was locked since: a page fault may have found them before that.
    pub(super) fn lose_blocks(&self, from: u64) {
        self.allocated.fetch_min(from / PAGE * PAGE, Ordering::Relaxed);
    }

    /// Pages are dirty: they will be written. ENOMEM.
    pub(super) fn note_dirty(&self) -> Result<(), Errno> {
        if self.is_listed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let listed = self.volume.note_dirty(&self.this());
        if listed.is_err() {
            self.is_listed.store(false, Ordering::SeqCst);
        }
        listed
    }

    /// Writes the dirty pages of a range to the disk. Waits; hold no lock.
    pub(crate) fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        match self.cache.get() {
            Some(cache) => cache.write_back(self, start, end),
            None => Ok(()),
        }
    }

    /// Forgets cached pages of a range that a transfer past them has changed.
    pub(super) fn forget_stale(&self, start: u64, end: u64) {
        if let Some(cache) = self.cache.get() {
            cache.forget_stale(start, end);
        }
    }

    /// [`Node::write_back`] for the volume's list, which it is taken from; pages that stay dirty put it there again.
    pub(super) fn write_back_listed(&self) -> Result<(), Errno> {
        self.is_listed.store(false, Ordering::SeqCst);
        let written = self.write_back(0, u64::MAX).and_then(|()| self.write_times());
        if self.cache.get().is_some_and(|cache| cache.is_dirty()) {
            self.note_dirty()?;
        }
        written
    }

    /// fsync(2).
    pub(super) fn sync_file(&self, data_only: bool) -> Result<(), Errno> {
        if let Some(cache) = self.cache.get()
            && let Some(synced) = cache.write_back_and_sync(self, data_only)?
        {
            return synced;
        }
        if !data_only {
            self.write_times()?;
        }
        let mut fs = self.volume.read();
        let synced = if data_only { fs.sync_data(self.number) } else { fs.sync_file(self.number) };
        drop(fs);
        self.volume.settled(synced)
    }

    fn new_file(mode: u32, rdev: u64) -> NewFile {
        let (major, minor) = split_device(rdev);
        NewFile { mode: mode as u16, uid: 0, gid: 0, device: Device { major, minor } }
    }

    /// After a change of the directory's entries: its attributes, and those of a file that lost or got a name. `fs`: the file system,
    /// locked since the change.
    fn names_changed_here(&self, fs: &mut FileSystem, other: Option<u32>) -> Result<(), Errno> {
        names_changed();
        self.refresh_from(fs)?;
        let Some(number) = other else { return Ok(()) };
        let node = self.volume.node(fs, number)?;
        node.refresh_from(fs)?;
        if node.attributes.lock().links == 0 {
            self.volume.forget(number);
        }
        Ok(())
    }

    /// Before a file takes the place of another, its content goes to the disk: after a crash the name leads to the old content or to the new,
    /// also for programs that don't sync it (Linux's mount option auto_da_alloc, ext4(5)). An error is left to fsync(2).
    #[inline(never)]
    fn write_before_replacing(&self, from: &[u8], target: &Node, to: &[u8]) -> Result<(), Errno> {
        let mut fs = self.volume.read();
        let (Ok(number), Ok(_)) = (fs.lookup(self.number, from), fs.lookup(target.number, to)) else {
            return Ok(());
        };
        let node = self.volume.node(&mut fs, number)?;
        drop(fs);
        let _ = node.write_back(0, u64::MAX);
        Ok(())
    }

    fn same_volume<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a Node, Errno> {
        let other = other.as_any().downcast_ref::<Node>().ok_or(Errno::XDEV)?;
        if core::ptr::eq(self.volume, other.volume) { Ok(other) } else { Err(Errno::XDEV) }
    }

    /// Takes the pages from an offset on from programs that have them mapped.
    pub(super) fn forget_mappings(&self, from: u64) {
        if self.is_mapped.load(Ordering::Relaxed) {
            forget_file_pages(from, |file| {
                let file = file.as_any().downcast_ref::<Ext4File>();
                file.is_some_and(|file| core::ptr::eq(&raw const **file.node(), self))
            });
        }
    }

    /// ftruncate(2). What was cut off reads as zeroes if the file grows again.
    pub(super) fn set_size(&self, size: u64) -> Result<(), Errno> {
        let _writing = self.writing.lock();
        let before = self.size.load(Ordering::Acquire);
        if size < before {
            // From here on no page behind the end is read.
            self.size.store(size, Ordering::Release);
            self.forget_mappings(size);
            if let Some(cache) = self.cache.get() {
                cache.forget(size.div_ceil(PAGE), u64::MAX);
                cache.zero(size, size.next_multiple_of(PAGE));
            }
        } else {
            // The volume's size comes first: what it clears behind the old end must not be newer than the pages.
            self.write_back(before / PAGE * PAGE, u64::MAX)?;
        }
        let taking = self.runs.taking();
        let changed = self.volume.change().set_size(self.number, size, now()).map_err(errno);
        self.lose_blocks(size);
        drop(taking);
        if changed.is_ok() {
            self.size.store(size, Ordering::Release);
            self.refresh()?;
        } else if size < before {
            self.size.store(before, Ordering::Release);
        }
        changed
    }

    /// The entry `name` of a directory.
    pub(crate) fn child(&self, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        let mut fs = self.volume.read();
        let number = match fs.lookup(self.number, name) {
            Ok(number) => number,
            Err(coracle_ext4::Error::NotFound) => return Ok(None),
            Err(error) => return Err(errno(error)),
        };
        let node = self.volume.node(&mut fs, number)?;
        drop(fs);
        if node.kind_bits() == S_IFDIR {
            *node.name.lock() = try_arc_bytes(name).ok();
        }
        Ok(Some(node))
    }

    /// Makes an entry of a directory: [`Inode::create`].
    pub(crate) fn make(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<Node>, Errno> {
        let mode = mode & PERMISSIONS;
        // A directory passes the bit on (inode(7)).
        let inherited = u32::from(self.attributes.lock().mode) & S_ISGID;
        let now = now();
        let mut fs = self.volume.change();
        let made = match node {
            NewNode::Directory => {
                fs.create(self.number, name, &Node::new_file(S_IFDIR | mode | inherited, 0), now)
            }
            NewNode::File => fs.create(self.number, name, &Node::new_file(S_IFREG | mode, 0), now),
            NewNode::Link(target) => {
                fs.symlink(self.number, name, target, &Node::new_file(S_IFLNK | mode, 0), now)
            }
            NewNode::Special(kind, rdev) => {
                fs.create(self.number, name, &Node::new_file(kind & S_IFMT | mode, rdev), now)
            }
        };
        let number = made.map_err(errno)?;
        self.names_changed_here(&mut fs, None)?;
        self.volume.node(&mut fs, number)
    }

    /// Makes a regular file without a name: [`Inode::create_nameless`].
    pub(crate) fn make_nameless(&self, mode: u32) -> Result<Arc<Node>, Errno> {
        let new = Node::new_file(S_IFREG | mode & PERMISSIONS, 0);
        let mut fs = self.volume.change();
        let number = fs.create_unnamed(self.number, &new, now()).map_err(errno)?;
        let node = self.volume.node(&mut fs, number)?;
        drop(fs);
        // Nothing keeps it but its users.
        self.volume.forget(number);
        Ok(node)
    }

    /// Bytes that are in one page or go from one into the next; `writing` is locked.
    pub(super) fn put_part(&self, cache: &Cache, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = offset + bytes.len() as u64;
        self.take_blocks(offset, end)?;
        self.note_dirty()?;
        let first = ((PAGE - offset % PAGE) as usize).min(bytes.len());
        cache.put(self, offset, &bytes[..first])?;
        if first < bytes.len() {
            cache.put(self, offset + first as u64, &bytes[first..])?;
        }
        self.size.fetch_max(end, Ordering::AcqRel);
        self.touch();
        Ok(())
    }

    /// Takes bytes from a program to `offset`, up to the end of the page there and as far as the program's pages are there; `writing` is
    /// locked. `bytes`: for what takes two steps.
    pub(super) fn take_part(
        &self,
        cache: &Cache,
        offset: u64,
        src: &mut UserBuf,
        bytes: &mut Vec<u8>,
    ) -> Result<usize, Errno> {
        let room = ((PAGE - offset % PAGE) as usize).min(src.remaining());
        self.take_blocks(offset, offset + room as u64)?;
        self.note_dirty()?;
        let taken = match cache.take(self, offset, room, src)? {
            Some(taken) => taken,
            None => {
                bytes.try_resize(room, 0)?;
                let taken = src.take_nofault(bytes);
                if taken > 0 {
                    cache.put(self, offset, &bytes[..taken])?;
                }
                taken
            }
        };
        if taken > 0 {
            self.size.fetch_max(offset + taken as u64, Ordering::AcqRel);
            self.touch();
        }
        Ok(taken)
    }

    /// Writes bytes of up to a page with no file open.
    pub(crate) fn put_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let writing = self.writing.lock();
        self.put_part(self.cache()?, offset, bytes)?;
        drop(writing);
        if pool::is_too_dirty() { self.write_back(0, u64::MAX) } else { Ok(()) }
    }

    /// The entry of the parent directory that leads here.
    fn find_name(&self, parent: u32) -> Option<Arc<[u8]>> {
        let mut found = None;
        let listed = self.volume.read().read_directory(parent, 0, &mut |entry| {
            if entry.inode == self.number && entry.name != b"." && entry.name != b".." {
                found = try_arc_bytes(entry.name).ok();
            }
            found.is_none()
        });
        listed.ok().and(found)
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let attributes = *self.attributes.lock();
        let is_file = u32::from(attributes.mode) & S_IFMT == S_IFREG;
        Metadata {
            device: self.volume.device(),
            inode: self.number.into(),
            mode: attributes.mode.into(),
            links: attributes.links.into(),
            uid: attributes.uid,
            gid: attributes.gid,
            rdev: device_number(attributes.device.major, attributes.device.minor),
            size: if is_file { self.size.load(Ordering::Acquire) } else { attributes.size },
            allocated: attributes.blocks * 512,
            accessed: time(attributes.accessed),
            modified: time(attributes.modified),
            changed: time(attributes.changed),
            // Small inodes have no room for it.
            created: (attributes.created != Time::default()).then(|| time(attributes.created)),
        }
    }
    fn mode(&self) -> u32 {
        self.attributes.lock().mode.into()
    }
    fn kind(&self) -> (u32, bool) {
        (self.kind_bits(), self.mounted.load(Ordering::Acquire))
    }
    fn identity(&self) -> (u64, u64) {
        (self.volume.device(), self.number.into())
    }
    fn put_bytes(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        Node::put_bytes(self, offset, bytes)
    }
    fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        Node::write_back(self, start, end)
    }
    fn mounted(&self) -> Option<&AtomicBool> {
        Some(&self.mounted)
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        Ok(self.child(name)?.map(|node| node as Arc<dyn Inode>))
    }
    fn is_lasting(&self) -> bool {
        true
    }
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        if self.number == ROOT {
            return None;
        }
        let mut fs = self.volume.read();
        let parent = fs.lookup(self.number, b"..").ok()?;
        Some(self.volume.node(&mut fs, parent).ok()?)
    }
    fn name(&self) -> Option<Arc<[u8]>> {
        if self.number == ROOT || self.attributes.lock().links == 0 {
            return None;
        }
        let parent = self.volume.read().lookup(self.number, b"..").ok()?;
        let known = self.name.lock().clone();
        if let Some(known) = known
            && self.volume.read().lookup(parent, &known) == Ok(self.number)
        {
            return Some(known);
        }
        self.find_name(parent)
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        let listed = self.volume.read().read_directory(self.number, from, &mut |entry| {
            let is_dot = entry.name == b"." || entry.name == b"..";
            is_dot
                || take(DirEntry {
                    inode: entry.inode.into(),
                    kind: entry.kind,
                    name: entry.name,
                    next: entry.next,
                })
        });
        listed.map_err(errno)
    }
    fn link(&self) -> Result<Link, Errno> {
        if self.kind_bits() != S_IFLNK {
            return Err(Errno::INVAL);
        }
        let size = self.attributes.lock().size.min(LONGEST_LINK as u64) as usize;
        let mut target = filled(0, size)?;
        let len = self.volume.read().read_link(self.number, &mut target).map_err(errno)?;
        target.truncate(len);
        Ok(Link::Path(target))
    }
    fn create(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        Ok(self.make(name, node, mode)?)
    }
    fn create_nameless(&self, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        Ok(self.make_nameless(mode)?)
    }
    fn add_link(&self, name: &[u8], node: &Arc<dyn Inode>) -> Result<(), Errno> {
        let node = self.same_volume(node)?;
        if node.kind_bits() == S_IFDIR {
            return Err(Errno::PERM);
        }
        let mut fs = self.volume.change();
        fs.link(self.number, name, node.number, now()).map_err(errno)?;
        self.names_changed_here(&mut fs, Some(node.number))
    }
    fn remove(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        let mut fs = self.volume.change();
        let removed = if directory {
            fs.rmdir(self.number, name, now())
        } else {
            fs.unlink(self.number, name, now()).map(|(number, _)| number)
        };
        let number = removed.map_err(errno)?;
        self.names_changed_here(&mut fs, Some(number))
    }
    fn rename(&self, from: &[u8], target: &Arc<dyn Inode>, to: &[u8], flags: u32) -> Result<(), Errno> {
        let target = self.same_volume(target)?;
        let how = match flags {
            0 => Rename::Replace,
            RENAME_NOREPLACE => Rename::NoReplace,
            RENAME_EXCHANGE => Rename::Exchange,
            RENAME_WHITEOUT => Rename::Whiteout,
            _ => return Err(Errno::INVAL),
        };
        self.write_before_replacing(from, target, to)?;
        let mut fs = self.volume.change();
        let renamed = fs.rename((self.number, from), (target.number, to), how, now()).map_err(errno)?;
        if target.number != self.number {
            target.refresh_from(&mut fs)?;
        }
        self.names_changed_here(&mut fs, renamed.map(|(number, _)| number))?;
        // Links and times of what moved.
        let moved = fs.lookup(target.number, to).map_err(errno)?;
        self.volume.node(&mut fs, moved)?.refresh_from(&mut fs)
    }
    fn change(&self, changes: Changes) -> Result<(), Errno> {
        // What was written is older than a time that is set.
        if changes.modified.is_some() {
            self.write_back(0, u64::MAX)?;
        }
        let new = coracle_ext4::Changes {
            permissions: changes.mode.map(|mode| (mode & PERMISSIONS) as u16),
            uid: changes.uid,
            gid: changes.gid,
            accessed: changes.accessed.map(from_timestamp),
            modified: changes.modified.map(from_timestamp),
            changed: Some(now()),
        };
        self.volume.change().set_attributes(self.number, &new).map_err(errno)?;
        let modified = self.attributes.lock().modified;
        self.refresh()?;
        if changes.modified.is_none() {
            self.attributes.lock().modified = modified;
        }
        Ok(())
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        if self.kind_bits() != S_IFREG {
            return Err(Errno::INVAL);
        }
        self.users.check_not_executed()?;
        self.set_size(size)?;
        access::written(self, self.mode());
        Ok(())
    }
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.volume.read().xattr(self.number, name).map_err(errno)
    }
    fn set_xattr(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> Result<(), Errno> {
        let mut fs = self.volume.change();
        let existence = match flags {
            0 => Existence::Either,
            XATTR_CREATE => Existence::New,
            XATTR_REPLACE => Existence::Old,
            // Nothing is both.
            _ => return Err(fs.xattr(self.number, name).map_or_else(errno, |_| Errno::EXIST)),
        };
        let changed = match value {
            Some(value) => fs.set_xattr(self.number, name, value, existence, now()),
            None => fs.remove_xattr(self.number, name, now()),
        };
        changed.map_err(errno)?;
        self.refresh_from(&mut fs)
    }
    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.volume.read().xattr_names(self.number).map_err(errno)
    }
    fn open(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let rdev = self.metadata().rdev;
        match self.kind_bits() {
            S_IFDIR => Ok(try_arc(DirectoryFile::new(place))?),
            S_IFREG => Ok(try_arc(Ext4File::new(self.clone(), place, flags)?)?),
            S_IFLNK => Err(Errno::LOOP),
            S_IFIFO => {
                if self.pipe.get().is_none() {
                    let new = Pipe::named()?;
                    self.pipe.call_once(|| new);
                }
                let pipe = self.pipe.get().ok_or(Errno::NOMEM)?;
                // Of an overlay the place has another inode.
                let stat = place.path.inode.metadata().stat();
                Pipe::open(pipe, flags, stat, place)
            }
            S_IFCHR => dev::open(rdev, place, flags),
            S_IFBLK => special::open(rdev, place, flags),
            _ => Err(Errno::NXIO),
        }
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.sync_file(data_only)
    }
    fn usage(&self) -> Usage {
        self.volume.usage()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
