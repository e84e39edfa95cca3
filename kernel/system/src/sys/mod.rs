//! /sys: what programs look up there about CPUs, memory, block devices and network interfaces.
mod block;
pub mod cgroup;
mod net;
mod root;

pub use root::{cpu_range, filesystem};
