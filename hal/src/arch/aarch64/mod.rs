//! aarch64: entries, traps, registers, page-table format, copies to and from programs, clocks and timers, other CPUs, interrupt
//! controllers. The machine is described by a device tree; firmware is asked by PSCI.
//!
//! Programs of unikernel mode run in EL1 with the stack pointer SP_EL0, those of protected mode in EL0. The kernel runs in EL1
//! with SP_EL1. So both enter the kernel by the same code, and an exception always finds the kernel's stack.
pub mod base;
pub mod bases;
pub mod breakpoint;
pub mod checksum;
pub mod console;
pub mod context;
pub mod copy;
pub mod cpu;
pub mod devices;
pub mod entry;
pub mod firmware;
pub mod fpu;
pub mod gic;
pub mod instructions;
pub mod interrupt;
pub mod mem;
pub mod memory_map;
pub mod page_table;
pub mod port;
pub mod power;
pub mod random;
pub mod smp;
pub mod start;
pub mod switch;
pub mod tables;
pub mod timer;
pub mod trap;
pub mod v2m;
pub mod vdso;
