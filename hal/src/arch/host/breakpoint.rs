//! A machine without debug registers: nothing can be watched.

/// Arms nothing.
pub fn arm(_address: usize) {}

/// Nothing was armed, so nothing was hit.
pub fn disarm() -> bool {
    false
}

/// Places that can be watched.
pub const WATCHPOINTS: usize = 0;
/// In [`take_hits`]: a single step was made.
pub const STEPPED: u64 = 1;

/// A place to be watched: none can be.
#[derive(Clone, Copy, Debug)]
pub struct Watch(core::convert::Infallible);

impl Watch {
    /// `None`: that can't be.
    pub fn new(_address: u64, _len: u16, _reads: bool) -> Option<Watch> {
        None
    }
}

/// Nothing is watched.
pub fn watch(_place: usize, _watch: Option<Watch>, _mark: u32) {}

/// Nothing is watched.
pub fn use_watches() {}

/// The bit of [`take_hits`] for a place.
pub const fn hit(_place: usize) -> u64 {
    0
}

/// Nothing is hit.
pub fn take_hits() -> u64 {
    0
}

/// Nothing is hit.
pub fn take_kernel_hits() -> u64 {
    0
}
