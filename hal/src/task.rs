//! A task: a kernel stack, the saved registers of a thread that is not running, its FPU state and its FS base.
use crate::context::UserContext;

/// The hardware side of a thread. Embedded in the kernel's thread object.
pub struct Task {}

/// Size of a kernel stack in bytes, without its guard page.
pub const KERNEL_STACK_SIZE: usize = 16 * 1024;

impl Task {
    /// A task that will enter the program with `context` after `Kernel::thread_start`. `None`: out of memory.
    /// `fpu_from_current`: copy the running thread's FPU state (clone), else the initial state.
    pub fn new(context: &UserContext, fs_base: u64, fpu_from_current: bool) -> Option<Task> {
        let _ = (context, fs_base, fpu_from_current);
        todo!()
    }
    /// A task for a stack that runs already (idle threads; see `this::adopt`).
    pub fn idle() -> Task {
        todo!()
    }
    /// The program's FS base (thread pointer).
    pub fn fs_base(&self) -> u64 {
        todo!()
    }
    /// Sets the program's FS base, at once if this task runs here. Non-canonical values give false.
    pub fn set_fs_base(&self, base: u64) -> bool {
        let _ = base;
        todo!()
    }
    /// The same for GS (kept apart from the kernel's own GS; in unikernel mode only stored).
    pub fn set_gs_base(&self, base: u64) -> bool {
        let _ = base;
        todo!()
    }
    /// The program's GS base.
    pub fn gs_base(&self) -> u64 {
        todo!()
    }
    /// True while some CPU still runs on this task's stack.
    pub fn on_cpu(&self) -> bool {
        todo!()
    }
}

/// Whether programs run in ring 0 beside the kernel or in ring 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Ring 0, one address space, system calls as plain calls where patched.
    Unikernel,
    /// Ring 3 with SMEP and SMAP.
    Protected,
}

/// Chooses the ring for all programs of this boot. Called once, before the first program is entered.
pub fn set_ring(ring: Ring) {
    let _ = ring;
    todo!()
}

/// The ring that programs run in.
pub fn ring() -> Ring {
    todo!()
}

/// Address of the system-call entry for patched call sites in unikernel mode: a site's stub loads the return address
/// into rcx and the number into eax, then jumps here.
pub fn patched_syscall_entry() -> usize {
    todo!()
}
