//! Where `coracle` finds in the memory of a guest that can't be asked what its CPUs run (cli/src/observe/outside/layout.rs).
use crate::arch::context::UserContext;
use crate::arch::tables::Tables;
use crate::call::Top;
use crate::local::Local;
use core::mem::{offset_of, size_of};

/// Found by its name among the kernel's symbols. Offsets are in bytes.
#[used]
static OUTSIDE: [u64; 6] = [
    u64::from_le_bytes(*b"coracleC"),
    // From a CPU's own data to its task-state segment, whose address is in a register.
    (offset_of!(Local, tables) + Tables::TASK_STATE) as u64,
    // To the address of the top of the running thread's stack.
    offset_of!(Local, stack_top) as u64,
    // From there to the thread.
    offset_of!(Top<()>, thread) as u64,
    // The program's registers lie below.
    size_of::<UserContext>() as u64,
    // From a CPU's own data to the address of its events.
    offset_of!(Local, events) as u64,
];
