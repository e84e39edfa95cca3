//! Sorting without calls within calls. The sort of the standard library calls itself, more often the more there is, and the
//! kernel's stacks are small.
#![no_std]
#![forbid(unsafe_code)]

mod sort;

pub use sort::{heap_sort, heap_sort_by};
