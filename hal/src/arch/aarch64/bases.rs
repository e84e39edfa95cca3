//! A program's thread pointer, TPIDR_EL0, which it reads and writes by itself.
use super::instructions::{read, write};
use crate::local::Local;
use core::sync::atomic::{AtomicU64, Ordering};

/// Whether a program may have `base` as its thread pointer: any value.
pub fn is_user_base(_base: u64) -> bool {
    true
}

/// The thread pointer of a thread.
pub struct Bases(AtomicU64);

impl Bases {
    /// That of a new thread.
    pub const fn new(pointer: u64) -> Bases {
        Bases(AtomicU64::new(pointer))
    }

    /// The thread pointer, as of the last time that the thread left its CPU.
    pub fn fs(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// There is no second register of this kind.
    pub fn gs(&self) -> u64 {
        0
    }

    /// Sets the thread pointer; in the register too if the thread `runs_here`.
    pub fn set_fs(&self, pointer: u64, runs_here: bool) {
        self.0.store(pointer, Ordering::Relaxed);
        if runs_here {
            // SAFETY: the register is the program's.
            unsafe { write!("tpidr_el0", pointer) };
        }
    }

    /// There is no second register of this kind.
    pub fn set_gs(&self, _pointer: u64, _runs_here: bool) {}

    /// The thread leaves this CPU.
    #[inline(always)]
    pub fn save(&self) {
        self.0.store(read!("tpidr_el0"), Ordering::Relaxed);
    }

    /// The thread is about to run on this CPU: loads the register.
    #[inline(always)]
    pub fn load(&self, _local: &Local) {
        // SAFETY: the register is the program's.
        unsafe { write!("tpidr_el0", self.fs()) };
    }
}
