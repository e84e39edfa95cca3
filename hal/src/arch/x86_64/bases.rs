//! A program's FS and GS bases. FS has its thread pointer.
use super::instructions::{self, msr};
use crate::local::Local;
use crate::task::{Ring, ring};
use core::sync::atomic::{AtomicU64, Ordering};

/// First address that is not canonical.
const CANONICAL_END: u64 = 1 << 47;

/// Whether a program may have `base` as its FS or GS base: an address of its half.
pub fn is_user_base(base: u64) -> bool {
    base < CANONICAL_END
}

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

    /// Sets the FS base; in the register too if the thread `runs_here`.
    pub fn set_fs(&self, base: u64, runs_here: bool) {
        self.fs.store(base, Ordering::Relaxed);
        if runs_here {
            write_fs(Local::get(), base);
        }
    }

    /// The same for GS, which is kept apart from the kernel's own; in unikernel mode it is only stored.
    pub fn set_gs(&self, base: u64, runs_here: bool) {
        self.gs.store(base, Ordering::Relaxed);
        if runs_here && ring() == Ring::Protected {
            // SAFETY: canonical; `swapgs` makes it the program's.
            unsafe { instructions::wrmsr(msr::KERNEL_GS_BASE, base) };
        }
    }

    /// The thread leaves this CPU. Programs change their bases by system calls alone, or lose them, so nothing need be read.
    #[inline(always)]
    pub fn save(&self) {}

    /// The thread is about to run on this CPU: loads the registers.
    #[inline(always)]
    pub fn load(&self, local: &Local) {
        let is_protected = ring() == Ring::Protected;
        // In ring 3 a program changes the base, unseen, by loading the segment register.
        if local.fs_base.get() != self.fs() || is_protected {
            write_fs(local, self.fs());
        }
        if is_protected {
            // SAFETY: canonical, checked when it was set.
            unsafe { instructions::wrmsr(msr::KERNEL_GS_BASE, self.gs()) };
        }
    }
}

fn write_fs(local: &Local, base: u64) {
    local.fs_base.set(base);
    // SAFETY: canonical; the kernel does not use FS.
    unsafe { instructions::wrmsr(msr::FS_BASE, base) };
}
