//! What an exception means for a program, on every architecture.

/// The signal that an exception becomes (signal(7)).
pub struct Meaning {
    /// The signal.
    pub signal: u32,
    /// Its si_code.
    pub code: u32,
    /// si_addr, if it is not the instruction.
    pub at: Option<usize>,
    /// What the frame of a signal says of it, in words whose meaning is the architecture's; the address comes last.
    pub details: [u64; 3],
}

/// A request of ptrace(2) for all registers that newer architectures never had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldRequest {
    /// PTRACE_GETREGS.
    Get,
    /// PTRACE_SETREGS.
    Set,
    /// PTRACE_GETFPREGS.
    GetFloating,
    /// PTRACE_SETFPREGS.
    SetFloating,
}
