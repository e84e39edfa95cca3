//! Address spaces: page tables of the lower half. Each present entry owns one reference to its frame.
use crate::frame::Frame;
use alloc::sync::Arc;
use core::ops::Range;

bitflags::bitflags! {
    /// Access rights of a page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Prot: u8 {
        /// May be read.
        const READ = 1;
        /// May be written.
        const WRITE = 2;
        /// May be executed.
        const EXEC = 4;
    }
}

/// Lowest address that a program may map.
pub const USER_START: usize = 0x1_0000;
/// First address past the program's half.
pub const USER_END: usize = 0x7fff_ffff_f000;

/// Why a mapping failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No frame for a page table.
    OutOfMemory,
    /// A page is there already.
    Occupied,
}

/// What is mapped at an address.
#[derive(Debug)]
pub struct Mapping {
    /// Another reference to the frame; see `mapped_once` for the count without it.
    pub frame: Frame,
    /// Rights in the page table.
    pub prot: Prot,
    /// Written since mapped.
    pub dirty: bool,
}

/// Stale translations that other CPUs may still hold, and frames that wait for them. Dropping it sends the shoot-downs,
/// waits for the answers and then frees the frames: drop it with no lock held.
#[must_use]
pub struct Flush {}

impl Drop for Flush {
    fn drop(&mut self) {}
}

/// The page tables of one process. All addresses and lengths are multiples of 4096 within `USER_START..USER_END`
/// (anything else panics).
pub struct AddressSpace {}

impl AddressSpace {
    /// An empty lower half.
    pub fn new() -> Option<Arc<AddressSpace>> {
        todo!()
    }
    /// Maps `frame` at `addr`. A PROT of nothing is kept as not present.
    pub fn map(&self, addr: usize, frame: Frame, prot: Prot) -> Result<(), MapError> {
        let _ = (addr, frame, prot);
        todo!()
    }
    /// Puts `frame` in place of what is at `addr` (copy on write).
    pub fn replace(&self, addr: usize, frame: Frame, prot: Prot) -> Result<Flush, MapError> {
        let _ = (addr, frame, prot);
        todo!()
    }
    /// Changes the rights of the pages present in the range.
    pub fn protect(&self, range: Range<usize>, prot: Prot) -> Flush {
        let _ = (range, prot);
        todo!()
    }
    /// Removes the pages present in the range.
    pub fn unmap(&self, range: Range<usize>) -> Flush {
        let _ = range;
        todo!()
    }
    /// What is mapped at `addr`.
    pub fn query(&self, addr: usize) -> Option<Mapping> {
        let _ = addr;
        todo!()
    }
    /// True if the page at `addr` is present and its frame has no other reference.
    pub fn mapped_once(&self, addr: usize) -> bool {
        let _ = addr;
        todo!()
    }
    /// Moves the pages present in `from..from+len` to `to` (mremap).
    pub fn move_range(&self, from: usize, to: usize, len: usize) -> Result<Flush, MapError> {
        let _ = (from, to, len);
        todo!()
    }
    /// Shares the pages present in the range with `child`, writable ones read-only in both if `private` (fork).
    pub fn share(&self, child: &AddressSpace, range: Range<usize>, private: bool) -> Result<Flush, MapError> {
        let _ = (child, range, private);
        todo!()
    }
    /// Pages present now.
    pub fn resident(&self) -> usize {
        todo!()
    }
    /// Makes this CPU use this address space.
    pub fn activate(self: &Arc<Self>) {
        todo!()
    }
}

/// Makes this CPU use the kernel's own tables: no program is mapped.
pub fn activate_kernel() {
    todo!()
}
