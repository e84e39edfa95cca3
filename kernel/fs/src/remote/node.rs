//! The files of a share: what is known of each, and how that is kept true.
use super::caching::Caching;
use super::file::ShareFile;
use super::server::{Attributes, Handle};
use super::session::Session;
use crate::cache::Backing;
use crate::cache::pages::{Cache, PAGE};
use crate::users::{Used, Users};
use alloc::sync::{Arc, Weak};
use coracle_core::errno::Errno;
use coracle_core::fs::inode::Changes;
use coracle_core::fs::notify;
use coracle_core::fs::stat::{Metadata, Timestamp};
use coracle_core::ipc::pipe::Pipe;
use coracle_core::lock::Mutex;
use coracle_core::mm::memory::forget_file_pages;
use coracle_core::sleeping::Sleeping;
use coracle_fallible::{try_arc_bytes, try_arc_cyclic, try_box};
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use coracle_hal::time;
use linux_raw_sys::general::{S_IFDIR, S_IFMT, S_IFREG};

/// A file, directory, link or special file.
pub struct Node {
    pub(super) session: &'static Session,
    /// Names the file; not open.
    handle: Mutex<Arc<Handle>>,
    known: Mutex<Known>,
    /// Bytes of a regular file.
    size: AtomicU64,
    /// It has no name any more, as far as is known.
    is_gone: AtomicBool,
    pub(super) mounted: AtomicBool,
    /// Pages of a regular file, once there are any.
    cache: Once<Arc<Cache>>,
    /// Held while bytes are written, or the size changes.
    pub(super) writing: Sleeping<()>,
    /// Open handles by which pages are read and written.
    pub(super) open: Mutex<Opened>,
    /// It is in the session's list of dirty nodes.
    is_listed: AtomicBool,
    /// Some page was given out to be mapped.
    pub(super) is_mapped: AtomicBool,
    pub(super) users: Users,
    /// Where it was found last: the directory, and the name there.
    place: Mutex<Found>,
    /// The open handle of a directory that is being listed.
    pub(super) listing: Mutex<Option<Arc<Handle>>>,
    pub(super) pipe: Once<Arc<Pipe>>,
    this: Weak<Node>,
}

/// The directory that a file was found in last, and its name there.
type Found = (Weak<Node>, Option<Arc<[u8]>>);

/// What is known of a file.
struct Known {
    attributes: Attributes,
    /// Since when, in nanoseconds since boot; `None`: something has changed since.
    since_ns: Option<u64>,
    /// This guest has written to it since.
    is_written: bool,
}

/// See [`Node::open`].
#[derive(Default)]
pub struct Opened {
    pub(super) reader: Option<Arc<Handle>>,
    pub(super) writer: Option<Arc<Handle>>,
    /// The one by which the file was made, open for reading and writing, until it is opened the first time.
    pub(super) maker: Option<Arc<Handle>>,
    /// Open files.
    pub(super) files: usize,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.session.dropped(self);
        if self.is_gone() {
            notify::inode_gone((self.session.number, self.inode_number()));
        }
    }
}

impl Used for Node {
    fn users(&self) -> Option<&Users> {
        Some(&self.users)
    }
}

impl Node {
    pub(super) fn new(
        session: &'static Session,
        handle: Arc<Handle>,
        attributes: Attributes,
    ) -> Result<Arc<Node>, Errno> {
        let writing = Sleeping::new(try_box(())?);
        Ok(try_arc_cyclic(|this| Node {
            session,
            handle: Mutex::new(handle),
            known: Mutex::new(Known { attributes, since_ns: Some(time::now_ns()), is_written: false }),
            size: AtomicU64::new(attributes.size),
            is_gone: AtomicBool::new(false),
            mounted: AtomicBool::new(false),
            cache: Once::new(),
            writing,
            open: Mutex::new(Opened::default()),
            is_listed: AtomicBool::new(false),
            is_mapped: AtomicBool::new(false),
            users: Users::new(),
            place: Mutex::new((Weak::new(), None)),
            listing: Mutex::new(None),
            pipe: Once::new(),
            this: this.clone(),
        })?)
    }
    pub(super) fn this(&self) -> Arc<Node> {
        // A method runs on a node that its caller holds.
        self.this.upgrade().expect("a node in use is alive")
    }
    /// The server's number of the file.
    pub(super) fn number(&self) -> u64 {
        self.known.lock().attributes.number
    }
    /// st_ino.
    pub(super) fn inode_number(&self) -> u64 {
        self.known.lock().attributes.inode
    }
    /// The handle that names it.
    pub(super) fn handle(&self) -> Arc<Handle> {
        self.handle.lock().clone()
    }
    pub(super) fn mode_bits(&self) -> u32 {
        self.known.lock().attributes.mode
    }
    pub(super) fn kind_bits(&self) -> u32 {
        self.mode_bits() & S_IFMT
    }
    /// The pages. ENOMEM.
    pub(super) fn cache(&self) -> Result<&Arc<Cache>, Errno> {
        if self.cache.get().is_none() {
            let new = Cache::new()?;
            self.cache.call_once(|| new);
        }
        self.cache.get().ok_or(Errno::NOMEM)
    }
    /// The pages, if there were ever any.
    pub(super) fn cache_if_used(&self) -> Option<&Arc<Cache>> {
        self.cache.get()
    }
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }
    /// The server can't be asked of it, because it has no name, and servers of this kind find files by their names.
    pub(super) fn is_lost(&self) -> bool {
        self.is_gone() && self.session.server.kind().by_name
    }

    /// All of stat(2), as it is known.
    pub(super) fn known_metadata(&self) -> Metadata {
        let attributes = self.known.lock().attributes;
        let is_file = attributes.mode & S_IFMT == S_IFREG;
        Metadata {
            device: self.session.number,
            inode: attributes.inode,
            mode: attributes.mode,
            links: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            rdev: attributes.device,
            size: if is_file { self.size.load(Ordering::Acquire) } else { attributes.size },
            allocated: attributes.blocks.saturating_mul(512),
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
            created: attributes.created,
        }
    }

    /// Asks the server for the attributes if what is known is too old to be believed. Waits; hold no lock.
    pub(super) fn revalidate(&self) -> Result<(), Errno> {
        self.refresh_after(self.session.caching().lifetime_ns())
    }

    /// The same before the file is opened. What was asked for on the way to it counts.
    pub(super) fn revalidate_to_open(&self) -> Result<(), Errno> {
        const MOMENT_NS: u64 = 10_000_000;
        let is_lasting = self.session.caching() == Caching::Always;
        self.refresh_after(if is_lasting { u64::MAX } else { MOMENT_NS })
    }

    fn refresh_after(&self, lifetime_ns: u64) -> Result<(), Errno> {
        let since_ns = self.known.lock().since_ns;
        let is_young = |since_ns: u64| time::now_ns().saturating_sub(since_ns) < lifetime_ns;
        if since_ns.is_some_and(is_young) { Ok(()) } else { self.refresh() }
    }

    /// Asks the server for the attributes. Of a file that is open, the name may be gone: then what is known stays.
    pub(super) fn refresh(&self) -> Result<(), Errno> {
        if self.is_lost() {
            return Ok(());
        }
        match self.session.server.attributes(&self.handle()) {
            Ok(new) if new.number == self.number() => {
                self.take_attributes(&new);
                Ok(())
            }
            // Its name leads to another file by now.
            Ok(_) | Err(Errno::NOENT) => {
                self.lose_name();
                if self.open.lock().files > 0 { Ok(()) } else { Err(Errno::NOENT) }
            }
            Err(error) => Err(error),
        }
    }

    /// The file was found anew, by a handle that names it. False: it is another file, which has got the number of one that is gone.
    pub(super) fn take_anew(&self, handle: &Arc<Handle>, attributes: &Attributes) -> bool {
        let kind = attributes.mode & S_IFMT;
        if self.is_lost() || kind != self.kind_bits() {
            self.session.dropped(self);
            return false;
        }
        let mut own = self.handle.lock();
        // The host may have renamed it.
        let old = if own.absorb(handle) { None } else { Some(core::mem::replace(&mut *own, handle.clone())) };
        drop(own);
        drop(old);
        self.take_attributes(attributes);
        true
    }

    /// Takes what the server says now. If others have written to the file, pages that are kept of it are no longer.
    fn take_attributes(&self, new: &Attributes) {
        let mut known = self.known.lock();
        let before = self.size.load(Ordering::Acquire);
        let is_same = !known.is_written && known.attributes.modified == new.modified && before == new.size;
        let is_regular = new.mode & S_IFMT == S_IFREG;
        known.attributes = *new;
        known.is_written = false;
        known.since_ns = Some(time::now_ns());
        drop(known);
        if !is_regular || is_same {
            return;
        }
        self.size.store(new.size, Ordering::Release);
        if let Some(cache) = self.cache.get() {
            if !cache.is_dirty() {
                self.forget_mappings(0);
            } else if new.size < before {
                self.forget_mappings(new.size);
            }
            cache.forget(new.size.div_ceil(PAGE), u64::MAX);
            cache.zero(new.size, new.size.next_multiple_of(PAGE));
            cache.give_back(0, u64::MAX);
        }
    }

    /// The guest has written `end` bytes or up to there.
    pub(super) fn note_written(&self, end: u64) {
        self.size.fetch_max(end, Ordering::AcqRel);
        let mut known = self.known.lock();
        known.is_written = true;
        let now = Timestamp::now();
        known.attributes.modified = now;
        known.attributes.changed = now;
    }

    /// Whether the guest has written to it since the server was asked: the server knows its times and blocks.
    pub(super) fn is_written(&self) -> bool {
        self.known.lock().is_written
    }

    /// What is known is too old from now on.
    pub(super) fn doubt(&self) {
        self.known.lock().since_ns = None;
    }

    /// Applies a change to what is known.
    pub(super) fn change_known(&self, change: impl FnOnce(&mut Attributes)) {
        change(&mut self.known.lock().attributes);
    }

    /// It was found in a directory.
    pub(super) fn note_place(&self, place: Option<(&Node, &[u8])>) {
        if let Some((directory, name)) = place {
            *self.place.lock() = (directory.this.clone(), try_arc_bytes(name).ok());
        }
    }

    /// The directory that it was found in, if that is known still, and its name there.
    pub(super) fn place(&self) -> (Option<Arc<Node>>, Option<Arc<[u8]>>) {
        let place = self.place.lock();
        (place.0.upgrade(), place.1.clone())
    }

    /// A name of it was removed.
    pub(super) fn unlinked(&self) {
        let mut known = self.known.lock();
        let attributes = &mut known.attributes;
        attributes.links =
            if attributes.mode & S_IFMT == S_IFDIR { 0 } else { attributes.links.saturating_sub(1) };
        attributes.changed = Timestamp::now();
        let is_last = attributes.links == 0;
        drop(known);
        if is_last {
            self.lose_name();
        } else {
            // The handle may have been of that name.
            self.doubt();
        }
    }

    fn lose_name(&self) {
        if !self.is_gone.swap(true, Ordering::AcqRel) {
            self.known.lock().attributes.links = 0;
            self.session.forget(self);
        }
    }

    /// Takes the pages from an offset on from programs that have them mapped.
    pub(super) fn forget_mappings(&self, from: u64) {
        if self.is_mapped.load(Ordering::Relaxed) {
            forget_file_pages(from, |file| {
                let file = file.as_any().downcast_ref::<ShareFile>();
                file.is_some_and(|file| core::ptr::eq(&raw const **file.node(), self))
            });
        }
    }

    /// ftruncate(2). What was cut off reads as zeroes if the file grows again.
    pub(super) fn set_size(&self, size: u64) -> Result<(), Errno> {
        let _writing = self.writing.lock();
        let before = self.size.load(Ordering::Acquire);
        if self.is_lost() {
            self.set_size_of_gone(before, size)?;
        } else {
            let writer = self.open.lock().writer.clone();
            let change = Some((size, writer.as_deref()));
            self.session.server.change(&self.handle(), &Changes::default(), change)?;
        }
        self.size.store(size, Ordering::Release);
        if size < before {
            self.forget_mappings(size);
            if let Some(cache) = self.cache.get() {
                cache.forget(size.div_ceil(PAGE), u64::MAX);
                cache.zero(size, size.next_multiple_of(PAGE));
            }
        }
        self.note_written(size);
        Ok(())
    }

    /// The server cuts files by their names only. Of a file without one, what would be cut off is overwritten with zeroes: no other sees it.
    fn set_size_of_gone(&self, before: u64, size: u64) -> Result<(), Errno> {
        let writer = self.open.lock().writer.clone().ok_or(Errno::NOENT)?;
        let frames = [Frame::zero_page()];
        let mut at = size.min(before);
        while at < before {
            let count = (before - at).min(FRAME_SIZE as u64) as usize;
            at += self.session.server.write(&writer, at, &frames, count, true)?.max(1) as u64;
        }
        Ok(())
    }

    /// Pages are dirty: they will be written. ENOMEM.
    pub(super) fn note_dirty(&self) -> Result<(), Errno> {
        if self.is_listed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let listed = self.session.note_dirty(&self.this());
        if listed.is_err() {
            self.is_listed.store(false, Ordering::SeqCst);
        }
        listed
    }

    /// Writes back the dirty pages of a range. Waits; hold no lock.
    pub(super) fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        match self.cache.get() {
            Some(cache) => cache.write_back(self, start, end),
            None => Ok(()),
        }
    }

    /// The same for the session's list, which it is taken from; pages that stay dirty put it there again.
    pub(super) fn write_back_listed(&self) -> Result<(), Errno> {
        self.is_listed.store(false, Ordering::SeqCst);
        let written = self.write_back(0, u64::MAX);
        if self.cache.get().is_some_and(|cache| cache.is_dirty()) {
            self.note_dirty()?;
        } else {
            self.release();
        }
        written
    }

    /// Lets go of open handles that no open file needs. Takes memory and locks of its own only.
    pub(super) fn release(&self) {
        let mut open = self.open.lock();
        let is_idle = open.files == 0 && !self.is_listed.load(Ordering::SeqCst);
        let gone = if is_idle { (open.reader.take(), open.writer.take()) } else { (None, None) };
        drop(open);
        drop(gone);
    }
}

impl Backing for Node {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn read(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        let reader = self.open.lock().reader.clone().ok_or(Errno::IO)?;
        let mut done = 0;
        let all = frames.len() * FRAME_SIZE;
        while done < all {
            // A message ends within a frame at the end of the file only.
            let first = done / FRAME_SIZE;
            let offset = index * PAGE + done as u64;
            let count = self.session.server.read(&reader, offset, &frames[first..], all - done)?;
            done += count;
            if count == 0 || !done.is_multiple_of(FRAME_SIZE) {
                break;
            }
        }
        for (number, frame) in frames.iter().enumerate() {
            let from = done.saturating_sub(number * FRAME_SIZE).min(FRAME_SIZE);
            frame.zero(from, FRAME_SIZE - from);
        }
        Ok(())
    }

    fn write(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        let writer = self.open.lock().writer.clone().ok_or(Errno::IO)?;
        let start = index * PAGE;
        let left = Backing::size(self).saturating_sub(start);
        let bytes = left.min((frames.len() * FRAME_SIZE) as u64) as usize;
        let mut done = 0;
        while done < bytes {
            let first = done / FRAME_SIZE;
            let count = self.session.server.write(
                &writer,
                start + done as u64,
                &frames[first..],
                bytes - done,
                false,
            )?;
            if count == 0 || done + count < bytes && !count.is_multiple_of(FRAME_SIZE) {
                return Err(Errno::IO);
            }
            done += count;
        }
        self.known.lock().is_written = true;
        Ok(())
    }
}

/// What only the node's user may ask of it.
impl Node {
    /// Another open handle of a file, as it is to be used by pages.
    pub(super) fn offer(&self, handle: &Arc<Handle>, reads: bool, writes: bool) {
        let mut open = self.open.lock();
        open.files += 1;
        if reads && open.reader.is_none() {
            open.reader = Some(handle.clone());
        }
        if writes && open.writer.is_none() {
            open.writer = Some(handle.clone());
        }
    }
}
