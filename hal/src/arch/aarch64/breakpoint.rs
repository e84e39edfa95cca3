//! Instruction breakpoints, which serve to patch calls. Instructions have one length here, so none are needed. Places are not watched yet.

/// Does nothing.
pub fn arm(_address: usize) {}

/// Returns false: no breakpoint was the cause of an exception.
pub fn disarm() -> bool {
    false
}

/// Places that can be watched.
pub const WATCHPOINTS: usize = 0;
/// In [`take_hits`]: a single step was made.
pub const STEPPED: u64 = 1;

/// A place to be watched.
#[derive(Clone, Copy, Debug)]
pub struct Watch(());

impl Watch {
    /// `None`: no place is watched.
    pub fn new(_address: u64, _len: u16, _reads: bool) -> Option<Watch> {
        None
    }
}

/// Does nothing.
pub fn watch(_place: usize, _watch: Option<Watch>, _mark: u32) {}

/// Does nothing.
pub fn use_watches() {}

/// The bit of [`take_hits`] for a place.
pub const fn hit(_place: usize) -> u64 {
    0
}

/// Nothing was hit.
pub fn take_hits() -> u64 {
    0
}

/// Nothing was hit.
pub fn take_kernel_hits() -> u64 {
    0
}
