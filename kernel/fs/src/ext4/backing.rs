//! Where the pages of a file come from and go to.
use super::node::Node;
use super::volume::errno;
use crate::cache::pages::PAGE;
use crate::cache::{Backing, Synced};
use coracle_core::errno::Errno;
use coracle_core::mm::user_buf::Pinned;
use coracle_devices::block::batch::Batch;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::Ordering;
use coracle_hal::time;
use core::ops::Range;

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
        self.write_copied(start, frames, 0..bytes)
    }

    /// Pages for which the file gets blocks, or a new size, go to the disk together with the journal's blocks that say so: one wait for
    /// all of them.
    fn write_and_sync(&self, index: u64, frames: &[Frame], data_only: bool) -> (Result<(), Errno>, Synced) {
        let start = index * PAGE;
        let len = Backing::size(self).saturating_sub(start).min((frames.len() * FRAME_SIZE) as u64) as usize;
        let is_in_place = self.in_place_until() >= start + (frames.len() * FRAME_SIZE) as u64;
        if is_in_place && data_only {
            match self.write_in_place_durably(start, frames) {
                Ok(false) => {}
                written => return (written.map(drop), Some(Ok(()))),
            }
        }
        // What a program has written behind the end by a mapping must not get to the disk.
        let takes_frames = len > 0 && !is_in_place && !self.is_mapped.load(Ordering::Relaxed);
        let Some(Ok(batch)) = takes_frames.then(Batch::new) else { return (self.write(index, frames), None) };
        let disk = &self.volume().entry.disk;
        let mut fs = self.volume().change();
        if !data_only && let Err(error) = self.write_times_to(&mut fs) {
            return (Err(error), None);
        }
        let (modified, since_ns) = (self.attributes.lock().modified, time::now_ns());
        let block_bytes = fs.block_bytes() as usize;
        let begun = fs.begin_write(self.number(), start, len, modified, &mut |place, len| {
            let frames = frames[..len.div_ceil(FRAME_SIZE)].try_to_vec()?;
            let begun = disk.begin_write(place, frames, 0..len.next_multiple_of(block_bytes), &batch);
            Ok(begun.map_err(coracle_block::Error::from)?)
        });
        let mut written = None;
        let mut settle = || written.insert(disk.settle(&batch, len, since_ns)).is_ok();
        let taken = match begun {
            Ok(taken) => taken,
            Err(error) => {
                // A part of it may have begun.
                settle();
                return (Err(errno(error)), None);
            }
        };
        // Where the rest lies elsewhere, it is written when the first part has arrived.
        let is_early = taken < len && settle();
        if is_early {
            drop(fs);
            self.volume_size.fetch_max(start + taken as u64, Ordering::AcqRel);
            return (self.write_copied(start, frames, taken..len), None);
        }
        let synced = fs.sync_after(self.number(), data_only, &mut || taken == len && settle());
        drop(fs);
        let written = match written {
            Some(written) => written,
            None => disk.settle(&batch, len, since_ns),
        };
        if written.is_ok() {
            self.volume_size.fetch_max(start + len as u64, Ordering::AcqRel);
        }
        (written, Some(self.volume().settled(synced.map(drop))))
    }
}

impl Node {
    /// Writes bytes of frames, which begin at an offset of the file, by way of the volume.
    fn write_copied(&self, start: u64, frames: &[Frame], bytes: Range<usize>) -> Result<(), Errno> {
        let mut buffer = filled(0, bytes.len().min(STEP))?;
        // The file was modified when the program wrote to it.
        let modified = self.attributes.lock().modified;
        let mut done = bytes.start;
        while done < bytes.end {
            let len = (bytes.end - done).min(STEP);
            let mut at = 0;
            while at < len {
                let in_frame = (done + at) % FRAME_SIZE;
                let part = (FRAME_SIZE - in_frame).min(len - at);
                frames[(done + at) / FRAME_SIZE].read(in_frame, &mut buffer[at..at + part]);
                at += part;
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

    /// The same of pages that lie together, which are durable then, and all that the file has got before. False also: that takes a commit.
    fn write_in_place_durably(&self, start: u64, frames: &[Frame]) -> Result<bool, Errno> {
        let range = 0..frames.len() * FRAME_SIZE;
        let _transfer = self.runs.transfer();
        let found = self.find_place(start)?.filter(|found| found.len >= range.len() as u64);
        let Some(place) = found.and_then(|found| found.place) else { return Ok(false) };
        let has_all = self.in_place_until() >= start + range.len() as u64;
        if !has_all || !self.volume().read().is_committed(self.number(), true) {
            return Ok(false);
        }
        let disk = &self.volume().entry.disk;
        disk.write_durable(place, frames.try_to_vec()?, range)?;
        self.has_new_times.store(true, Ordering::Release);
        disk.flush()?;
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
