//! A ring of records that one writer fills without ever waiting, and that readers copy from meanwhile: what is overwritten before it was
//! read is counted.
//!
//! The order of memory accesses is that of a sequence lock, for each record. It is checked with loom, for which the ring is generic
//! over its atomic words.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod ring;

pub use ring::{RECORD_WORDS, Reading, Ring, Word};
