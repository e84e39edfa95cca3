//! A disk or a partition: transfers of any size.
use super::batch::{After, Batch, Transfer};
use super::device::{BlockDevice, Limits, Operation, Request, SECTOR_BYTES, SERIAL_BYTES};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::events::{self, bit, kind};
use coracle_core::ipc::poll::{Events, wait_until};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::{AtomicU64, Ordering::*};
use coracle_hal::time;
use coracle_hal::virtio::requests::Data;
use core::ops::Range;

/// A serial number.
#[derive(Clone, Copy, Default)]
pub struct Serial {
    bytes: [u8; SERIAL_BYTES as usize],
    len: usize,
}

impl Serial {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What was done of one kind (Linux's Documentation/admin-guide/iostats.rst).
#[derive(Default)]
pub struct Count {
    /// Transfers.
    pub transfers: AtomicU64,
    /// Sectors of 512 bytes.
    pub sectors: AtomicU64,
    /// Nanoseconds that threads waited for them.
    pub ns: AtomicU64,
    /// Transfers of which a flush makes durable what they did.
    unflushed: AtomicU64,
}

impl Count {
    /// A transfer of so many bytes is done that began then (nanoseconds since boot).
    pub(super) fn add_transfer(&self, bytes: usize, since_ns: u64) {
        self.unflushed.fetch_add(1, Release);
        self.add(bytes as u64 / SECTOR_BYTES, since_ns);
    }

    fn add(&self, sectors: u64, since_ns: u64) {
        self.transfers.fetch_add(1, Relaxed);
        self.sectors.fetch_add(sectors, Relaxed);
        self.ns.fetch_add(time::now_ns().saturating_sub(since_ns), Relaxed);
    }
}

/// A disk, or a part of one.
pub struct Disk {
    device: &'static dyn BlockDevice,
    /// Its sectors on the device.
    sectors: Range<u64>,
    /// Reads, writes, discards and flushes.
    pub counts: [Count; 4],
    /// What was changed before this many transfers is durable, see [`Disk::changes`].
    flushed: AtomicU64,
}

/// Indices of [`Disk::counts`].
const READS: usize = 0;
const WRITES: usize = 1;
const DISCARDS: usize = 2;
const FLUSHES: usize = 3;

impl Disk {
    /// The part of a device that begins and ends at these sectors.
    pub fn new(device: &'static dyn BlockDevice, sectors: Range<u64>) -> Disk {
        let end = sectors.end.min(device.limits().sectors);
        Disk {
            sectors: sectors.start.min(end)..end,
            device,
            counts: Default::default(),
            flushed: AtomicU64::new(0),
        }
    }

    /// Appends the counts as /proc/diskstats and /sys/block/*/stat have them (Linux's
    /// Documentation/admin-guide/iostats.rst): no transfers are merged, and those under way are not counted. ENOMEM.
    pub fn write_counts(&self, text: &mut Text) -> Result<(), NoMemory> {
        const NS_PER_MS: u64 = 1_000_000;
        let [reads, writes, discards, flushes] = self.counts.each_ref().map(|count| {
            [count.transfers.load(Relaxed), count.sectors.load(Relaxed), count.ns.load(Relaxed) / NS_PER_MS]
        });
        let busy = reads[2] + writes[2] + discards[2] + flushes[2];
        for (number, [transfers, sectors, ms]) in [reads, writes, discards].into_iter().enumerate() {
            write!(text, "{}{transfers} 0 {sectors} {ms}", if number == 0 { "" } else { " " })?;
            if number == 1 {
                write!(text, " 0 {busy} {busy}")?;
            }
        }
        write!(text, " {} {}", flushes[0], flushes[2])
    }

    /// What the device is and takes.
    pub fn limits(&self) -> &Limits {
        self.device.limits()
    }

    /// The device.
    pub fn device(&self) -> &'static dyn BlockDevice {
        self.device
    }

    /// Sectors on the device.
    pub fn sectors(&self) -> Range<u64> {
        self.sectors.clone()
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        (self.sectors.end - self.sectors.start) * SECTOR_BYTES
    }

    /// The first sector on the device of `bytes` bytes at `offset`. EINVAL unless both are whole logical blocks; EIO past the
    /// end.
    fn sector_at(&self, offset: u64, bytes: u64) -> Result<u64, Errno> {
        let block = u64::from(self.limits().logical_block);
        if !offset.is_multiple_of(block) || !bytes.is_multiple_of(block) {
            return Err(Errno::INVAL);
        }
        if offset.checked_add(bytes).is_none_or(|end| end > self.size()) {
            return Err(Errno::IO);
        }
        Ok(self.sectors.start + offset / SECTOR_BYTES)
    }

    /// Asks for the serial number, until a time (nanoseconds since boot) at most. What the device does not say is empty.
    pub fn identify(&self, deadline_ns: u64) -> Serial {
        let mut bytes = [0; SERIAL_BYTES as usize];
        if let Err(error) = self.ask_serial(&mut bytes, deadline_ns)
            && error == Errno::TIMEDOUT
        {
            log!("a disk does not answer: it has no serial number");
        }
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Serial { bytes, len }
    }

    fn ask_serial(&self, bytes: &mut [u8], deadline_ns: u64) -> Result<(), Errno> {
        let frame = Frame::alloc_zeroed().ok_or(Errno::NOMEM)?;
        let frames = core::iter::once(frame.clone()).try_collect_vec()?;
        let batch = Batch::new()?;
        self.submit(Operation::Identify, 0, Data { frames, range: 0..bytes.len() }, &batch);
        self.device.kick();
        batch.wait(Some(deadline_ns))?;
        frame.read(0, bytes);
        Ok(())
    }

    /// Reads blocks at `offset` into the frames, of whose bytes one after the other `range` is meant. Waits; hold no lock.
    ///
    /// # Errors
    /// EINVAL and EIO as [`Disk::write`].
    pub fn read(&self, offset: u64, frames: &[Frame], range: Range<usize>) -> Result<(), Errno> {
        self.read_into(offset, frames.try_to_vec()?, range)
    }

    /// [`Disk::read`] where the caller has no use for the frames afterwards.
    pub fn read_into(&self, offset: u64, frames: Vec<Frame>, range: Range<usize>) -> Result<(), Errno> {
        self.transfer(Operation::Read, offset, frames, range, None)
    }

    /// [`Disk::read`] that waits until a time (nanoseconds since boot) at most: ETIMEDOUT.
    pub fn read_until(
        &self,
        offset: u64,
        frames: &[Frame],
        bytes: usize,
        deadline_ns: u64,
    ) -> Result<(), Errno> {
        self.transfer(Operation::Read, offset, frames.try_to_vec()?, 0..bytes, Some(deadline_ns))
    }

    /// Writes blocks at `offset` from the frames. They are on stable storage after [`Disk::flush`]. Waits; hold no lock.
    ///
    /// # Errors
    /// EINVAL unless offset and length are whole logical blocks, EIO past the end or if the device failed, EROFS, ENOMEM.
    pub fn write(&self, offset: u64, frames: &[Frame], range: Range<usize>) -> Result<(), Errno> {
        self.write_from(offset, frames.try_to_vec()?, range)
    }

    /// [`Disk::write`] where the caller has no use for the frames afterwards.
    pub fn write_from(&self, offset: u64, frames: Vec<Frame>, range: Range<usize>) -> Result<(), Errno> {
        if self.limits().is_read_only {
            return Err(Errno::ROFS);
        }
        self.transfer(Operation::Write, offset, frames, range, None)
    }

    fn transfer(
        &self,
        operation: Operation,
        offset: u64,
        frames: Vec<Frame>,
        range: Range<usize>,
        deadline_ns: Option<u64>,
    ) -> Result<(), Errno> {
        let start_ns = time::now_ns();
        let bytes = range.len();
        self.transfer_uncounted(operation, offset, frames, range, deadline_ns)?;
        self.count_of(operation).add_transfer(bytes, start_ns);
        Ok(())
    }

    fn transfer_uncounted(
        &self,
        operation: Operation,
        offset: u64,
        frames: Vec<Frame>,
        range: Range<usize>,
        deadline_ns: Option<u64>,
    ) -> Result<(), Errno> {
        let sector = self.sector_at(offset, range.len() as u64)?;
        let batch = Batch::new()?;
        let submitted = self.submit_all(operation, sector, frames, range, &batch);
        self.device.kick();
        // What was submitted is waited for in any case: the caller may look at its frames next.
        batch.wait(deadline_ns)?;
        submitted
    }

    /// [`Disk::write`], on stable storage when it returns. Of what was written before it says nothing.
    ///
    /// # Errors
    /// As [`Disk::write`].
    pub fn write_durable(&self, offset: u64, frames: Vec<Frame>, range: Range<usize>) -> Result<(), Errno> {
        let (most, align) = self.limits().request_bytes;
        // A write of several requests would be flushed after each.
        let is_single = range.end <= range.start / align * align + most;
        if !self.limits().has_cache || !is_single || !self.device.write_through(true) {
            self.write_from(offset, frames, range)?;
            return self.flush();
        }
        let (start_ns, bytes) = (time::now_ns(), range.len());
        let written = match self.limits().is_read_only {
            true => Err(Errno::ROFS),
            false => self.transfer_uncounted(Operation::Write, offset, frames, range, None),
        };
        self.device.write_through(false);
        written?;
        self.counts[WRITES].add(bytes as u64 / SECTOR_BYTES, start_ns);
        Ok(())
    }

    /// Begins a write as one of a batch, which [`Disk::settle`] waits for. The device need not see it before.
    ///
    /// # Errors
    /// As [`Disk::write`], but EIO from the device; a part of it may have begun.
    pub fn begin_write(
        &self,
        offset: u64,
        frames: Vec<Frame>,
        range: Range<usize>,
        batch: &Arc<Batch>,
    ) -> Result<(), Errno> {
        if self.limits().is_read_only {
            return Err(Errno::ROFS);
        }
        let sector = self.sector_at(offset, range.len() as u64)?;
        self.submit_all(Operation::Write, sector, frames, range, batch)
    }

    /// Waits for a batch of writes, of so many bytes, that were begun then (nanoseconds since boot), in the thread that made it, once. EIO.
    pub fn settle(&self, batch: &Batch, bytes: usize, since_ns: u64) -> Result<(), Errno> {
        self.device.kick();
        batch.wait(None)?;
        self.counts[WRITES].add_transfer(bytes, since_ns);
        Ok(())
    }

    /// Where a read or write is counted.
    fn count_of(&self, operation: Operation) -> &Count {
        &self.counts[if operation == Operation::Read { READS } else { WRITES }]
    }

    /// Begins a transfer as [`Disk::read`] or [`Disk::write`] do, which waits for nothing but room at the device. `after` is told of its
    /// end, which may be before this returns. The device need not see it before [`BlockDevice::kick_soon`].
    ///
    /// # Errors
    /// Those of [`Disk::write`] but EIO from the device: nothing has begun, and nothing is told.
    pub fn begin(
        &'static self,
        writes: bool,
        offset: u64,
        frames: Vec<Frame>,
        range: Range<usize>,
        after: After,
    ) -> Result<(), Errno> {
        if writes && self.limits().is_read_only {
            return Err(Errno::ROFS);
        }
        let operation = if writes { Operation::Write } else { Operation::Read };
        let sector = self.sector_at(offset, range.len() as u64)?;
        let (count, since_ns) = (self.count_of(operation), time::now_ns());
        let batch = Batch::of(Transfer { after, bytes: range.len(), count, since_ns })?;
        batch.all_added(self.submit_all(operation, sector, frames, range, &batch));
        Ok(())
    }

    /// Gives the device the requests of a transfer. ENOMEM: the last ones are missing.
    fn submit_all(
        &self,
        operation: Operation,
        mut sector: u64,
        mut frames: Vec<Frame>,
        range: Range<usize>,
        batch: &Arc<Batch>,
    ) -> Result<(), Errno> {
        let (most, align) = self.limits().request_bytes;
        let mut at = range.start;
        // What lies before the first frame that is left.
        let mut skipped = 0;
        while at < range.end {
            let end = (at / align * align + most).min(range.end);
            let frames = match end == range.end {
                true => core::mem::take(&mut frames),
                false => take_front(&mut frames, end - skipped)?,
            };
            let data = Data { frames, range: at - skipped..end - skipped };
            self.submit(operation, sector, data, batch);
            sector += (end - at) as u64 / SECTOR_BYTES;
            at = end;
            skipped = end / FRAME_SIZE * FRAME_SIZE;
        }
        Ok(())
    }

    /// Gives the device a request, once it has room.
    fn submit(&self, operation: Operation, sector: u64, data: Data, batch: &Arc<Batch>) {
        batch.add();
        events::note(bit::BLOCK, || {
            let operation = match operation {
                Operation::Read => kind::operation::READ,
                Operation::Write => kind::operation::WRITE,
                Operation::Flush => kind::operation::FLUSH,
                Operation::Identify => kind::operation::IDENTIFY,
                Operation::Discard { .. } => kind::operation::DISCARD,
                Operation::WriteZeroes { .. } => kind::operation::ZERO,
            };
            (kind::BLOCK_ISSUE, operation, sector, batch.word() | data.range.len() as u64)
        });
        let request = Request { operation, sector, data, batch: batch.clone() };
        if let Err(request) = self.device.submit(request) {
            self.submit_later(request);
        }
    }

    #[cold]
    fn submit_later(&self, request: Request) {
        self.device.kick();
        let mut request = Some(request);
        wait_until(self.device.room(), Events::OUT, &mut || {
            request = request.take().and_then(|request| self.device.submit(request).err());
            request.is_none()
        });
    }

    /// A request without data.
    fn command(&self, operation: Operation, sector: u64) -> Result<(), Errno> {
        let batch = Batch::new()?;
        self.submit(operation, sector, Data::NONE, &batch);
        self.device.kick();
        batch.wait(None)
    }

    /// Has the device put on stable storage all whose writing has returned. Waits; hold no lock. EIO, ENOMEM.
    pub fn flush(&self) -> Result<(), Errno> {
        let changes = self.changes();
        if !self.limits().has_cache || self.flushed.load(Acquire) >= changes {
            return Ok(());
        }
        let start_ns = time::now_ns();
        self.command(Operation::Flush, 0)?;
        self.flushed.fetch_max(changes, AcqRel);
        self.counts[FLUSHES].add(0, start_ns);
        Ok(())
    }

    /// Transfers that have changed what the disk holds, and have returned.
    fn changes(&self) -> u64 {
        self.counts[WRITES].unflushed.load(Acquire) + self.counts[DISCARDS].unflushed.load(Acquire)
    }

    /// Says that the bytes are of no use any more. EOPNOTSUPP if the device can't make use of that; else as [`Disk::write`].
    pub fn discard(&self, offset: u64, bytes: u64) -> Result<(), Errno> {
        let most = self.limits().discard_sectors;
        self.commands(offset, bytes, most, DISCARDS, |sectors| Operation::Discard { sectors })
    }

    /// Makes the bytes zeroes, by writing them if the device knows no shorter way. `may_unmap`: their storage may be given back.
    pub fn write_zeroes(&self, offset: u64, bytes: u64, may_unmap: bool) -> Result<(), Errno> {
        let Limits { zero_sectors, zero_unmaps, .. } = *self.limits();
        let may_unmap = may_unmap && zero_unmaps;
        let zeroes = |sectors| Operation::WriteZeroes { sectors, may_unmap };
        match self.commands(offset, bytes, zero_sectors, WRITES, zeroes) {
            Err(Errno::OPNOTSUPP) => self.write_frames_of_zeroes(offset, bytes),
            other => other,
        }
    }

    fn commands(
        &self,
        offset: u64,
        bytes: u64,
        most: u32,
        count: usize,
        operation: impl Fn(u32) -> Operation,
    ) -> Result<(), Errno> {
        let start_ns = time::now_ns();
        if self.limits().is_read_only {
            return Err(Errno::ROFS);
        }
        let mut sector = self.sector_at(offset, bytes)?;
        let end = sector + bytes / SECTOR_BYTES;
        // A multiple of every block's sectors.
        let most = u64::from(most) & !(FRAME_SIZE as u64 / SECTOR_BYTES - 1);
        if most == 0 {
            return Err(Errno::OPNOTSUPP);
        }
        while sector < end {
            let sectors = (end - sector).min(most);
            self.command(operation(sectors as u32), sector)?;
            sector += sectors;
        }
        self.counts[count].add_transfer(bytes as usize, start_ns);
        Ok(())
    }

    fn write_frames_of_zeroes(&self, offset: u64, bytes: u64) -> Result<(), Errno> {
        /// Frames of a transfer.
        const STEP: usize = 32;
        let frames: Vec<Frame> = (0..STEP).map(|_| Frame::zero_page()).try_collect_vec()?;
        let mut done = 0;
        while done < bytes {
            let part = (bytes - done).min((STEP * FRAME_SIZE) as u64) as usize;
            self.write(offset + done, &frames, 0..part)?;
            done += part as u64;
            coracle_core::task::long_call::pause_unless_killed()?;
        }
        Ok(())
    }
}

/// Takes the frames that the first bytes are in; one whose other bytes are left stays as well. ENOMEM.
fn take_front(frames: &mut Vec<Frame>, bytes: usize) -> Result<Vec<Frame>, Errno> {
    let mut front = Vec::new();
    front.make_room(bytes.div_ceil(FRAME_SIZE))?;
    let shared = frames.get(bytes / FRAME_SIZE).filter(|_| !bytes.is_multiple_of(FRAME_SIZE)).cloned();
    for frame in frames.drain(..bytes / FRAME_SIZE).chain(shared) {
        front.push_reserved(frame);
    }
    Ok(front)
}
