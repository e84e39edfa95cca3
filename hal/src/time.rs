//! Time: a monotonic clock from the TSC (or kvmclock), and one one-shot timer per CPU.

/// Nanoseconds since boot.
#[inline]
pub fn now_ns() -> u64 {
    todo!()
}
/// Nanoseconds to add to [`now_ns`] for the time since 1970, from the RTC or kvmclock.
pub fn wall_offset_ns() -> u64 {
    todo!()
}
/// Asks for one interrupt on this CPU at `deadline_ns` (replaces an earlier one); `None` for no more.
pub fn set_deadline(deadline_ns: Option<u64>) {
    let _ = deadline_ns;
    todo!()
}
/// True once after this CPU's deadline passed.
pub fn take_expired() -> bool {
    todo!()
}
