//! The floating-point state of programs. A program of this machine is a function of the host, whose registers its compiler keeps; so there
//! is a state, of the size of FXSAVE's, that is kept for each thread and copied, but loaded nowhere.
use alloc::boxed::Box;
use core::cell::UnsafeCell;

/// Bytes of FXSAVE's area (Intel SDM volume 1, 10.5.1).
const SIZE: usize = 512;

/// A thread's state.
pub(crate) struct Area(UnsafeCell<Box<[u8; SIZE]>>);

impl Area {
    /// The initial state.
    pub fn new(_from_current: bool) -> Option<Area> {
        Some(Area(UnsafeCell::new(Box::new([0; SIZE]))))
    }

    /// Stores nothing.
    pub fn save(&self) {}

    /// Loads nothing.
    pub fn load(&self) {}

    /// Calls `f` with the state.
    ///
    /// # Safety
    /// Nothing else uses the area meanwhile.
    pub unsafe fn change<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> (R, bool) {
        // SAFETY: unused by the caller's word.
        (f(unsafe { &mut **self.0.get() }), true)
    }
}

/// Bytes of a state.
pub fn state_size() -> usize {
    SIZE
}

/// x87 and SSE.
pub fn xfeatures() -> u64 {
    0b11
}

/// Calls `f` with the running thread's state.
pub fn saved<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    f(&mut [0; SIZE])
}

/// Takes the state that `f` fills in.
///
/// # Errors
/// That of `f`.
pub fn restore<E>(f: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<bool, E> {
    f(&mut [0; SIZE]).map(|()| true)
}

/// Whether the CPU would take a state.
pub fn accepts(state: &[u8]) -> bool {
    state.len() == SIZE
}

/// Notes nothing: the state is all of the older part.
pub fn note_floating(_state: &mut [u8]) {}

/// The initial state (exec).
pub fn reset() {}
