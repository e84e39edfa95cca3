//! Packet memory as the TCP/IP engine and the network driver share it.
use coracle_hal::io::dma::SharedBuffer;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_tcpip::Buffer;

/// The packet in hand must not be kept.
static SHORT: AtomicBool = AtomicBool::new(false);

/// While it exists, packets must not be kept ([`coracle_tcpip::Device::is_short`]).
pub struct Shortage(());

impl Shortage {
    /// From now on.
    pub fn begin() -> Shortage {
        SHORT.store(true, Ordering::Relaxed);
        Shortage(())
    }
}

impl Drop for Shortage {
    #[inline]
    fn drop(&mut self) {
        SHORT.store(false, Ordering::Relaxed);
    }
}

/// Whether that is so now.
#[inline(always)]
pub fn is_short() -> bool {
    SHORT.load(Ordering::Relaxed)
}

/// A reference to a packet buffer. The engine and the driver each hold their own; the last one frees the memory.
#[derive(Clone)]
pub struct NetBuffer(SharedBuffer);

impl NetBuffer {
    /// Bytes in a buffer.
    pub const SIZE: usize = SharedBuffer::SIZE;

    /// A buffer that nobody else holds; `None` when memory is short.
    #[inline(always)]
    pub fn alloc() -> Option<NetBuffer> {
        SharedBuffer::alloc().map(NetBuffer)
    }

    /// The same for a packet that is taken in and given back at once: all memory that is left will do.
    pub fn alloc_for_moment() -> Option<NetBuffer> {
        SharedBuffer::alloc_for_moment().map(NetBuffer)
    }

    /// The same for something to send, which gets less of the memory.
    #[inline(always)]
    pub fn alloc_to_send() -> Option<NetBuffer> {
        SharedBuffer::alloc_to_send().map(NetBuffer)
    }

    /// Bytes of the image, to be sent from where they lie. `None` if they are few, or not the image's, or memory is short.
    pub fn of_image(bytes: &'static [u8]) -> Option<NetBuffer> {
        SharedBuffer::of_image(bytes).map(NetBuffer)
    }

    /// True if buffers take more than their share of memory.
    #[inline(always)]
    pub fn are_many() -> bool {
        SharedBuffer::are_many()
    }

    /// As devices are given it.
    #[inline(always)]
    pub fn shared(&self) -> &SharedBuffer {
        &self.0
    }

    /// The same, given away.
    #[inline(always)]
    pub fn into_shared(self) -> SharedBuffer {
        self.0
    }
}

impl From<SharedBuffer> for NetBuffer {
    #[inline(always)]
    fn from(buffer: SharedBuffer) -> Self {
        NetBuffer(buffer)
    }
}

impl Buffer for NetBuffer {
    #[inline(always)]
    fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
    #[inline(always)]
    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        self.0.as_mut_slice()
    }
}
