//! The kinds of arguments that the kernel's table of system calls names: how a value of each is made.

mod maker;
mod memory;
mod mqueue;
mod numbers;
mod paths;
mod sysv;

pub use maker::{Maker, given_kind};
