//! Reading and writing past the page cache (open(2), O_DIRECT).
//!
//! Offsets and lengths are whole logical blocks of the disk. What the page cache has of a range goes to the disk before it is read or
//! written there, and is forgotten after it was written. A file that is mapped is written by way of the page cache.
//!
//! Where the program's buffer begins at a logical block's multiple, the disk reads and writes its pages, as far as the file has
//! blocks for them. Such a transfer can also be begun, so that nothing waits for its end (io_submit(2)). As on Linux (open(2)), a program that forks meanwhile sees what was read in one of the two processes. Other buffers,
//! and what gets its blocks by being written, go by way of pages of the kernel.
use super::backing::zero;
use super::file::Ext4File;
use super::node::Node;
use super::runs::Found;
use super::volume::{errno, now};
use crate::block::file::pin_all;
use crate::cache::Backing;
use crate::cache::pages::PAGE;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access;
use coracle_core::fs::file::MakeEnding;
use coracle_core::fs::inode::Inode;
use coracle_core::mm::user::Access;
use coracle_core::mm::user_buf::{Pinned, UserBuf};
use coracle_core::task::long_call;
use coracle_devices::block::batch::{After, Cached};
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::Ordering;
use core::ops::Range;

/// Bytes moved at a time by way of the kernel.
const STEP: usize = 128 * 1024;
/// Bytes whose pages the disk is given at a time.
const PINNED_STEP: usize = 1024 * 1024;

impl Ext4File {
    /// Bytes of a block that the disk reads and writes.
    fn unit(&self) -> usize {
        self.node().volume().entry.disk.limits().logical_block as usize
    }

    /// EINVAL unless offset and length are whole blocks.
    fn check_direct(&self, offset: u64, len: usize) -> Result<(), Errno> {
        if (offset | len as u64).is_multiple_of(self.unit() as u64) { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// pread(2) of a file that was opened with O_DIRECT. EINVAL, EIO, ENOMEM, EFAULT.
    pub(super) fn read_direct(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        self.check_direct(offset, dst.remaining())?;
        let before = dst.done();
        let mut at = offset;
        while dst.remaining() > 0 {
            let read = match self.read_pinned(dst, at) {
                Ok(0) => self.read_copied(dst, at),
                read => read,
            };
            match read {
                Ok(0) => break,
                Ok(done) => at += done as u64,
                Err(_) if dst.done() > before => break,
                Err(error) => return Err(error),
            }
            if dst.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok(dst.done() - before)
    }

    /// Reads whole blocks into the program's pages. 0: there are none, or they can't be read so.
    fn read_pinned(&self, dst: &mut UserBuf, at: u64) -> SysResult {
        let node = &**self.node();
        let left = Backing::size(node).saturating_sub(at).min(PINNED_STEP as u64) as usize;
        let Some(pinned) = dst.pin(left, self.unit(), Access::Write)? else { return Ok(0) };
        let len = pinned.range.len();
        node.write_back(at, at + len as u64)?;
        let transfer = node.runs.transfer();
        // The file may have become shorter meanwhile.
        if Backing::size(node) < at + len as u64 || !node.read_blocks(at, pinned)? {
            return Ok(0);
        }
        drop(transfer);
        dst.skip(len);
        Ok(len)
    }

    /// The same by way of the kernel's pages, for any buffer, and up to the end of the file. 0: there it is.
    fn read_copied(&self, dst: &mut UserBuf, at: u64) -> SysResult {
        let node = &**self.node();
        let in_page = (at % PAGE) as usize;
        let wanted = dst.remaining().min(STEP);
        let pages = (in_page + wanted).div_ceil(FRAME_SIZE);
        let frames = (0..pages).map(|_| Frame::alloc().ok_or(Errno::NOMEM)).try_collect_ok()?;
        let frames: &alloc::vec::Vec<Frame> = &frames;
        let writing = node.writing.lock();
        let len = Backing::size(node).saturating_sub(at).min(wanted as u64) as usize;
        node.write_back(at, at + len as u64)?;
        Backing::read(node, at / PAGE, &frames[..(in_page + len).div_ceil(FRAME_SIZE)])?;
        // The program's page may be one of this file's.
        drop(writing);
        let mut moved = 0;
        while moved < len {
            let from = in_page + moved;
            let part = (FRAME_SIZE - from % FRAME_SIZE).min(len - moved);
            match dst.put_frame(&frames[from / FRAME_SIZE], from % FRAME_SIZE, part) {
                Ok(put) if put == part => moved += put,
                Ok(put) => return Ok(moved + put),
                Err(error) if moved == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(moved)
    }

    /// Writes at `offset`, or at the end; returns the bytes written and where they end. EINVAL, EIO, ENOSPC, ENOMEM, EFAULT.
    pub(super) fn write_direct(&self, src: &mut UserBuf, offset: Option<u64>) -> Result<(usize, u64), Errno> {
        let node = &**self.node();
        let start = offset.unwrap_or_else(|| Backing::size(node));
        self.check_direct(start, src.remaining())?;
        if node.is_mapped.load(Ordering::Relaxed) {
            let (done, end) = self.put(src, offset)?;
            node.write_back(end - done as u64, end)?;
            return Ok((done, end));
        }
        let mut at = start;
        while src.remaining() > 0 {
            let written = match self.write_pinned(src, at) {
                Ok(0) => self.write_copied(src, at),
                written => written,
            };
            match written {
                Ok(0) => break,
                Ok(done) => at += done as u64,
                Err(_) if at > start => break,
                Err(error) => return Err(error),
            }
            if src.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok(((at - start) as usize, at))
    }

    /// Writes the program's pages over blocks that the file has. 0: it lacks some, or the pages can't be written so.
    fn write_pinned(&self, src: &mut UserBuf, at: u64) -> SysResult {
        let node = &**self.node();
        let left = node.in_place_until().saturating_sub(at).min(PINNED_STEP as u64) as usize;
        let Some(pinned) = src.pin(left, self.unit(), Access::Read)? else { return Ok(0) };
        let end = at + pinned.range.len() as u64;
        let writing = node.writing.lock();
        node.write_back(at, end)?;
        let transfer = node.runs.transfer();
        drop(writing);
        let len = pinned.range.len();
        if node.in_place_until() < end || !node.write_blocks(at, pinned)? {
            return Ok(0);
        }
        drop(transfer);
        node.forget_stale(at / PAGE, end.div_ceil(PAGE));
        node.note_new_times()?;
        src.skip(len);
        Ok(len)
    }

    fn write_copied(&self, src: &mut UserBuf, at: u64) -> SysResult {
        let node = &**self.node();
        let mut bytes = filled(0, src.remaining().min(STEP))?;
        let taken = src.take(&mut bytes)?;
        // Bytes of the program that are not there end the call at the last whole block.
        let len = taken - taken % self.unit();
        let end = at + len as u64;
        let _writing = node.writing.lock();
        node.write_back(at, end)?;
        let mut fs = node.volume().change();
        let done = fs.write(node.number(), at, &bytes[..len], now()).map_err(errno)?;
        let blocks = fs.attributes(node.number()).map_err(errno)?.blocks;
        drop(fs);
        let end = at + done as u64;
        node.cache()?.forget(at / PAGE, end.div_ceil(PAGE));
        node.attributes.lock().blocks = blocks;
        node.volume_size.fetch_max(end, Ordering::AcqRel);
        node.size.fetch_max(end, Ordering::AcqRel);
        node.touch();
        if done < len { Err(Errno::NOSPC) } else { Ok(done) }
    }
}

impl Cached for Node {
    fn transferred(&self, written: Option<Range<u64>>) {
        self.runs.end_transfer();
        if let Some(Range { start, end }) = written {
            self.forget_stale(start, end);
        }
    }
}

impl Ext4File {
    /// [`File::begin`](coracle_core::fs::file::File::begin): where all bytes lie together on the disk, and need nothing but it.
    pub(super) fn begin_direct(
        &self,
        buffer: &mut UserBuf,
        at: u64,
        access: Access,
        ending: MakeEnding,
    ) -> Result<bool, Errno> {
        let node = self.node();
        let (len, writes) = (buffer.remaining(), access == Access::Read);
        self.check_direct(at, len)?;
        let Some(end) = at.checked_add(len as u64).filter(|&end| end > at) else {
            return Ok(false);
        };
        let has_all = || {
            let until = if writes { node.in_place_until() } else { Backing::size(&**node) };
            end <= until && !(writes && node.is_mapped.load(Ordering::Relaxed))
        };
        if !has_all() {
            return Ok(false);
        }
        let Some(pinned) = pin_all(buffer, self.unit(), access)? else { return Ok(false) };
        let writing = writes.then(|| node.writing.lock());
        node.write_back(at, end)?;
        let transfer = node.runs.transfer();
        drop(writing);
        let place = match node.find_place(at)? {
            Some(Found { place: Some(place), len: there }) if there >= len as u64 && has_all() => place,
            _ => return Ok(false),
        };
        let written = writes.then(|| at / PAGE..end.div_ceil(PAGE));
        if writes {
            access::written(&**node, node.mode());
            node.note_new_times()?;
        }
        let after = After { cached: node.clone(), written, ending: ending()? };
        node.volume().entry.disk.begin(writes, place, pinned.frames, pinned.range, after)?;
        transfer.goes_on();
        Ok(true)
    }
}

impl Node {
    /// Reads bytes that all lie in the file; a transfer goes on. False: they lie in the inode.
    fn read_blocks(&self, at: u64, to: Pinned) -> Result<bool, Errno> {
        let Pinned { frames, range } = to;
        let mut done = 0;
        while done < range.len() {
            let Some(Found { place, len }) = self.find_place(at + done as u64)? else { return Ok(false) };
            let len = len.min((range.len() - done) as u64) as usize;
            let part = range.start + done..range.start + done + len;
            match place {
                Some(place) if len == range.len() => {
                    self.volume().entry.disk.read_into(place, frames, part)?;
                    return Ok(true);
                }
                Some(place) => self.volume().entry.disk.read(place, &frames, part)?,
                None => zero(&frames, part.start, part.end),
            }
            done += len;
        }
        Ok(true)
    }

    /// Writes bytes over blocks that hold others; a transfer goes on. False: the file does not have them all, and nothing was written.
    pub(super) fn write_blocks(&self, at: u64, from: Pinned) -> Result<bool, Errno> {
        let Pinned { frames, range } = from;
        let end = at + range.len() as u64;
        let mut next = at;
        let mut first = None;
        while next < end {
            match self.find_place(next)? {
                Some(Found { place: Some(place), len }) => {
                    first.get_or_insert((place, len));
                    next += len;
                }
                _ => return Ok(false),
            }
        }
        let disk = &self.volume().entry.disk;
        if let Some((place, _)) = first.filter(|&(_, len)| len >= range.len() as u64) {
            return disk.write_from(place, frames, range).map(|()| true);
        }
        let mut done = 0;
        while let Some(Found { place: Some(place), len }) = self.find_place(at + done as u64)? {
            let len = len.min((range.len() - done) as u64) as usize;
            disk.write(place, &frames, range.start + done..range.start + done + len)?;
            done += len;
            if done == range.len() {
                break;
            }
        }
        Ok(true)
    }
}
