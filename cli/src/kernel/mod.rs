//! The kernel that goes into images: the embedded one, or another for debugging.

mod embedded;
mod symbols;

pub use embedded::{Kernel, debug_elf};
