//! Where the pages of a file come from and go to.
use super::node::Node;
use super::volume::errno;
use crate::cache::Backing;
use crate::cache::pages::PAGE;
use coracle_core::errno::Errno;
use coracle_core::mm::user_buf::Pinned;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::Ordering;

/// Bytes that are put together for the volume at a time.
const STEP: usize = 64 * 1024;

impl Backing for Node {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// The blocks are read straight into the frames, with the volume free for others. A call that takes blocks from a file waits first for
    /// the pages that are being read there.
    fn read(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        let start = index * PAGE;
        let all = frames.len() * FRAME_SIZE;
        // What the volume does not have yet is zeroes.
        let known = self.volume_size.load(Ordering::Acquire);
        let bytes = known.min(Backing::size(self)).saturating_sub(start).min(all as u64) as usize;
        let mut done = 0;
        while done < bytes {
            let Some(found) = self.find_place(start + done as u64)? else {
                self.read_inline(start, &frames[0], bytes)?;
                done = bytes;
                break;
            };
            let unit = self.volume().entry.disk.limits().logical_block as usize;
            let wanted = (bytes - done).next_multiple_of(unit).min(all - done);
            let part = done..done + found.len.min(wanted as u64) as usize;
            match found.place {
                Some(place) => self.volume().entry.disk.read(place, frames, part.clone())?,
                None => zero(frames, part.start, part.end),
            }
            done = part.end;
        }
        zero(frames, bytes.min(done), all);
        Ok(())
    }

    fn write(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        let start = index * PAGE;
        if self.write_in_place(start, frames)? {
            return Ok(());
        }
        let left = Backing::size(self).saturating_sub(start);
        let bytes = left.min((frames.len() * FRAME_SIZE) as u64) as usize;
        let mut buffer = filled(0, bytes.min(STEP))?;
        let mut done = 0;
        // The file was modified when the program wrote to it.
        let modified = self.attributes.lock().modified;
        while done < bytes {
            let len = (bytes - done).min(STEP);
            for (piece, frame) in buffer[..len].chunks_mut(FRAME_SIZE).zip(&frames[done / FRAME_SIZE..]) {
                frame.read(0, piece);
            }
            let written =
                self.volume().change().write(self.number(), start + done as u64, &buffer[..len], modified);
            if written.map_err(errno)? < len {
                return Err(Errno::NOSPC);
            }
            done += len;
            self.volume_size.fetch_max(start + done as u64, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl Node {
    /// Up to where bytes may be written over those on the disk, without the volume.
    pub(super) fn in_place_until(&self) -> u64 {
        if self.volume().is_aborted() { 0 } else { self.volume_size.load(Ordering::Acquire) }
    }

    /// Writes whole pages straight to blocks that the file has. False: it lacks some, and nothing was written.
    fn write_in_place(&self, start: u64, frames: &[Frame]) -> Result<bool, Errno> {
        let range = 0..frames.len() * FRAME_SIZE;
        let _transfer = self.runs.transfer();
        if self.in_place_until() < start + range.len() as u64 {
            return Ok(false);
        }
        if !self.write_blocks(start, Pinned { frames: frames.try_to_vec()?, range })? {
            return Ok(false);
        }
        self.has_new_times.store(true, Ordering::Release);
        Ok(true)
    }

    /// A file whose bytes lie in its inode: it has less than a page of them.
    fn read_inline(&self, start: u64, frame: &Frame, bytes: usize) -> Result<(), Errno> {
        let mut content = filled(0, bytes.min(FRAME_SIZE))?;
        let len = self.volume().read().read(self.number(), start, &mut content).map_err(errno)?;
        frame.write(0, &content[..len]);
        Ok(())
    }
}

/// Zeroes a range of the bytes of frames.
pub(super) fn zero(frames: &[Frame], start: usize, end: usize) {
    let mut at = start;
    while at < end {
        let in_frame = at % FRAME_SIZE;
        let len = (FRAME_SIZE - in_frame).min(end - at);
        frames[at / FRAME_SIZE].zero(in_frame, len);
        at += len;
    }
}
