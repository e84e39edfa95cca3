//! /sys: what programs look up there about CPUs, memory and block devices.
mod block;
mod root;

pub use root::{cpu_range, filesystem};
