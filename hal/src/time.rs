//! Time: a monotonic clock from the TSC, and a one-shot timer for each CPU.
//!
//! The clock's parameters are in a page that programs can read as well (see `vdso`); a sequence number guards them. If
//! the TSC's speed had to be measured, the measurement continues over longer spans. The clock then changes its rate from one
//! moment on, never its value.
use crate::apic::{self, AtZero};
use crate::calibrate::{self, Measurement, Speeds};
use crate::frame::Frame;
use crate::layout;
use crate::local::Local;
use crate::reference::Pair;
use crate::x86::{self, msr};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

const NANOSECONDS: u64 = 1_000_000_000;
/// A new measurement replaces the last if its error is this many times smaller.
const GAIN: u64 = 4;
/// Count-downs shorter than this, in nanoseconds, are not measured: they would repeat too fast.
const SHORTEST: u32 = 200_000;
/// Parts per billion of error that are good enough.
const GOOD_ERROR: u64 = 5_000;

/// The clock: `ns = ns_base + (tsc - tsc_base) * rate / 2^32`. Layout known to `vdso`.
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
}

/// Counts of the local APIC's timer in a nanosecond, times 2^32.
static APIC_RATE: AtomicU64 = AtomicU64::new(1 << 32);

/// Until the page is there.
static EARLY: Clock = Clock {
    sequence: AtomicU32::new(0),
    has_tsc_aux: AtomicU32::new(0),
    tsc_base: AtomicU64::new(0),
    ns_base: AtomicU64::new(0),
    rate: AtomicU64::new(1 << 31),
    wall_offset: AtomicU64::new(0),
};
static CLOCK: AtomicPtr<Clock> = AtomicPtr::new((&raw const EARLY).cast_mut());
static PAGE: spin::Once<Frame> = spin::Once::new();
/// The measurement that continues beside the boot CPU's timer.
static ONGOING: spin::Mutex<Ongoing> = spin::Mutex::new(Ongoing::NONE);

/// A measurement of the TSC against the boot CPU's count-down.
struct Ongoing {
    /// Where the present count-down was first read.
    start: Option<Pair>,
    /// What it counts from.
    initial: u32,
    /// The speed in use, in hertz.
    speed: u64,
    /// Its error, in parts per billion; 0: no better one is wanted.
    error: u64,
    /// What reading both counters took last, in ticks.
    width: u64,
    /// How many count-downs are left alone, since one was cut short: a busy machine need not read counters for each.
    pause: u32,
    /// What the next pause will be.
    next_pause: u32,
}

/// The longest pause.
const PAUSE_MAX: u32 = 64;

impl Ongoing {
    /// No measurement.
    const NONE: Ongoing =
        Ongoing { start: None, initial: 0, speed: 0, error: 0, width: 0, pause: 0, next_pause: 1 };

    /// Starts the count-down, and with it a measurement if that can improve the value.
    fn start(&mut self, count: u32, then: AtZero) {
        self.initial = count;
        // A tick is at most a few times shorter than a nanosecond, which makes this estimate a careful one.
        let expected = self.width * NANOSECONDS / u64::from(count.max(1));
        let promising = self.error != 0 && count >= SHORTEST && expected.saturating_mul(GAIN) <= self.error;
        if !promising || self.pause > 0 {
            self.pause = self.pause.saturating_sub(promising.into());
            self.start = None;
            apic::start_count(count, then);
            return;
        }
        // So that the reading after the interrupt shows when it was due.
        apic::start_count(count, if then == AtZero::Interrupt { AtZero::Repeat } else { then });
        self.start = Some(calibrate::read_apic());
    }

    /// Takes the count-down's reading before it is set anew; `fired`: it has reached zero and counts again.
    fn finish(&mut self, fired: bool) {
        let Some(start) = self.start.take() else { return };
        let now = calibrate::read_apic();
        self.width = now.width;
        let counted = if fired {
            start.count + 1 + (u64::from(self.initial) - now.count)
        } else {
            start.count.saturating_sub(now.count)
        };
        let error = start.error(&now);
        if error.saturating_mul(GAIN) <= self.error
            && let Some(hz) = calibrate::refine(&start, &now, counted)
            // It may have reached zero once more than is known.
            && hz.abs_diff(self.speed) as u128 * u128::from(NANOSECONDS) <= u128::from(self.error) * u128::from(hz)
        {
            set_rate(rate_of(hz));
            self.speed = hz;
            self.error = if error <= GOOD_ERROR { 0 } else { error };
            self.next_pause = 1;
        } else {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
        }
    }
}

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
    loop {
        let sequence = clock.sequence.load(Ordering::Acquire);
        let ticks = x86::rdtsc().saturating_sub(clock.tsc_base.load(Ordering::Relaxed));
        let ns = clock.ns_base.load(Ordering::Relaxed) + scale(ticks, clock.rate.load(Ordering::Relaxed));
        core::sync::atomic::fence(Ordering::Acquire);
        if sequence & 1 == 0 && clock.sequence.load(Ordering::Relaxed) == sequence {
            return ns;
        }
    }
}

#[inline]
fn scale(ticks: u64, rate: u64) -> u64 {
    ((u128::from(ticks) * u128::from(rate)) >> 32) as u64
}

fn rate_of(hz: u64) -> u64 {
    (NANOSECONDS << 32) / hz
}

/// Goes on from the current time with another rate.
fn set_rate(rate: u64) {
    let clock = clock();
    let tsc = x86::rdtsc();
    let ns = clock.ns_base.load(Ordering::Relaxed)
        + scale(
            tsc.saturating_sub(clock.tsc_base.load(Ordering::Relaxed)),
            clock.rate.load(Ordering::Relaxed),
        );
    let sequence = clock.sequence.load(Ordering::Relaxed);
    clock.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
    core::sync::atomic::fence(Ordering::Release);
    clock.tsc_base.store(tsc, Ordering::Relaxed);
    clock.ns_base.store(ns, Ordering::Relaxed);
    clock.rate.store(rate, Ordering::Relaxed);
    clock.sequence.store(sequence.wrapping_add(2), Ordering::Release);
}

/// Starts the clock at zero. Called once, when the local APIC works.
#[cfg(target_os = "none")]
pub(crate) fn init(measurement: Measurement) {
    let start = x86::rdtsc();
    let page = Frame::alloc_zeroed().expect("out of memory at boot");
    CLOCK.store(layout::direct(page.phys()) as *mut Clock, Ordering::Relaxed);
    PAGE.call_once(|| page);
    init_cpu();
    clock().has_tsc_aux.store(has_rdtscp().into(), Ordering::Relaxed);
    let kvm = crate::kvm::clock();
    let Speeds { tsc: hz, source: name, assumed: is_assumed, apic, ongoing } = match kvm {
        Some((tsc, _)) => Speeds::of_kvm(tsc),
        None => measurement.finish(),
    };
    SOURCE.call_once(|| Source { name, hz, is_invariant: calibrate::is_invariant(), is_assumed });
    APIC_RATE.store(x86::divide(u128::from(apic) << 32, NANOSECONDS), Ordering::Relaxed);
    clock().tsc_base.store(start, Ordering::Relaxed);
    clock().rate.store(rate_of(hz), Ordering::Relaxed);
    if let Some(start) = ongoing {
        let now = calibrate::read_apic();
        *ONGOING.lock() = Ongoing {
            start: Some(start),
            initial: u32::MAX,
            speed: hz,
            error: start.error(&now),
            width: now.width,
            ..Ongoing::NONE
        };
    }
    let wall = match kvm {
        Some((_, wall)) => wall,
        None => crate::rtc::read().unwrap_or(0) * NANOSECONDS,
    };
    clock().wall_offset.store(wall.saturating_sub(now_ns()), Ordering::Relaxed);
}

#[cfg(target_os = "none")]
fn has_rdtscp() -> bool {
    x86::cpuid(0x8000_0001, 0).edx & 1 << 27 != 0
}

/// Lets programs read the running CPU's number.
#[cfg(target_os = "none")]
pub(crate) fn init_cpu() {
    if has_rdtscp() {
        // SAFETY: the register comes with RDTSCP.
        unsafe { x86::wrmsr(msr::TSC_AUX, Local::get().id.get() as u64) };
    }
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
        arm(local, deadline_ns);
    }
}

/// [`interrupt_by`] for an event that may come between `earliest_ns` and `latest_ns`: an interrupt that is already set within
/// this range serves.
#[inline]
pub fn interrupt_between(earliest_ns: u64, latest_ns: u64) {
    let local = Local::get();
    if local.timer.set_between(earliest_ns, latest_ns) {
        arm(local, earliest_ns);
    }
}

/// Sets the hardware, for `deadline` or as far as it reaches.
fn arm(local: &Local, deadline: u64) {
    let now = now_ns();
    let wait = deadline.saturating_sub(now);
    if apic::has_tsc_deadline() {
        let clock = clock();
        let ticks = x86::divide(u128::from(wait) << 32, clock.rate.load(Ordering::Relaxed).max(1));
        // Rounded up: an interrupt before its time would have to be repeated.
        apic::arm_tsc(x86::rdtsc().saturating_add(ticks).saturating_add(1));
        return;
    }
    let count = u32::try_from(scale(wait, APIC_RATE.load(Ordering::Relaxed)).max(1)).unwrap_or(u32::MAX);
    if local.id.get() == 0 {
        let mut ongoing = ONGOING.lock();
        ongoing.finish(false);
        ongoing.start(count, AtZero::Interrupt);
    } else {
        apic::start_count(count, AtZero::Interrupt);
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
    if local.id.get() == 0 && !apic::has_tsc_deadline() {
        let mut ongoing = ONGOING.lock();
        if ongoing.start.is_some() {
            ongoing.finish(true);
            // It repeats; and nothing may be timed now: let it count for the next measurement, if one is wanted.
            let count = if ongoing.error != 0 { u32::MAX } else { 0 };
            ongoing.start(count, AtZero::Silence);
        }
    }
}
