//! Block special files: a disk or partition as a file of bytes, by way of the page cache.
//!
//! The first to open it drops what was cached, so that it sees what was done to the disk meanwhile by other ways; the last to
//! close it has written back what is dirty.
use super::registry::{self, Entry};
use crate::cache::Backing;
use crate::cache::advice::Advice;
use crate::cache::pages::{Cache, PAGE, Reading};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, MOST_AROUND, MakeEnding};
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::Stat;
use coracle_core::lock::Mutex;
use coracle_core::mm::user;
use coracle_core::mm::user::Access;
use coracle_core::mm::user_buf::{Pinned, UserBuf};
use coracle_core::task::long_call;
use coracle_devices::block::batch::{After, Cached};
use coracle_devices::block::device::{Limits, SECTOR_BYTES};
use coracle_devices::block::disk::Disk;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::AtomicU32;
use core::any::Any;
use core::ops::Range;
use linux_raw_sys::general::{O_ACCMODE, O_DIRECT, O_DSYNC, O_EXCL, O_RDONLY};
use linux_raw_sys::ioctl::{
    BLKALIGNOFF, BLKBSZGET, BLKDISCARD, BLKDISCARDZEROES, BLKFLSBUF, BLKGETSIZE, BLKGETSIZE64, BLKIOMIN,
    BLKIOOPT, BLKPBSZGET, BLKROGET, BLKROTATIONAL, BLKSSZGET, BLKZEROOUT,
};

/// Bytes moved at a time past the page cache.
const DIRECT_STEP: usize = 128 * 1024;

/// What the open special files of a device share.
#[derive(Default)]
pub(super) struct Special {
    cache: Once<Arc<Cache>>,
    users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    /// Open special files.
    count: usize,
    /// A file system is mounted from it, or a file was opened with O_EXCL.
    is_claimed: bool,
}

impl Backing for Disk {
    fn size(&self) -> u64 {
        Disk::size(self)
    }
    fn read(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        let bytes = within(self, index, frames);
        if let Some(last) = frames.last().filter(|_| !bytes.is_multiple_of(FRAME_SIZE)) {
            let used = bytes % FRAME_SIZE;
            last.zero(used, FRAME_SIZE - used);
        }
        Disk::read(self, index * PAGE, frames, 0..bytes)
    }
    fn write(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        Disk::write(self, index * PAGE, frames, 0..within(self, index, frames))
    }
}

/// Bytes of the pages from `index` on that lie on the disk.
fn within(disk: &Disk, index: u64, frames: &[Frame]) -> usize {
    let left = disk.size().saturating_sub(index * PAGE);
    left.min((frames.len() * FRAME_SIZE) as u64) as usize
}

impl Entry {
    fn cache(&self) -> Result<&Arc<Cache>, Errno> {
        if self.special.cache.get().is_none() {
            let new = Cache::new()?;
            self.special.cache.call_once(|| new);
        }
        self.special.cache.get().ok_or(Errno::NOMEM)
    }

    /// Writes what is cached of the special file to the disk. Waits; hold no lock. EIO, ENOMEM.
    pub fn sync(&self) -> Result<(), Errno> {
        let Some(cache) = self.special.cache.get() else { return Ok(()) };
        cache.write_back(&self.disk, 0, u64::MAX)?;
        self.disk.flush()
    }

    /// Whether something is cached that the disk does not have.
    pub fn is_dirty(&self) -> bool {
        self.special.cache.get().is_some_and(|cache| cache.is_dirty())
    }

    /// Takes the device for a file system, or for one that wants it alone (O_EXCL); what is cached goes to the disk. EBUSY if
    /// another has it.
    pub fn claim(&self) -> Result<(), Errno> {
        let mut users = self.special.users.lock();
        if core::mem::replace(&mut users.is_claimed, true) {
            return Err(Errno::BUSY);
        }
        drop(users);
        let synced = self.sync().map(|()| self.forget());
        if synced.is_err() {
            self.release();
        }
        synced
    }

    /// Ends that.
    pub fn release(&self) {
        self.special.users.lock().is_claimed = false;
    }

    fn forget(&self) {
        if let Some(cache) = self.special.cache.get() {
            cache.forget(0, u64::MAX);
        }
    }
}

/// Writes what is cached of all special files to their disks. Waits; hold no lock.
pub fn sync_all() {
    let mut index = 0;
    while let Some(entry) = registry::nth(index) {
        index += 1;
        if entry.is_dirty()
            && let Err(error) = entry.sync()
        {
            log!("what was written to {} did not get to the disk (error {})", entry.name, error.number());
        }
    }
}

/// The pages of a whole buffer, for a transfer that nothing waits for. `None` if a device can't move it at once. EFAULT, ENOMEM.
pub(crate) fn pin_all(buffer: &mut UserBuf, unit: usize, access: Access) -> Result<Option<Pinned>, Errno> {
    /// Bytes at most, as the pages stay in memory meanwhile.
    const MOST: usize = 16 * 1024 * 1024;
    let len = buffer.remaining();
    if len > MOST {
        return Ok(None);
    }
    Ok(buffer.pin(len, unit, access)?.filter(|pinned| pinned.range.len() == len))
}

impl Cached for Cache {
    fn transferred(&self, written: Option<Range<u64>>) {
        if let Some(Range { start, end }) = written {
            self.forget_stale(start, end);
        }
    }
}

/// An open special file.
pub struct BlockFile {
    entry: &'static Entry,
    place: Place,
    flags: u32,
    is_exclusive: bool,
    /// The errors that were reported, see [`Cache::sample_errors`].
    seen_errors: AtomicU32,
    advice: Advice,
}

/// Opens the block device of that number. ENXIO if there is none, EBUSY with O_EXCL if another has it, ENOMEM.
pub fn open(number: u64, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
    let entry = registry::by_number(number).ok_or(Errno::NXIO)?;
    let is_exclusive = flags & O_EXCL != 0;
    if is_exclusive {
        entry.claim()?;
    }
    let errors = entry.cache().map(|cache| cache.sample_errors());
    let is_first = {
        let mut users = entry.special.users.lock();
        users.count += 1;
        users.count == 1
    };
    let seen_errors = AtomicU32::new(*errors.as_ref().unwrap_or(&0));
    // From here on the dropping of it closes the device.
    let file = BlockFile { entry, place, flags, is_exclusive, seen_errors, advice: Advice::default() };
    errors?;
    if is_first {
        file.entry.sync()?;
        file.entry.forget();
    }
    Ok(try_arc(file)?)
}

impl Drop for BlockFile {
    fn drop(&mut self) {
        let mut users = self.entry.special.users.lock();
        users.count -= 1;
        users.is_claimed &= !self.is_exclusive;
    }
}

impl BlockFile {
    fn disk(&self) -> &'static Disk {
        &self.entry.disk
    }
    fn check_direct(&self, offset: u64, len: usize) -> Result<(), Errno> {
        let block = self.disk().limits().logical_block;
        let whole = offset.is_multiple_of(block.into()) && len.is_multiple_of(block as usize);
        if whole { Ok(()) } else { Err(Errno::INVAL) }
    }
    /// Moves bytes past the page cache (O_DIRECT); `step` moves some at an offset of the disk between frames and the program.
    fn direct(
        &self,
        buffer: &mut UserBuf,
        offset: u64,
        mut step: impl FnMut(&mut UserBuf, u64, &[Frame], usize) -> SysResult,
    ) -> SysResult {
        let len = buffer.remaining().min(self.size().saturating_sub(offset) as usize);
        self.check_direct(offset, buffer.remaining())?;
        let cache = self.entry.cache()?;
        cache.write_back(self.disk(), offset, offset + len as u64)?;
        let frames: Vec<Frame> = (0..len.min(DIRECT_STEP).div_ceil(FRAME_SIZE))
            .map(|_| Frame::alloc().ok_or(Errno::NOMEM))
            .try_collect_ok()?;
        let mut done = 0;
        while done < len {
            match step(buffer, offset + done as u64, &frames, (len - done).min(DIRECT_STEP)) {
                Ok(0) => break,
                Ok(moved) => done += moved,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            if done < len && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok(done)
    }
    /// Bytes of a block that the disk reads and writes.
    fn unit(&self) -> usize {
        self.disk().limits().logical_block as usize
    }
    fn read_direct(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        self.direct(dst, offset, |dst, at, frames, len| {
            if let Some(pinned) = dst.pin(len, self.unit(), Access::Write)? {
                let len = pinned.range.len();
                self.disk().read_into(at, pinned.frames, pinned.range)?;
                dst.skip(len);
                return Ok(len);
            }
            self.disk().read(at, frames, 0..len)?;
            let mut moved = 0;
            for frame in &frames[..len.div_ceil(FRAME_SIZE)] {
                moved += dst.put_frame(frame, 0, (len - moved).min(FRAME_SIZE))?;
            }
            Ok(moved)
        })
    }
    fn write_direct(&self, src: &mut UserBuf, offset: u64) -> SysResult {
        let cache = self.entry.cache()?;
        self.direct(src, offset, |src, at, frames, len| {
            if let Some(pinned) = src.pin(len, self.unit(), Access::Read)? {
                let len = pinned.range.len();
                self.disk().write_from(at, pinned.frames, pinned.range)?;
                src.skip(len);
                cache.forget_stale(at / PAGE, (at + len as u64).div_ceil(PAGE));
                return Ok(len);
            }
            let mut bytes = coracle_fallible::filled(0, FRAME_SIZE)?;
            let mut moved = 0;
            for frame in &frames[..len.div_ceil(FRAME_SIZE)] {
                let part = &mut bytes[..(len - moved).min(FRAME_SIZE)];
                moved += src.take(part)?;
                frame.write(0, part);
            }
            // Bytes of the program that are not there end the call at the last whole block.
            moved -= moved % self.unit();
            self.disk().write(at, frames, 0..moved)?;
            cache.forget(at / PAGE, (at + moved as u64).div_ceil(PAGE));
            Ok(moved)
        })
    }
    /// [`File::begin`], for whole blocks in the program's pages.
    fn begin_direct(
        &self,
        buffer: &mut UserBuf,
        offset: u64,
        access: Access,
        ending: MakeEnding,
    ) -> Result<bool, Errno> {
        let (disk, cache) = (self.disk(), self.entry.cache()?);
        let (len, writes) = (buffer.remaining(), access == Access::Read);
        self.check_direct(offset, len)?;
        let end = offset.checked_add(len as u64);
        let Some(end) = end.filter(|&end| end > offset && end <= self.size()) else {
            return Ok(false);
        };
        let Some(pinned) = pin_all(buffer, self.unit(), access)? else { return Ok(false) };
        cache.write_back(disk, offset, end)?;
        let written = writes.then(|| offset / PAGE..end.div_ceil(PAGE));
        let after = After { cached: cache.clone(), written, ending: ending()? };
        disk.begin(writes, offset, pinned.frames, pinned.range, after).map(|()| true)
    }
    fn write_cached(&self, src: &mut UserBuf, offset: u64) -> SysResult {
        let (cache, disk) = (self.entry.cache()?, self.disk());
        let mut at = offset;
        let mut bytes = Vec::new();
        src.shorten(self.size().saturating_sub(offset).min(usize::MAX as u64) as usize);
        while src.remaining() > 0 {
            let room = (FRAME_SIZE - (at % PAGE) as usize).min(src.remaining());
            let put = bytes.try_resize(room, 0).map_err(Errno::from).and_then(|()| {
                let taken = src.take(&mut bytes)?;
                cache.put(disk, at, &bytes[..taken])?;
                Ok(taken)
            });
            match put {
                Ok(0) => break,
                Ok(taken) => at += taken as u64,
                Err(_) if at > offset => break,
                Err(error) => return Err(error),
            }
            if crate::cache::pool::is_too_dirty() {
                cache.write_back(disk, 0, u64::MAX)?;
            }
            if src.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok((at - offset) as usize)
    }
    /// The range of BLKDISCARD and BLKZEROOUT: offset and length in bytes, of whole blocks on the disk.
    fn range_argument(&self, argument: usize) -> Result<(u64, u64), Errno> {
        if self.flags & O_ACCMODE == O_RDONLY {
            return Err(Errno::BADF);
        }
        let [start, len] = user::read_words::<2>(argument)?;
        let block = u64::from(self.disk().limits().logical_block);
        let fits = start.checked_add(len).is_some_and(|end| end <= self.size());
        if len == 0 || !fits || !start.is_multiple_of(block) || !len.is_multiple_of(block) {
            return Err(Errno::INVAL);
        }
        if self.disk().limits().is_read_only {
            return Err(Errno::PERM);
        }
        let cache = self.entry.cache()?;
        // The pages at the edges have bytes that stay.
        cache.write_back(self.disk(), start, start + len)?;
        cache.forget(start / PAGE, (start + len).div_ceil(PAGE));
        Ok((start, len))
    }
}

impl File for BlockFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        if self.flags & O_DIRECT != 0 {
            return self.read_direct(dst, offset);
        }
        self.entry.cache()?.read(self.disk(), dst, offset, self.advice.reading())
    }
    fn write(&self, src: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        if self.disk().limits().is_read_only {
            return Err(Errno::PERM);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        if offset >= self.size() {
            return Err(Errno::NOSPC);
        }
        let is_direct = self.flags & O_DIRECT != 0;
        let done = if is_direct { self.write_direct(src, offset)? } else { self.write_cached(src, offset)? };
        // O_SYNC has the bit of O_DSYNC.
        if self.flags & O_DSYNC != 0 {
            self.write_back(offset, offset + done as u64)?;
            self.disk().flush()?;
        }
        Ok(done)
    }
    fn begin(
        &self,
        buffer: &mut UserBuf,
        offset: u64,
        access: Access,
        ending: MakeEnding,
    ) -> Result<bool, Errno> {
        let is_refused =
            access == Access::Read && (self.disk().limits().is_read_only || self.flags & O_DSYNC != 0);
        if self.flags & O_DIRECT == 0 || is_refused {
            return Ok(false);
        }
        self.begin_direct(buffer, offset, access, ending)
    }
    fn show_begun(&self) {
        self.disk().device().kick_soon();
    }
    fn read_cached(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        let reading = Reading { may_wait: false, ..self.advice.reading() };
        self.entry.cache()?.read(self.disk(), dst, offset, reading)
    }
    fn advise(&self, advice: u32, start: u64, end: u64) -> Result<(), Errno> {
        self.advice.take(self.entry.cache()?, self.disk(), advice, start, end);
        Ok(())
    }
    fn append(&self, _src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        Err(if self.disk().limits().is_read_only { Errno::PERM } else { Errno::NOSPC })
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self) -> u64 {
        Disk::size(self.disk())
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }
    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        let cache = self.entry.cache()?;
        let written = cache.write_back(self.disk(), 0, u64::MAX);
        let flushed = self.disk().flush();
        cache.check_errors(&self.seen_errors)?;
        written.and(flushed)
    }
    fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        self.entry.cache()?.write_back(self.disk(), start, end)
    }
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        self.entry.cache()?.page(self.disk(), index, for_write)
    }
    fn fault_around(&self) -> usize {
        MOST_AROUND
    }
    fn pages_at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        if let Ok(cache) = self.entry.cache() {
            cache.at_hand(first, pages);
        }
    }
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        let disk = self.disk();
        let &Limits { logical_block, physical_block, is_read_only, .. } = disk.limits();
        let number = |value: u32| user::write_u32(argument, value).map(|()| 0);
        let long = |value: u64| user::write_u64(argument, value).map(|()| 0);
        match command {
            BLKGETSIZE64 => long(disk.size()),
            BLKGETSIZE => long(disk.size() / SECTOR_BYTES),
            BLKSSZGET => number(logical_block),
            BLKPBSZGET | BLKIOMIN => number(physical_block),
            BLKBSZGET => number(PAGE as u32),
            BLKROGET => number(is_read_only.into()),
            BLKIOOPT | BLKALIGNOFF | BLKDISCARDZEROES => number(0),
            BLKROTATIONAL => user::write(argument, &1u16.to_le_bytes()).map(|()| 0),
            BLKFLSBUF => {
                self.sync(true)?;
                self.entry.forget();
                Ok(0)
            }
            BLKDISCARD => {
                let (start, len) = self.range_argument(argument)?;
                disk.discard(start, len).map(|()| 0)
            }
            BLKZEROOUT => {
                let (start, len) = self.range_argument(argument)?;
                disk.write_zeroes(start, len, false).map(|()| 0)
            }
            _ => Err(Errno::NOTTY),
        }
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn linger(&self) {
        // The last one to close it finds its errors in fsync(2) alone.
        if self.entry.special.users.lock().count == 1 {
            let _ = self.entry.sync();
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
