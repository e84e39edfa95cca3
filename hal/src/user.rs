//! Copies between the kernel and the program's memory. A page that isn't there is reported, never resolved here.

/// An access that the page tables refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Address that failed.
    pub addr: usize,
    /// It was a write.
    pub write: bool,
    /// Bytes done before it.
    pub done: usize,
}

/// Copies from the program's memory at `src`.
pub fn copy_from(dst: &mut [u8], src: usize) -> Result<(), Fault> {
    let _ = (dst, src);
    todo!()
}
/// Copies to the program's memory at `dst`.
pub fn copy_to(dst: usize, src: &[u8]) -> Result<(), Fault> {
    let _ = (dst, src);
    todo!()
}
/// Zeroes the program's memory.
pub fn zero(dst: usize, len: usize) -> Result<(), Fault> {
    let _ = (dst, len);
    todo!()
}
/// Length of the zero-terminated string at `src`, at most `max`: `None` if there is no zero within `max` bytes.
pub fn string_length(src: usize, max: usize) -> Result<Option<usize>, Fault> {
    let _ = (src, max);
    todo!()
}
/// Atomic load of an aligned word.
pub fn load_u32(addr: usize) -> Result<u32, Fault> {
    let _ = addr;
    todo!()
}
/// Atomic load of an aligned word.
pub fn load_u64(addr: usize) -> Result<u64, Fault> {
    let _ = addr;
    todo!()
}
/// Atomic store.
pub fn store_u32(addr: usize, value: u32) -> Result<(), Fault> {
    let _ = (addr, value);
    todo!()
}
/// Atomic store.
pub fn store_u64(addr: usize, value: u64) -> Result<(), Fault> {
    let _ = (addr, value);
    todo!()
}
/// Compare and exchange; gives the value found (equal to `expected` if it was exchanged).
pub fn compare_exchange_u32(addr: usize, expected: u32, new: u32) -> Result<u32, Fault> {
    let _ = (addr, expected, new);
    todo!()
}
