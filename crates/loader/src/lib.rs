//! How a program is laid out in memory: the load plan of an ELF file, the initial stack, scripts, and symbols for
//! backtraces. All of it is pure functions over bytes: nothing is mapped here, and everything that a file says is checked.
//!
//! Specifications: System V ABI, chapters 4 and 5 (ELF), its AMD64 supplement, section 3.4 (the initial process stack),
//! execve(2) (interpreter scripts).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod bytes;
mod elf;
mod plan;
mod script;
mod stack;
mod strings;
mod symbols;

pub use elf::{Error, HEADER_LEN, Header, PROGRAM_HEADER_LEN};
pub use plan::{Plan, Segment};
pub use script::{SCRIPT_HEAD_LEN, Script, parse_script};
pub use stack::{InitialStack, Laid, StackError};
pub use strings::Strings;
pub use symbols::{SectionTable, SymbolSection, best_symbol};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;
