//! Socket device (virtio 1.2, section 5.10): carries packets, whose headers it looks at only to put short ones together.
//!
//! What is sent waits here when the queue is full. While much does, sockets send no more bytes, and nothing more is taken from the device,
//! which so can't have answers to what it sends grow without end.
use alloc::collections::VecDeque;
use coracle_core::lock::Mutex;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use coracle_hal::virtio::queue::Queue;
use coracle_hal::virtio::transport::{Doorbell, SetupError, Transport};
use coracle_virtio::device::vsock::{EVENT_BYTES, config, features as vsock_features, queue};
use coracle_virtio::device::{features, id};
use coracle_virtio::queue::QueueError;

/// Descriptors of the queues for packets: as many buffers wait for what is received.
const PACKETS: u16 = 64;
/// Events that the device may have to say at a time.
const EVENTS: u16 = 4;
/// Packets that may wait before nothing more is received.
const MANY: usize = 256;
/// Packets that may wait before sockets should send no more ([`Vsock::is_full`]).
const FULL: usize = 2 * MANY;

/// The device.
pub struct Vsock {
    transport: Transport,
    cid: AtomicU32,
    has_packets: bool,
    receive: Mutex<Half>,
    transmit: Mutex<Transmit>,
    event: Mutex<Half>,
    /// Something may have come that was not taken, because too much waited.
    is_paused: AtomicBool,
    /// [`Vsock::is_full`] was true: the sink is to hear when it is not.
    was_full: AtomicBool,
}

/// A packet and its bytes.
pub type Packet = (PacketBuffer, usize);

/// A queue with its doorbell.
struct Half {
    queue: Queue<PacketBuffer>,
    doorbell: Doorbell,
}

struct Transmit {
    half: Half,
    /// What there was no room for.
    waiting: VecDeque<Packet>,
}

/// What the sockets do with what comes.
pub trait Sink {
    /// A packet of so many bytes has come. What is left in its place is given to the device again.
    fn packet(&self, buffer: &mut PacketBuffer, len: usize);
    /// The guest has another CID, or the device has failed: there are no connections any more.
    fn reset(&self);
    /// The device is full no more.
    fn has_room(&self);
}

impl Half {
    fn ring(&mut self) {
        if self.queue.publish() {
            self.doorbell.ring();
        }
    }

    /// Gives the device `count` buffers for what it writes. ENOMEM.
    fn fill(&mut self, count: u16, len: usize) -> Result<(), SetupError> {
        for _ in 0..count {
            let buffer = PacketBuffer::alloc().ok_or(SetupError::Memory)?;
            self.queue.offer(buffer, 0..len);
        }
        self.ring();
        self.queue.request_interrupt();
        Ok(())
    }

    /// Hands each buffer that the device has written to `take`, as long as `more` says so, and gives it back to the device. False: the
    /// device broke the rules.
    fn take(
        &mut self,
        len: usize,
        mut more: impl FnMut() -> bool,
        mut take: impl FnMut(&mut PacketBuffer, usize),
    ) -> bool {
        let is_whole = loop {
            if !more() {
                break true;
            }
            match self.queue.pop() {
                Ok(Some(used)) => {
                    let mut buffer = used.token;
                    take(&mut buffer, used.len as usize);
                    self.queue.offer(buffer, 0..len);
                }
                Ok(None) if self.queue.request_interrupt() => {}
                Ok(None) | Err(QueueError::Broken) => break true,
                Err(error) => {
                    log!("the socket device is gone: {error}");
                    break false;
                }
            }
        };
        self.ring();
        is_whole
    }
}

impl Transmit {
    /// Moves what waits to the queue, as far as there is room, and drops what the device is done with.
    fn advance(&mut self) {
        while let Ok(Some(_)) = self.half.queue.pop() {}
        while self.half.queue.room() > 0
            && let Some((buffer, len)) = self.waiting.pop_front()
        {
            self.half.queue.send(buffer, len);
        }
    }
}

impl Vsock {
    /// Sets the device up.
    pub fn new(transport: Transport) -> Result<Vsock, SetupError> {
        debug_assert_eq!(transport.device_type(), id::VSOCK);
        let wanted = features::EVENT_IDX | vsock_features::STREAM | vsock_features::SEQPACKET;
        let agreed = transport.negotiate(wanted)?;
        let half = |index, most| {
            let size = transport.queue_size(index, most);
            let (queue, doorbell) = transport.queue(index, size, agreed & features::EVENT_IDX != 0)?;
            Ok(Half { queue, doorbell })
        };
        let mut receive: Half = half(queue::RECEIVE, PACKETS)?;
        let transmit: Half = half(queue::TRANSMIT, PACKETS)?;
        let mut event: Half = half(queue::EVENT, EVENTS)?;
        transport.start();
        let (packets, events) = (receive.queue.size(), event.queue.size());
        receive.fill(packets, PacketBuffer::SIZE)?;
        event.fill(events, EVENT_BYTES)?;
        transmit.queue.suppress_interrupts();
        let cid = transport.config_u32(config::GUEST_CID);
        Ok(Vsock {
            transport,
            cid: AtomicU32::new(cid),
            has_packets: agreed & vsock_features::SEQPACKET != 0,
            receive: Mutex::new(receive),
            transmit: Mutex::new(Transmit { half: transmit, waiting: VecDeque::new() }),
            event: Mutex::new(event),
            is_paused: AtomicBool::new(false),
            was_full: AtomicBool::new(false),
        })
    }

    /// The guest's CID.
    pub fn cid(&self) -> u32 {
        self.cid.load(Ordering::Relaxed)
    }

    /// Whether it carries SOCK_SEQPACKET.
    pub fn has_packets(&self) -> bool {
        self.has_packets
    }

    /// Sends packets after [`Vsock::kick`], all of them or none. `join` may put the first behind the packet that was sent before, if that still
    /// waits, and returns whether it has.
    pub fn send(
        &self,
        packets: impl ExactSizeIterator<Item = Packet>,
        join: fn(&mut Packet, &Packet) -> bool,
    ) -> Result<(), NoMemory> {
        let waiting = &mut self.transmit.lock().waiting;
        waiting.make_room_for(waiting.len() + packets.len())?;
        for packet in packets {
            if !waiting.back_mut().is_some_and(|last| join(last, &packet)) {
                waiting.push_back_reserved(packet);
            }
        }
        Ok(())
    }

    /// Whether so much waits that sockets should wait for [`Sink::has_room`].
    pub fn is_full(&self) -> bool {
        let transmit = self.transmit.lock();
        let is_full = transmit.waiting.len() >= FULL;
        if is_full {
            self.was_full.store(true, Ordering::Relaxed);
        }
        is_full
    }

    /// Shows the device what was sent, and takes what had to wait for it.
    pub fn kick(&self, sink: &impl Sink) {
        while self.flush() < MANY && self.is_paused.swap(false, Ordering::Relaxed) {
            self.receive(sink);
        }
        if self.was_full.load(Ordering::Relaxed) && !self.is_full() {
            self.was_full.store(false, Ordering::Relaxed);
            sink.has_room();
        }
    }

    /// Shows the device what was sent. Returns how many packets wait.
    fn flush(&self) -> usize {
        let mut transmit = self.transmit.lock();
        loop {
            transmit.advance();
            transmit.half.ring();
            // An interrupt is of use only when it makes room for what waits.
            if transmit.waiting.is_empty() {
                transmit.half.queue.suppress_interrupts();
                return 0;
            }
            if !transmit.half.queue.request_interrupt() {
                return transmit.waiting.len();
            }
        }
    }

    /// Takes what has come, as long as there is room for answers.
    fn receive(&self, sink: &impl Sink) {
        let has_room = || {
            let has_room = self.transmit.lock().waiting.len() < MANY;
            self.is_paused.store(!has_room, Ordering::Relaxed);
            has_room
        };
        let take = |buffer: &mut PacketBuffer, len| sink.packet(buffer, len);
        if !self.receive.lock().take(PacketBuffer::SIZE, has_room, take) {
            sink.reset();
        }
    }

    /// Takes what has come, if the device has interrupted.
    pub fn poll(&self, sink: &impl Sink) {
        if !self.transport.acknowledge() {
            return;
        }
        let mut has_event = false;
        // There is one kind of event (section 5.10.6.7): the guest may have moved.
        self.event.lock().take(EVENT_BYTES, || true, |_, _| has_event = true);
        if has_event {
            self.cid.store(self.transport.config_u32(config::GUEST_CID), Ordering::Relaxed);
            sink.reset();
        }
        self.receive(sink);
        self.kick(sink);
    }
}
