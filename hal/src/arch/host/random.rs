//! Entropy: the same numbers in each run of a test, so that a failure can be repeated.
use crate::relocate::mix;
use core::sync::atomic::{AtomicU64, Ordering};

/// What SplitMix64 adds for each number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
static STATE: AtomicU64 = AtomicU64::new(0);

/// Fills `dst`.
pub fn fill(dst: &mut [u8]) -> bool {
    for piece in dst.chunks_mut(8) {
        let word = mix(STATE.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP));
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
    }
    true
}
