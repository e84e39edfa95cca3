//! The hardware layer: the only crate of the guest that may contain `unsafe` code. It offers the kernel a safe API.
//!
//! What it guarantees: no safe caller can corrupt memory, neither by a pointer nor by a device (the book's page on soundness).
//! Locks of this crate are leaves: it calls the kernel, through [`kernel::Kernel`], with none held. Interrupt handlers
//! only leave marks; they run only where their CPU holds no lock.
//!
//! The parts that need the machine exist on the bare-metal target. On the host the crate compiles so that its pure parts
//! (the buddy allocator, size classes, firmware tables) can be tested; there it has a machine of its own, `host`, on which the kernel's
//! crates are tested.
#![no_std]
// On the host only the pure parts are used, and on machines without ports and ACPI not what is for these.
#![cfg_attr(not(all(target_os = "none", target_arch = "x86_64")), allow(dead_code, unused_imports))]
extern crate alloc;
#[cfg(any(test, not(target_os = "none")))]
extern crate std;

mod arch;
pub mod backtrace;
pub mod boot;
pub mod call;
pub mod cpu;
pub mod events;
pub mod fail;
pub mod hook;
#[cfg(all(not(target_os = "none"), target_arch = "x86_64"))]
pub mod host;
pub mod io;
pub mod irq;
pub mod kernel;
pub mod leaving;
mod local;
mod machine;
mod mm;
pub mod nvme;
pub mod once;
mod outside;
pub mod percpu;
pub mod records;
mod relocate;
pub mod switch;
pub mod sync;
pub mod task;
pub mod time;
mod tlb;
pub mod user;
pub mod vdso;
pub mod virtio;

pub use arch::{breakpoint, checksum, console, context, fpu, power, random};
pub use mm::{frame, paging};

#[doc(hidden)]
pub mod __private {
    pub use crate::task::{adopt, finish_switch, is_any_current, switch_to, with_current};
    pub use alloc::sync::Arc;
}
