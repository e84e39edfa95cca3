//! The program's x87/SSE/AVX state, for signal frames. Between entry and exit the registers hold the running thread's.

/// Bytes of the XSAVE area in use on this CPU (Intel SDM volume 1, chapter 13).
pub fn state_size() -> usize {
    todo!()
}
/// Features enabled in XCR0.
pub fn xfeatures() -> u64 {
    todo!()
}
/// Stores the running thread's state (standard XSAVE format) to `dst`, which has `state_size()` bytes.
pub fn save(dst: &mut [u8]) {
    let _ = dst;
    todo!()
}
/// Loads the state; gives false, and changes nothing, if the CPU would refuse it.
pub fn restore(src: &[u8]) -> bool {
    let _ = src;
    todo!()
}
/// The initial state (exec).
pub fn reset() {
    todo!()
}
