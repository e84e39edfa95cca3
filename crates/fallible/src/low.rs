//! Whether memory is so short that fallible allocations should fail.
use crate::NoMemory;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

static LOW: AtomicBool = AtomicBool::new(false);

/// Says whether memory is low. What grows fallibly is refused while it is, so that the rest is left to what cannot wait.
pub fn set_low(low: bool) {
    LOW.store(low, Relaxed);
}

/// To be checked before memory is allocated that the caller can do without.
///
/// # Errors
/// [`NoMemory`] while memory is low.
#[inline(always)]
pub fn may_grow() -> Result<(), NoMemory> {
    if LOW.load(Relaxed) { Err(NoMemory) } else { Ok(()) }
}
