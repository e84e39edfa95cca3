//! A queue, its memory, and the buffers that its device has.
//!
//! The rules that keep a device from memory that is not its own:
//! - It is given addresses of this queue's memory and of buffers alone, and no piece leaves its buffer.
//! - The queue owns a buffer while the device has it. One that the device writes has no other owner, so that nothing reads it
//!   meanwhile; of one that it reads there may be others, which can't write while there are several.
//! - A buffer comes back once, when the device returns the chain that it was in. What the device says of it is checked by
//!   [`SplitQueue`]; once it is wrong, no buffer comes back any more.
//! - Before a queue's memory is freed, its device is reset. If it does not confirm that, the memory is never used again.
use super::registers::{Doorbell, Registers};
use super::transport::SetupError;
use crate::io::dma::{DmaRegion, PacketBuffer, SharedBuffer};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_virtio::memory::Memory;
use coracle_virtio::queue::{Layout, Piece, QueueError, SplitQueue, Used};
use core::mem::ManuallyDrop;
use core::ops::Range;

impl Memory for DmaRegion {
    #[inline(always)]
    fn address(&self) -> u64 {
        self.phys()
    }
    #[inline(always)]
    fn len(&self) -> usize {
        self.len()
    }
    #[inline(always)]
    fn read_u16(&self, offset: usize) -> u16 {
        self.read_u16(offset)
    }
    #[inline(always)]
    fn read_u32_pair(&self, offset: usize) -> [u32; 2] {
        self.read_u32_pair(offset)
    }
    #[inline(always)]
    fn write_u16(&self, offset: usize, value: u16) {
        self.write_u16(offset, value);
    }
    #[inline(always)]
    fn write_pair(&self, offset: usize, first: u64, second: u64) {
        self.write_pair(offset, first, second);
    }
}

mod sealed {
    /// What a queue must know of a buffer. Only the hardware layer's own buffers are any.
    pub trait Buffer {
        /// Its physical address.
        fn address(&self) -> u64;
        /// Whether it has no other owner.
        fn is_unique(&mut self) -> bool;
    }
}

/// A buffer that a device may be given.
pub trait DeviceBuffer: sealed::Buffer {
    /// Its bytes.
    fn bytes(&self) -> usize;
}

impl sealed::Buffer for PacketBuffer {
    #[inline(always)]
    fn address(&self) -> u64 {
        self.phys()
    }
    #[inline(always)]
    fn is_unique(&mut self) -> bool {
        true
    }
}

impl DeviceBuffer for PacketBuffer {
    #[inline(always)]
    fn bytes(&self) -> usize {
        PacketBuffer::SIZE
    }
}

impl sealed::Buffer for SharedBuffer {
    #[inline(always)]
    fn address(&self) -> u64 {
        self.phys()
    }
    #[inline(always)]
    fn is_unique(&mut self) -> bool {
        self.as_mut_slice().is_some()
    }
}

impl DeviceBuffer for SharedBuffer {
    #[inline(always)]
    fn bytes(&self) -> usize {
        self.as_slice().len()
    }
}

/// A queue that a device has. `T`: what is held while a chain is out, a [`DeviceBuffer`] mostly.
pub struct Queue<T> {
    registers: Arc<Registers>,
    /// What the device may reach.
    memory: ManuallyDrop<Reached<T>>,
}

/// What the device may reach: the rings with the buffers of the chains that are out, and memory that belongs to the slots.
pub(super) struct Reached<T> {
    pub split: SplitQueue<DmaRegion, T>,
    pub slots: Vec<PacketBuffer>,
}

impl<T> Queue<T> {
    /// Gives the device queue `index`, with so many bytes of memory behind what its layout takes.
    pub(super) fn start(
        registers: &Arc<Registers>,
        index: u16,
        (layout, behind): (Layout, usize),
        event_index: bool,
    ) -> Result<(Queue<T>, Doorbell), SetupError> {
        let memory = DmaRegion::alloc(layout.bytes + behind).ok_or(SetupError::Memory)?;
        let split = SplitQueue::new(memory, layout, event_index).ok_or(SetupError::Memory)?;
        let memory = ManuallyDrop::new(Reached { split, slots: Vec::new() });
        let queue = Queue { registers: registers.clone(), memory };
        let doorbell = registers.start_queue(index, queue.memory.split.addresses(), queue.size())?;
        Ok((queue, doorbell))
    }

    #[inline(always)]
    pub(super) fn reached(&mut self) -> &mut Reached<T> {
        &mut self.memory
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.memory.split.size()
    }

    /// Chains that the device has.
    #[inline(always)]
    pub fn outstanding(&self) -> u16 {
        self.memory.split.outstanding()
    }

    /// Whether the device was shown chains that it has.
    pub(super) fn is_at_work(&self) -> bool {
        self.memory.split.is_at_work()
    }

    /// Descriptors free now.
    #[inline(always)]
    pub fn room(&self) -> u16 {
        self.memory.split.room()
    }

    /// Whether a chain of `pieces` pieces fits now.
    #[inline(always)]
    pub fn fits(&self, pieces: usize) -> bool {
        self.memory.split.fits(pieces)
    }

    /// Shows the device what was added since the last call. True if its doorbell must be rung.
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.memory.split.publish()
    }

    /// Whether the device has returned something that [`Queue::pop`] would give. Never of a device that broke the rules.
    #[inline(always)]
    pub fn has_used(&self) -> bool {
        self.memory.split.has_used()
    }

    /// The next chain that the device is done with. A device that breaks the rules is an error, now and at all later calls.
    #[inline(always)]
    pub fn pop(&mut self) -> Result<Option<Used<T>>, QueueError> {
        self.memory.split.pop()
    }

    /// Asks for an interrupt when the device returns the next chain. True if it has already returned some: then look
    /// again instead of waiting.
    #[inline(always)]
    pub fn request_interrupt(&self) -> bool {
        self.memory.split.request_interrupt()
    }

    /// The same, once `more` chains beyond the next have come back (at once without the event index).
    #[inline(always)]
    pub fn request_interrupt_after(&self, more: u16) -> bool {
        self.memory.split.request_interrupt_after(more)
    }

    /// Says that no interrupt is wanted (a hint: one may still come).
    #[inline(always)]
    pub fn suppress_interrupts(&self) {
        self.memory.split.suppress_interrupts();
    }
}

impl<B: DeviceBuffer> Queue<B> {
    /// Offers the device these bytes of a buffer to write to, once the queue is published. False: it is not taken, because the
    /// queue is full or broken, the range leaves the buffer, or the buffer has another owner.
    #[inline(always)]
    pub fn offer(&mut self, mut buffer: B, range: Range<usize>) -> bool {
        let Some(piece) = piece(&buffer, range, true).filter(|_| buffer.is_unique()) else { return false };
        self.memory.split.add_one(piece, buffer).is_ok()
    }

    /// The same in two pieces, the second of which begins at `middle`.
    pub fn offer_in_two(&mut self, mut buffer: B, range: Range<usize>, middle: usize) -> bool {
        let pieces = [piece(&buffer, range.start..middle, true), piece(&buffer, middle..range.end, true)];
        match pieces {
            [Some(first), Some(second)] if buffer.is_unique() => {
                self.memory.split.add_slice(&[first, second], buffer).is_ok()
            }
            _ => false,
        }
    }

    /// Gives the device the first `len` bytes of a buffer to read, once the queue is published. False: it is not taken, because
    /// the queue is full or broken, or the buffer is shorter.
    pub fn send(&mut self, buffer: B, len: usize) -> bool {
        let Some(piece) = piece(&buffer, 0..len, false) else { return false };
        self.memory.split.add_one(piece, buffer).is_ok()
    }
}

/// The piece that a range of a buffer is; `None` if the range leaves the buffer.
#[inline(always)]
pub(super) fn piece<B: DeviceBuffer>(buffer: &B, range: Range<usize>, writable: bool) -> Option<Piece> {
    if range.start > range.end || range.end > buffer.bytes() {
        return None;
    }
    let len = range.len() as u32;
    Some(Piece { address: buffer.address() + range.start as u64, len, writable })
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        if self.registers.reset() {
            // SAFETY: dropped once, here, and not used after. The device has forgotten the queue, so that it writes no more.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
