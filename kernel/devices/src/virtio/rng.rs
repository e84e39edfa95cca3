//! Entropy device (virtio 1.2, section 5.4): asked once at boot, answered whenever the host likes.
use coracle_core::lock::Mutex;
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::virtio::queue::Queue;
use coracle_hal::virtio::transport::{Doorbell, SetupError, Transport};
use coracle_virtio::device::{features, id};

/// The only queue.
const REQUESTS: u16 = 0;
/// Bytes asked for: twice what keys a generator of 256 bits.
const WANTED: usize = 64;
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
        let size = transport.queue_size(REQUESTS, QUEUE_SIZE);
        let (queue, doorbell) = transport.queue(REQUESTS, size, agreed & features::EVENT_IDX != 0)?;
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
        if state.queue.offer(buffer, 0..WANTED) && state.queue.publish() {
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
