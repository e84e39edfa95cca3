//! The Coracle kernel: Linux's system calls over the hardware layer.
//!
//! Read on in [`boot`], which is a table of contents of the boot, in [`entry`], where system calls, exceptions and
//! interrupts come in, and in `syscall/table.rs`, which names every system call's function.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;

#[macro_use]
mod log;

mod arch;
mod block;
mod boot;
mod cache;
mod control;
mod drivers;
mod entry;
mod errno;
mod events;
mod fs;
mod ipc;
mod lock;
mod metrics;
mod mm;
mod net;
mod outbound;
mod power;
mod random;
mod refusals;
mod report;
mod sleeping;
mod storage;
mod syscall;
mod task;
mod time;
mod volumes;

coracle_hal::running!(task::thread::Thread);
coracle_hal::kernel!(entry::Coracle);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    report::panic(info)
}
