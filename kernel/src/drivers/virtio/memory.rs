//! The memory of queues: the hardware layer's DMA memory under the virtio crate's name.
use coracle_hal::dma::DmaRegion;
use coracle_virtio::memory::Memory;
use coracle_virtio::queue::{Layout, SplitQueue};

/// Memory of one queue.
pub struct QueueMemory(DmaRegion);

/// A queue of the kernel's.
pub type Queue<T> = SplitQueue<QueueMemory, T>;

impl QueueMemory {
    /// A queue with this layout; `None` when memory is short.
    pub fn queue<T>(layout: Layout, event_index: bool) -> Option<Queue<T>> {
        SplitQueue::new(QueueMemory(DmaRegion::alloc(layout.bytes)?), layout, event_index)
    }
}

impl Memory for QueueMemory {
    #[inline(always)]
    fn address(&self) -> u64 {
        self.0.phys()
    }
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }
    #[inline(always)]
    fn read_u16(&self, offset: usize) -> u16 {
        self.0.read_u16(offset)
    }
    #[inline(always)]
    fn read_u32_pair(&self, offset: usize) -> [u32; 2] {
        self.0.read_u32_pair(offset)
    }
    #[inline(always)]
    fn write_u16(&self, offset: usize, value: u16) {
        self.0.write_u16(offset, value);
    }
    #[inline(always)]
    fn write_pair(&self, offset: usize, first: u64, second: u64) {
        self.0.write_pair(offset, first, second);
    }
}
