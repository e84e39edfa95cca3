//! The two queues of a network device: buffers that wait for packets, and packets on their way out.
use crate::buffer::NetBuffer;
use crate::capture;
use coracle_fallible::prelude::*;
use coracle_hal::io::dma::SharedBuffer;
use coracle_hal::virtio::packets::Packets;
use coracle_hal::virtio::queue::Queue;
use coracle_hal::virtio::transport::{Doorbell, SetupError, Transport};
use coracle_tcpip::{
    Buffer, Chunk, DRIVER_ROOM, Fragment, Full, PartialChecksum, RxChecksum, RxFrame, Traffic, TxFrame,
};
use coracle_virtio::device::net::{Framing, HEADER_BYTES, Header, SHORT_HEADER_BYTES, lengthen, queue};
use coracle_virtio::queue::{QueueError, Used};

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
    queue: Queue<SharedBuffer>,
    doorbell: Doorbell,
    /// Buffers that the queue is to hold.
    target: u16,
    /// A packet of which not all buffers have come back: what there is, and how many are missing.
    partial: Option<(RxFrame<NetBuffer>, u16)>,
    /// An interrupt was asked for.
    armed: bool,
    framing: Framing,
    /// What came.
    pub traffic: Traffic,
    /// With fewer buffers than this a packet had better not be kept; [`u16::MAX`] while packets are captured.
    starving_below: u16,
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
        let (queue, doorbell) = transport.queue(queue::RECEIVE, size, event_index)?;
        // A header apart takes a descriptor of its own.
        let target = target.min(if framing.apart { size / 2 } else { size });
        let traffic = Traffic::default();
        let starving_below = Self::least_of(target);
        Ok(Receive { queue, doorbell, target, partial: None, armed: false, framing, traffic, starving_below })
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
        self.queue.offer(buffer.into_shared(), 0..NetBuffer::SIZE)
    }

    /// The same where the header is not that of modern devices: its end is where theirs is.
    #[cold]
    #[inline(never)]
    fn offer_framed(&mut self, buffer: NetBuffer) -> bool {
        let range = HEADER_BYTES - self.framing.header_bytes()..NetBuffer::SIZE;
        if self.framing.apart {
            self.queue.offer_in_two(buffer.into_shared(), range, HEADER_BYTES)
        } else {
            self.queue.offer(buffer.into_shared(), range)
        }
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
        let Some(Used { token, len, slot }) = self.queue.pop()? else { return Ok(None) };
        let mut arrived = Used { token: NetBuffer::from(token), len, slot };
        if self.framing.short {
            Self::lengthen_header(&mut arrived);
        }
        Ok(Some(arrived))
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
        let Some(header) = arrived.token.as_slice().get(..arrived.len as usize).and_then(Header::decode)
        else {
            self.traffic.errors += 1;
            return None;
        };
        let Single { checksum, segment_size } = Self::told(&header);
        // `decode` found a whole header.
        let head = Chunk {
            buffer: arrived.token,
            start: HEADER_BYTES as u32,
            len: arrived.len - HEADER_BYTES as u32,
        };
        if header.buffers > 1 {
            self.begin(header.buffers, RxFrame { segment_size, ..RxFrame::single(head, checksum) });
        } else {
            self.traffic.errors += 1;
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
        } else {
            self.traffic.errors += 1;
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

    /// Half of the buffers are more than a joined packet of 64 KiB needs: with less the device would wait, and what gives memory back
    /// would wait behind.
    fn least_of(target: u16) -> u16 {
        target / 2
    }

    /// Has each packet shown to what captures them, or not any more.
    pub fn watch(&mut self, on: bool) {
        self.starving_below = if on { u16::MAX } else { Self::least_of(self.target) };
    }

    /// Whether the device has so few buffers left that a packet had better not be kept, or packets are captured.
    #[inline(always)]
    pub fn starving(&self) -> bool {
        self.queue.outstanding() < self.starving_below
    }

    /// The first of the two, after new buffers were asked for. Shows the packet, whose first part and others these are, if it is to be
    /// captured.
    #[cold]
    #[inline(never)]
    pub fn starves(&mut self, head: &Chunk<NetBuffer>, rest: &[Chunk<NetBuffer>]) -> bool {
        if self.starving_below == u16::MAX {
            capture::received(head, rest);
        }
        let least = Self::least_of(self.target);
        if self.queue.outstanding() < least {
            self.refill();
        }
        self.queue.outstanding() < least
    }
}

/// Completed packets are looked at when this many are out: often enough to keep the buffers warm, seldom enough to
/// cost little for each.
const RECLAIM_AT: u16 = 24;

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
    queue: Packets,
    /// Somebody found the queue full and waits for room.
    wanted: bool,
    /// Packets of many buffers may be in the queue.
    holds_many: bool,
    framing: Framing,
    /// What was queued.
    pub traffic: Traffic,
    /// With so many out, completed packets are looked at: [`RECLAIM_AT`], or 0 while packets are captured.
    reclaim_at: u16,
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
        let (queue, doorbell) =
            transport.packets(queue::TRANSMIT, size, (tables, MAX_PIECES), event_index)?;
        let traffic = Traffic::default();
        let reclaim_at = RECLAIM_AT;
        Ok((Transmit { queue, wanted: false, holds_many: false, framing, traffic, reclaim_at }, doorbell))
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// Queues a frame. The device sees it after [`Transmit::publish`].
    pub fn transmit(&mut self, frame: TxFrame<'_, NetBuffer>) -> Result<(), Full> {
        let lead = self.lead();
        self.make_room(frame.payload.len() + lead, || capture::sent(&frame))?;
        let header = Self::header(frame.headers.len(), frame.checksum, frame.segment_size).encode();
        let queued = match frame.payload {
            [] if lead == 1 => self.queue.send(&header, frame.headers),
            [one] if lead == 1 => {
                self.queue.send_with(&header, frame.headers, (one.buffer.shared(), one.start, one.len))
            }
            many => {
                self.holds_many = true;
                let apart = if lead == 1 { 0 } else { self.framing.header_bytes() };
                let fragments = many.iter().map(|f| (f.buffer.shared().clone(), f.start, f.len));
                self.queue.send_many(&header, frame.headers, apart, fragments)
            }
        };
        queued.map_err(|_| Full)?;
        self.traffic.add(frame.len());
        Ok(())
    }

    /// Most pieces that headers take.
    #[inline(always)]
    fn lead(&self) -> usize {
        if self.framing.is_modern() { 1 } else { 2 }
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
        // Copies, or all three would be kept in memory for what nearly never happens.
        let shown = &*buffer;
        self.make_room(1, move || {
            let payload = &[Fragment { buffer: shown, start, len }];
            capture::sent(&TxFrame { headers: &[], payload, checksum, segment_size: None });
        })?;
        let start = start as usize - HEADER_BYTES;
        let room =
            buffer.as_mut_slice().and_then(|all| all.get_mut(start..start + HEADER_BYTES)).ok_or(Full)?;
        room.copy_from_slice(&Self::header(0, checksum, None).encode());
        let all = len + HEADER_BYTES as u32;
        self.queue.send_in_place(buffer.shared(), start as u32, all).map_err(|_| Full)?;
        self.traffic.add(len as usize);
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

    /// Has each packet shown to what captures them, or not any more.
    pub fn watch(&mut self, on: bool) {
        self.reclaim_at = if on { 0 } else { RECLAIM_AT };
    }

    /// Sees to it that a chain of `pieces` fits. `show` shows the packet to what captures them.
    #[inline(always)]
    fn make_room(&mut self, pieces: usize, show: impl FnOnce()) -> Result<(), Full> {
        if self.queue.outstanding() >= self.reclaim_at {
            self.reclaim();
            if self.reclaim_at == 0 && self.queue.fits(pieces) {
                show();
            }
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

    /// Shows the device the frames queued since the last time. True if it must be told by the doorbell.
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Frees what the device has sent.
    pub fn reclaim(&mut self) {
        self.queue.reclaim();
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
