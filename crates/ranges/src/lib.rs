//! Runs of free places, found in a bitmap of fixed size: for what must not need memory itself.
#![no_std]
#![forbid(unsafe_code)]

mod ranges;

pub use ranges::Ranges;
