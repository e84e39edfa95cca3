//! The memory that a queue shares with its device.

/// Physically contiguous memory that a device may read and write at any time. Reads and writes are volatile, in the
/// order of the program, at byte offsets from the start. Offsets lie inside; the queue sees to that.
#[allow(missing_docs)]
pub trait Memory {
    /// Address as the device sees it, a multiple of 16.
    fn address(&self) -> u64;
    /// Length in bytes.
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn read_u16(&self, offset: usize) -> u16;
    /// Two words, the first at `offset`, which is a multiple of 4.
    fn read_u32_pair(&self, offset: usize) -> [u32; 2];
    fn write_u16(&self, offset: usize, value: u16);
    /// Two words, the first at `offset`, which is a multiple of 16.
    fn write_pair(&self, offset: usize, first: u64, second: u64);
}
