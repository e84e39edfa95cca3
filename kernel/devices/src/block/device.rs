//! What a driver of block devices provides.
use super::batch::Batch;
use alloc::sync::Arc;
use coracle_core::ipc::poll::PollSource;
use coracle_hal::virtio::requests::Data;
pub use coracle_virtio::device::block::{Operation, Outcome, SECTOR_BYTES, SERIAL_BYTES};

/// What a device is and takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its size in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of the smallest block that can be read or written, a power of two from 512 on.
    pub logical_block: u32,
    /// Bytes of the smallest block that is written without reading what is around it.
    pub physical_block: u32,
    /// It takes no writes.
    pub is_read_only: bool,
    /// What was written may get lost until it is flushed.
    pub has_cache: bool,
    /// Most bytes of a request, and the multiple at which a request best ends that is followed by another.
    pub request_bytes: (usize, usize),
    /// Most sectors of a discard; 0: it takes none.
    pub discard_sectors: u32,
    /// Most sectors of a request that writes zeroes; 0: it takes none.
    pub zero_sectors: u32,
    /// Such a request may give the storage back.
    pub zero_unmaps: bool,
}

/// A request to a device.
pub struct Request {
    /// What is to be done.
    pub operation: Operation,
    /// The first sector, of 512 bytes.
    pub sector: u64,
    /// What is read to or written from.
    pub data: Data,
    /// Told when it is done.
    pub batch: Arc<Batch>,
}

/// A device.
pub trait BlockDevice: Send + Sync {
    /// What it is and takes; this does not change.
    fn limits(&self) -> &Limits;
    /// Takes a request, or gives it back if there is no room now: then [`BlockDevice::room`] is told when there may be. The batch
    /// is told when the request is done, which may be before this returns, and has failed if the device can never take it.
    fn submit(&self, request: Request) -> Result<(), Request>;
    /// Shows the device what was submitted, which it need not see before.
    fn kick(&self);
    /// The same, for requests that no thread waits for yet: at once if the device has nothing else to do, and else when it is looked at next,
    /// which is after its next interrupt, or before this CPU idles. So one doorbell serves what is submitted one by one.
    fn kick_soon(&self) {
        self.kick();
    }
    /// `on`: writes that are submitted from here on are durable when they are done, until this is called once more, with false. False:
    /// the device knows no such mode, and nothing changed.
    fn write_through(&self, on: bool) -> bool {
        let _ = on;
        false
    }
    /// Told when requests are done.
    fn room(&self) -> &PollSource;
}
