//! A listener to what is written to the terminal.
use coracle_hal::sync::atomic::{AtomicBool, Ordering::Relaxed};

coracle_hal::hook! {
    $ pub
    /// Takes bytes that were written. Called with no lock held.
    tap_output: fn(&[u8]) = "coracle_tap_output", given by give_tap
}

static IS_TAPPED: AtomicBool = AtomicBool::new(false);

/// Has the listener hear from now on.
pub fn tap() {
    IS_TAPPED.store(true, Relaxed);
}

/// Whether there is a listener.
pub fn is_tapped() -> bool {
    IS_TAPPED.load(Relaxed)
}

/// Tells it what was written.
pub fn tell(bytes: &[u8]) {
    tap_output()(bytes);
}
