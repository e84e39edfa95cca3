//! Packet memory as the TCP/IP engine and the network driver share it.
use alloc::sync::Arc;
use coracle_hal::dma::PacketBuffer;
use coracle_tcpip::Buffer;

/// A reference to a packet buffer. The engine and the driver each hold their own; the last one frees the memory.
#[derive(Clone)]
pub struct NetBuffer(Arc<PacketBuffer>);

impl NetBuffer {
    /// Bytes in a buffer.
    pub const SIZE: usize = PacketBuffer::SIZE;

    /// A buffer that nobody else holds; `None` when memory is short.
    #[inline]
    pub fn alloc() -> Option<NetBuffer> {
        PacketBuffer::alloc().map(|buffer| NetBuffer(Arc::new(buffer)))
    }

    /// Address for the device.
    #[inline]
    pub fn phys(&self) -> u64 {
        self.0.phys()
    }
}

impl Buffer for NetBuffer {
    #[inline]
    fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
    #[inline]
    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0).map(PacketBuffer::as_mut_slice)
    }
}
