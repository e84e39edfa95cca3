//! KVM's paravirtual devices (Linux's Documentation/virt/kvm/x86/msr.rst and cpuid.rst): its clock, and the end of an
//! interrupt without leaving the guest.
use crate::arch::hypervisor;
use crate::arch::instructions::{self, msr};
use crate::local::Local;
use crate::mm::frame::Frame;
use crate::mm::layout::{self, PAGE};
use crate::percpu::MAX_CPUS;
use core::arch::asm;
use core::sync::atomic::{AtomicPtr, Ordering};

const NANOSECONDS: u64 = 1_000_000_000;
/// KVM_FEATURE_CLOCKSOURCE2.
const CLOCK_SOURCE_2: u32 = 1 << 3;

/// KVM_FEATURE_PV_EOI.
const PV_EOI: u32 = 1 << 6;
/// Bytes from one CPU's word to the next: a cache line.
const EOI_STRIDE: usize = 64;
/// A word for each CPU, in a page of its own: KVM sets bit 0 if the interrupt that it delivers need not be ended by the
/// interrupt controller's register. Null: KVM doesn't.
static EOI_WORDS: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// Whether KVM has this feature.
fn has(feature: u32) -> bool {
    hypervisor::here(hypervisor::KVM).is_some_and(|base| instructions::cpuid(base + 1, 0).eax & feature != 0)
}

/// Makes KVM report in memory which interrupts of the running CPU end by themselves.
pub fn init_cpu() {
    const { assert!(MAX_CPUS * EOI_STRIDE <= PAGE) };
    if !has(PV_EOI) {
        return;
    }
    if EOI_WORDS.load(Ordering::Relaxed).is_null() {
        let Some(page) = Frame::alloc_zeroed() else { return };
        EOI_WORDS.store(layout::direct(page.into_phys()) as *mut u8, Ordering::Relaxed);
    }
    let word = EOI_WORDS.load(Ordering::Relaxed) as usize + Local::get().id.get() * EOI_STRIDE;
    // SAFETY: the feature bit says that the register exists; bit 0 enables. KVM writes to the word, which lies in a page
    // that is kept for ever and holds nothing else.
    unsafe { instructions::wrmsr(msr::KVM_PV_EOI_EN, layout::direct_phys(word) | 1) };
}

/// True if KVM reports that in memory.
pub fn has_eoi_words() -> bool {
    !EOI_WORDS.load(Ordering::Relaxed).is_null()
}

/// Ends the interrupt in hand if KVM has said that a word in memory is enough for it. False: its register must be written.
#[inline(always)]
pub fn end_of_interrupt() -> bool {
    let words = EOI_WORDS.load(Ordering::Relaxed);
    if words.is_null() {
        return false;
    }
    let ended: u8;
    // SAFETY: this CPU's own word. One instruction: KVM, which looks at the word when this CPU leaves the guest, sees it
    // before or after.
    unsafe {
        let word = words.add(Local::get().id.get() * EOI_STRIDE);
        asm!("btr dword ptr [{}], 0", "setc {}", in(reg) word, out(reg_byte) ended, options(nostack));
    }
    ended != 0
}

/// The paravirtual clock, if it is there: the TSC's ticks per second, and the time since 1970 in nanoseconds now.
pub fn clock() -> Option<(u64, u64)> {
    /// Offset of `struct pvclock_wall_clock` in the page.
    const WALL: usize = 64;
    if !has(CLOCK_SOURCE_2) {
        return None;
    }
    let page = Frame::alloc_zeroed()?;
    // SAFETY: the feature bit says that the registers exist; KVM writes to the page while the clock is enabled (bit 0),
    // which it is not any more when the page is freed.
    unsafe {
        instructions::wrmsr(msr::KVM_SYSTEM_TIME_NEW, page.phys() | 1);
        instructions::wrmsr(msr::KVM_WALL_CLOCK_NEW, page.phys() + WALL as u64);
    }
    let mut bytes = [0; 2 * WALL];
    let mut whole = false;
    // An odd version: KVM is writing. It does so while this CPU waits, so that once is nearly always enough.
    for _ in 0..1000 {
        page.read(0, &mut bytes);
        let mut version = [0; 4];
        page.read(0, &mut version);
        whole = bytes[0] & 1 == 0 && bytes[WALL] & 1 == 0 && bytes[..4] == version;
        if whole {
            break;
        }
    }
    // SAFETY: as above.
    unsafe { instructions::wrmsr(msr::KVM_SYSTEM_TIME_NEW, 0) };
    let (hz, uptime) = if whole { system_time(&bytes, instructions::rdtsc())? } else { return None };
    let word =
        |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    // struct pvclock_wall_clock: version, seconds, nanoseconds, at the zero of the system time.
    Some((hz, word(WALL + 4) * NANOSECONDS + word(WALL + 8) + uptime))
}

/// KVM_HC_CLOCK_PAIRING (Linux's Documentation/virt/kvm/x86/hypercalls.rst): the host's clock as nanoseconds since 1970, and this CPU's TSC
/// at that moment. `None` if there is no KVM, or if it refuses, as it does where the host's own clock is not the TSC.
#[cfg(target_os = "none")]
pub fn pair_clocks() -> Option<(u64, u64)> {
    const CLOCK_PAIRING: u64 = 9;
    /// KVM_CLOCK_PAIRING_WALLCLOCK.
    const WALL_CLOCK: u64 = 0;
    hypervisor::here(hypervisor::KVM)?;
    let page = Frame::alloc_zeroed()?;
    // SAFETY: KVM makes itself known; it writes to the first bytes of the page, which is this function's own, and keeps nothing of it.
    if unsafe { call(CLOCK_PAIRING, page.phys(), WALL_CLOCK) } != 0 {
        return None;
    }
    let mut bytes = [0; PAIRING_BYTES];
    page.read(0, &mut bytes);
    paired(&bytes)
}

/// Bytes of a `struct kvm_clock_pairing` that are used.
const PAIRING_BYTES: usize = 24;

/// From a `struct kvm_clock_pairing`: nanoseconds since 1970, and the TSC.
fn paired(bytes: &[u8; PAIRING_BYTES]) -> Option<(u64, u64)> {
    let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (seconds, nanoseconds, tsc) = (long(0)?, long(8)?, long(16)?);
    let wall_ns = seconds.checked_mul(NANOSECONDS)?.checked_add(nanoseconds)?;
    // A host that has no time yet is no source.
    (wall_ns != 0 && nanoseconds < NANOSECONDS).then_some((wall_ns, tsc))
}

/// A hypercall of KVM (the same document). It returns 0, or an error below it.
///
/// # Safety
/// The hypervisor is KVM, and the call does nothing that Rust does not expect.
#[cfg(target_os = "none")]
unsafe fn call(number: u64, first: u64, second: u64) -> i64 {
    let result: i64;
    // SAFETY: passed on to the caller. KVM changes no register but RAX. The wrong one of the two instructions would be undefined, since
    // KVM could not patch it in code that is read-only. RBX is the compiler's own.
    unsafe {
        if instructions::is_amd() {
            asm!("xchg {0}, rbx", "vmmcall", "xchg {0}, rbx", inout(reg) first => _,
                inlateout("rax") number => result, in("rcx") second, options(nostack));
        } else {
            asm!("xchg {0}, rbx", "vmcall", "xchg {0}, rbx", inout(reg) first => _,
                inlateout("rax") number => result, in("rcx") second, options(nostack));
        }
    }
    result
}

/// From a `struct pvclock_vcpu_time_info`: the TSC's ticks per second, and the system time in nanoseconds at `tsc`.
fn system_time(bytes: &[u8], tsc: u64) -> Option<(u64, u64)> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    // ns = ((tsc - timestamp) << shift) * mul / 2^32 + system_time.
    let (timestamp, system_time, mul, shift) = (long(8)?, long(16)?, word(24)?, *bytes.get(28)? as i8);
    if mul == 0 || !(-31..=31).contains(&shift) {
        return None;
    }
    let shifted = |value: u128, by: i8| if by >= 0 { value << by } else { value >> -by };
    let hz = shifted(u128::from((NANOSECONDS << 32) / u64::from(mul)), -shift) as u64;
    let since = u128::from(tsc.saturating_sub(timestamp));
    Some((hz, system_time + ((shifted(since, shift) * u128::from(mul)) >> 32) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_a_pair_of_clocks() {
        let bytes = |words: [u64; 3]| {
            let mut bytes = [0; PAIRING_BYTES];
            for (place, word) in bytes.chunks_mut(8).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            bytes
        };
        assert_eq!(paired(&bytes([1_790_000_000, 5, 77])), Some((1_790_000_000_000_000_005, 77)));
        for wrong in [[0, 0, 77], [1, 1_000_000_000, 77], [u64::MAX, 0, 77]] {
            assert_eq!(paired(&bytes(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn decodes_the_clock() {
        let mut bytes = [0; 32];
        bytes[8..16].copy_from_slice(&1000u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&5u64.to_le_bytes());
        // 2 GHz: half a nanosecond for a tick, as 2^32 / 2 or as 2^31 * 2 shifted right.
        for (mul, shift) in [(1u32 << 31, 0i8), (u32::MAX, -1)] {
            bytes[24..28].copy_from_slice(&mul.to_le_bytes());
            bytes[28] = shift as u8;
            let (hz, now) = system_time(&bytes, 3000).unwrap();
            assert!(hz.abs_diff(2_000_000_000) < 10, "{hz}");
            assert!(now.abs_diff(1005) <= 1, "{now}");
        }
        bytes[24..28].fill(0);
        assert_eq!(system_time(&bytes, 3000), None);
        assert_eq!(system_time(&bytes[..20], 3000), None);
    }
}
