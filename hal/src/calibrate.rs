//! How fast the TSC runs. No source is trusted alone: what the CPU or hypervisor says is compared with what can be
//! measured at once, and a measurement is repeated over longer spans while the machine runs (see `time`).
use crate::x86::{self, cpuid};
use crate::{apic, port};

/// The local APIC's timer of QEMU (with TCG) and KVM counts nanoseconds.
const EMULATED_APIC_HZ: u64 = 1_000_000_000;
/// The interval timer's frequency (Intel 8254).
const PIT_HZ: u64 = 1_193_182;
const PIT_DATA: u16 = 0x42;
const PIT_COMMAND: u16 = 0x43;
const PIT_GATE: u16 = 0x61;
/// Shortest span that gives a usable first measurement.
const FIRST_SPAN_NS: u64 = 100_000;
/// It goes on to this span if the host is so busy that readings take long: the first error wanted is 2 %.
const FIRST_SPAN_MAX_NS: u64 = 20_000_000;
const FIRST_ERROR: u64 = 20_000_000;
/// Sources that differ by more than one part in this many disagree.
const TOLERANCE: u64 = 100;
/// Speeds outside of this are mistakes.
const PLAUSIBLE: core::ops::Range<u64> = 50_000_000..20_000_000_000;

/// Ticks per second from `ticks` of one clock against `counted` of a clock that runs at `hz`.
pub fn speed(ticks: u64, counted: u64, hz: u64) -> Option<u64> {
    if counted == 0 {
        return None;
    }
    let speed = x86::divide(u128::from(ticks) * u128::from(hz), counted);
    PLAUSIBLE.contains(&speed).then_some(speed)
}

/// True if two speeds are the same but for errors of measurement.
pub fn agree(a: u64, b: u64) -> bool {
    a.abs_diff(b) <= a.max(b) / TOLERANCE
}

/// The hypervisor's name, if there is one.
fn hypervisor() -> Option<[u8; 12]> {
    if cpuid(1, 0).ecx & 1 << 31 == 0 {
        return None;
    }
    let r = core::arch::x86_64::__cpuid(0x4000_0000);
    let mut name = [0; 12];
    for (piece, word) in name.chunks_mut(4).zip([r.ebx, r.ecx, r.edx]) {
        piece.copy_from_slice(&word.to_le_bytes());
    }
    Some(name)
}

/// True under KVM.
pub fn on_kvm() -> bool {
    hypervisor() == Some(*b"KVMKVMKVM\0\0\0")
}

/// What the hypervisor (leaf 0x4000_0010, VMware's and KVM's) or the CPU (leaf 0x15) says.
fn told() -> Option<u64> {
    if hypervisor().is_some() {
        let khz = cpuid(0x4000_0010, 0).eax;
        if khz != 0 {
            return Some(u64::from(khz) * 1000);
        }
    }
    let leaf = cpuid(0x15, 0);
    if leaf.eax == 0 || leaf.ebx == 0 || leaf.ecx == 0 {
        return None;
    }
    Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax))
}

/// Counters that were started at boot, to be read when some time has passed.
pub struct Measurement {
    apic: Option<Pair>,
    pit_start: Option<u64>,
}

/// A TSC value and a counter read at the same moment.
#[derive(Clone, Copy)]
pub struct Pair {
    /// The TSC.
    pub tsc: u64,
    /// The other counter, which counts down.
    pub count: u64,
    /// TSC ticks within which both were read.
    pub width: u64,
}

impl Pair {
    /// The largest error of a speed measured from here to `later`, in parts per billion.
    pub fn error(&self, later: &Pair) -> u64 {
        let span = later.tsc.saturating_sub(self.tsc).max(1);
        x86::divide(u128::from(self.width + later.width) * 1_000_000_000, span)
    }
}

/// The local APIC's count-down and the TSC, read as close together as can be had.
pub fn read_apic() -> Pair {
    let mut best = Pair { tsc: 0, count: 0, width: u64::MAX };
    for _ in 0..3 {
        let before = x86::rdtsc();
        let count = u64::from(apic::current_count());
        let width = x86::rdtsc().saturating_sub(before);
        if width < best.width {
            best = Pair { tsc: before + width / 2, count, width };
        }
    }
    best
}

impl Measurement {
    /// Starts the counters.
    pub fn start() -> Measurement {
        let known = hypervisor().is_some_and(|name| name == *b"TCGTCGTCGTCG" || name == *b"KVMKVMKVM\0\0\0");
        let apic = (known && !apic::has_tsc_deadline()).then(|| {
            apic::start_count(u32::MAX, apic::AtZero::Silence);
            read_apic()
        });
        // Counter 2, which no interrupt hangs on: mode 0 from 0xffff, gate open, speaker off.
        port::write8(PIT_GATE, port::read8(PIT_GATE) & !2 | 1);
        port::write8(PIT_COMMAND, 0xb0);
        port::write8(PIT_DATA, 0xff);
        port::write8(PIT_DATA, 0xff);
        Measurement { apic, pit_start: Some(x86::rdtsc()) }
    }

    fn read_pit(&self) -> Option<(u64, u64)> {
        const LATCH_2: u8 = 0x80;
        const WRAPPED: u8 = 1 << 5;
        port::write8(PIT_COMMAND, LATCH_2);
        let now = x86::rdtsc();
        let count = u64::from(port::read8(PIT_DATA)) | u64::from(port::read8(PIT_DATA)) << 8;
        let state = port::read8(PIT_GATE);
        // Without the timer all reads give ones.
        if state == 0xff || state & WRAPPED != 0 || count == 0xffff {
            return None;
        }
        Some((now - self.pit_start?, 0xffff - count))
    }

    /// The TSC's speed, after waiting as long as the counters need. The second value is what they started with, if the
    /// measurement can go on.
    pub fn finish(self) -> (u64, Option<Pair>) {
        let told = told();
        if let Some(start) = self.apic {
            let mut now = read_apic();
            while start.count - now.count < FIRST_SPAN_NS
                || start.error(&now) > FIRST_ERROR && start.count - now.count < FIRST_SPAN_MAX_NS
            {
                core::hint::spin_loop();
                now = read_apic();
            }
            let measured = speed(now.tsc - start.tsc, start.count - now.count, EMULATED_APIC_HZ);
            if let Some(hz) = measured {
                return match told {
                    Some(told) if agree(told, hz) => (told, None),
                    _ => (hz, self.apic),
                };
            }
        }
        let mut pit = self.read_pit();
        while let Some((_, count)) = pit
            && count * 1_000_000_000 / PIT_HZ < FIRST_SPAN_NS * 20
            && told.is_none()
        {
            core::hint::spin_loop();
            pit = self.read_pit();
        }
        let measured = pit.and_then(|(ticks, count)| speed(ticks, count, PIT_HZ));
        (told.or(measured).unwrap_or_else(by_rtc), None)
    }
}

/// The speed after a longer span, in which the local APIC counted `counted`.
pub fn refine(start: &Pair, now: &Pair, counted: u64) -> Option<u64> {
    speed(now.tsc.saturating_sub(start.tsc), counted, EMULATED_APIC_HZ)
}

/// The last resort, which takes up to two seconds: the ticks between two changes of the real-time clock.
fn by_rtc() -> u64 {
    let edge = || {
        let first = crate::rtc::read();
        let start = x86::rdtsc();
        // No clock at all: some ten seconds of any CPU.
        while crate::rtc::read() == first && x86::rdtsc() - start < 30_000_000_000 {}
        x86::rdtsc()
    };
    let start = edge();
    edge() - start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_and_refuses_nonsense() {
        assert_eq!(speed(2_100_000, 1_000_000, 1_000_000_000), Some(2_100_000_000));
        assert_eq!(speed(1, 0, 1), None);
        assert_eq!(speed(1, 1_000_000, 1_000_000_000), None);
    }

    #[test]
    fn bounds_the_error() {
        let start = Pair { tsc: 1000, count: 500, width: 10 };
        let later = Pair { tsc: 11_000, count: 400, width: 10 };
        assert_eq!(start.error(&later), 2_000_000);
        assert_eq!(later.error(&start), 20_000_000_000);
    }

    #[test]
    fn compares_within_a_hundredth() {
        assert!(agree(2_100_000_000, 2_110_000_000));
        assert!(!agree(2_100_000_000, 2_200_000_000));
    }
}
