//! A disk as the crates see it that know no kernel: bytes of ordinary memory go in and out, by way of frames.
use super::batch::Batch;
use super::disk::Disk;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_block::Error;
use coracle_core::errno::Errno;
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::time;

/// The disk.
pub struct Whole {
    /// The kernel's.
    pub disk: &'static Disk,
    /// When a read is given up (nanoseconds since boot); `None`: never.
    pub deadline_ns: Option<u64>,
    /// Writes that were begun, how many bytes they have, and when the first began (nanoseconds since boot).
    begun: Mutex<Option<(Arc<Batch>, usize, u64)>>,
}

impl Whole {
    /// The disk; reads are given up at a time (nanoseconds since boot), if there is one.
    pub const fn new(disk: &'static Disk, deadline_ns: Option<u64>) -> Whole {
        Whole { disk, deadline_ns, begun: Mutex::new(None) }
    }
}

/// Bytes that are moved at a time.
const STEP: usize = 128 * 1024;

/// Frames for so many bytes.
fn frames(bytes: usize) -> Result<Vec<Frame>, Error> {
    let count = bytes.div_ceil(FRAME_SIZE);
    (0..count).map(|_| Frame::alloc().ok_or(Error::NoMemory)).try_collect_ok()
}

/// Frames that hold these bytes.
fn filled_frames(bytes: &[u8]) -> Result<Vec<Frame>, Error> {
    let frames = frames(bytes.len())?;
    for (piece, frame) in bytes.chunks(FRAME_SIZE).zip(&frames) {
        frame.write(0, piece);
    }
    Ok(frames)
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
        let mut offset = offset_bytes;
        for part in from.chunks(STEP) {
            self.disk.write_from(offset, filled_frames(part)?, 0..part.len())?;
            offset += part.len() as u64;
        }
        Ok(())
    }
    fn begin_write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        let mut begun = self.begun.lock().take();
        let (batch, bytes, _) = match &mut begun {
            Some(begun) => begun,
            None => begun.insert((Batch::new().map_err(Errno::from)?, 0, time::now_ns())),
        };
        let result = filled_frames(from)
            .and_then(|frames| Ok(self.disk.begin_write(offset_bytes, frames, 0..from.len(), batch)?));
        *bytes += from.len();
        *self.begun.lock() = begun;
        result
    }
    fn write_durable(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        Ok(self.disk.write_durable(offset_bytes, filled_frames(from)?, 0..from.len())?)
    }
    fn flush(&self) -> Result<(), Error> {
        let begun = self.begun.lock().take();
        if let Some((batch, bytes, since_ns)) = begun {
            self.disk.settle(&batch, bytes, since_ns)?;
        }
        Ok(self.disk.flush()?)
    }
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
        Ok(self.disk.discard(offset_bytes, len_bytes)?)
    }
}
