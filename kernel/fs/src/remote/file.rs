//! Open regular files of a share.
use super::caching::Caching;
use super::carrier::read_frames;
use super::node::Node;
use super::server::{Handle, MAX_SIZE};
use crate::cache::advice::Advice;
use crate::cache::pages::{PAGE, Reading};
use crate::cache::{Backing, pool};
use crate::users;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, MOST_AROUND};
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::{MountFlags, Place, WriteAccess};
use coracle_core::fs::stat::Stat;
use coracle_core::ipc::poll::Events;
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use coracle_wire::open;
use core::any::Any;
use linux_raw_sys::general::{
    FALLOC_FL_KEEP_SIZE, O_ACCMODE, O_DIRECT, O_DSYNC, O_RDONLY, O_RDWR, O_SYNC, O_WRONLY,
};

/// An open regular file.
pub struct ShareFile {
    node: Arc<Node>,
    place: Place,
    flags: u32,
    /// The same on the server, until it is closed.
    handle: Mutex<Option<Arc<Handle>>>,
    /// One more, by which the server appends, once something is to be appended.
    appender: Mutex<Option<Arc<Handle>>>,
    /// Its mount stays writable meanwhile.
    _access: Option<WriteAccess>,
    /// The errors that were reported, see [`Cache::sample_errors`](crate::cache::pages::Cache::sample_errors).
    seen_errors: AtomicU32,
    advice: Advice,
}

impl Drop for ShareFile {
    fn drop(&mut self) {
        self.node.users.end(self.writes());
        if self.let_go() {
            // The server is told by the thread that looks after disks.
            pool::DIRTIED.notify(Events::IN);
        }
    }
}

impl ShareFile {
    /// A file that is open on the server by `handle`. ETXTBSY if it is to be written and is being executed; EROFS, ENOMEM.
    pub fn new(node: Arc<Node>, place: Place, flags: u32, handle: Arc<Handle>) -> Result<Self, Errno> {
        let (_, reads, writes) = Self::server_flags(flags);
        let access = if writes { Some(WriteAccess::new(&place.path.mount)?) } else { None };
        let seen_errors = AtomicU32::new(node.cache()?.sample_errors());
        node.users.begin(writes)?;
        node.offer(&handle, reads, writes);
        let (handle, appender) = (Mutex::new(Some(handle)), Mutex::new(None));
        let advice = Advice::default();
        Ok(ShareFile { node, place, flags, handle, appender, _access: access, seen_errors, advice })
    }

    /// The server's flags for those of open(2), and whether the file is read and written.
    pub fn server_flags(flags: u32) -> (u32, bool, bool) {
        let (access, reads, writes) = match flags & O_ACCMODE {
            O_RDONLY => (open::READ, true, false),
            O_WRONLY => (open::WRITE, false, true),
            O_RDWR => (open::READ_WRITE, true, true),
            // Neither, but for ioctl(2).
            _ => (open::READ, false, false),
        };
        let bit = |flag: u32, bits: u32| if flags & flag == flag { bits } else { 0 };
        let rest = bit(O_DSYNC, open::DATA_SYNC) | bit(O_SYNC, open::SYNC);
        (access | rest, reads, writes)
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }
    fn writes(&self) -> bool {
        self.flags & O_ACCMODE != O_RDONLY
    }
    fn handle(&self) -> Result<Arc<Handle>, Errno> {
        self.handle.lock().clone().ok_or(Errno::BADF)
    }

    /// The handle by which the server appends, wherever the end of the file is by then. None of a file that the server can't open again.
    fn appender(&self) -> Option<Arc<Handle>> {
        let known = self.appender.lock().clone();
        if known.is_some() || self.node.is_lost() {
            return known;
        }
        let (flags, ..) = Self::server_flags(self.flags);
        let new = self.node.session.server.open(&self.node.handle(), flags | open::APPEND).ok()?;
        Some(self.appender.lock().get_or_insert(new).clone())
    }

    /// Bytes go between the program and the server, past the pages.
    fn is_direct(&self) -> bool {
        let is_uncached = self.node.session.caching() == Caching::None;
        self.flags & O_DIRECT != 0 || is_uncached && !self.node.is_mapped.load(Ordering::Relaxed)
    }

    /// The file is closed, once; false if it was before.
    fn let_go(&self) -> bool {
        let Some(handle) = self.handle.lock().take() else { return false };
        let appender = self.appender.lock().take();
        self.node.open.lock().files -= 1;
        self.node.release();
        drop((handle, appender));
        true
    }

    /// Frames for so many bytes of a message.
    fn frames(&self, bytes: usize) -> Result<Vec<Frame>, Errno> {
        let count = bytes.min(self.node.session.server.carrier().data_bytes()).div_ceil(FRAME_SIZE);
        (0..count).map(|_| pool::frame()).try_collect_ok()
    }

    fn read_direct(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        let (handle, before) = (self.handle()?, dst.done());
        let end = offset.saturating_add(dst.remaining() as u64);
        self.node.write_back(offset, end)?;
        let mut at = offset;
        while dst.remaining() > 0 {
            let read = self.frames(dst.remaining()).and_then(|frames| {
                let wanted = dst.remaining().min(frames.len() * FRAME_SIZE);
                let got = self.node.session.server.read(&handle, at, &frames, wanted)?;
                let mut done = 0;
                for frame in &frames {
                    let part = (got - done).min(FRAME_SIZE);
                    let put = dst.put_frame(frame, 0, part)?;
                    done += put;
                    if done == got || put < part {
                        break;
                    }
                }
                at += done as u64;
                Ok(done == wanted)
            });
            match read {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) if dst.done() > before => break,
                Err(error) => return Err(error),
            }
            if dst.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok(dst.done() - before)
    }

    /// Writes at `offset`, or at the end; returns the bytes written and where they end.
    fn put(&self, src: &mut UserBuf, offset: Option<u64>) -> Result<(usize, u64), Errno> {
        let appender = if offset.is_none() { self.appender() } else { None };
        let appends = appender.is_some();
        let handle = appender.map_or_else(|| self.handle(), Ok)?;
        let mut at = offset.unwrap_or(0);
        if at.checked_add(src.remaining() as u64).is_none_or(|end| end > MAX_SIZE) {
            return Err(Errno::FBIG);
        }
        let mut done = 0;
        let mut bytes = Vec::new();
        while src.remaining() > 0 {
            let put = self.frames(src.remaining()).and_then(|frames| {
                let mut taken = 0;
                for frame in &frames {
                    bytes.try_resize(src.remaining().min(FRAME_SIZE), 0)?;
                    // The program's page may be one of this file's, so it is fetched with nothing held.
                    let part = src.take(&mut bytes)?;
                    frame.write(0, &bytes[..part]);
                    taken += part;
                    if part < FRAME_SIZE {
                        break;
                    }
                }
                let (written, end) =
                    self.put_frames(&handle, appends, (&frames, taken), offset.map(|_| at))?;
                at = end;
                Ok((written, written == taken))
            });
            match put {
                Ok((written, is_all)) => {
                    done += written;
                    if !is_all || written == 0 {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            if src.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok((done, at))
    }

    /// Has the server write what lies in frames, and the pages that are there have it, too. Returns how much, and where that ends. `appends`:
    /// the server chooses the place.
    fn put_frames(
        &self,
        handle: &Handle,
        appends: bool,
        (frames, count): (&[Frame], usize),
        offset: Option<u64>,
    ) -> Result<(usize, u64), Errno> {
        let node = &*self.node;
        let _writing = node.writing.lock();
        let at = match offset {
            Some(at) => at,
            None => {
                node.refresh()?;
                Backing::size(node)
            }
        };
        let mut done = 0;
        while done < count {
            let first = done / FRAME_SIZE;
            let written =
                node.session.server.write(handle, at + done as u64, &frames[first..], count - done, true);
            match written {
                Ok(written) => done += written,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            if !done.is_multiple_of(FRAME_SIZE) || written == Ok(0) {
                break;
            }
        }
        let mut at = at;
        if appends {
            // The end may have been another by then.
            node.refresh()?;
            at = Backing::size(node).saturating_sub(done as u64);
        }
        let end = at + done as u64;
        if let Some(cache) = node.cache_if_used() {
            cache.renew(at, done, &|from, out| read_frames(frames, from, out))?;
        }
        node.note_written(end);
        Ok((done, end))
    }
}

impl File for ShareFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        if self.is_direct() {
            return self.read_direct(dst, offset);
        }
        self.node.revalidate()?;
        self.node.cache()?.read(&*self.node, dst, offset, self.advice.reading())
    }
    fn read_cached(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        if self.is_direct() {
            return Err(Errno::AGAIN);
        }
        let reading = Reading { may_wait: false, ..self.advice.reading() };
        self.node.cache()?.read(&*self.node, dst, offset, reading)
    }
    fn advise(&self, advice: u32, start: u64, end: u64) -> Result<(), Errno> {
        self.advice.take(self.node.cache()?, &*self.node, advice, start, end);
        Ok(())
    }
    fn write(&self, src: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        self.put(src, Some(offset)).map(|(done, _)| done)
    }
    fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        self.put(src, None)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self) -> u64 {
        // What is known is better than nothing.
        let _ = self.node.revalidate();
        Backing::size(&*self.node)
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.node.set_size(size)
    }
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let node = &*self.node;
        let moves = mode & !FALLOC_FL_KEEP_SIZE != 0;
        if moves {
            // What mappings have written is not to come back over what is freed or moved.
            node.forget_mappings(offset - offset % PAGE);
            node.write_back(0, u64::MAX)?;
        }
        let _writing = node.writing.lock();
        node.session.server.allocate(&*self.handle()?, mode, offset, len)?;
        if let Some(cache) = node.cache_if_used().filter(|_| moves) {
            cache.forget(offset / PAGE, u64::MAX);
        }
        node.note_written(0);
        node.refresh()
    }
    fn seek_data(&self, offset: u64, hole: bool) -> Result<u64, Errno> {
        self.node.write_back(0, u64::MAX)?;
        match self.node.session.server.seek_data(&*self.handle()?, offset, hole) {
            // All of it is data then, with a hole at its end.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let size = self.size();
                if offset >= size { Err(Errno::NXIO) } else { Ok(if hole { size } else { offset }) }
            }
            found => found,
        }
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let written = self.node.write_back(0, u64::MAX);
        let synced = self.node.session.server.sync(&*self.handle()?, data_only);
        self.node.cache()?.check_errors(&self.seen_errors)?;
        written.and(synced)
    }
    fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        self.node.write_back(start, end)
    }
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        let node = &*self.node;
        node.is_mapped.store(true, Ordering::Relaxed);
        if for_write {
            node.note_dirty()?;
        }
        node.cache()?.page(node, index, for_write)
    }
    fn fault_around(&self) -> usize {
        MOST_AROUND
    }
    fn pages_at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        if let Ok(cache) = self.node.cache() {
            cache.at_hand(first, pages);
        }
    }
    fn may_execute(&self) -> bool {
        !self.place.path.mount.flags().contains(MountFlags::NO_EXEC)
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn execute(&self) -> Result<Option<Arc<dyn Any + Send + Sync>>, Errno> {
        users::execute(&self.node).map(Some)
    }
    fn closed(&self) {
        // An error is counted, and left to fsync(2).
        let _ = self.node.write_back(0, u64::MAX);
        if !self.node.is_mapped.load(Ordering::Relaxed) {
            self.let_go();
            self.node.session.settle();
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
