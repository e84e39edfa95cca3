//! Entropy of the CPU: RDSEED or RDRAND, and timing where neither is there.

/// Fills `dst`; gives false if it had to come from timing alone.
pub fn fill(dst: &mut [u8]) -> bool {
    let _ = dst;
    todo!()
}
