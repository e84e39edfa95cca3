//! Virtio 1.2 from the driver's side, independent of the machine: split queues, transport registers, device layouts.
//!
//! Whatever a device says is checked here before anyone relies on it: a bad index, length or offset is an error, never
//! a panic. The kernel brings the memory and the registers; the tests bring plain memory and a model of a device.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod device;
pub mod memory;
#[cfg(feature = "model")]
pub mod model;
pub mod queue;
pub mod transport;
