//! The regions of an address space (mmap(2)): non-overlapping ranges of addresses, each with attributes.
//!
//! This is pure bookkeeping: the backing of a region and its page tables are the kernel's. Neighbours with
//! attributes that continue each other are kept as one region, so that the number of regions is what a program
//! sees in `/proc/self/maps`, and does not grow with the number of mmap(2) calls.
//!
//! Look-up, insertion, removal and the search for a gap take a number of steps logarithmic in the number of regions. A change
//! that may fail for lack of memory fails before anything is changed, except that regions may have been split.
#![no_std]
#![forbid(unsafe_code)]

mod gap;
mod region_map;

pub use region_map::{Attributes, Error, RegionMap};
