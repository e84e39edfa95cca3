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

/// The running thread (body: CORE, by `coracle_hal::kernel!`).
mod this {
    use crate::task::thread::Thread;
    use alloc::sync::Arc;
    pub fn with<R>(f: impl FnOnce(&Arc<Thread>) -> R) -> R {
        let _ = f;
        todo!("CORE")
    }
}
