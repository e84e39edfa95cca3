//! The Coracle kernel: Linux's system calls over the hardware layer.
//!
//! Read on in [`boot`], which is a table of contents of the boot, in [`entry`], where system calls, exceptions and
//! interrupts come in, and in `linux/src/table.rs`, which names every system call's function.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
extern crate alloc;
#[macro_use]
extern crate coracle_core;

mod boot;
mod clock_source;
mod control;
mod entry;
mod metrics;
mod outbound;
mod own_thread;
mod storage;
mod volumes;

coracle_hal::kernel!(entry::Coracle);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    coracle_core::report::panic(info)
}
