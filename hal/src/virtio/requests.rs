//! A queue of a block device's requests (virtio 1.2, section 5.2.6): header and status in memory of the queue's own, data in
//! frames.
//!
//! A request has counted references to its frames until the device has returned it. Others may have some, too: the bytes of
//! a frame are reached by copies alone, because a program may write to a page of it at any time, and a device is no worse.
//! A frame that is read-only for ever is not given to a device that writes it.
use super::queue::Queue;
use crate::mm::frame::{FRAME_SIZE, Frame};
use alloc::vec::Vec;
use coracle_virtio::device::block::{
    HEADER_BYTES, Operation, Outcome, SECTOR_BYTES, SEGMENT_BYTES, SERIAL_BYTES,
};
use coracle_virtio::memory::Memory as _;
use coracle_virtio::queue::{AddError, Layout, Piece, QueueError};
use core::ops::Range;

/// Bytes of the memory that belongs to a slot, and what lies where in it.
const SLOT_BYTES: usize = 64;
const HEADER: usize = 0;
const SEGMENT: usize = 16;
const STATUS: usize = 32;

/// Bytes that the queue needs behind its rings.
pub(super) fn memory_behind(layout: Layout) -> usize {
    slot_area(layout, layout.size) - layout.bytes
}

/// Where the memory of a slot begins.
fn slot_area(layout: Layout, slot: u16) -> usize {
    layout.bytes.next_multiple_of(SLOT_BYTES) + usize::from(slot) * SLOT_BYTES
}

/// The data of a request: a range of the bytes that its frames have one after the other.
pub struct Data {
    /// The frames.
    pub frames: Vec<Frame>,
    /// The bytes, whole sectors.
    pub range: Range<usize>,
}

impl Data {
    /// None: for requests without data.
    pub const NONE: Data = Data { frames: Vec::new(), range: 0..0 };
}

/// A request that the device has.
pub(super) struct Request<T> {
    data: Data,
    token: T,
}

/// A request that the device is done with.
pub struct Finished<T> {
    /// What was given with it.
    pub token: T,
    /// How it ended.
    pub outcome: Outcome,
}

/// A request that was not taken.
pub struct Refused<T> {
    /// It comes back.
    pub data: Data,
    /// So does what was given with it.
    pub token: T,
    /// There is no room for it now; else there never is.
    pub is_full: bool,
}

/// The queue. `T` is kept for each request while the device has it.
pub struct Requests<T> {
    queue: Queue<Request<T>>,
    layout: Layout,
    /// Bytes of the largest piece that the device takes, but no more than a frame's: a power of two.
    piece_bytes: usize,
    /// Frames that a piece may have where they lie together; 0: it can't have a whole one.
    most_joined: usize,
}

impl Data {
    /// The piece of data that begins at the byte `at`: where it lies, and where it ends.
    #[inline]
    fn piece(&self, at: usize, piece_bytes: usize, most_joined: usize) -> (u64, usize) {
        piece(|index| self.frames[index].phys(), at..self.range.end, piece_bytes, most_joined)
    }
}

/// The first piece of a range of the bytes of frames whose addresses are these: where it lies, and where it ends. Pieces are `piece_bytes` long but
/// for the ends, or up to `most_joined` whole frames that lie together.
#[inline(always)]
fn piece(
    address: impl Fn(usize) -> u64,
    range: Range<usize>,
    piece_bytes: usize,
    most_joined: usize,
) -> (u64, usize) {
    let first = range.start / FRAME_SIZE;
    let start = address(first);
    let mut end = (range.start / piece_bytes + 1) * piece_bytes;
    if piece_bytes == FRAME_SIZE {
        let most = first + most_joined.max(1);
        let mut next = first + 1;
        while end < range.end && next < most && address(next) == start + (end - first * FRAME_SIZE) as u64 {
            next += 1;
            end += FRAME_SIZE;
        }
    }
    (start + (range.start % FRAME_SIZE) as u64, end.min(range.end))
}

/// Header and status of a request, whose slot's memory lies at `base`.
fn header_piece(base: u64) -> Piece {
    Piece { address: base + HEADER as u64, len: HEADER_BYTES, writable: false }
}

fn status_piece(base: u64) -> Piece {
    Piece { address: base + STATUS as u64, len: 1, writable: true }
}

impl<T> Requests<T> {
    pub(super) fn new(queue: Queue<Request<T>>, layout: Layout, size_max: usize) -> Requests<T> {
        let piece_bytes = 1 << size_max.clamp(SECTOR_BYTES as usize, FRAME_SIZE).ilog2();
        let most_joined = size_max.min(u32::MAX as usize) / FRAME_SIZE;
        Requests { queue, layout, piece_bytes, most_joined }
    }

    /// The bytes of data that a request may have which the device takes in `pieces` pieces at most, and of which a piece begins
    /// at each multiple of the second number.
    pub fn most_bytes(&self, pieces: usize) -> (usize, usize) {
        /// Pieces of header and status.
        const ENDS: usize = 2;
        let pieces = pieces.min(usize::from(self.queue.size()).saturating_sub(ENDS));
        (pieces * self.piece_bytes, self.piece_bytes)
    }

    /// Requests that the device has.
    pub fn outstanding(&self) -> u16 {
        self.queue.outstanding()
    }

    /// Whether the device has seen requests that it is not done with.
    pub fn is_at_work(&self) -> bool {
        self.queue.is_at_work()
    }

    /// Queues a request; `sector` is the first one, of 512 bytes. The device sees it after [`Requests::publish`].
    ///
    /// # Errors
    /// There is no room now. Or there never is: the data are more than the queue takes, not within their frames, no whole sectors,
    /// or frames that are read-only for ever are to be written; or the device broke the rules of the queue.
    pub fn add(&mut self, operation: Operation, sector: u64, data: Data, token: T) -> Result<(), Refused<T>> {
        let unit =
            if operation == Operation::Identify { SERIAL_BYTES as usize } else { SECTOR_BYTES as usize };
        let Range { start, end } = data.range;
        let fits =
            start <= end && end <= data.frames.len() * FRAME_SIZE && (end - start).is_multiple_of(unit);
        let writable = operation.is_input();
        let segment = operation.segment(sector);
        let (piece_bytes, most_joined) = (self.piece_bytes, self.most_joined);
        let mut count = 0;
        let (mut lies_at, mut at) = (0, start);
        while fits && at < end {
            let (address, to) = data.piece(at, piece_bytes, most_joined);
            if count == 0 {
                lies_at = address;
            }
            at = to;
            count += 1;
        }
        let chain = 2 + if segment.is_some() { 1 } else { count };
        let is_wrong = !fits || chain > self.queue.size().into();
        if is_wrong || writable && data.frames.iter().any(Frame::is_permanent) {
            return Err(Refused { data, token, is_full: false });
        }
        let (layout, reached) = (self.layout, self.queue.reached());
        let Some(slot) = reached.split.next_slot().filter(|_| reached.split.fits(chain)) else {
            return Err(Refused { data, token, is_full: true });
        };
        let area = slot_area(layout, slot);
        let memory = reached.split.memory();
        let [first, second] = operation.header(sector);
        memory.write_pair(area + HEADER, first, second);
        if let Some([first, second]) = segment {
            memory.write_pair(area + SEGMENT, first, second);
        }
        memory.write_u16(area + STATUS, Outcome::NOT_WRITTEN.into());
        let base = memory.address() + area as u64;
        let request = Request { data, token };
        let added = if count == 1 && segment.is_none() {
            let piece = Piece { address: lies_at, len: (end - start) as u32, writable };
            reached.split.add_three([header_piece(base), piece, status_piece(base)], request)
        } else {
            self.add_pieces(base, (chain, segment.is_some(), writable), request)
        };
        added.map(|_| ()).map_err(|error| {
            let is_full = matches!(error, AddError::Full(_));
            let Request { data, token } = error.into_token();
            Refused { data, token, is_full }
        })
    }

    /// Adds a chain of any number of pieces for a request whose header and status lie at `base`. Of the chain: its pieces, whether it has a
    /// segment in place of data, and whether the device writes the data.
    #[inline(never)]
    fn add_pieces(
        &mut self,
        base: u64,
        (chain, has_segment, writable): (usize, bool, bool),
        request: Request<T>,
    ) -> Result<u16, AddError<Request<T>>> {
        let (piece_bytes, most_joined) = (self.piece_bytes, self.most_joined);
        let mut at = request.data.range.start;
        let piece = |request: &Request<T>, number: usize| {
            if number == 0 {
                return header_piece(base);
            }
            if number == chain - 1 {
                return status_piece(base);
            }
            if has_segment {
                return Piece { address: base + SEGMENT as u64, len: SEGMENT_BYTES, writable: false };
            }
            let (address, to) = request.data.piece(at, piece_bytes, most_joined);
            let len = (to - at) as u32;
            at = to;
            Piece { address, len, writable }
        };
        self.queue.reached().split.add_of(chain, request, piece)
    }

    /// Shows the device the requests that were queued since the last time. True if its doorbell must be rung.
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// The next request that the device is done with. A device that breaks the rules is an error, now and at all later calls:
    /// no request comes back any more.
    pub fn pop(&mut self) -> Result<Option<Finished<T>>, QueueError> {
        let Some(used) = self.queue.pop()? else { return Ok(None) };
        let status = self.queue.reached().split.memory().read_u16(slot_area(self.layout, used.slot) + STATUS);
        Ok(Some(Finished { token: used.token.token, outcome: Outcome::of(status as u8) }))
    }

    /// Calls `f` with what was given with each request that the device has.
    pub fn each_outstanding(&mut self, mut f: impl FnMut(&T)) {
        self.queue.reached().split.each_token(|request| f(&request.token));
    }

    /// Asks for an interrupt when the device has carried out the next request. True if it has some already: then look again.
    pub fn request_interrupt(&self) -> bool {
        self.queue.request_interrupt()
    }
}

#[cfg(test)]
mod tests;
