//! The two queues of a network device: buffers that wait for packets, and packets on their way out.
use super::transport::{Doorbell, SetupError, Transport};
use super::{Queue, QueueMemory};
use crate::drivers::buffer::NetBuffer;
use alloc::boxed::Box;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_box;
use coracle_hal::dma::PacketBuffer;
use coracle_tcpip::{
    Buffer, Chunk, DRIVER_ROOM, Fragment, Full, PartialChecksum, RxChecksum, RxFrame, TxFrame,
};
use coracle_virtio::device::net::{Framing, HEADER_BYTES, Header, SHORT_HEADER_BYTES, lengthen, queue};
use coracle_virtio::queue::{AddError, Piece, QueueError, Used};

/// Buffers that may be missing before they are replaced.
const REFILL_AT: u16 = 16;
/// Smallest Ethernet frame that means something: its header.
pub const ETHERNET_HEADER: usize = 14;

/// What the device says of a packet that came in one buffer, as nearly all do.
pub struct Single {
    /// What it knows of the transport checksum.
    pub checksum: RxChecksum,
    /// As in [`RxFrame`].
    pub segment_size: u16,
}

/// The receive queue. Buffers lie in it until the device fills them; each packet starts with a virtio header.
pub struct Receive {
    queue: Queue<NetBuffer>,
    doorbell: Doorbell,
    /// Buffers that the queue is to hold.
    target: u16,
    /// A packet of which not all buffers have come back: what there is, and how many are missing.
    partial: Option<(RxFrame<NetBuffer>, u16)>,
    /// An interrupt was asked for.
    armed: bool,
    framing: Framing,
}

impl Receive {
    /// Sets the queue up. It holds `target` buffers, if it is large enough, once [`Receive::refill`] ran.
    pub fn new(
        transport: &Transport,
        target: u16,
        event_index: bool,
        framing: Framing,
    ) -> Result<Self, SetupError> {
        let size = transport.queue_size(queue::RECEIVE, target.next_power_of_two());
        let layout = transport.layout(size, 0, 0)?;
        let queue = QueueMemory::queue(layout, event_index).ok_or(SetupError::Memory)?;
        let doorbell = transport.start_queue(queue::RECEIVE, queue.addresses(), queue.size())?;
        // A header apart takes a descriptor of its own.
        let target = target.min(if framing.apart { size / 2 } else { size });
        Ok(Receive { queue, doorbell, target, partial: None, armed: false, framing })
    }

    /// Gives the device buffers once it lacks some number of them, so that the cost of doing so is shared.
    #[inline(always)]
    pub fn refill_if_low(&mut self) {
        if self.target - self.queue.outstanding() >= REFILL_AT.min(self.target / 2) {
            self.refill();
        }
    }

    /// Gives the device buffers until it has enough of them, or memory is short.
    pub fn refill(&mut self) {
        while self.queue.outstanding() < self.target {
            let Some(buffer) = NetBuffer::alloc() else { break };
            if !self.offer(buffer) {
                break;
            }
        }
        if self.queue.publish() {
            self.doorbell.ring();
        }
    }

    #[inline(always)]
    fn offer(&mut self, buffer: NetBuffer) -> bool {
        if !self.framing.is_modern() {
            return self.offer_framed(buffer);
        }
        let piece = Piece { address: buffer.phys(), len: NetBuffer::SIZE as u32, writable: true };
        self.queue.add_one(piece, buffer).is_ok()
    }

    /// The same where the header is not that of modern devices: its end is where theirs is.
    #[cold]
    #[inline(never)]
    fn offer_framed(&mut self, buffer: NetBuffer) -> bool {
        let from = |start: usize, end: usize| Piece {
            address: buffer.phys() + start as u64,
            len: (end - start) as u32,
            writable: true,
        };
        let start = HEADER_BYTES - self.framing.header_bytes();
        let apart = [from(start, HEADER_BYTES), from(HEADER_BYTES, NetBuffer::SIZE)];
        let joined = [from(start, NetBuffer::SIZE)];
        let pieces = if self.framing.apart { &apart[..] } else { &joined };
        self.queue.add_slice(pieces, buffer).is_ok()
    }

    /// Whether a packet has come.
    #[inline(always)]
    pub fn pending(&self) -> bool {
        self.queue.has_used()
    }

    /// Says that nobody waits for an interrupt.
    #[inline(always)]
    pub fn disarm(&mut self) {
        if core::mem::take(&mut self.armed) {
            self.queue.suppress_interrupts();
        }
    }

    /// Asks for an interrupt with the next packet; true if one is there already.
    pub fn arm(&mut self) -> bool {
        if core::mem::replace(&mut self.armed, true) {
            // Nothing was taken since: the device still knows.
            return self.queue.has_used();
        }
        self.queue.request_interrupt()
    }

    /// The next buffer that the device has filled. A device that breaks the rules is an error.
    #[inline(always)]
    pub fn pop(&mut self) -> Result<Option<Used<NetBuffer>>, QueueError> {
        let mut arrived = self.queue.pop();
        if self.framing.short
            && let Ok(Some(arrived)) = &mut arrived
        {
            Self::lengthen_header(arrived);
        }
        arrived
    }

    /// Makes the header one of modern devices.
    #[cold]
    #[inline(never)]
    fn lengthen_header(arrived: &mut Used<NetBuffer>) {
        let header = arrived.token.as_mut_slice().and_then(|bytes| bytes.first_chunk_mut());
        header.map(lengthen);
        arrived.len += (HEADER_BYTES - SHORT_HEADER_BYTES) as u32;
    }

    /// What is known of the packet in this buffer, if all of it is there and it is a frame.
    #[inline(always)]
    pub fn single(&self, arrived: &Used<NetBuffer>) -> Option<Single> {
        if self.partial.is_some() || (arrived.len as usize) < HEADER_BYTES + ETHERNET_HEADER {
            return None;
        }
        let header = Header::decode(arrived.token.as_slice())?;
        (header.buffers <= 1).then(|| Self::told(&header))
    }

    /// Takes a buffer that is only a part of a packet; gives the packet if it is the last. What makes no sense is
    /// dropped.
    #[inline(never)]
    pub fn part(&mut self, arrived: Used<NetBuffer>) -> Option<RxFrame<NetBuffer>> {
        if self.partial.is_some() {
            return self.join(arrived.token, arrived.len);
        }
        let header = Header::decode(arrived.token.as_slice().get(..arrived.len as usize)?)?;
        let Single { checksum, segment_size } = Self::told(&header);
        // `decode` found a whole header.
        let head = Chunk {
            buffer: arrived.token,
            start: HEADER_BYTES as u32,
            len: arrived.len - HEADER_BYTES as u32,
        };
        if header.buffers > 1 {
            self.begin(header.buffers, RxFrame { segment_size, ..RxFrame::single(head, checksum) });
        }
        None
    }

    #[inline(always)]
    fn told(header: &Header) -> Single {
        let checksum = match (header.partial_checksum, header.checksum_valid) {
            (Some(_), _) => RxChecksum::Partial,
            (None, true) => RxChecksum::Valid,
            (None, false) => RxChecksum::Unknown,
        };
        Single { checksum, segment_size: header.segments.map_or(0, |(_, size)| size) }
    }

    /// The first buffer of a packet in several has come.
    fn begin(&mut self, buffers: u16, mut frame: RxFrame<NetBuffer>) {
        // More than there are: nonsense, and waiting for them would collect memory without end.
        if buffers <= self.queue.size() {
            // A packet that there is no memory for loses the parts that don't fit; its checksum tells.
            let _ = frame.rest.make_room(buffers.min(self.target) as usize - 1);
            self.partial = Some((frame, buffers - 1));
        }
    }

    /// The next buffer of a packet in several; gives the packet if it is the last.
    fn join(&mut self, buffer: NetBuffer, len: u32) -> Option<RxFrame<NetBuffer>> {
        let (mut frame, missing) = self.partial.take()?;
        if let Some(chunk) = Chunk::new(buffer, 0, len as usize) {
            let _ = frame.rest.try_push(chunk);
        }
        if missing > 1 {
            self.partial = Some((frame, missing - 1));
            return None;
        }
        Some(frame)
    }

    /// Whether the device has so few buffers left that a packet had better not be kept. Half of them are more than a joined
    /// packet of 64 KiB needs: with less the device would wait, and what gives memory back would wait behind.
    #[inline(always)]
    pub fn starving(&self) -> bool {
        self.queue.outstanding() < self.target / 2
    }

    /// The same after new buffers were asked for.
    #[cold]
    #[inline(never)]
    pub fn starves(&mut self) -> bool {
        self.refill();
        self.starving()
    }
}

/// The buffers of a packet in several fragments; boxed, because such packets are rare and their record should be as
/// small as that of others.
struct Several(#[expect(dead_code, reason = "held until the device is done")] Vec<NetBuffer>);

/// Buffers that a packet on its way out holds.
enum Held {
    None,
    One { _buffer: NetBuffer },
    Many { _buffers: Box<Several> },
}

/// Bytes of a slot's header area: a virtio header and the longest Ethernet, IPv4 and TCP headers (14 + 60 + 60).
const SLOT_BYTES: usize = 256;
/// Slots in a packet buffer.
const SLOTS_PER_BUFFER: usize = PacketBuffer::SIZE / SLOT_BYTES;
/// Completed packets are looked at when this many are out: often enough to keep the buffers warm, seldom enough to
/// cost little for each.
const RECLAIM_AT: u16 = 24;

/// The piece of a chain that a fragment is.
#[inline(always)]
fn piece(fragment: &Fragment<'_, NetBuffer>) -> Piece {
    let address = fragment.buffer.phys() + u64::from(fragment.start);
    Piece { address, len: fragment.len, writable: false }
}

/// Most payload fragments of a packet: 64 KiB in buffers of 2 KiB, with room for partly filled ones. A device's
/// chains may have 1024 pieces at most (QEMU's VIRTQUEUE_MAX_SIZE), and no more than its queue has descriptors.
pub const MAX_FRAGMENTS: usize = 62;

/// Descriptors of the transmit queue, where the driver may choose.
const TRANSMIT_SIZE: u16 = 256;
/// Most pieces of a packet: its fragments, the headers, and the virtio header where it is apart.
const MAX_PIECES: u16 = MAX_FRAGMENTS as u16 + 2;
/// Indirect tables: one for so many descriptors, but at least and at most so many.
const TABLE_SHARE: u16 = 16;
const TABLES_MIN: u16 = 2;
const TABLES_MAX: u16 = TRANSMIT_SIZE / TABLE_SHARE;

/// The transmit queue. Completions raise no interrupt: they are looked for when room is needed.
pub struct Transmit {
    queue: Queue<Held>,
    /// Memory for headers, by slot; grown as slots are used.
    headers: Vec<PacketBuffer>,
    /// Somebody found the queue full and waits for room.
    wanted: bool,
    /// Packets of many buffers may be in the queue.
    holds_many: bool,
    framing: Framing,
}

impl Transmit {
    /// Sets the queue up. `indirect`: VIRTIO_F_INDIRECT_DESC was negotiated.
    pub fn new(
        transport: &Transport,
        indirect: bool,
        event_index: bool,
        framing: Framing,
    ) -> Result<(Transmit, Doorbell), SetupError> {
        let size = transport.queue_size(queue::TRANSMIT, TRANSMIT_SIZE);
        let tables = if indirect { (size / TABLE_SHARE).clamp(TABLES_MIN, TABLES_MAX) } else { 0 };
        let layout = transport.layout(size, tables, MAX_PIECES)?;
        let queue = QueueMemory::queue::<Held>(layout, event_index).ok_or(SetupError::Memory)?;
        let doorbell = transport.start_queue(queue::TRANSMIT, queue.addresses(), queue.size())?;
        Ok((Transmit { queue, headers: Vec::new(), wanted: false, holds_many: false, framing }, doorbell))
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// Queues a frame. The device sees it after [`Transmit::publish`].
    pub fn transmit(&mut self, frame: TxFrame<'_, NetBuffer>) -> Result<(), Full> {
        let lead = self.lead();
        self.make_room(frame.payload.len() + lead)?;
        let first = self.write_headers(frame.headers, frame.checksum, frame.segment_size)?;
        let added = match frame.payload {
            [] if lead == 1 => self.queue.add_one(first, Held::None),
            [one] if lead == 1 => {
                self.queue.add_two(first, piece(one), Held::One { _buffer: one.buffer.clone() })
            }
            many => {
                self.holds_many = true;
                let buffers = many.iter().map(|f| f.buffer.clone()).try_collect_exact();
                let several = buffers.and_then(|buffers| try_box(Several(buffers)));
                let held = Held::Many { _buffers: several.map_err(|_| Full)? };
                if lead == 1 {
                    let piece = |i: usize| if i == 0 { first } else { piece(&many[i - 1]) };
                    self.queue.add((0..1 + many.len()).map(piece), held)
                } else {
                    self.add_framed(first, many, held)
                }
            }
        };
        // A broken queue swallows frames: the device is dead, and nothing will make room.
        let _ = added;
        Ok(())
    }

    /// Most pieces that headers take.
    #[inline(always)]
    fn lead(&self) -> usize {
        if self.framing.is_modern() { 1 } else { 2 }
    }

    /// Adds the chain of a packet for a device that is not modern; `all` holds a virtio header and the others. The virtio header
    /// gets a descriptor of its own, which is right for all legacy devices.
    #[cold]
    #[inline(never)]
    fn add_framed(
        &mut self,
        all: Piece,
        payload: &[Fragment<'_, NetBuffer>],
        held: Held,
    ) -> Result<u16, AddError<Held>> {
        let virtio = Piece { len: self.framing.header_bytes() as u32, ..all };
        let others = Piece {
            address: all.address + HEADER_BYTES as u64,
            len: all.len - HEADER_BYTES as u32,
            writable: false,
        };
        let mut pieces = [virtio; MAX_PIECES as usize];
        pieces[1] = others;
        // A piece must not be empty: the other headers may stand before the payload.
        let lead = if others.len > 0 { 2 } else { 1 };
        let count = lead + payload.len();
        let room = pieces.get_mut(lead..count).into_iter().flatten();
        room.zip(payload).for_each(|(room, fragment)| *room = piece(fragment));
        // More pieces than the queue takes are an error of the engine's; the frame never goes.
        self.queue.add_slice(pieces.get(..count).unwrap_or_default(), held)
    }

    /// Whether a frame may be sent by [`Transmit::transmit_in_place`].
    pub fn takes_in_place(&self) -> bool {
        self.framing.is_modern()
    }

    /// The same for a frame that stands in a buffer as a whole: its virtio header is written before it, and one
    /// descriptor takes both. Only if [`Transmit::takes_in_place`].
    #[inline(always)]
    pub fn transmit_in_place(
        &mut self,
        buffer: &mut NetBuffer,
        start: u32,
        len: u32,
        checksum: Option<PartialChecksum>,
    ) -> Result<(), Full> {
        const { assert!(HEADER_BYTES <= DRIVER_ROOM) };
        self.make_room(1)?;
        let start = start as usize - HEADER_BYTES;
        let room =
            buffer.as_mut_slice().and_then(|all| all.get_mut(start..start + HEADER_BYTES)).ok_or(Full)?;
        room.copy_from_slice(&Self::header(0, checksum, None).encode());
        let piece =
            Piece { address: buffer.phys() + start as u64, len: len + HEADER_BYTES as u32, writable: false };
        let _ = self.queue.add_one(piece, Held::One { _buffer: buffer.clone() });
        Ok(())
    }

    /// The virtio header of a frame.
    #[inline(always)]
    fn header(headers_len: usize, checksum: Option<PartialChecksum>, segment_size: Option<u16>) -> Header {
        Header {
            partial_checksum: checksum.map(|c| (c.start, c.offset)),
            checksum_valid: false,
            segments: segment_size.map(|size| (headers_len as u16, size)),
            buffers: 0,
        }
    }

    /// Sees to it that a chain of `pieces` fits.
    #[inline(always)]
    fn make_room(&mut self, pieces: usize) -> Result<(), Full> {
        if self.queue.outstanding() >= RECLAIM_AT {
            self.reclaim();
        }
        if self.queue.fits(pieces) { Ok(()) } else { self.force_room(pieces) }
    }

    #[cold]
    #[inline(never)]
    fn force_room(&mut self, pieces: usize) -> Result<(), Full> {
        self.reclaim();
        if self.queue.fits(pieces) {
            return Ok(());
        }
        self.wanted = true;
        Err(Full)
    }

    /// Writes the virtio header and the others into the memory of the next slot; gives the piece that they are.
    fn write_headers(
        &mut self,
        headers: &[u8],
        checksum: Option<PartialChecksum>,
        segment_size: Option<u16>,
    ) -> Result<Piece, Full> {
        let header = Self::header(headers.len(), checksum, segment_size);
        let slot = self.queue.next_slot().ok_or(Full)? as usize;
        let (index, offset) = (slot / SLOTS_PER_BUFFER, slot % SLOTS_PER_BUFFER * SLOT_BYTES);
        if index >= self.headers.len() {
            self.grow_headers(index)?;
        }
        let buffer = self.headers.get_mut(index).ok_or(Full)?;
        let address = buffer.phys() + offset as u64;
        let area = &mut buffer.as_mut_slice()[offset..offset + SLOT_BYTES];
        area[..HEADER_BYTES].copy_from_slice(&header.encode());
        let len = HEADER_BYTES + headers.len();
        // Longer headers than IPv4 and TCP can have would be an error of the engine's; the frame never goes.
        area.get_mut(HEADER_BYTES..len).ok_or(Full)?.copy_from_slice(headers);
        Ok(Piece { address, len: len as u32, writable: false })
    }

    #[cold]
    #[inline(never)]
    fn grow_headers(&mut self, index: usize) -> Result<(), Full> {
        while self.headers.len() <= index {
            self.headers.try_push(PacketBuffer::alloc().ok_or(Full)?).map_err(|_| Full)?;
        }
        Ok(())
    }

    /// Shows the device the frames queued since the last time. True if it must be told by the doorbell.
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Frees what the device has sent.
    pub fn reclaim(&mut self) {
        while let Ok(Some(_)) = self.queue.pop() {}
    }

    /// Whether the device has sent everything.
    pub fn is_drained(&mut self) -> bool {
        self.reclaim();
        self.queue.outstanding() == 0
    }

    /// Before a sleep: frees what is sent if that may be much, and if the queue was full, asks for an interrupt when there
    /// is room. True if there is some already: then the engine can go on.
    #[inline(always)]
    pub fn arm(&mut self) -> bool {
        (self.wanted || self.holds_many) && self.arm_after_many()
    }

    #[inline(never)]
    fn arm_after_many(&mut self) -> bool {
        self.reclaim();
        self.holds_many &= self.queue.outstanding() > 0;
        if self.wanted && self.queue.room() > self.queue.size() / 4 {
            self.wanted = false;
            return true;
        }
        self.wanted && self.queue.request_interrupt()
    }
}
