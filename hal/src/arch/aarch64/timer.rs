//! The CPU's counter and timer: the generic timer's virtual count (Arm ARM, D11), and the real-time clock PL031.
use super::instructions::{isb, read, write};
use crate::io::mmio::Mmio;
use crate::local::Local;
use crate::time::{self, Source, now_ns};

const NANOSECONDS: u64 = 1_000_000_000;
/// CNTV_CTL_EL0: the timer counts; its interrupt is masked.
const ENABLE: u64 = 1;
const MASKED: u64 = 1 << 1;

/// The counter.
#[inline(always)]
pub fn ticks() -> u64 {
    // Not before what comes before it in the program.
    isb();
    read!("cntvct_el0")
}

/// The host's clock, as nanoseconds since 1970, and the counter at that moment; `None` where the hypervisor does not tell.
#[cfg(target_os = "none")]
pub fn host_clock() -> Option<(u64, u64)> {
    super::firmware::host_clock()
}

/// A measurement of the counter's speed: the firmware sets that in a register, so there is nothing to measure.
pub struct Measurement;

impl Measurement {
    /// Nothing to do.
    pub fn start() -> Measurement {
        Measurement
    }
}

/// Seconds since 1970 (PL031, Arm DDI 0224: the data register), or 0 without a clock.
fn wall_seconds() -> u64 {
    let read = || {
        let clock = super::start::device_tree()?.compatible(&["arm,pl031"])?;
        let (address, size) = clock.registers().next()?;
        Some(Mmio::map(address, size as usize)?.read32(0))
    };
    read().unwrap_or(0).into()
}

/// Starts the clock at zero. Called once.
pub fn init(_: Measurement) {
    let start = ticks();
    let hz = read!("cntfrq_el0");
    init_cpu();
    let source = Source { name: "the generic timer", hz: hz.max(1), is_invariant: true, is_assumed: hz == 0 };
    time::start(start, false, source);
    time::set_wall("rtc", wall_seconds() * NANOSECONDS);
}

/// Lets programs read the counter, and nothing else of the timers (CNTKCTL_EL1.EL0VCTEN).
pub fn init_cpu() {
    const EL0VCTEN: u64 = 1 << 1;
    // SAFETY: the timer is silent until it is set.
    unsafe {
        write!("cntkctl_el1", EL0VCTEN);
        write!("cntv_ctl_el0", ENABLE | MASKED);
    }
}

/// Nothing to do: the timer compares the counter itself.
pub fn steered(_raw_rate: u64, _rate: u64) {}

/// Sets the timer, for `deadline`.
pub fn arm(_: &Local, deadline: u64) {
    let wait = deadline.saturating_sub(now_ns());
    // Rounded up: an interrupt before its time would have to be repeated.
    let count = (u128::from(wait) << 32) / u128::from(time::rate().max(1)) + 1;
    let at = ticks().saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    // SAFETY: the timer's interrupt has a handler.
    unsafe {
        write!("cntv_cval_el0", at);
        write!("cntv_ctl_el0", ENABLE);
    }
    isb();
}

/// The timer's interrupt came at this CPU: it stays raised until it is masked.
pub fn fired(_: &Local) {
    // SAFETY: as above.
    unsafe { write!("cntv_ctl_el0", ENABLE | MASKED) };
    isb();
}
