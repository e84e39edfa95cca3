//! Open regular files of a volume.
use super::node::Node;
use super::volume::{errno, now};
use crate::cache::advice::Advice;
use crate::cache::pages::{PAGE, Reading};
use crate::cache::{Backing, pool};
use crate::users;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access;
use coracle_core::fs::file::{File, MOST_AROUND, MakeEnding};
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::{MountFlags, Place, WriteAccess};
use coracle_core::fs::stat::Stat;
use coracle_core::mm::user::Access;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_ext4::Allocation;
use coracle_hal::frame::Frame;
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use core::any::Any;
use linux_raw_sys::general::{
    FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE, O_ACCMODE, O_DIRECT, O_DSYNC, O_RDONLY, O_SYNC,
};

/// Largest file: positions are signed 64-bit numbers, and the volume has bounds of its own.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Bytes of a program that are fetched before a file is locked to be written.
const FETCHED: usize = 256 * 1024;

/// An open regular file.
pub struct Ext4File {
    node: Arc<Node>,
    place: Place,
    flags: u32,
    /// Its mount stays writable meanwhile.
    _access: Option<WriteAccess>,
    /// The errors that were reported, see [`Cache::sample_errors`](crate::cache::pages::Cache::sample_errors).
    seen_errors: AtomicU32,
    advice: Advice,
}

impl Drop for Ext4File {
    fn drop(&mut self) {
        self.node.users.end(self.writes());
    }
}

impl Ext4File {
    /// Opens a file. ETXTBSY if it is to be written and is being executed; EROFS, ENOMEM.
    pub fn new(node: Arc<Node>, place: Place, flags: u32) -> Result<Self, Errno> {
        let writes = flags & O_ACCMODE != O_RDONLY;
        let access = if writes { Some(WriteAccess::new(&place.path.mount)?) } else { None };
        let seen_errors = AtomicU32::new(node.cache()?.sample_errors());
        node.users.begin(writes)?;
        Ok(Ext4File { node, place, flags, _access: access, seen_errors, advice: Advice::default() })
    }
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }
    fn writes(&self) -> bool {
        self.flags & O_ACCMODE != O_RDONLY
    }

    /// Writes at `offset`, or at the end; returns the bytes written and where they end. No other thread writes to the file between
    /// two of the bytes, unless pages of the program vanish meanwhile.
    pub(super) fn put(&self, src: &mut UserBuf, offset: Option<u64>) -> Result<(usize, u64), Errno> {
        let node = &*self.node;
        let cache = node.cache()?;
        let start = offset.unwrap_or_else(|| Backing::size(node));
        if start.checked_add(src.remaining() as u64).is_none_or(|end| end > MAX_SIZE) {
            return Err(Errno::FBIG);
        }
        let (mut at, mut done) = (start, 0);
        let mut bytes = Vec::new();
        let mut writing = None;
        while src.remaining() > 0 {
            let put = match &writing {
                // The program's pages may be this file's, so they are fetched with nothing held.
                None => src.fault_in(FETCHED).map(|()| {
                    writing = Some(node.writing.lock());
                    if offset.is_none() {
                        at = Backing::size(node);
                    }
                    None
                }),
                Some(_) => node.take_part(cache, at, src, &mut bytes).map(Some),
            };
            let put = match put {
                // A copy stops before the last bytes ahead of a page that isn't there.
                Ok(Some(0)) => {
                    writing = None;
                    src.resolve().map(|()| None)
                }
                put => put,
            };
            match put {
                Ok(None) => continue,
                Ok(Some(taken)) => {
                    at += taken as u64;
                    done += taken;
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            if pool::is_too_dirty() {
                node.write_back(0, u64::MAX)?;
            }
            if src.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok((done, at))
    }

    /// The same by the way that the file was opened for, and durable if it was opened so.
    fn put_as_opened(&self, src: &mut UserBuf, offset: Option<u64>) -> Result<(usize, u64), Errno> {
        let is_direct = self.flags & O_DIRECT != 0;
        let put = if is_direct { self.write_direct(src, offset) } else { self.put(src, offset) }?;
        if put.0 > 0 {
            access::written(&*self.node, self.node.mode());
        }
        if put.0 > 0 && self.flags & O_DSYNC != 0 {
            self.node.sync_file(self.flags & O_SYNC != O_SYNC)?;
        }
        Ok(put)
    }

    /// Takes a range out of the file, or puts one in (fallocate(2)): what lies behind its beginning has other places then.
    fn shift(&self, collapses: bool, offset: u64, len: u64) -> Result<(), Errno> {
        let node = &*self.node;
        let _writing = node.writing.lock();
        node.write_back(0, u64::MAX)?;
        node.forget_mappings(offset);
        // Written between the two by a mapping that was there.
        node.write_back(offset, u64::MAX)?;
        node.cache()?.forget(offset / PAGE, u64::MAX);
        let taking = node.runs.taking();
        let mut fs = node.volume().change();
        let shifted = match collapses {
            true => fs.collapse(node.number(), offset, len, now()),
            false => fs.insert(node.number(), offset, len, now()),
        };
        let size = fs.attributes(node.number()).map_err(errno)?.size;
        drop(fs);
        drop(taking);
        // A reader may have found what was there before.
        node.cache()?.forget(offset / PAGE, u64::MAX);
        node.lose_blocks(offset);
        shifted.map_err(errno)?;
        node.size.store(size, Ordering::Release);
        node.refresh()
    }
}

impl File for Ext4File {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        if self.flags & O_DIRECT != 0 {
            return self.read_direct(dst, offset);
        }
        self.node.cache()?.read(&*self.node, dst, offset, self.advice.reading())
    }
    fn read_cached(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        if self.flags & O_DIRECT != 0 {
            return Err(Errno::AGAIN);
        }
        let reading = Reading { may_wait: false, ..self.advice.reading() };
        self.node.cache()?.read(&*self.node, dst, offset, reading)
    }
    fn cached(&self, first: u64, last: u64) -> [u64; 3] {
        self.node.cache().map_or([0; 3], |cache| cache.count(first, last))
    }
    fn advise(&self, advice: u32, start: u64, end: u64) -> Result<(), Errno> {
        self.advice.take(self.node.cache()?, &*self.node, advice, start, end);
        Ok(())
    }
    fn write(&self, src: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        self.put_as_opened(src, Some(offset)).map(|(done, _)| done)
    }
    fn begin(
        &self,
        buffer: &mut UserBuf,
        offset: u64,
        access: Access,
        ending: MakeEnding,
    ) -> Result<bool, Errno> {
        // What must be durable when it is done waits for more than one transfer.
        let is_synced = access == Access::Read && self.flags & O_DSYNC != 0;
        if self.flags & O_DIRECT == 0 || is_synced {
            return Ok(false);
        }
        self.begin_direct(buffer, offset, access, ending)
    }
    fn show_begun(&self) {
        self.node.volume().entry.disk.device().kick_soon();
    }
    fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        self.put_as_opened(src, None)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self) -> u64 {
        Backing::size(&*self.node)
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.node.set_size(size)?;
        access::written(&*self.node, self.node.mode());
        Ok(())
    }
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let node = &*self.node;
        let end = offset.checked_add(len).filter(|&end| end <= MAX_SIZE).ok_or(Errno::FBIG)?;
        if matches!(mode, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE) {
            return self.shift(mode == FALLOC_FL_COLLAPSE_RANGE, offset, len);
        }
        let keep = mode & FALLOC_FL_KEEP_SIZE != 0;
        let what = match mode & !FALLOC_FL_KEEP_SIZE {
            0 if keep => Allocation::AllocateKeepSize,
            0 => Allocation::Allocate,
            FALLOC_FL_PUNCH_HOLE if keep => Allocation::PunchHole,
            FALLOC_FL_ZERO_RANGE if keep => Allocation::ZeroKeepSize,
            FALLOC_FL_ZERO_RANGE => Allocation::Zero,
            _ => return Err(Errno::OPNOTSUPP),
        };
        let _writing = node.writing.lock();
        // The volume's size is not behind that of the pages then.
        node.write_back(0, u64::MAX)?;
        let takes = matches!(what, Allocation::PunchHole | Allocation::Zero | Allocation::ZeroKeepSize);
        if takes {
            node.cache()?.zero(offset, end.min(Backing::size(node)));
        }
        let taking = takes.then(|| node.runs.taking());
        let allocated = node.volume().change().allocate(node.number(), offset, len, what, now());
        if takes {
            node.lose_blocks(offset);
        }
        drop(taking);
        allocated.map_err(errno)?;
        if !keep {
            node.size.fetch_max(end, Ordering::AcqRel);
        }
        node.refresh()
    }
    fn seek_data(&self, offset: u64, hole: bool) -> Result<u64, Errno> {
        let node = &*self.node;
        let size = Backing::size(node);
        if offset >= size {
            return Err(Errno::NXIO);
        }
        node.write_back(0, u64::MAX)?;
        let mut at = offset;
        while at < size {
            let mut fs = node.volume().read();
            let block_bytes = u64::from(fs.block_bytes());
            let run = fs.map(node.number(), (at / block_bytes) as u32, u32::MAX).map_err(errno)?;
            drop(fs);
            if (run.block.is_none() || run.unwritten) == hole {
                return Ok(at);
            }
            at = (at / block_bytes + u64::from(run.count.max(1))).saturating_mul(block_bytes);
            long_call::pause_unless_killed()?;
        }
        if hole { Ok(size) } else { Err(Errno::NXIO) }
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let synced = self.node.sync_file(data_only);
        self.node.cache()?.check_errors(&self.seen_errors)?;
        synced
    }
    fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        self.node.write_back(start, end)
    }
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        let node = &*self.node;
        node.is_mapped.store(true, Ordering::Relaxed);
        if for_write {
            let end = ((index + 1) * PAGE).min(Backing::size(node));
            node.take_blocks(index * PAGE, end)?;
            node.note_dirty()?;
            node.touch();
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
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        self.extents_ioctl(command, argument)
    }
    fn may_execute(&self) -> bool {
        !self.place.path.mount.flags().contains(MountFlags::NO_EXEC)
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn openers(&self) -> Option<[u32; 2]> {
        Some(self.node.users.openers())
    }
    fn execute(&self) -> Result<Option<Arc<dyn Any + Send + Sync>>, Errno> {
        users::execute(&self.node).map(Some)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
