//! Where the kernel takes interrupts, or waits for one.
pub(crate) use crate::host::cpus::{halt, take_interrupt};

/// No call site is patched: programs call the kernel by [`crate::host::program::call`].
pub fn patched_syscall_entry() -> ! {
    unreachable!("no program of this machine has code that could be patched")
}
