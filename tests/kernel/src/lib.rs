//! The kernel on a machine of threads ([`coracle_hal::host`]), for tests: its crates as they are, from the table of system calls down.
//!
//! A test is a program: a closure, run by [`run`] as the first thread of a process, that makes system calls ([`sys`]). It fails if it
//! panics, if the kernel does, or if all its threads wait for what no one will do. The book says how to write one ("Testing the kernel on
//! the host").
#![cfg(all(target_arch = "x86_64", not(target_os = "none")))]
pub mod disk;
mod explore;
pub mod files;
mod kernel;
pub mod sys;
pub mod threads;
pub mod virtio;

pub use coracle_hal::host::cpus::advance;
pub use coracle_hal::host::program::{
    compare_exchange_u32, load_u32, load_u64, read, store_u32, store_u64, write,
};
pub use explore::explore;
pub use kernel::run;
pub use linux_raw_sys::{errno, general as abi, io_uring, net};
