//! The regions of an address space (mmap(2)): non-overlapping ranges of addresses, each with attributes.
//!
//! Pure bookkeeping: what a region is made of, and its page tables, are the kernel's affair. Neighbours with
//! attributes that continue each other are kept as one region, so that the number of regions follows what a program
//! sees in `/proc/self/maps`, and not how often it called mmap(2).
#![no_std]
#![forbid(unsafe_code)]

mod gap;
mod region_map;

pub use region_map::{Attributes, Error, RegionMap};
