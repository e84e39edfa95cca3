//! Which signal an exception means (signal(7), Linux's arch/x86/kernel/traps.c).
use crate::arch::meaning::Meaning;
use coracle_hal::context::Fault;
use linux_raw_sys::general as abi;

/// Number of the page fault's vector, and the bit of its error code for an access by a program.
const PAGE_FAULT: u64 = 14;
const BY_PROGRAM: u64 = 4;

/// Whether an instruction breakpoint was reached, or a single step was made.
pub fn is_breakpoint(fault: &Fault) -> bool {
    matches!(fault, Fault::Debug)
}

/// What the frame of a signal says of a page fault.
pub fn page_details(addr: usize, write: bool, exec: bool, present: bool) -> [u64; 3] {
    // The page fault error code: present, write, user, instruction fetch.
    let code = u64::from(present) | u64::from(write) << 1 | BY_PROGRAM | u64::from(exec) << 4;
    [PAGE_FAULT, code, addr as u64]
}

/// What an exception that is no page fault means.
pub fn meaning(fault: Fault) -> Meaning {
    let (trap, error, (signal, code)) = match fault {
        // Resolved before.
        Fault::Page { .. } => (PAGE_FAULT, 0, (abi::SIGSEGV, abi::SEGV_MAPERR)),
        Fault::DivideError => (0, 0, (abi::SIGFPE, abi::FPE_INTDIV)),
        Fault::Debug => (1, 0, (abi::SIGTRAP, abi::TRAP_TRACE)),
        Fault::Breakpoint => (3, 0, (abi::SIGTRAP, abi::SI_KERNEL)),
        Fault::Overflow => (4, 0, (abi::SIGSEGV, abi::SI_KERNEL)),
        Fault::Bound => (5, 0, (abi::SIGSEGV, abi::SI_KERNEL)),
        Fault::InvalidOpcode => (6, 0, (abi::SIGILL, abi::ILL_ILLOPN)),
        Fault::StackSegment { code } => (12, code, (abi::SIGBUS, abi::SI_KERNEL)),
        Fault::GeneralProtection { code } => (13, code, (abi::SIGSEGV, abi::SI_KERNEL)),
        Fault::X87 { status } => (16, 0, (abi::SIGFPE, float_code(status.into()))),
        Fault::AlignmentCheck => (17, 0, (abi::SIGBUS, abi::BUS_ADRALN)),
        Fault::Simd { mxcsr } => (19, 0, (abi::SIGFPE, float_code(mxcsr & !(mxcsr >> 7)))),
        Fault::Other { vector, code } => (u64::from(vector), code, (abi::SIGSEGV, abi::SI_KERNEL)),
    };
    Meaning { signal, code, at: None, details: [trap, error, 0] }
}

/// si_code of a floating-point exception, from the exception bits of the x87 status or MXCSR that aren't masked.
fn float_code(bits: u32) -> u32 {
    [
        (1, abi::FPE_FLTINV),
        (4, abi::FPE_FLTDIV),
        (8, abi::FPE_FLTOVF),
        (0x12, abi::FPE_FLTUND),
        (0x20, abi::FPE_FLTRES),
    ]
    .into_iter()
    .find(|(mask, _)| bits & mask != 0)
    .map_or(abi::FPE_FLTINV, |(_, code)| code)
}
