//! Memory-mapped device registers, bounds-checked. Never over RAM.

/// A mapped range of device registers.
pub struct Mmio {}

#[allow(missing_docs)]
impl Mmio {
    /// Maps `len` bytes at physical `phys`, uncached. `None` if it overlaps RAM or memory is short.
    pub fn map(phys: u64, len: usize) -> Option<Mmio> {
        let _ = (phys, len);
        todo!()
    }
    pub fn read8(&self, offset: usize) -> u8 {
        let _ = offset;
        todo!()
    }
    pub fn read16(&self, offset: usize) -> u16 {
        let _ = offset;
        todo!()
    }
    pub fn read32(&self, offset: usize) -> u32 {
        let _ = offset;
        todo!()
    }
    pub fn write8(&self, offset: usize, value: u8) {
        let _ = (offset, value);
        todo!()
    }
    pub fn write16(&self, offset: usize, value: u16) {
        let _ = (offset, value);
        todo!()
    }
    pub fn write32(&self, offset: usize, value: u32) {
        let _ = (offset, value);
        todo!()
    }
    pub fn write64(&self, offset: usize, value: u64) {
        let _ = (offset, value);
        todo!()
    }
}
