//! What is read from the kernel's source, for the book and for the fuzzer of system calls, and from the built kernel, to
//! check what its source can't show.

pub mod allocations;
pub mod interrupts;
pub mod kernel_elf;
pub mod pointers;
pub mod stack;
pub mod system_calls;
