//! The Coracle kernel: Linux's system calls over the hardware layer. This file reads as a table of contents of the boot.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

mod drivers;
mod errno;
mod fs;
mod ipc;
mod mm;
mod net;
mod random;
mod syscall;
mod task;
mod time;
