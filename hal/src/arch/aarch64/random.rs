//! Entropy of the CPU: RNDR, and timing if it has none.
use super::instructions::read;
use crate::relocate::mix;
use core::arch::asm;

/// A random number of the CPU, if it has any (ID_AA64ISAR0_EL1.RNDR).
pub fn hardware_random() -> Option<u64> {
    if read!("id_aa64isar0_el1") >> 60 == 0 {
        return None;
    }
    /// Tries: the CPU may have no number at the moment.
    const TRIES: usize = 10;
    for _ in 0..TRIES {
        let (value, failed): (u64, u64);
        // SAFETY: the CPU has the register (RNDR), which sets the flags: zero, if there is no number.
        unsafe {
            asm!("mrs {}, s3_3_c2_c4_0", "cset {}, eq", out(reg) value, out(reg) failed, options(nomem, nostack))
        };
        if failed == 0 {
            return Some(value);
        }
    }
    None
}

/// Fills `dst`; returns false if timing is the only source.
pub fn fill(dst: &mut [u8]) -> bool {
    let mut good = true;
    let mut state = super::timer::ticks();
    for piece in dst.chunks_mut(8) {
        let word = hardware_random().unwrap_or_else(|| {
            good = false;
            state =
                state.rotate_left(23).wrapping_add(super::timer::ticks()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mix(state)
        });
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
    }
    good
}
