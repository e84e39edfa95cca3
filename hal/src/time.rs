//! Time: a monotonic clock from the CPU's counter, and a one-shot timer for each CPU.
//!
//! The clock's parameters are in a page that programs can read as well (see `vdso`); a sequence number guards them. The clock
//! may change its rate from one moment on, never its value.
use crate::arch::timer;
use crate::local::Local;
use crate::mm::frame::Frame;
use crate::mm::layout;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

const NANOSECONDS: u64 = 1_000_000_000;
/// The clock: `ns = ns_base + (tsc - tsc_base) * rate / 2^32`, and likewise for the raw one. Layout known to `vdso`.
#[repr(C)]
pub(crate) struct Clock {
    /// Odd while the fields change.
    pub sequence: AtomicU32,
    /// Not 0: RDTSCP returns the CPU's number.
    pub has_tsc_aux: AtomicU32,
    pub tsc_base: AtomicU64,
    pub ns_base: AtomicU64,
    pub rate: AtomicU64,
    pub wall_offset: AtomicU64,
    /// The same for the clock that is not steered.
    pub raw_ns_base: AtomicU64,
    pub raw_rate: AtomicU64,
}

/// Until the page is there.
static EARLY: Clock = Clock {
    sequence: AtomicU32::new(0),
    has_tsc_aux: AtomicU32::new(0),
    tsc_base: AtomicU64::new(0),
    ns_base: AtomicU64::new(0),
    rate: AtomicU64::new(1 << 31),
    wall_offset: AtomicU64::new(0),
    raw_ns_base: AtomicU64::new(0),
    raw_rate: AtomicU64::new(1 << 31),
};
/// By how much the clock is steered ([`steer`]); held while it changes.
static STEERING: crate::sync::Mutex<i64> = crate::sync::Mutex::new(0);
static CLOCK: AtomicPtr<Clock> = AtomicPtr::new((&raw const EARLY).cast_mut());
static PAGE: spin::Once<Frame> = spin::Once::new();
#[inline]
fn clock() -> &'static Clock {
    // SAFETY: the static, or the page that is kept for ever.
    unsafe { &*CLOCK.load(Ordering::Relaxed) }
}

/// The page with the clock's parameters.
pub(crate) fn page() -> Option<&'static Frame> {
    PAGE.get()
}

/// Nanoseconds since boot.
#[inline]
pub fn now_ns() -> u64 {
    let clock = clock();
    read(clock, &clock.ns_base, &clock.rate)
}

/// Nanoseconds since boot by a clock that [`steer`] leaves alone.
pub fn raw_now_ns() -> u64 {
    let clock = clock();
    read(clock, &clock.raw_ns_base, &clock.raw_rate)
}

/// A clock outside of the machine, and this one, at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The other clock: nanoseconds since 1970.
    pub wall_ns: u64,
    /// What [`now_ns`] was.
    pub now_ns: u64,
}

/// The host's clock, where the hypervisor tells it together with the counter by which this clock runs; `None` where it does not.
#[cfg(target_os = "none")]
pub fn host_clock() -> Option<Pair> {
    let (wall_ns, ticks) = timer::host_clock()?;
    Some(Pair { wall_ns, now_ns: at(clock(), ticks) })
}

/// What the clock is, or was a moment ago, when its counter is at `ticks`.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "only tests have no machine"))]
fn at(clock: &Clock, ticks: u64) -> u64 {
    loop {
        let sequence = clock.sequence.load(Ordering::Acquire);
        let (start, base) = (clock.tsc_base.load(Ordering::Relaxed), clock.ns_base.load(Ordering::Relaxed));
        let distance = scale(ticks.abs_diff(start), clock.rate.load(Ordering::Relaxed));
        // The rate may have changed since then.
        let ns = if ticks < start { base.saturating_sub(distance) } else { base + distance };
        core::sync::atomic::fence(Ordering::Acquire);
        if sequence & 1 == 0 && clock.sequence.load(Ordering::Relaxed) == sequence {
            return ns;
        }
    }
}

#[inline]
fn read(clock: &Clock, base: &AtomicU64, rate: &AtomicU64) -> u64 {
    loop {
        let sequence = clock.sequence.load(Ordering::Acquire);
        let ticks = timer::ticks().saturating_sub(clock.tsc_base.load(Ordering::Relaxed));
        let ns = base.load(Ordering::Relaxed) + scale(ticks, rate.load(Ordering::Relaxed));
        core::sync::atomic::fence(Ordering::Acquire);
        if sequence & 1 == 0 && clock.sequence.load(Ordering::Relaxed) == sequence {
            return ns;
        }
    }
}

#[inline]
pub(crate) fn scale(ticks: u64, rate: u64) -> u64 {
    ((u128::from(ticks) * u128::from(rate)) >> 32) as u64
}

/// What [`scale`] multiplies ticks by, at present.
pub(crate) fn rate() -> u64 {
    clock().rate.load(Ordering::Relaxed)
}

pub(crate) fn rate_of(hz: u64) -> u64 {
    (NANOSECONDS << 32) / hz
}

/// Goes on from the current time with another rate, which is steered as the last.
#[cfg_attr(target_arch = "aarch64", expect(dead_code, reason = "the speed of the counter is known there"))]
pub(crate) fn set_rate(raw_rate: u64) {
    let steering = STEERING.lock();
    change(raw_rate, *steering);
}

/// Lets the clock run faster (or slower, if negative) by `adjustment` nanoseconds, times 2^32, in a second. The time goes on from where
/// it is. At most a quarter of a second.
pub fn steer(adjustment: i64) {
    let mut steering = STEERING.lock();
    if *steering != adjustment {
        *steering = adjustment;
        change(clock().raw_rate.load(Ordering::Relaxed), adjustment);
    }
}

/// A rate that is steered.
fn steered(raw_rate: u64, adjustment: i64) -> u64 {
    /// 2^36 parts of the adjustment's unit are 2^4 ns.
    const SHIFT: u32 = 36;
    const REST: u64 = NANOSECONDS >> 4;
    let by = ((u128::from(raw_rate) * u128::from(adjustment.unsigned_abs())) >> SHIFT) as u64 / REST;
    if adjustment < 0 { raw_rate - by.min(raw_rate / 2) } else { raw_rate + by }
}

fn change(raw_rate: u64, adjustment: i64) {
    let clock = clock();
    let rate = steered(raw_rate, adjustment);
    let sequence = clock.sequence.load(Ordering::Relaxed);
    clock.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
    core::sync::atomic::fence(Ordering::Release);
    let tsc = timer::ticks();
    let ticks = tsc.saturating_sub(clock.tsc_base.load(Ordering::Relaxed));
    for (base, rate) in [(&clock.ns_base, &clock.rate), (&clock.raw_ns_base, &clock.raw_rate)] {
        base.fetch_add(scale(ticks, rate.load(Ordering::Relaxed)), Ordering::Relaxed);
    }
    clock.tsc_base.store(tsc, Ordering::Relaxed);
    clock.rate.store(rate, Ordering::Relaxed);
    clock.raw_rate.store(raw_rate, Ordering::Relaxed);
    clock.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    timer::steered(raw_rate, rate);
}

/// What the clock runs by.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// What gave the TSC's speed.
    pub name: &'static str,
    /// TSC ticks per second.
    pub hz: u64,
    /// The CPU reports that the TSC counts at a constant speed.
    pub is_invariant: bool,
    /// Nothing gave the speed: time may run too fast or too slowly.
    pub is_assumed: bool,
}

static SOURCE: spin::Once<Source> = spin::Once::new();
static WALL_SOURCE: spin::Once<&str> = spin::Once::new();

/// What gave the time since 1970 at boot; `none` if nothing did.
pub fn wall_source() -> &'static str {
    WALL_SOURCE.get().copied().unwrap_or("none")
}

/// The time since 1970, in nanoseconds, as this source has it; 0: it has none.
#[cfg(target_os = "none")]
pub(crate) fn set_wall(source: &'static str, now: u64) {
    if now != 0 {
        WALL_SOURCE.call_once(|| source);
    }
    set_wall_offset_ns(now.saturating_sub(now_ns()));
}

/// The source of the clock's speed; `None` before it is known.
pub fn source() -> Option<&'static Source> {
    SOURCE.get()
}

/// Nanoseconds to add to [`now_ns`] for the time since 1970: from the RTC or kvmclock, or as set.
pub fn wall_offset_ns() -> u64 {
    clock().wall_offset.load(Ordering::Relaxed)
}

/// Sets what [`wall_offset_ns`] returns, here and in the page that programs read.
pub fn set_wall_offset_ns(offset: u64) {
    clock().wall_offset.store(offset, Ordering::Relaxed);
}

/// Requests an interrupt on this CPU at `deadline_ns` at the latest; [`take_expired`] reports it.
///
/// The hardware is set only for a deadline earlier than the present one. After that interrupt, waiters for a later deadline
/// request theirs again. So postponing a time-out repeatedly costs nothing, and a deadline that is not wanted any more costs
/// one interrupt.
#[inline]
pub fn interrupt_by(deadline_ns: u64) {
    let local = Local::get();
    if local.timer.set(deadline_ns) {
        timer::arm(local, deadline_ns);
    }
}

/// [`interrupt_by`] for an event that may come between `earliest_ns` and `latest_ns`: an interrupt that is already set within
/// this range serves.
#[inline]
pub fn interrupt_between(earliest_ns: u64, latest_ns: u64) {
    let local = Local::get();
    if local.timer.set_between(earliest_ns, latest_ns) {
        timer::arm(local, earliest_ns);
    }
}

/// True once after this CPU's timer expired.
#[inline(always)]
pub fn take_expired() -> bool {
    Local::get().timer.take_expired()
}

/// The timer's interrupt came.
pub(crate) fn timer_fired() {
    let local = Local::get();
    local.timer.fire();
    timer::fired(local);
}

/// Starts the clock: it was zero at the counter's value `start`, and counts by `source`.
#[cfg(target_os = "none")]
pub(crate) fn start(start: u64, has_cpu_number: bool, source: Source) {
    let page = Frame::alloc_zeroed().expect("out of memory at boot");
    CLOCK.store(layout::direct(page.phys()) as *mut Clock, Ordering::Relaxed);
    PAGE.call_once(|| page);
    clock().has_tsc_aux.store(has_cpu_number.into(), Ordering::Relaxed);
    clock().tsc_base.store(start, Ordering::Relaxed);
    clock().rate.store(rate_of(source.hz), Ordering::Relaxed);
    clock().raw_rate.store(rate_of(source.hz), Ordering::Relaxed);
    SOURCE.call_once(|| source);
}

#[cfg(test)]
mod tests {
    use super::{Clock, at, steered};
    use core::sync::atomic::{AtomicU32, AtomicU64};

    #[test]
    fn a_moment_before_or_after_a_change_is_known() {
        let clock = Clock {
            sequence: AtomicU32::new(2),
            has_tsc_aux: AtomicU32::new(0),
            tsc_base: AtomicU64::new(1000),
            ns_base: AtomicU64::new(700),
            // 2 GHz.
            rate: AtomicU64::new(1 << 31),
            wall_offset: AtomicU64::new(0),
            raw_ns_base: AtomicU64::new(0),
            raw_rate: AtomicU64::new(0),
        };
        assert_eq!([1000, 1200, 900].map(|ticks| at(&clock, ticks)), [700, 800, 650]);
    }

    #[test]
    fn rates_are_steered_by_parts_of_a_second() {
        const PPM: i64 = 1000 << 32;
        for raw in [1 << 30, 1 << 32, 1_431_655_765, 1 << 36, 1 << 39] {
            assert_eq!(steered(raw, 0), raw);
            for ppm in [1, 500, 100_000, 225_000] {
                let wanted = (u128::from(raw) * ppm as u128 / 1_000_000) as u64;
                assert!((steered(raw, ppm * PPM) - raw).abs_diff(wanted) <= 1);
                assert!((raw - steered(raw, -ppm * PPM)).abs_diff(wanted) <= 1);
            }
        }
    }
}
