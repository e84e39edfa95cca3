//! The time since boot and since 1970, and Linux's structures of time.
use crate::errno::Errno;
use coracle_hal::time;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;
/// What Linux's coarse clocks advance by at CONFIG_HZ=250; ours are exact, but report no better resolution.
pub const COARSE_RESOLUTION_NS: u64 = 4_000_000;

/// Nanoseconds since boot.
#[inline]
pub fn monotonic_ns() -> u64 {
    time::now_ns()
}

/// What to add to the time since boot for the time since 1970.
pub fn wall_offset_ns() -> u64 {
    time::wall_offset_ns()
}

/// Nanoseconds since 1970.
pub fn realtime_ns() -> u64 {
    monotonic_ns().wrapping_add(wall_offset_ns())
}

/// Nanoseconds since boot by a clock that is never slewed.
pub fn raw_ns() -> u64 {
    time::raw_now_ns()
}

/// Sets the time since 1970, for programs that read it by the vDSO as well, and ends the slewing. EINVAL if boot would lie before
/// 1970, or 30 years on, 2^63 ns would have passed, as on Linux.
pub fn set_realtime_ns(now: u64) -> Result<(), Errno> {
    /// TIME_SETTOD_SEC_MAX.
    const END_S: u64 = i64::MAX as u64 / SECOND_NS - 30 * 365 * 86_400;
    let offset = now.checked_sub(monotonic_ns()).filter(|_| now / SECOND_NS < END_S).ok_or(Errno::INVAL)?;
    super::discipline::clock_was_set();
    super::wall::set_offset_ns(offset);
    Ok(())
}

/// Nanoseconds of a `struct timespec`; EINVAL if it is negative or not normal.
pub fn timespec_ns([seconds, nanoseconds]: [u64; 2]) -> Result<u64, Errno> {
    if (seconds as i64) < 0 || nanoseconds >= SECOND_NS {
        return Err(Errno::INVAL);
    }
    Ok(seconds.saturating_mul(SECOND_NS).saturating_add(nanoseconds))
}

/// Nanoseconds of a `struct timeval`; EINVAL.
pub fn timeval_ns([seconds, microseconds]: [u64; 2]) -> Result<u64, Errno> {
    const SECOND_US: u64 = 1_000_000;
    if (seconds as i64) < 0 || microseconds >= SECOND_US {
        return Err(Errno::INVAL);
    }
    Ok(seconds.saturating_mul(SECOND_NS).saturating_add(microseconds * 1000))
}

/// As a `struct timespec`.
pub fn to_timespec(ns: u64) -> [u64; 2] {
    [ns / SECOND_NS, ns % SECOND_NS]
}

/// As a `struct timeval`.
pub fn to_timeval(ns: u64) -> [u64; 2] {
    [ns / SECOND_NS, ns % SECOND_NS / 1000]
}
