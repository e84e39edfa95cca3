//! A program's FS and GS bases, which no register of the host follows.
pub use crate::arch::x86_64::bases::is_user_base;
use crate::local::Local;
use core::sync::atomic::{AtomicU64, Ordering};

/// The bases of a thread. Its owner checks them by [`is_user_base`].
pub struct Bases {
    fs: AtomicU64,
    gs: AtomicU64,
}

impl Bases {
    /// Those of a new thread.
    pub const fn new(fs: u64) -> Bases {
        Bases { fs: AtomicU64::new(fs), gs: AtomicU64::new(0) }
    }

    /// The FS base.
    pub fn fs(&self) -> u64 {
        self.fs.load(Ordering::Relaxed)
    }

    /// The GS base.
    pub fn gs(&self) -> u64 {
        self.gs.load(Ordering::Relaxed)
    }

    /// Sets the FS base.
    pub fn set_fs(&self, base: u64, _runs_here: bool) {
        self.fs.store(base, Ordering::Relaxed);
    }

    /// Sets the GS base.
    pub fn set_gs(&self, base: u64, _runs_here: bool) {
        self.gs.store(base, Ordering::Relaxed);
    }

    /// The thread leaves this CPU.
    pub fn save(&self) {}

    /// The thread is about to run on this CPU.
    pub fn load(&self, _: &Local) {}
}
