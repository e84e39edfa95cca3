//! What a CPU says of itself, and its registers for a report.
use super::instructions;
use core::arch::asm;
/// A hint that this is a busy loop.
pub use core::hint::spin_loop as pause;

/// Whether the CPU keeps the kernel from executing, and from reading and writing, a program's memory (SMEP and SMAP,
/// Intel SDM volume 3, 4.6).
pub fn guards() -> (bool, bool) {
    let cr4 = instructions::cr4();
    (cr4 & instructions::CR4_SMEP != 0, cr4 & instructions::CR4_SMAP != 0)
}
/// The registers that are still meaningful while a panic is handled: the stack pointer, callee-saved registers,
/// and the control registers. (An exception's own report has all registers as it found them.)
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Registers {
    pub rsp: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
}
/// The registers as they are now.
#[inline(always)]
pub fn registers() -> Registers {
    let mut saved = [0u64; 8];
    // SAFETY: stores registers to a local array; what is pushed is popped.
    unsafe {
        asm!(
            "mov [{to}], rsp",
            "mov [{to} + 8], rbp",
            "mov [{to} + 16], rbx",
            "mov [{to} + 24], r12",
            "mov [{to} + 32], r13",
            "mov [{to} + 40], r14",
            "mov [{to} + 48], r15",
            "pushfq",
            "pop qword ptr [{to} + 56]",
            to = in(reg) saved.as_mut_ptr(),
        )
    };
    let [rsp, rbp, rbx, r12, r13, r14, r15, rflags] = saved;
    let (cr0, cr2, cr3, cr4) =
        (instructions::cr0(), instructions::cr2(), instructions::cr3(), instructions::cr4());
    Registers { rsp, rbp, rbx, r12, r13, r14, r15, rflags, cr0, cr2, cr3, cr4 }
}
/// The CPU's name for itself (`cpuid` leaves 8000_0002 to 8000_0004), for /proc/cpuinfo.
pub struct Brand([u8; 48]);

impl Brand {
    /// That of this CPU.
    pub fn of_this_cpu() -> Brand {
        let mut bytes = [0; 48];
        for (leaf, part) in (0x8000_0002..).zip(bytes.chunks_exact_mut(16)) {
            let r = instructions::cpuid(leaf, 0);
            for (register, four) in [r.eax, r.ebx, r.ecx, r.edx].iter().zip(part.chunks_exact_mut(4)) {
                four.copy_from_slice(&register.to_le_bytes());
            }
        }
        Brand(bytes)
    }
}

impl core::fmt::Display for Brand {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let text = core::str::from_utf8(&self.0).unwrap_or_default();
        f.write_str(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()))
    }
}

/// `cpuid` leaf 1 EDX, Linux's AT_HWCAP.
pub fn hwcap() -> u32 {
    instructions::cpuid(1, 0).edx
}
