//! Drivers of devices by class: network cards, disks, directories of the host, consoles, entropy; and what captures packets.
#![no_std]
#![forbid(unsafe_code)]
// Constructors are `const`, which `Default` has not, and no caller asks whether a length is 0.
#![allow(clippy::new_without_default, clippy::len_without_is_empty)]
extern crate alloc;
// Hooks name their types by paths that begin with the crate.
extern crate self as coracle_devices;
#[macro_use]
extern crate coracle_core;

pub mod block;
pub mod buffer;
pub mod capture;
pub mod nvme;
pub mod virtio;
