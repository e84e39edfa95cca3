//! The hardware layer: the only crate of the guest that may say `unsafe`. It offers the kernel a safe API.
#![no_std]
extern crate alloc;

pub mod backtrace;
pub mod boot;
pub mod console;
pub mod context;
pub mod cpu;
pub mod dma;
pub mod fpu;
pub mod frame;
pub mod irq;
pub mod kernel;
pub mod mmio;
pub mod paging;
pub mod pci;
pub mod percpu;
pub mod port;
pub mod power;
pub mod random;
pub mod task;
pub mod time;
pub mod user;
pub mod vdso;
