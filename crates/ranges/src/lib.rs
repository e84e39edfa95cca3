//! An allocator of runs of places, in a bitmap of fixed size, for users that must not allocate memory themselves.
#![no_std]
#![forbid(unsafe_code)]

mod ranges;

pub use ranges::Ranges;
