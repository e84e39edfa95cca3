//! /sys: what programs look up there about CPUs, memory, block devices and network interfaces.
mod block;
mod net;
mod root;

pub use root::{cpu_range, filesystem};
