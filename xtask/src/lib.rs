//! What is read from the kernel's source: its table of system calls, for the book and for the fuzzer of system calls.

pub mod system_calls;
