//! A map in a sorted vector, for the parts of the guest whose maps are small or seldom changed.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod map;

pub use map::SortedMap;
