//! The program's registers as the kernel sees them, and the exceptions it can cause.

/// The program's general registers at its entry into the kernel, at the top of the thread's kernel stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct UserContext {
    /// x0 to x30.
    pub x: [u64; 31],
    pub sp: u64,
    pub pc: u64,
    pub pstate: u64,
    /// x0 at the entry, which the result of a call overwrites.
    pub orig_x0: u64,
    /// The number of the system call; all ones at an entry by something else.
    pub call: u64,
    /// Keeps what lies above aligned to 16 bytes.
    pub reserved: u64,
}

impl UserContext {
    /// Number and arguments of a system call, and nothing else.
    pub fn of_call(number: usize, arguments: [u64; 6]) -> UserContext {
        let mut context =
            UserContext { orig_x0: arguments[0], call: number as u64, ..UserContext::default() };
        context.x[..6].copy_from_slice(&arguments);
        context
    }

    /// Argument `n` of a system call (syscall(2): x0 to x5).
    #[inline(always)]
    pub fn argument(&self, n: usize) -> u64 {
        if n == 0 { self.orig_x0 } else { self.x[n.min(5)] }
    }

    /// All arguments of a system call.
    #[inline(always)]
    pub fn arguments(&self) -> [u64; 6] {
        let [_, b, c, d, e, f, ..] = self.x;
        [self.orig_x0, b, c, d, e, f]
    }

    /// The number of a system call: the low half of x8, as on Linux.
    #[inline(always)]
    pub fn call_number(&self) -> usize {
        self.call as u32 as usize
    }

    /// Where the program goes on: after its `svc` instruction.
    #[inline(always)]
    pub fn return_address(&self) -> usize {
        self.pc as usize
    }
}

/// An exception raised by the program (Arm ARM, D1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fault {
    Page {
        addr: usize,
        write: bool,
        exec: bool,
        present: bool,
    },
    /// A `brk` instruction, with its number.
    Breakpoint {
        number: u16,
    },
    SingleStep,
    /// An instruction that is not defined, or not allowed here.
    IllegalInstruction,
    /// An address that is not aligned as the access wants it.
    Alignment {
        addr: usize,
    },
    /// A floating-point exception that the program has enabled, by the status that the CPU gives.
    FloatingPoint {
        status: u32,
    },
    /// Any other: the exception's class and syndrome (ESR_EL1).
    Other {
        class: u8,
        syndrome: u32,
    },
}
