//! Debugging programs in running guests: gdb, and core dumps.

mod arch;
mod connection;
mod core_file;
mod dump;
mod elf_notes;
mod gdb;
mod link_map;
mod machine;
mod mirror;
mod session;
mod signals;
mod target;

pub use dump::{Dump, core};
pub use gdb::gdb;
