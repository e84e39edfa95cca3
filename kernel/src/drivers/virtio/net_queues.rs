//! The two queues of a network device: buffers that wait for packets, and packets on their way out.
use super::transport::Doorbell;
use super::{Queue, QueueMemory};
use crate::drivers::buffer::NetBuffer;
use alloc::vec::Vec;
use coracle_hal::dma::PacketBuffer;
use coracle_tcpip::{Buffer, Chunk, Full, RxChecksum, RxFrame, TxFrame};
use coracle_virtio::device::net::{HEADER_BYTES, Header};
use coracle_virtio::queue::{Layout, Piece, QueueError};

/// Buffers that may be missing before they are replaced.
const REFILL_AT: u16 = 16;
/// Smallest Ethernet frame that means something: its header.
const ETHERNET_HEADER: usize = 14;

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
}

impl Receive {
    /// A queue that holds `target` buffers once [`Receive::refill`] ran.
    pub fn new(queue: Queue<NetBuffer>, doorbell: Doorbell, target: u16) -> Self {
        let target = target.min(queue.size());
        Receive { queue, doorbell, target, partial: None, armed: false }
    }

    /// Gives the device buffers once it lacks some number of them, so that the cost of doing so is shared.
    #[inline]
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

    fn offer(&mut self, buffer: NetBuffer) -> bool {
        let piece = Piece { address: buffer.phys(), len: NetBuffer::SIZE as u32, writable: true };
        self.queue.add(core::iter::once(piece), buffer).is_ok()
    }

    /// Whether a packet has come.
    #[inline]
    pub fn pending(&self) -> bool {
        self.queue.has_used()
    }

    /// Says that nobody waits for an interrupt.
    #[inline]
    pub fn disarm(&mut self) {
        if core::mem::take(&mut self.armed) {
            self.queue.suppress_interrupts();
        }
    }

    /// Asks for an interrupt with the next packet; true if one is there already.
    pub fn arm(&mut self) -> bool {
        self.armed = true;
        self.queue.request_interrupt()
    }

    /// The next packet. A frame that makes no sense is dropped; a device that breaks the rules is an error.
    #[inline]
    pub fn next(&mut self) -> Result<Option<RxFrame<NetBuffer>>, QueueError> {
        loop {
            let Some(used) = self.queue.pop()? else { return Ok(None) };
            let (buffer, len) = (used.token, used.len);
            if let Some((mut frame, missing)) = self.partial.take() {
                if let Some(chunk) = Chunk::new(buffer, 0, len as usize) {
                    frame.rest.push(chunk);
                }
                if missing > 1 {
                    self.partial = Some((frame, missing - 1));
                    continue;
                }
                return Ok(Some(frame));
            }
            let Some(header) = Header::decode(&buffer.as_slice()[..len as usize]) else { continue };
            let Some(head) = Chunk::new(buffer, HEADER_BYTES, (len as usize).saturating_sub(HEADER_BYTES))
            else {
                continue;
            };
            let checksum = match (header.partial_checksum, header.checksum_valid) {
                (Some(_), _) => RxChecksum::Partial,
                (None, true) => RxChecksum::Valid,
                (None, false) => RxChecksum::Unknown,
            };
            let mut frame = RxFrame::single(head, checksum);
            frame.segment_size = header.segments.map_or(0, |(_, size)| size);
            if header.buffers > self.queue.size() {
                // More than there are: nonsense, and waiting for them would collect memory without end.
                continue;
            }
            if header.buffers > 1 {
                frame.rest = Vec::with_capacity(header.buffers.min(self.target) as usize - 1);
                self.partial = Some((frame, header.buffers - 1));
                continue;
            }
            if frame.len() >= ETHERNET_HEADER {
                return Ok(Some(frame));
            }
        }
    }

    /// Whether the device has so few buffers left that a packet had better be dropped than kept.
    #[inline]
    pub fn starving(&self) -> bool {
        self.queue.outstanding() < self.target / 4
    }
}

/// Buffers that a packet on its way out holds.
enum Held {
    None,
    One { _buffer: NetBuffer },
    Many { _buffers: Vec<NetBuffer> },
}

/// Bytes of a slot's header area: a virtio header and the longest Ethernet, IPv4 and TCP headers (14 + 60 + 60).
const SLOT_BYTES: usize = 256;
/// Slots in a packet buffer.
const SLOTS_PER_BUFFER: usize = PacketBuffer::SIZE / SLOT_BYTES;
/// Completed packets are looked at when this many are out: often enough to keep the buffers warm, seldom enough to
/// cost little for each.
const RECLAIM_AT: u16 = 24;
/// Most payload fragments of a packet: 64 KiB in buffers of 2 KiB, with room for partly filled ones. A device's
/// chains may have 1024 pieces at most (QEMU's VIRTQUEUE_MAX_SIZE), and no more than its queue has descriptors.
pub const MAX_FRAGMENTS: usize = 62;

/// The transmit queue. Completions raise no interrupt: they are looked for when room is needed.
pub struct Transmit {
    queue: Queue<Held>,
    doorbell: Doorbell,
    /// Memory for headers, by slot; grown as slots are used.
    headers: Vec<PacketBuffer>,
    /// Somebody found the queue full and waits for room.
    wanted: bool,
}

impl Transmit {
    /// The layout of a transmit queue of `size` descriptors.
    pub fn layout(size: u16, indirect: bool) -> Option<Layout> {
        let tables = if indirect { (size / 16).max(2) } else { 0 };
        Layout::new(size, tables, MAX_FRAGMENTS as u16 + 1)
    }

    /// Makes the queue, and lets `start` give it to the device.
    pub fn new<E>(
        layout: Layout,
        event_index: bool,
        no_memory: E,
        start: impl FnOnce([u64; 3], u16) -> Result<Doorbell, E>,
    ) -> Result<Transmit, E> {
        let queue = QueueMemory::queue::<Held>(layout, event_index).ok_or(no_memory)?;
        let doorbell = start(queue.addresses(), queue.size())?;
        Ok(Transmit { queue, doorbell, headers: Vec::new(), wanted: false })
    }

    /// Queues a frame. The device is told by [`Transmit::flush`].
    #[inline]
    pub fn transmit(&mut self, frame: TxFrame<'_, NetBuffer>) -> Result<(), Full> {
        if self.queue.outstanding() >= RECLAIM_AT {
            self.reclaim();
        }
        let pieces = frame.payload.len() + 1;
        if !self.queue.fits(pieces) {
            self.reclaim();
            if !self.queue.fits(pieces) {
                self.wanted = true;
                return Err(Full);
            }
        }
        let header = Header {
            partial_checksum: frame.checksum.map(|c| (c.start, c.offset)),
            checksum_valid: false,
            segments: frame.segment_size.map(|size| (frame.headers.len() as u16, size)),
            buffers: 0,
        };
        let len = HEADER_BYTES + frame.headers.len();
        let slot = self.queue.next_slot().ok_or(Full)? as usize;
        let (index, offset) = (slot / SLOTS_PER_BUFFER, slot % SLOTS_PER_BUFFER * SLOT_BYTES);
        while self.headers.len() <= index {
            self.headers.push(PacketBuffer::alloc().ok_or(Full)?);
        }
        let area = &mut self.headers[index].as_mut_slice()[offset..offset + SLOT_BYTES];
        area[..HEADER_BYTES].copy_from_slice(&header.encode());
        // Longer headers than IPv4 and TCP can have would be an error of the engine's; the frame is dropped.
        let Some(room) = area.get_mut(HEADER_BYTES..len) else { return Ok(()) };
        room.copy_from_slice(frame.headers);
        let first =
            Piece { address: self.headers[index].phys() + offset as u64, len: len as u32, writable: false };
        let piece = |f: &coracle_tcpip::Fragment<'_, NetBuffer>| Piece {
            address: f.buffer.phys() + u64::from(f.start),
            len: f.len,
            writable: false,
        };
        let added = match frame.payload {
            [] => self.queue.add([first].into_iter(), Held::None),
            [one] => {
                self.queue.add([first, piece(one)].into_iter(), Held::One { _buffer: one.buffer.clone() })
            }
            many => {
                let held = Held::Many { _buffers: many.iter().map(|f| f.buffer.clone()).collect() };
                let pieces = (0..pieces).map(|i| if i == 0 { first } else { piece(&many[i - 1]) });
                self.queue.add(pieces, held)
            }
        };
        // A broken queue swallows frames: the device is dead, and nothing will make room.
        let _ = added;
        Ok(())
    }

    /// Rings the doorbell if the device must be told of frames queued since the last time.
    #[inline]
    pub fn flush(&mut self) {
        if self.queue.publish() {
            self.doorbell.ring();
        }
    }

    /// Frees what the device has sent.
    pub fn reclaim(&mut self) {
        while let Ok(Some(_)) = self.queue.pop() {}
    }

    /// Before a sleep: frees what is sent, and if the queue was full, asks for an interrupt when there is room. True if
    /// there is some already: then the engine can go on.
    pub fn arm(&mut self) -> bool {
        self.reclaim();
        if self.wanted && self.queue.room() > self.queue.size() / 4 {
            self.wanted = false;
            return true;
        }
        self.wanted && self.queue.request_interrupt()
    }
}
