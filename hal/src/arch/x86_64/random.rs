//! Entropy of the CPU: RDSEED or RDRAND, and timing if it has neither.
use crate::arch::instructions;
use crate::relocate::mix;

/// Fills `dst`; returns false if timing is the only source.
pub fn fill(dst: &mut [u8]) -> bool {
    let mut good = true;
    let mut state = instructions::rdtsc();
    for piece in dst.chunks_mut(8) {
        let word = instructions::hardware_random().unwrap_or_else(|| {
            good = false;
            // The low bits of the counter after a serialising, variably long instruction, stirred (SplitMix64).
            let _ = instructions::cpuid(0, 0);
            state =
                state.rotate_left(23).wrapping_add(instructions::rdtsc()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
    }
    good
}
