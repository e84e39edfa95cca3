//! Console device (virtio 1.2, section 5.3): one port, two queues.
use super::transport::{Doorbell, SetupError, Transport};
use super::{Queue, QueueMemory};
use coracle_hal::dma::PacketBuffer;
use coracle_virtio::device::{features, id};
use coracle_virtio::queue::{Layout, Piece};
use spin::Mutex;

/// Queues of port 0 (section 5.3.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Buffers in each: the host blocks, and nothing is lost, when they are used up.
const QUEUE_SIZE: u16 = 8;
/// Bytes offered for input at a time.
const INPUT_BYTES: u32 = 512;

/// The device.
pub struct VirtioConsole {
    transport: Transport,
    input: Mutex<Half>,
    output: Mutex<Half>,
}

struct Half {
    queue: Queue<PacketBuffer>,
    doorbell: Doorbell,
}

impl Half {
    fn new(transport: &Transport, index: u16, event_index: bool) -> Result<Half, SetupError> {
        let size = transport.queue_size(index).min(QUEUE_SIZE);
        let layout = Layout::new(size, 0, 0).ok_or(SetupError::Queue)?;
        let queue = QueueMemory::queue(layout, event_index).ok_or(SetupError::Memory)?;
        let doorbell = transport.start_queue(index, queue.addresses(), queue.size())?;
        Ok(Half { queue, doorbell })
    }

    fn give(&mut self, buffer: PacketBuffer, len: u32, writable: bool) {
        let piece = Piece { address: buffer.phys(), len, writable };
        // Only a broken device refuses; its console is lost.
        let _ = self.queue.add(core::iter::once(piece), buffer);
    }

    fn publish(&mut self) {
        if self.queue.publish() {
            self.doorbell.ring();
        }
    }
}

impl VirtioConsole {
    /// Sets the device up and offers it buffers for input.
    pub fn new(transport: Transport) -> Result<VirtioConsole, SetupError> {
        debug_assert_eq!(transport.device_type(), id::CONSOLE);
        let event_index = transport.negotiate(features::EVENT_IDX)? & features::EVENT_IDX != 0;
        let mut input = Half::new(&transport, RECEIVE, event_index)?;
        let output = Half::new(&transport, TRANSMIT, event_index)?;
        transport.start();
        while input.queue.room() > 0 {
            let buffer = PacketBuffer::alloc().ok_or(SetupError::Memory)?;
            input.give(buffer, INPUT_BYTES, true);
        }
        input.publish();
        input.queue.request_interrupt();
        Ok(VirtioConsole { transport, input: Mutex::new(input), output: Mutex::new(output) })
    }

    /// Writes all bytes, waiting for the host where it is slow.
    pub fn write(&self, bytes: &[u8]) {
        let mut output = self.output.lock();
        for chunk in bytes.chunks(PacketBuffer::SIZE) {
            let mut buffer = None;
            while output.queue.room() == 0 {
                match output.queue.pop() {
                    Ok(Some(used)) => buffer = Some(used.token),
                    Ok(None) => coracle_hal::cpu::relax(),
                    Err(_) => return,
                }
            }
            let Some(mut buffer) = buffer.or_else(PacketBuffer::alloc) else { return };
            buffer.as_mut_slice()[..chunk.len()].copy_from_slice(chunk);
            output.give(buffer, chunk.len() as u32, false);
            output.publish();
        }
        while let Ok(Some(_)) = output.queue.pop() {}
    }

    /// Whether the host has taken all that was written.
    pub fn is_drained(&self) -> bool {
        let mut output = self.output.lock();
        // A broken device takes nothing any more.
        while let Ok(Some(_)) = output.queue.pop() {}
        output.queue.outstanding() == 0
    }

    /// Whether input may have come since it was last taken.
    #[inline]
    pub fn interrupted(&self) -> bool {
        self.transport.irq().is_pending()
    }

    /// Hands input that has come to `sink` as long as there is room for it (which `sink` tells), and asks for an
    /// interrupt with the next.
    pub fn take_input(&self, mut room: bool, mut sink: impl FnMut(&[u8]) -> bool) {
        self.transport.acknowledge();
        let mut input = self.input.lock();
        loop {
            while room && let Ok(Some(used)) = input.queue.pop() {
                room = sink(&used.token.as_slice()[..used.len as usize]);
                input.give(used.token, INPUT_BYTES, true);
            }
            input.publish();
            // A broken device says for ever that it has returned something; it has nothing to give.
            if !room || !input.queue.request_interrupt() || input.queue.outstanding() == 0 {
                break;
            }
        }
    }
}
