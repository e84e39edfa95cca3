//! The hardware layer: the only crate of the guest that may contain `unsafe` code. It offers the kernel a safe API.
//!
//! What it guarantees: no safe caller can corrupt memory, neither by a pointer nor by a device (the book's page on soundness).
//! Locks of this crate are leaves: it calls the kernel, through [`kernel::Kernel`], with none held. Interrupt handlers
//! only leave marks; they run only where their CPU holds no lock.
//!
//! The parts that need the machine exist on the bare-metal target. On the host the crate compiles so that its pure parts
//! (the buddy allocator, size classes, firmware tables) can be tested.
#![no_std]
// On the host only the pure parts are used.
#![cfg_attr(not(target_os = "none"), allow(dead_code, unused_imports))]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod acpi;
mod aml;
mod apic;
pub mod backtrace;
pub mod boot;
pub mod breakpoint;
mod buddy;
mod calibrate;
pub mod call;
pub mod checksum;
pub mod console;
pub mod context;
pub mod cpu;
mod depot;
#[cfg(target_os = "none")]
mod entry;
pub mod fail;
mod firmware;
pub mod fpu;
pub mod frame;
mod heap;
#[cfg(test)]
mod host;
mod hypervisor;
pub mod io;
pub mod irq;
pub mod kernel;
mod kmap;
mod kvm;
mod layout;
mod local;
#[cfg(target_os = "none")]
mod mem;
pub mod once;
pub mod paging;
pub mod percpu;
pub mod power;
pub mod random;
mod reference;
mod rtc;
mod smp;
mod stack;
#[cfg(target_os = "none")]
mod start;
pub mod task;
pub mod time;
mod tlb;
mod topology;
mod trap;
pub mod user;
pub mod vdso;
pub mod virtio;
mod vmap;
mod x86;

#[doc(hidden)]
pub mod __private {
    pub use crate::task::{adopt, finish_switch, switch_to, with_current};
    pub use alloc::sync::Arc;
}
