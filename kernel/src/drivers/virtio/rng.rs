//! Entropy device (virtio 1.2, section 5.4): asked once at boot, answered whenever the host likes.
use super::transport::{Doorbell, SetupError, Transport};
use super::{Queue, QueueMemory};
use crate::lock::Mutex;
use coracle_hal::dma::PacketBuffer;
use coracle_virtio::device::{features, id};
use coracle_virtio::queue::Piece;

/// The only queue.
const REQUESTS: u16 = 0;
/// Bytes asked for: twice what keys a generator of 256 bits.
const WANTED: u32 = 64;
/// Requests out at a time, for which the queue needs one descriptor.
const QUEUE_SIZE: u16 = 1;

/// The device.
pub struct Rng {
    transport: Transport,
    state: Mutex<State>,
}

struct State {
    queue: Queue<PacketBuffer>,
    doorbell: Doorbell,
}

impl Rng {
    /// Sets the device up and asks it for entropy.
    pub fn new(transport: Transport) -> Result<Rng, SetupError> {
        debug_assert_eq!(transport.device_type(), id::ENTROPY);
        let agreed = transport.negotiate(features::EVENT_IDX)?;
        let layout = transport.layout(transport.queue_size(REQUESTS, QUEUE_SIZE), 0, 0)?;
        let queue =
            QueueMemory::queue(layout, agreed & features::EVENT_IDX != 0).ok_or(SetupError::Memory)?;
        let doorbell = transport.start_queue(REQUESTS, queue.addresses(), queue.size())?;
        transport.start();
        let rng = Rng { transport, state: Mutex::new(State { queue, doorbell }) };
        rng.ask();
        Ok(rng)
    }

    /// Asks for more.
    pub fn ask(&self) {
        let mut state = self.state.lock();
        if state.queue.outstanding() > 0 {
            return;
        }
        let Some(buffer) = PacketBuffer::alloc() else { return };
        let piece = Piece { address: buffer.phys(), len: WANTED, writable: true };
        let added = state.queue.add_one(piece, buffer).is_ok();
        if added && state.queue.publish() {
            state.doorbell.ring();
        }
    }

    /// Hands entropy that has come to `sink`.
    pub fn take(&self, sink: impl FnOnce(&[u8])) {
        self.transport.acknowledge();
        let Some(mut state) = self.state.try_lock() else { return };
        if let Ok(Some(used)) = state.queue.pop() {
            let mut buffer = used.token;
            sink(&buffer.as_slice()[..used.len as usize]);
            buffer.as_mut_slice()[..used.len as usize].fill(0);
        }
    }
}
