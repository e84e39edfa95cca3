//! Virtio 1.2 from the driver's side, independent of the machine: split queues, transport registers, device layouts.
//!
//! Everything that a device returns is checked here before it is used: a bad index, length or offset is an error, never
//! a panic. The kernel provides memory and registers; the tests provide plain memory and a model of a device.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod device;
pub mod memory;
#[cfg(feature = "model")]
pub mod model;
pub mod queue;
pub mod transport;
