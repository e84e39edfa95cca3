//! The CPU's counter and timer: the TSC, and the local APIC's timer or the TSC deadline (Intel SDM volume 3, 11.5.4).
//!
//! If the TSC's speed had to be measured, the measurement continues over longer spans beside the boot CPU's timer.
use super::apic::{self, AtZero};
pub use super::calibrate::Measurement;
use super::calibrate::{self, Speeds};
use super::instructions::{self, msr};
use super::reference::Pair;
use crate::local::Local;
use crate::time::{self, Source, now_ns, rate_of, scale, set_rate};
use core::sync::atomic::{AtomicU64, Ordering};

const NANOSECONDS: u64 = 1_000_000_000;
/// A new measurement replaces the last if its error is this many times smaller.
const GAIN: u64 = 4;
/// Count-downs shorter than this, in nanoseconds, are not measured: they would repeat too fast.
const SHORTEST: u32 = 200_000;
/// Parts per billion of error that are good enough.
const GOOD_ERROR: u64 = 5_000;

/// The counter.
#[inline(always)]
pub fn ticks() -> u64 {
    instructions::rdtsc()
}

/// Counts of the local APIC's timer in a nanosecond, times 2^32.
static APIC_RATE: AtomicU64 = AtomicU64::new(1 << 32);
/// The same, while the clock is not steered.
static RAW_APIC_RATE: AtomicU64 = AtomicU64::new(1 << 32);

/// The measurement that continues beside the boot CPU's timer.
static ONGOING: crate::sync::Mutex<Ongoing> = crate::sync::Mutex::new(Ongoing::NONE);

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

/// Starts the clock at zero. Called once, when the local APIC works.
#[cfg(target_os = "none")]
pub fn init(measurement: Measurement) {
    let start = ticks();
    init_cpu();
    let kvm = super::kvm::clock();
    let Speeds { tsc: hz, source: name, assumed: is_assumed, apic, ongoing } = match kvm {
        Some((tsc, _)) => Speeds::of_kvm(tsc),
        None => measurement.finish(),
    };
    let source = Source { name, hz, is_invariant: calibrate::is_invariant(), is_assumed };
    time::start(start, has_rdtscp(), source);
    RAW_APIC_RATE.store(instructions::divide(u128::from(apic) << 32, NANOSECONDS), Ordering::Relaxed);
    steered(1, 1);
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
    match kvm {
        Some((_, wall)) => time::set_wall("kvmclock", wall),
        None => time::set_wall("rtc", super::rtc::read().unwrap_or(0) * NANOSECONDS),
    }
}

/// The host's clock, as nanoseconds since 1970, and the TSC at that moment; `None` where the hypervisor does not tell.
#[cfg(target_os = "none")]
pub fn host_clock() -> Option<(u64, u64)> {
    super::kvm::pair_clocks()
}

#[cfg(target_os = "none")]
fn has_rdtscp() -> bool {
    instructions::cpuid(0x8000_0001, 0).edx & 1 << 27 != 0
}

/// Lets programs read the running CPU's number.
#[cfg(target_os = "none")]
pub fn init_cpu() {
    if has_rdtscp() {
        // SAFETY: the register comes with RDTSCP.
        unsafe { instructions::wrmsr(msr::TSC_AUX, Local::get().id.get() as u64) };
    }
}

/// The clock runs by `rate`, and would by `raw_rate` if it were not steered: count-downs are in nanoseconds of the clock.
pub fn steered(raw_rate: u64, rate: u64) {
    let counts = u128::from(RAW_APIC_RATE.load(Ordering::Relaxed)) * u128::from(raw_rate);
    APIC_RATE.store(instructions::divide(counts, rate.max(1)), Ordering::Relaxed);
}

/// Sets the hardware, for `deadline` or as far as it reaches.
pub fn arm(local: &Local, deadline: u64) {
    let now = now_ns();
    let wait = deadline.saturating_sub(now);
    if apic::has_tsc_deadline() {
        let count = instructions::divide(u128::from(wait) << 32, time::rate().max(1));
        // Rounded up: an interrupt before its time would have to be repeated.
        apic::arm_tsc(ticks().saturating_add(count).saturating_add(1));
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

/// The timer's interrupt came at this CPU.
pub fn fired(local: &Local) {
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
