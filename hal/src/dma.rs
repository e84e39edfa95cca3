//! Memory shared with devices.

/// Physically contiguous memory for rings: reached by volatile reads and writes only. Zeroed.
pub struct DmaRegion {}

#[allow(missing_docs)]
impl DmaRegion {
    /// `len` bytes, page aligned.
    pub fn alloc(len: usize) -> Option<DmaRegion> {
        let _ = len;
        todo!()
    }
    pub fn phys(&self) -> u64 {
        todo!()
    }
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn read_u16(&self, offset: usize) -> u16 {
        let _ = offset;
        todo!()
    }
    pub fn read_u32(&self, offset: usize) -> u32 {
        let _ = offset;
        todo!()
    }
    pub fn write_u16(&self, offset: usize, value: u16) {
        let _ = (offset, value);
        todo!()
    }
    pub fn write_u32(&self, offset: usize, value: u32) {
        let _ = (offset, value);
        todo!()
    }
    pub fn write_u64(&self, offset: usize, value: u64) {
        let _ = (offset, value);
        todo!()
    }
    pub fn write_bytes(&self, offset: usize, src: &[u8]) {
        let _ = (offset, src);
        todo!()
    }
    pub fn read_bytes(&self, offset: usize, dst: &mut [u8]) {
        let _ = (offset, dst);
        todo!()
    }
}

/// A packet buffer of [`PacketBuffer::SIZE`] bytes in one physically contiguous piece, from a pool that grows when used.
/// The owner may look at it; a driver that has given its address to a device keeps the buffer in its queue until the
/// device returns it, so that nobody holds a slice while the device writes.
pub struct PacketBuffer {}

impl PacketBuffer {
    /// Bytes in a buffer: half a frame.
    pub const SIZE: usize = 2048;
    /// `None`: out of memory. Contents are whatever an earlier packet left.
    pub fn alloc() -> Option<PacketBuffer> {
        todo!()
    }
    /// Physical address.
    pub fn phys(&self) -> u64 {
        todo!()
    }
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        todo!()
    }
    /// The bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        todo!()
    }
}
/// Orders all memory accesses before against all after it, as devices see them (virtio 1.2, section 2.7.13.3.1).
pub fn full_barrier() {
    todo!()
}
