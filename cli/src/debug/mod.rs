//! Debugging programs in running guests: gdb, and core dumps.

mod arch;
mod connection;
mod core_file;
mod dump;
mod elf_notes;
mod gdb;
mod kernel;
mod link_map;
mod machine;
mod mirror;
mod qemu;
mod session;
mod signals;
mod target;

pub use dump::{Dump, core};
pub use gdb::gdb;
