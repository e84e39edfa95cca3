//! The speed of the TSC: as reported by the hypervisor or the CPU, otherwise measured against the best counter there is.
//!
//! Under QEMU and KVM the local APIC's timer counts nanoseconds. Where it is available, a reported speed is compared with it at
//! once, and a measurement against it continues over longer spans while the machine runs (see `time`).
use crate::arch::instructions::{self, cpuid};
use crate::arch::reference::{self, Pair, speed};
use crate::arch::{apic, hypervisor};
use crate::io::fw_cfg;
use crate::machine::acpi::Tables;

/// What the local APIC's timer of QEMU (with TCG) and KVM counts in a second.
const EMULATED_APIC_HZ: u64 = 1_000_000_000;
/// Shortest span of a usable first measurement.
const FIRST_SPAN_NS: u64 = 100_000;
/// It is extended to this span if the host is so busy that readings take long: the first error wanted is 2 %.
const FIRST_SPAN_MAX_NS: u64 = 20_000_000;
const FIRST_ERROR: u64 = 20_000_000;
/// Sources that differ by more than one part in this many disagree.
const TOLERANCE: u64 = 100;

/// True if two speeds are the same but for errors of measurement.
fn agree(a: u64, b: u64) -> bool {
    a.abs_diff(b) <= a.max(b) / TOLERANCE
}

/// True if the TSC counts at one speed whatever the CPU does (Intel SDM volume 3, 18.17.1).
pub fn is_invariant() -> bool {
    cpuid(0x8000_0007, 0).edx & 1 << 8 != 0
}

/// The speed that the hypervisor or the CPU reports, and which of them.
fn told() -> Option<(u64, &'static str)> {
    /// HV_X64_MSR_TSC_FREQUENCY.
    const HYPER_V_TSC_FREQUENCY: u32 = 0x4000_0022;
    // SAFETY: called only if Hyper-V's leaves say that the register is there and may be read.
    let read = || unsafe { instructions::rdmsr(HYPER_V_TSC_FREQUENCY) };
    hypervisor::tsc_speed(&cpuid, read).or_else(|| by_crystal(&cpuid)).filter(|&(hz, _)| hz != 0)
}

/// By CPUID leaf 0x15, the ratio of the TSC to the crystal, which has a speed there or in leaf 0x16 (Intel SDM volume 3,
/// 18.7.3: the base frequency in MHz is then the TSC's).
fn by_crystal(cpuid: &impl hypervisor::Cpuid) -> Option<(u64, &'static str)> {
    const MHZ: u64 = 1_000_000;
    let leaf = cpuid(0x15, 0);
    if leaf.eax == 0 || leaf.ebx == 0 {
        return None;
    }
    if leaf.ecx != 0 {
        let hz = u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax);
        return Some((hz, "CPUID leaf 0x15"));
    }
    match cpuid(0x16, 0).eax & 0xffff {
        0 => None,
        mhz => Some((u64::from(mhz) * MHZ, "CPUID leaf 0x16")),
    }
}

/// How fast the clocks run.
pub struct Speeds {
    /// TSC ticks per second.
    pub tsc: u64,
    /// The source of it.
    pub source: &'static str,
    /// True if no source reports the speed: it is assumed.
    pub assumed: bool,
    /// Counts of the local APIC's timer per second.
    pub apic: u64,
    /// Where the local APIC's count-down was first read, if the measurement can go on.
    pub ongoing: Option<Pair>,
}

impl Speeds {
    /// By KVM's clock.
    pub fn of_kvm(tsc: u64) -> Speeds {
        Speeds { tsc, source: "kvmclock", assumed: false, apic: EMULATED_APIC_HZ, ongoing: None }
    }
}

/// The local APIC's count-down that was started at boot, to be read when some time has passed.
pub struct Measurement {
    apic: Option<Pair>,
}

/// The local APIC's count-down and the TSC.
pub fn read_apic() -> Pair {
    Pair::read(|| u64::from(apic::current_count()))
}

/// The TSC's speed by the local APIC, which has counted down since `start` and counts nanoseconds.
fn by_apic(start: &Pair) -> Option<u64> {
    let mut now = read_apic();
    while start.count - now.count < FIRST_SPAN_NS
        || start.error(&now) > FIRST_ERROR && start.count - now.count < FIRST_SPAN_MAX_NS
    {
        core::hint::spin_loop();
        now = read_apic();
    }
    speed(now.tsc - start.tsc, start.count - now.count, EMULATED_APIC_HZ)
}

/// Starts the local APIC's count-down.
fn start_apic() -> Pair {
    apic::start_count(u32::MAX, apic::AtZero::Silence);
    read_apic()
}

impl Measurement {
    /// Starts the count-down, if it is known to count nanoseconds.
    pub fn start() -> Measurement {
        let known =
            [hypervisor::TCG, hypervisor::KVM].into_iter().any(|name| hypervisor::here(name).is_some());
        Measurement { apic: (known && !apic::has_tsc_deadline()).then(start_apic) }
    }

    /// The speeds, after waiting as long as the counters need.
    pub fn finish(self) -> Speeds {
        let told = told();
        if let Some(start) = self.apic
            && let Some(hz) = by_apic(&start)
        {
            let (tsc, source, ongoing) = match told {
                Some((told, source)) if agree(told, hz) => (told, source, None),
                _ => (hz, "the local APIC", self.apic),
            };
            return Speeds { tsc, source, assumed: false, apic: EMULATED_APIC_HZ, ongoing };
        }
        let found = told.or_else(measured);
        let (tsc, source) = found.unwrap_or_else(|| {
            let start = start_apic();
            (by_apic(&start).unwrap_or(EMULATED_APIC_HZ), "the local APIC, as if it counted nanoseconds")
        });
        let apic = if apic::has_tsc_deadline() { EMULATED_APIC_HZ } else { apic_speed(tsc) };
        apic::stop_count();
        Speeds { tsc, source, assumed: found.is_none(), apic, ongoing: None }
    }
}

/// By the best counter of this machine.
fn measured() -> Option<(u64, &'static str)> {
    let tables = Tables::of_machine();
    let tables = tables.as_ref();
    let hpet = || Some((reference::by_hpet(tables?.hpet()?)?, "the HPET"));
    let pm_timer = || Some((reference::by_pm_timer(tables?.pm_timer()?)?, "ACPI's timer"));
    let pit = || Some((reference::by_pit()?, "the interval timer"));
    // QEMU that hides: its local APIC is the same.
    let apic = || {
        fw_cfg::is_present().then(start_apic).and_then(|start| Some((by_apic(&start)?, "QEMU's local APIC")))
    };
    let rtc = || Some((reference::by_rtc()?, "the real-time clock"));
    hpet().or_else(pm_timer).or_else(pit).or_else(apic).or_else(rtc)
}

/// The speed of the local APIC's timer, measured by the TSC.
fn apic_speed(tsc: u64) -> u64 {
    /// Part of a second that it takes.
    const SPAN: u64 = 1000;
    let start = start_apic();
    let mut now = read_apic();
    while now.tsc.saturating_sub(start.tsc) < tsc / SPAN {
        core::hint::spin_loop();
        now = read_apic();
    }
    let counted = u128::from(start.count.saturating_sub(now.count));
    match instructions::divide(counted * u128::from(tsc), now.tsc - start.tsc) {
        // It does not count: nothing will ever be due, whatever is assumed.
        0 => EMULATED_APIC_HZ,
        hz if agree(hz, EMULATED_APIC_HZ) => EMULATED_APIC_HZ,
        hz => hz,
    }
}

/// The speed after a longer span, in which the local APIC counted `counted`.
pub fn refine(start: &Pair, now: &Pair, counted: u64) -> Option<u64> {
    speed(now.tsc.saturating_sub(start.tsc), counted, EMULATED_APIC_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::instructions::CpuidResult;

    #[test]
    fn compares_within_a_hundredth() {
        assert!(agree(2_100_000_000, 2_110_000_000));
        assert!(!agree(2_100_000_000, 2_200_000_000));
    }

    #[test]
    fn the_crystal_has_its_speed_in_one_of_two_leaves() {
        let machine = |ratio: (u32, u32), crystal: u32, mhz: u32| {
            let cpuid = move |leaf: u32, _: u32| match leaf {
                0x15 => CpuidResult { eax: ratio.0, ebx: ratio.1, ecx: crystal, edx: 0 },
                _ => CpuidResult { eax: mhz, ebx: 0, ecx: 0, edx: 0 },
            };
            by_crystal(&cpuid).map(|(hz, _)| hz)
        };
        assert_eq!(machine((2, 168), 25_000_000, 0), Some(2_100_000_000));
        assert_eq!(machine((2, 216), 0, 2600), Some(2_600_000_000));
        assert_eq!(machine((0, 0), 25_000_000, 2600), None);
        assert_eq!(machine((2, 216), 0, 0), None);
    }
}
