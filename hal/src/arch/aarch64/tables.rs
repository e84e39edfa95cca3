//! What the entry code keeps of a CPU beside its own data: a stack for faults of the kernel, which may have overflowed its own.
use core::cell::Cell;

/// One CPU's.
pub struct Tables {
    /// Top of the stack for faults of the kernel.
    pub fault_stack: Cell<usize>,
}

impl Tables {
    /// Where the task-state segment would be in it: there is none.
    pub const TASK_STATE: usize = 0;

    /// Still to be filled in.
    pub const fn new() -> Tables {
        Tables { fault_stack: Cell::new(0) }
    }
}
