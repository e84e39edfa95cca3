//! Events: what a CPU does, noted in a ring of its own that others can read meanwhile.
//!
//! Kinds of events are numbers of the kernel's choice, and so are the bits by which they are chosen. What is not chosen costs the test
//! of one word.
use crate::arch::timer;
use crate::local::Local;
pub use coracle_event_ring::{RECORD_WORDS, Reading, Ring};
use core::sync::atomic::{AtomicU32, Ordering};

/// The bit of interrupts, and the kind of their events, whose first word is the vector.
pub const INTERRUPT: (u32, u16) = (4, 8);

/// What is noted: a bit for each kind.
static CHOSEN: AtomicU32 = AtomicU32::new(0);

/// Whether any of these is noted.
#[inline(always)]
pub fn are_noted(bits: u32) -> bool {
    CHOSEN.load(Ordering::Relaxed) & bits != 0
}

/// Chooses what is noted from now on.
pub fn choose(bits: u32) {
    CHOSEN.store(bits, Ordering::Relaxed);
}

/// Notes an event of this CPU.
#[inline(never)]
pub fn note(kind: u16, small: u16, a: u64, b: u64) {
    let ring = Local::get().events.load(Ordering::Acquire);
    // SAFETY: `set_ring` stored a reference that lives for ever, if any.
    if let Some(ring) = unsafe { ring.cast_const().as_ref() } {
        ring.write([timer::ticks(), u64::from(kind) | u64::from(small) << 16, a, b]);
    }
}

/// The ring in which a CPU notes its events.
pub fn ring(cpu: usize) -> Option<&'static Ring> {
    let ring = Local::of(cpu)?.events.load(Ordering::Acquire);
    // SAFETY: as in `note`.
    unsafe { ring.cast_const().as_ref() }
}

/// Sets the ring in which a CPU notes its events from now on.
pub fn set_ring(cpu: usize, ring: Option<&'static Ring>) {
    if let Some(local) = Local::of(cpu) {
        let ring = ring.map_or(core::ptr::null(), core::ptr::from_ref);
        local.events.store(ring.cast_mut(), Ordering::Release);
    }
}

/// The counter by which events have their times.
#[inline(always)]
pub fn ticks() -> u64 {
    timer::ticks()
}

/// Nanoseconds of a tick of it, times 2^32.
pub fn tick_rate() -> u64 {
    crate::time::rate()
}
