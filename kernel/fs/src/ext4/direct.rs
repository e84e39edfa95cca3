//! Reading and writing past the page cache (open(2), O_DIRECT).
//!
//! Offsets and lengths are whole logical blocks of the disk. What the page cache has of a range goes to the disk before it is read or
//! written there, and is forgotten after it was written. A file that is mapped is written by way of the page cache.
use super::file::Ext4File;
use super::volume::{errno, now};
use crate::cache::Backing;
use crate::cache::pages::PAGE;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use core::sync::atomic::Ordering;

/// Bytes moved at a time.
const STEP: usize = 128 * 1024;

impl Ext4File {
    /// EINVAL unless offset and length are whole blocks.
    fn check_direct(&self, offset: u64, len: usize) -> Result<(), Errno> {
        let block = u64::from(self.node().volume().entry.disk.limits().logical_block);
        if (offset | len as u64).is_multiple_of(block) { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// pread(2) of a file that was opened with O_DIRECT. EINVAL, EIO, ENOMEM, EFAULT.
    pub(super) fn read_direct(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        self.check_direct(offset, dst.remaining())?;
        let node = &**self.node();
        let pages = dst.remaining().min(STEP).div_ceil(FRAME_SIZE) + 1;
        let frames = (0..pages).map(|_| Frame::alloc().ok_or(Errno::NOMEM)).try_collect_ok()?;
        let frames: &alloc::vec::Vec<Frame> = &frames;
        let mut bytes = filled(0, FRAME_SIZE)?;
        let before = dst.done();
        let mut at = offset;
        while dst.remaining() > 0 {
            let in_page = (at % PAGE) as usize;
            let writing = node.writing.lock();
            let left = Backing::size(node).saturating_sub(at).min(usize::MAX as u64) as usize;
            let len = dst.remaining().min(left).min(STEP);
            node.write_back(at, at + len as u64)?;
            let used = &frames[..(in_page + len).div_ceil(FRAME_SIZE)];
            Backing::read(node, at / PAGE, used)?;
            // The program's page may be one of this file's.
            drop(writing);
            let mut moved = 0;
            while moved < len {
                let from = in_page + moved;
                let part = &mut bytes[..(FRAME_SIZE - from % FRAME_SIZE).min(len - moved)];
                frames[from / FRAME_SIZE].read(from % FRAME_SIZE, part);
                match dst.put(part) {
                    Ok(put) if put == part.len() => moved += put,
                    Err(error) if dst.done() == before => return Err(error),
                    _ => return Ok(dst.done() - before),
                }
            }
            at += len as u64;
            if len == 0 || dst.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok(dst.done() - before)
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
        let mut bytes = filled(0, src.remaining().min(STEP))?;
        let mut at = start;
        while src.remaining() > 0 {
            let written = self.write_step(src, at, &mut bytes);
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

    fn write_step(&self, src: &mut UserBuf, at: u64, bytes: &mut [u8]) -> SysResult {
        let node = &**self.node();
        let taken = src.take(bytes)?;
        // Bytes of the program that are not there end the call at the last whole block.
        let block = self.node().volume().entry.disk.limits().logical_block as usize;
        let len = taken - taken % block;
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
        node.size.fetch_max(end, Ordering::AcqRel);
        node.touch();
        if done < len { Err(Errno::NOSPC) } else { Ok(done) }
    }
}
