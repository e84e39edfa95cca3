//! What is known of a thread while it is held.
use crate::lock::Mutex;
use alloc::boxed::Box;
use coracle_hal::context::UserContext;
use core::sync::atomic::{AtomicBool, AtomicU32};

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
}
