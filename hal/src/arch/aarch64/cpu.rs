//! What a CPU says of itself, and its registers for a report.
use super::instructions::read;
use core::arch::asm;
/// A hint that this is a busy loop.
pub use core::hint::spin_loop as pause;

/// Whether the CPU keeps the kernel from executing, and from reading and writing, a program's memory: by PXN, which every CPU
/// has, and by PAN.
pub fn guards() -> (bool, bool) {
    (true, super::copy::has_pan())
}

/// The registers that are still meaningful while a panic is handled: the stack pointer and callee-saved registers.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Registers {
    pub sp: u64,
    /// x19 to x30.
    pub saved: [u64; 12],
    pub daif: u64,
    pub far: u64,
    pub ttbr0: u64,
}

/// The registers as they are now.
#[inline(always)]
pub fn registers() -> Registers {
    let mut saved = [0u64; 12];
    // SAFETY: stores registers to a local array.
    unsafe {
        asm!(
            "stp x19, x20, [{to}]",
            "stp x21, x22, [{to}, 16]",
            "stp x23, x24, [{to}, 32]",
            "stp x25, x26, [{to}, 48]",
            "stp x27, x28, [{to}, 64]",
            "stp x29, x30, [{to}, 80]",
            to = in(reg) saved.as_mut_ptr(),
            options(nostack, preserves_flags)
        )
    };
    Registers {
        sp: super::instructions::stack_pointer() as u64,
        saved,
        daif: read!("daif"),
        far: read!("far_el1"),
        ttbr0: read!("ttbr0_el1"),
    }
}

/// The CPU's name for itself, for /proc/cpuinfo: the fields of MIDR_EL1, as Linux writes them.
pub struct Brand(u64);

impl Brand {
    /// That of this CPU.
    pub fn of_this_cpu() -> Brand {
        Brand(read!("midr_el1"))
    }
}

impl core::fmt::Display for Brand {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let midr = self.0;
        write!(
            f,
            "CPU implementer\t: {:#04x}\nCPU architecture: 8\nCPU variant\t: {:#x}\nCPU part\t: {:#05x}\nCPU revision\t: {}",
            midr >> 24 & 0xff,
            midr >> 20 & 0xf,
            midr >> 4 & 0xfff,
            midr & 0xf
        )
    }
}

/// Linux's AT_HWCAP (Documentation/arch/arm64/elf_hwcaps.rst): floating point and SIMD, cryptography, CRC-32 and atomics, as the CPU has
/// them.
pub fn hwcap() -> u32 {
    const FP: u32 = 1;
    const ASIMD: u32 = 1 << 1;
    /// Fields of ID_AA64ISAR0_EL1, the least value that has a feature, and the feature: AES, polynomial multiplication (PMULL), SHA-1,
    /// SHA-2, CRC-32, atomics.
    const FEATURES: [(u32, u64, u32); 6] =
        [(4, 1, 1 << 3), (4, 2, 1 << 4), (8, 1, 1 << 5), (12, 1, 1 << 6), (16, 1, 1 << 7), (20, 2, 1 << 8)];
    let features = read!("id_aa64isar0_el1");
    let has = |&&(shift, least, _): &&(u32, u64, u32)| features >> shift & 0xf >= least;
    FEATURES.iter().filter(has).fold(FP | ASIMD, |all, (.., bit)| all | bit)
}
