//! What is known of a thread while it is held.
use crate::lock::Mutex;
use alloc::boxed::Box;
use alloc::vec::Vec;
use coracle_hal::context::UserContext;
use coracle_hal::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// Bytes of what is told about a signal (siginfo_t).
pub const INFO_BYTES: usize = 128;

/// A thread's part.
#[derive(Default)]
pub struct Debugged {
    /// Its registers, while it is held.
    pub held: Mutex<Option<Box<Held>>>,
    /// [`STEP`] and the signal that it gets when it goes on.
    pub wish: AtomicU32,
    /// Its flags may have the CPU report each instruction.
    pub traps: AtomicBool,
    /// The part of ptrace(2).
    pub traced: Traced,
}

/// In [`Debugged::wish`]: it makes one step.
pub const STEP: u32 = 1 << 16;
/// In [`Debugged::wish`]: the signal for it.
pub const SIGNAL: u32 = 0xff;

/// A thread that is held.
pub struct Held {
    /// The program's registers, with which it goes on.
    pub context: UserContext,
    /// What is told about the signal that it stopped for; zeroes if for none.
    pub info: [u8; INFO_BYTES],
    /// Its floating-point registers, as the CPU saves them, if it is held for ptrace(2); else empty.
    pub fpu: Vec<u8>,
}

/// What ptrace(2) knows of a thread.
#[derive(Default)]
pub struct Traced {
    /// The process that traces it; 0: none does. Changed with the state locked.
    pub tracer: AtomicI32,
    /// The rest.
    pub state: Mutex<TracedState>,
}

impl Traced {
    /// Whether it has a tracer.
    pub fn is_on(&self) -> bool {
        self.tracer.load(Ordering::Acquire) != 0
    }
    /// Whether it is stopped for its tracer.
    pub fn is_stopped(&self) -> bool {
        self.state.lock().stop.is_some()
    }
}

/// See [`Traced`].
#[derive(Clone, Copy, Default)]
pub struct TracedState {
    /// It was seized, which means other stops (PTRACE_SEIZE).
    pub is_seized: bool,
    /// PTRACE_O_*.
    pub options: u32,
    /// The reason why it is stopped; `None`: it is not.
    pub stop: Option<Stop>,
    /// The tracer has waited for the stop.
    pub is_reported: bool,
    /// Its process may go on, which the tracer wants to know of (PTRACE_LISTEN).
    pub listens: bool,
    /// It is to stop without a signal (PTRACE_INTERRUPT).
    pub is_interrupted: bool,
    /// PTRACE_GETEVENTMSG.
    pub message: u64,
    /// The signal that it goes on with.
    pub signal: u32,
    /// It makes one step.
    pub steps: bool,
    /// Its calls are not made (PTRACE_SYSEMU).
    pub emulates: bool,
}

/// A stop: what wait(2) tells beside that it is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The signal, and above it the event.
    pub status: u32,
    /// Which one.
    pub kind: StopKind,
}

/// See [`Stop`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// A signal is about to be delivered, or an event has come.
    Signal,
    /// The process is stopped, or the thread was to stop: there is no signal's information.
    Group,
    /// A call is about to be made.
    Entry,
    /// A call was made.
    Exit,
}
