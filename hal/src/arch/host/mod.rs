//! A machine on a host: CPUs are threads ([`crate::host`]), devices there are none. What has no module here is that of x86-64.
pub use super::x86_64::*;

pub mod base;
pub mod bases;
pub mod breakpoint;
pub mod console;
pub mod copy;
pub mod cpu;
pub mod entry;
pub mod fpu;
pub mod interrupt;
pub mod page_table;
pub mod power;
pub mod random;
pub mod smp;
pub mod switch;
pub mod timer;
pub mod trap;
