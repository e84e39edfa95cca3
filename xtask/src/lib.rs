//! What is read from the kernel's source, for the book and for the fuzzer of system calls, and from the built kernel, to
//! check what its source can't show.

pub mod allocations;
pub mod call_path;
pub mod debug_info;
pub mod frames;
pub mod interrupts;
pub mod kernel_elf;
pub mod layers;
pub mod metrics;
pub mod paths;
pub mod pointer_rules;
pub mod pointers;
pub mod recursions;
pub mod stack;
pub mod system_calls;
pub mod tables;
pub mod values;
