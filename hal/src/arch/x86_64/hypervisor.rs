//! What hypervisors report by CPUID, from leaf 0x4000_0000 (Linux's Documentation/virt/kvm/x86/cpuid.rst; Microsoft's
//! Hypervisor Top Level Functional Specification, 2.4; Xen's public/arch-x86/cpuid.h).
use crate::arch::instructions::{CpuidResult, cpuid};

/// The CPUID instruction, or a test's idea of one.
pub trait Cpuid: Fn(u32, u32) -> CpuidResult {}
impl<F: Fn(u32, u32) -> CpuidResult> Cpuid for F {}

/// Where hypervisors have their leaves: one that looks like Hyper-V, too, has its own behind those.
const BASES: [u32; 2] = [0x4000_0000, 0x4000_0100];

/// Names of hypervisors.
pub const KVM: &[u8; 12] = b"KVMKVMKVM\0\0\0";
/// QEMU's translator.
pub const TCG: &[u8; 12] = b"TCGTCGTCGTCG";
const HYPER_V: &[u8; 12] = b"Microsoft Hv";
const XEN: &[u8; 12] = b"XenVMMXenVMM";

/// True if a hypervisor makes itself known.
pub fn is_present(cpuid: &impl Cpuid) -> bool {
    cpuid(1, 0).ecx & 1 << 31 != 0
}

/// The first leaf of the hypervisor with this name, if it is there.
pub fn base(cpuid: &impl Cpuid, name: &[u8; 12]) -> Option<u32> {
    if !is_present(cpuid) {
        return None;
    }
    BASES.into_iter().find(|&base| {
        let r = cpuid(base, 0);
        [r.ebx, r.ecx, r.edx].iter().flat_map(|word| word.to_le_bytes()).eq(name.iter().copied())
    })
}

/// The first leaf of this machine's hypervisor with this name.
pub fn here(name: &[u8; 12]) -> Option<u32> {
    base(&cpuid, name)
}

/// The TSC's ticks per second by the hypervisor's word, and by which one.
pub fn tsc_speed(cpuid: &impl Cpuid, read_tsc_frequency: impl Fn() -> u64) -> Option<(u64, &'static str)> {
    const KHZ: u64 = 1000;
    /// Hyper-V's HV_X64_MSR_TSC_FREQUENCY is there (EDX of leaf 3: FrequencyRegsAvailable) and may be read (EAX:
    /// AccessFrequencyRegs).
    const FREQUENCY_REGISTERS: u32 = 1 << 8;
    const MAY_READ: u32 = 1 << 11;
    if let Some(base) = base(cpuid, HYPER_V) {
        let features = cpuid(base + 3, 0);
        if features.eax & MAY_READ != 0 && features.edx & FREQUENCY_REGISTERS != 0 {
            return Some((read_tsc_frequency(), "Hyper-V"));
        }
    }
    if let Some(base) = base(cpuid, XEN) {
        let khz = cpuid(base + 3, 0).ecx;
        if khz != 0 {
            return Some((u64::from(khz) * KHZ, "Xen"));
        }
    }
    // VMware's timing leaf, which KVM has, too.
    const TIMING: u32 = 0x10;
    let reaches = is_present(cpuid) && cpuid(BASES[0], 0).eax >= BASES[0] + TIMING;
    match if reaches { cpuid(BASES[0] + TIMING, 0).eax } else { 0 } {
        0 => None,
        khz => Some((u64::from(khz) * KHZ, "the hypervisor's timing leaf")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(eax: u32, ebx: u32, ecx: u32, edx: u32) -> CpuidResult {
        CpuidResult { eax, ebx, ecx, edx }
    }

    fn named(highest: u32, name: &[u8; 12]) -> CpuidResult {
        let word = |at: usize| u32::from_le_bytes([name[at], name[at + 1], name[at + 2], name[at + 3]]);
        leaf(highest, word(0), word(4), word(8))
    }

    const PRESENT: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 1 << 31, edx: 0 };
    const NOTHING: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

    #[test]
    fn kvm_behind_hyper_v() {
        let cpuid = |number: u32, _| match number {
            1 => PRESENT,
            0x4000_0000 => named(0x4000_0006, HYPER_V),
            0x4000_0003 => leaf(1 << 11, 0, 0, 1 << 8),
            0x4000_0100 => named(0x4000_0101, KVM),
            _ => NOTHING,
        };
        assert_eq!(base(&cpuid, KVM), Some(0x4000_0100));
        assert_eq!(tsc_speed(&cpuid, || 2_500_000_000), Some((2_500_000_000, "Hyper-V")));
    }

    #[test]
    fn hyper_v_without_the_register_is_not_asked() {
        let cpuid = |number: u32, _| match number {
            1 => PRESENT,
            0x4000_0000 => named(0x4000_0006, HYPER_V),
            0x4000_0003 => leaf(0, 0, 0, 1 << 8),
            _ => NOTHING,
        };
        assert_eq!(tsc_speed(&cpuid, || panic!("the register may not be there")), None);
    }

    #[test]
    fn xen_and_the_timing_leaf() {
        let xen = |number: u32, _| match number {
            1 => PRESENT,
            0x4000_0000 => named(0x4000_0005, XEN),
            0x4000_0003 => leaf(0, 0, 2_100_000, 0),
            _ => NOTHING,
        };
        assert_eq!(tsc_speed(&xen, || 0), Some((2_100_000_000, "Xen")));
        let vmware = |number: u32, _| match number {
            1 => PRESENT,
            0x4000_0000 => named(0x4000_0010, b"VMwareVMware"),
            0x4000_0010 => leaf(3_000_000, 66_000, 0, 0),
            _ => NOTHING,
        };
        assert_eq!(tsc_speed(&vmware, || 0).map(|(hz, _)| hz), Some(3_000_000_000));
    }

    #[test]
    fn without_a_hypervisor_its_leaves_mean_nothing() {
        let cpuid = |number: u32, _| if number == 1 { NOTHING } else { named(0x4000_0010, XEN) };
        assert_eq!(tsc_speed(&cpuid, || 0), None);
        assert_eq!(base(&cpuid, XEN), None);
    }
}
