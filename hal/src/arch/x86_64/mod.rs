//! x86-64: entries, traps, registers, page-table format, copies to and from programs, clocks and timers, other CPUs, interrupt
//! controllers, and what PCs have at fixed ports.
pub mod apic;
pub mod base;
pub mod bases;
pub mod breakpoint;
pub mod calibrate;
pub mod checksum;
pub mod console;
pub mod context;
pub mod copy;
pub mod cpu;
pub mod devices;
#[cfg(target_os = "none")]
pub mod entry;
pub mod fpu;
pub mod hypervisor;
pub mod instructions;
pub mod interrupt;
pub mod kvm;
#[cfg(target_os = "none")]
pub mod mem;
pub mod memory_map;
pub mod page_table;
pub mod port;
pub mod power;
pub mod random;
pub mod reference;
pub mod rtc;
pub mod smp;
#[cfg(target_os = "none")]
pub mod start;
pub mod switch;
pub mod tables;
pub mod timer;
pub mod trap;

pub mod vdso;
