//! Single instructions: control and model-specific registers, CPUID, the time-stamp counter (Intel SDM volume 2).
use core::arch::asm;
pub(crate) use core::arch::x86_64::CpuidResult;

/// Bytes of a direct call: `e8` and a 32-bit distance.
const DIRECT_CALL: usize = 5;
/// Bytes of the shortest and the longest indirect call, `ff /2`, with its operand and prefix.
const INDIRECT_CALLS: core::ops::RangeInclusive<usize> = 2..=7;

/// Model-specific registers (Intel SDM volume 4).
pub mod msr {
    pub const APIC_BASE: u32 = 0x1b;
    pub const SYSENTER_CS: u32 = 0x174;
    pub const TSC_DEADLINE: u32 = 0x6e0;
    pub const X2APIC: u32 = 0x800;
    pub const EFER: u32 = 0xc000_0080;
    pub const STAR: u32 = 0xc000_0081;
    pub const LSTAR: u32 = 0xc000_0082;
    pub const SFMASK: u32 = 0xc000_0084;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
    /// Linux's Documentation/virt/kvm/x86/msr.rst.
    pub const KVM_WALL_CLOCK_NEW: u32 = 0x4b56_4d00;
    pub const KVM_SYSTEM_TIME_NEW: u32 = 0x4b56_4d01;
    pub const KVM_PV_EOI_EN: u32 = 0x4b56_4d04;
}

/// EFER.SCE: the `syscall` instruction.
pub const EFER_SCE: u64 = 1;
pub const CR0_MP: u64 = 1 << 1;
pub const CR0_EM: u64 = 1 << 2;
pub const CR0_TS: u64 = 1 << 3;
pub const CR0_NE: u64 = 1 << 5;
pub const CR0_WP: u64 = 1 << 16;
pub const CR4_OSFXSR: u64 = 1 << 9;
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
pub const CR4_UMIP: u64 = 1 << 11;
pub const CR4_OSXSAVE: u64 = 1 << 18;
pub const CR4_SMEP: u64 = 1 << 20;
pub const CR4_SMAP: u64 = 1 << 21;

/// Reads a model-specific register.
///
/// # Safety
/// The register exists on this CPU.
#[inline]
pub unsafe fn rdmsr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller says that the register exists; reading has no effect on memory.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists and the value keeps the machine's state as Rust expects it.
#[inline]
pub unsafe fn wrmsr(register: u32, value: u64) {
    // SAFETY: passed on to the caller.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags))
    };
}

/// Whether the CPU is AMD's, or made after it: VMMCALL is its way to the hypervisor (AMD's manual, volume 3), where others have VMCALL.
pub fn is_amd() -> bool {
    let vendor = cpuid(0, 0);
    [b"AuthenticAMD", b"HygonGenuine"].iter().any(|name| {
        [vendor.ebx, vendor.edx, vendor.ecx]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .eq(name.iter().copied())
    })
}

macro_rules! control_register {
    ($read:ident, $write:ident, $name:literal) => {
        /// Reads the control register.
        #[inline]
        #[allow(dead_code)]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: the kernel runs at CPL 0; reading has no side effect.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        /// Writes the control register.
        ///
        /// # Safety
        /// The value keeps paging, protection and the calling code valid.
        #[inline]
        #[allow(dead_code)]
        pub unsafe fn $write(value: u64) {
            // SAFETY: passed on to the caller.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}
control_register!(cr0, set_cr0, "cr0");
control_register!(cr2, set_cr2, "cr2");
control_register!(cr3, set_cr3, "cr3");
control_register!(cr4, set_cr4, "cr4");

/// CPUID; zeroes for a leaf above the CPU's highest of that range.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let range = leaf & 0xffff_0000;
    if leaf != range && core::arch::x86_64::__cpuid(range).eax < leaf {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// The time-stamp counter.
#[inline(always)]
pub fn rdtsc() -> u64 {
    let ticks: u64;
    // The upper halves of both registers are 0 after it, which the compiler does not know.
    // SAFETY: always allowed at CPL 0.
    unsafe {
        asm!("rdtsc", "shl rdx, 32", "or rax, rdx", out("rax") ticks, out("rdx") _, options(nomem, nostack));
    }
    ticks
}

/// `value / by`, or the largest number if the quotient has more than 64 bits. One instruction; the compiler's division of
/// 128-bit numbers is a function of 2.7 KB.
#[cfg(target_os = "none")]
pub fn divide(value: u128, by: u64) -> u64 {
    let (high, low) = ((value >> 64) as u64, value as u64);
    if high >= by {
        return u64::MAX;
    }
    let quotient;
    // SAFETY: the quotient fits, as the high half is less than what is divided by; so the instruction can't fault.
    unsafe {
        asm!("div {}", in(reg) by, inout("rax") low => quotient, inout("rdx") high => _,
            options(pure, nomem, nostack));
    }
    quotient
}
/// The same on the host.
#[cfg(not(target_os = "none"))]
pub fn divide(value: u128, by: u64) -> u64 {
    value.checked_div(u128::from(by)).and_then(|quotient| u64::try_from(quotient).ok()).unwrap_or(u64::MAX)
}

/// Drops this CPU's translation of one page.
#[inline(always)]
pub fn invlpg(address: usize) {
    // SAFETY: dropping a translation is always sound.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Drops this CPU's translations (no global pages are used).
#[inline]
pub fn flush_tlb() {
    // SAFETY: the same tables again.
    unsafe { set_cr3(cr3()) };
}

/// The stack pointer.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let value: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// A random number of the CPU (RDRAND), if it has any.
pub fn hardware_random() -> Option<u64> {
    let has_rdrand = cpuid(1, 0).ecx & 1 << 30 != 0;
    if !has_rdrand {
        return None;
    }
    // The SDM (volume 1, 7.3.17.1) advises ten tries.
    for _ in 0..10 {
        let (value, ok): (u64, u8);
        // SAFETY: CPUID says that RDRAND is there.
        unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack)) };
        if ok != 0 {
            return Some(value);
        }
    }
    None
}

/// True if a call instruction (Intel SDM volume 2, CALL) may end at `address` of the text that begins at `start`.
pub fn follows_call(address: usize, start: usize) -> bool {
    // SAFETY: the byte lies in the kernel's text, which is always mapped.
    let byte_before = |n: usize| (address - n >= start).then(|| unsafe { *((address - n) as *const u8) });
    let is_indirect = |len: usize| {
        byte_before(len) == Some(0xff) && byte_before(len - 1).is_some_and(|operand| operand >> 3 & 7 == 2)
    };
    byte_before(DIRECT_CALL) == Some(0xe8) || INDIRECT_CALLS.into_iter().any(is_indirect)
}
