//! The places where an interrupt may find kernel code.

/// An instruction of the kernel at which interrupts are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Place {
    /// The first instruction of the entry that a program in ring 0 jumps to for a system call; it turns interrupts off.
    CallEntry,
    /// In the exit of a system call in ring 0: the program's flags are loaded, its stack pointer is loaded next.
    ExitStack,
    /// After that: the jump to the program.
    ExitJump,
    /// The instruction that halts an idle CPU. The one before turns interrupts on, with effect after this one only, so that
    /// none can arrive between the last check and the halt. Not every hypervisor guarantees that.
    Halt,
    /// The instruction behind it, which turns interrupts off.
    AfterHalt,
    /// The window that a long system call opens to interrupts between two pieces of its work: an instruction without effect,
    /// and the one behind it, which turns interrupts off.
    Window,
}

/// What has to be done about an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The program counts as interrupted before its `syscall` instruction: the kernel acts on the marks, and the call
    /// begins anew.
    ProgramBeforeCall,
    /// The program counts as interrupted behind its `syscall` instruction.
    ProgramAfterCall,
    /// The idle loop acts on the marks; the code continues where it was.
    IdleLoop,
    /// The idle loop acts on the marks; the code continues behind the instruction, which would sleep through them.
    IdleLoopWithoutHalt,
    /// The system call that opened the window acts on the marks; the code continues behind the window.
    LongCall,
}

impl Place {
    /// What an interrupt at this place means.
    pub const fn meaning(self) -> Meaning {
        match self {
            Place::CallEntry => Meaning::ProgramBeforeCall,
            Place::ExitStack | Place::ExitJump => Meaning::ProgramAfterCall,
            Place::Halt => Meaning::IdleLoopWithoutHalt,
            Place::AfterHalt => Meaning::IdleLoop,
            Place::Window => Meaning::LongCall,
        }
    }
}
