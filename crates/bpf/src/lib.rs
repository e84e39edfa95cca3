//! Classic BPF, the language of filters of packets and of system calls (McCanne and Jacobson, 1993; Linux's Documentation/networking/filter.rst): programs
//! that are checked once, and run over any data.
//!
//! A program is a list of instructions with jumps that lead forwards only, so it ends after at most as many steps as it has
//! instructions. It reads data and sixteen words of its own, and returns a number: of a packet filter, how many bytes of the packet are
//! taken.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod instruction;
mod run;
mod system_call;

pub use check::{Fault, PROGRAM_MAX, Program};
pub use instruction::{Instruction, code};
pub use run::Data;
pub use system_call::SystemCall;
