//! The program's registers as the kernel sees them, and the exceptions it can cause.

/// The program's general registers at its entry into the kernel, at the top of the thread's kernel stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct UserContext {
    // A system call leaves these out at first: see [`crate::call::Call`].
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub r11: u64,
    pub r9: u64,
    pub r8: u64,
    pub r10: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
}

impl UserContext {
    /// Number and arguments of a system call, and nothing else.
    pub fn of_call(number: usize, [rdi, rsi, rdx, r10, r8, r9]: [u64; 6]) -> UserContext {
        UserContext { rdi, rsi, rdx, r10, r8, r9, orig_rax: number as u64, ..UserContext::default() }
    }

    /// Argument `n` of a system call (syscall(2): rdi, rsi, rdx, r10, r8, r9).
    #[inline(always)]
    pub fn argument(&self, n: usize) -> u64 {
        match n {
            0 => self.rdi,
            1 => self.rsi,
            2 => self.rdx,
            3 => self.r10,
            4 => self.r8,
            _ => self.r9,
        }
    }

    /// All arguments of a system call.
    #[inline(always)]
    pub fn arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// The number of a system call: the low half of rax, as on Linux.
    #[inline(always)]
    pub fn call_number(&self) -> usize {
        self.orig_rax as u32 as usize
    }

    /// Where the program goes on: after its `syscall` instruction.
    #[inline(always)]
    pub fn return_address(&self) -> usize {
        self.rip as usize
    }
}

/// An exception raised by the program (Intel SDM volume 3, chapter 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fault {
    Page { addr: usize, write: bool, exec: bool, present: bool },
    DivideError,
    Debug,
    Breakpoint,
    Overflow,
    Bound,
    InvalidOpcode,
    StackSegment { code: u64 },
    GeneralProtection { code: u64 },
    X87 { status: u16 },
    AlignmentCheck,
    Simd { mxcsr: u32 },
    Other { vector: u8, code: u64 },
}
