//! A disk as the crates see it that know no kernel: bytes of ordinary memory go in and out, by way of frames.
use super::disk::Disk;
use alloc::vec::Vec;
use coracle_block::Error;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};

/// The disk.
pub struct Whole {
    /// The kernel's.
    pub disk: &'static Disk,
    /// When a read is given up (nanoseconds since boot); `None`: never.
    pub deadline_ns: Option<u64>,
}

/// Bytes that are moved at a time.
const STEP: usize = 128 * 1024;

/// Frames for so many bytes.
fn frames(bytes: usize) -> Result<Vec<Frame>, Error> {
    let count = bytes.div_ceil(FRAME_SIZE);
    (0..count).map(|_| Frame::alloc().ok_or(Error::NoMemory)).try_collect_ok()
}

impl coracle_block::Disk for Whole {
    fn sector_bytes(&self) -> u32 {
        self.disk.limits().logical_block
    }
    fn size_bytes(&self) -> u64 {
        self.disk.size()
    }
    fn read_only(&self) -> bool {
        self.disk.limits().is_read_only
    }
    fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), Error> {
        let frames = frames(into.len().min(STEP))?;
        let mut offset = offset_bytes;
        for part in into.chunks_mut(STEP) {
            match self.deadline_ns {
                Some(deadline_ns) => self.disk.read_until(offset, &frames, part.len(), deadline_ns)?,
                None => self.disk.read(offset, &frames, 0..part.len())?,
            }
            for (piece, frame) in part.chunks_mut(FRAME_SIZE).zip(&frames) {
                frame.read(0, piece);
            }
            offset += part.len() as u64;
        }
        Ok(())
    }
    fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        let frames = frames(from.len().min(STEP))?;
        let mut offset = offset_bytes;
        for part in from.chunks(STEP) {
            for (piece, frame) in part.chunks(FRAME_SIZE).zip(&frames) {
                frame.write(0, piece);
            }
            self.disk.write(offset, &frames, 0..part.len())?;
            offset += part.len() as u64;
        }
        Ok(())
    }
    fn flush(&self) -> Result<(), Error> {
        Ok(self.disk.flush()?)
    }
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
        Ok(self.disk.discard(offset_bytes, len_bytes)?)
    }
}
