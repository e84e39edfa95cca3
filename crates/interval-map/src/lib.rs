//! An ordered map of disjoint intervals of numbers, each with a value: the regions of an address space, the entries of a
//! directory by their position.
//!
//! Look-up, insertion, removal and finding a gap take a number of steps logarithmic in the number of intervals. Insertion
//! reports a lack of memory instead of panicking, and no allocation is larger than a chunk of the arena or the list of
//! chunks.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod arena;
mod gap;
mod map;
mod tree;

pub use map::{InsertError, IntervalMap, Slot};
