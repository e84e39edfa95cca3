//! Which signal an exception means (signal(7), Linux's arch/arm64/kernel/traps.c).
use crate::arch::meaning::Meaning;
use coracle_hal::context::Fault;
use linux_raw_sys::general as abi;

/// Whether an instruction breakpoint was reached: calls are not patched, so none is set.
pub fn is_breakpoint(_: &Fault) -> bool {
    false
}

/// What the frame of a signal says of a page fault: the exception's syndrome (Arm ARM, ESR_EL1), as an access of EL0 to a page has it.
pub fn page_details(addr: usize, write: bool, exec: bool, present: bool) -> [u64; 3] {
    const DATA_ABORT: u64 = 0x24 << 26;
    const INSTRUCTION_ABORT: u64 = 0x20 << 26;
    const IS_32_BIT: u64 = 1 << 25;
    const WRITES: u64 = 1 << 6;
    /// A page table's entry at the last level lacks a page, or the right.
    const TRANSLATION: u64 = 0x07;
    const PERMISSION: u64 = 0x0f;
    let class = if exec { INSTRUCTION_ABORT } else { DATA_ABORT };
    let status = if present { PERMISSION } else { TRANSLATION };
    [0, class | IS_32_BIT | if write { WRITES } else { 0 } | status, addr as u64]
}

/// What an exception that is no page fault means.
pub fn meaning(fault: Fault) -> Meaning {
    let (at, (signal, code)) = match fault {
        // Resolved before.
        Fault::Page { addr, .. } => (Some(addr), (abi::SIGSEGV, abi::SEGV_MAPERR)),
        Fault::Breakpoint { .. } => (None, (abi::SIGTRAP, abi::TRAP_BRKPT)),
        Fault::SingleStep => (None, (abi::SIGTRAP, abi::TRAP_TRACE)),
        Fault::IllegalInstruction => (None, (abi::SIGILL, abi::ILL_ILLOPC)),
        Fault::Alignment { addr } => (Some(addr), (abi::SIGBUS, abi::BUS_ADRALN)),
        Fault::FloatingPoint { status } => (None, (abi::SIGFPE, float_code(status))),
        Fault::Other { .. } => (None, (abi::SIGILL, abi::ILL_ILLOPC)),
    };
    Meaning { signal, code, at, details: [0, 0, at.unwrap_or(0) as u64] }
}

/// si_code of a floating-point exception, from the bits of FPSR.
fn float_code(bits: u32) -> u32 {
    [
        (1, abi::FPE_FLTINV),
        (2, abi::FPE_FLTDIV),
        (4, abi::FPE_FLTOVF),
        (8, abi::FPE_FLTUND),
        (16, abi::FPE_FLTRES),
    ]
    .into_iter()
    .find(|(mask, _)| bits & mask != 0)
    .map_or(abi::FPE_FLTINV, |(_, code)| code)
}
