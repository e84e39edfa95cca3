//! Counters of known speed, to measure the TSC against: the High Precision Event Timer, ACPI's power-management timer,
//! the interval timer, the real-time clock. Waiting for each is bounded, in case it is there but does not count.
use crate::arch::instructions;
use crate::arch::port;
use crate::arch::rtc;
use crate::io::mmio::Mmio;
use crate::machine::acpi::PmTimer;

const NANOSECONDS: u64 = 1_000_000_000;
/// The error that ends a measurement, in parts per billion. What is left is no more than that of a quartz that a time
/// server corrects (RFC 5905, 7.1: 500 parts per million).
const GOOD_ERROR: u64 = 500_000;
/// A measurement ends after this, whatever its error: reading may take long on a busy host.
const SPAN_MAX_NS: u64 = 50_000_000;
/// Readings of a counter that doesn't move.
const PATIENCE: u32 = 10_000;
/// Speeds outside of this are mistakes.
const PLAUSIBLE: core::ops::Range<u64> = 50_000_000..20_000_000_000;

/// TSC ticks per second from `ticks` of it against `counted` of a clock that runs at `hz`.
pub fn speed(ticks: u64, counted: u64, hz: u64) -> Option<u64> {
    if counted == 0 {
        return None;
    }
    let speed = instructions::divide(u128::from(ticks) * u128::from(hz), counted);
    PLAUSIBLE.contains(&speed).then_some(speed)
}

/// A TSC value and a counter read at the same moment.
#[derive(Clone, Copy)]
pub struct Pair {
    /// The TSC.
    pub tsc: u64,
    /// The other counter.
    pub count: u64,
    /// TSC ticks within which both were read.
    pub width: u64,
}

impl Pair {
    /// Both, read as close together as can be had.
    pub fn read(count: impl Fn() -> u64) -> Pair {
        let mut best = Pair { tsc: 0, count: 0, width: u64::MAX };
        for _ in 0..3 {
            let before = instructions::rdtsc();
            let count = count();
            let width = instructions::rdtsc().saturating_sub(before);
            if width < best.width {
                best = Pair { tsc: before + width / 2, count, width };
            }
        }
        best
    }

    /// The largest error of a speed measured from here to `later`, in parts per billion.
    pub fn error(&self, later: &Pair) -> u64 {
        let span = later.tsc.saturating_sub(self.tsc).max(1);
        instructions::divide(u128::from(self.width + later.width) * u128::from(NANOSECONDS), span)
    }
}

/// A counter that counts up at `hz`, and starts again from 0 after `mask`.
struct Counter<F> {
    read: F,
    hz: u64,
    mask: u64,
}

impl<F: Fn() -> u64> Counter<F> {
    /// The TSC's ticks per second by this counter. `None` if the counter does not advance or its readings make no sense.
    fn measure(&self) -> Option<u64> {
        let start = Pair::read(&self.read);
        let mut still = 0;
        loop {
            let now = Pair::read(&self.read);
            let counted = now.count.wrapping_sub(start.count) & self.mask;
            if counted == 0 {
                still += 1;
                if still > PATIENCE {
                    return None;
                }
            } else if start.error(&now) <= GOOD_ERROR
                || instructions::divide(u128::from(counted) * u128::from(NANOSECONDS), self.hz) >= SPAN_MAX_NS
            {
                return speed(now.tsc.saturating_sub(start.tsc), counted, self.hz);
            }
            core::hint::spin_loop();
        }
    }
}

/// By the High Precision Event Timer at `phys` (IA-PC HPET Specification 1.0a, 2.3).
pub fn by_hpet(phys: u64) -> Option<u64> {
    const BYTES: usize = 0x400;
    const PERIOD: usize = 0x04;
    const CONFIGURATION: usize = 0x10;
    const COUNTER: usize = 0xf0;
    const ENABLE: u32 = 1;
    const FEMTOSECONDS: u64 = 1_000_000_000_000_000;
    /// The longest period that a counter may have.
    const PERIOD_MAX: u64 = 100_000_000;
    let registers = Mmio::map(phys, BYTES)?;
    let period = u64::from(registers.read32(PERIOD));
    if period == 0 || period > PERIOD_MAX {
        return None;
    }
    registers.write32(CONFIGURATION, registers.read32(CONFIGURATION) | ENABLE);
    let read = || u64::from(registers.read32(COUNTER));
    Counter { read, hz: FEMTOSECONDS / period, mask: u64::from(u32::MAX) }.measure()
}

/// By ACPI's power-management timer (ACPI 6.4, 4.8.3.3).
pub fn by_pm_timer(timer: PmTimer) -> Option<u64> {
    const HZ: u64 = 3_579_545;
    Counter { read: || u64::from(port::read32(timer.port)), hz: HZ, mask: (1 << timer.bits) - 1 }.measure()
}

/// By counter 2 of the interval timer, on which no interrupt hangs (Intel 8254 data sheet).
pub fn by_pit() -> Option<u64> {
    const HZ: u64 = 1_193_182;
    const DATA: u16 = 0x42;
    const COMMAND: u16 = 0x43;
    const GATE: u16 = 0x61;
    const GATE_OPEN: u8 = 1;
    const SPEAKER: u8 = 2;
    /// At the port of the gate: the counter has reached zero.
    const OUTPUT: u8 = 1 << 5;
    /// Counter 2, low byte then high byte, mode 0: it counts down once.
    const COUNT_DOWN: u8 = 0xb0;
    const LATCH: u8 = 0x80;
    const START: u64 = 0xffff;
    // The span is nearly all that the counter can count: on a busy host it may have passed the end.
    for _ in 0..3 {
        port::write8(GATE, port::read8(GATE) & !SPEAKER | GATE_OPEN);
        port::write8(COMMAND, COUNT_DOWN);
        port::write8(DATA, START as u8);
        port::write8(DATA, (START >> 8) as u8);
        let read = || {
            port::write8(COMMAND, LATCH);
            START - (u64::from(port::read8(DATA)) | u64::from(port::read8(DATA)) << 8)
        };
        // Without the timer all reads are ones: a counter that does not advance.
        let measured = Counter { read, hz: HZ, mask: START }.measure()?;
        if port::read8(GATE) & OUTPUT == 0 {
            return Some(measured);
        }
    }
    None
}

/// The last resort, which takes up to two seconds: the TSC's ticks between two changes of the real-time clock.
pub fn by_rtc() -> Option<u64> {
    /// A second or more of any CPU.
    const SECOND: u64 = 12_000_000_000;
    let edge = || {
        let first = rtc::read()?;
        let start = instructions::rdtsc();
        while rtc::read()? == first {
            if instructions::rdtsc() - start > SECOND {
                return None;
            }
        }
        Some(instructions::rdtsc())
    };
    let start = edge()?;
    speed(edge()? - start, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn divides_and_refuses_nonsense() {
        assert_eq!(speed(2_100_000, 1_000_000, NANOSECONDS), Some(2_100_000_000));
        assert_eq!(speed(1, 0, 1), None);
        assert_eq!(speed(1, 1_000_000, NANOSECONDS), None);
    }

    #[test]
    fn bounds_the_error() {
        let start = Pair { tsc: 1000, count: 500, width: 10 };
        let later = Pair { tsc: 11_000, count: 400, width: 10 };
        assert_eq!(start.error(&later), 2_000_000);
        assert_eq!(later.error(&start), 20_000_000_000);
    }

    #[test]
    fn a_counter_that_stands_still_is_given_up() {
        let reads = Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            7
        };
        assert_eq!(Counter { read, hz: 1_000_000, mask: 0xffff }.measure(), None);
        assert!(reads.get() <= 3 * (PATIENCE + 2));
    }

    #[test]
    fn a_counter_that_wraps_is_measured_across_its_end() {
        // The host's own TSC, a thousand times slower, close to the end of 24 bits.
        let start = instructions::rdtsc();
        let read = || ((instructions::rdtsc() - start) / 1000 + 0xff_fff0) & 0xff_ffff;
        let measured = Counter { read, hz: 2_000_000, mask: 0xff_ffff }.measure().unwrap();
        assert!(measured.abs_diff(2_000_000_000) < 20_000_000, "{measured}");
    }
}
