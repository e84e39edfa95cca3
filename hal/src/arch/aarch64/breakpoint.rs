//! Instruction breakpoints, which serve to patch calls. Instructions have one length here, so none are needed.

/// Does nothing.
pub fn arm(_address: usize) {}

/// Returns false: no breakpoint was the cause of an exception.
pub fn disarm() -> bool {
    false
}
