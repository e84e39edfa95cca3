//! The process model: threads and their scheduling, processes, signals, address spaces, descriptors, files and mounts, readiness, time.
//!
//! Higher crates have the file systems, the network, the devices and the system calls. What this one needs of them it declares as a
//! hook ([`coracle_hal::hook!`]).
#![no_std]
#![forbid(unsafe_code)]
// Constructors are `const`, which `Default` has not, and no caller asks whether a length is 0.
#![allow(clippy::new_without_default, clippy::len_without_is_empty)]
extern crate alloc;
extern crate self as coracle_core;

#[macro_use]
pub mod log;

pub mod arch;
pub mod errno;
pub mod events;
pub mod fs;
pub mod ipc;
pub mod lock;
pub mod mm;
pub mod net;
pub mod power;
pub mod random;
pub mod refusals;
pub mod report;
pub mod sleeping;
pub mod task;
pub mod time;

coracle_hal::running!(task::thread::Thread);
