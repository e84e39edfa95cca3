//! What io_uring(7) has in memory that a program and the kernel share: where the indices of the two rings are, and what an entry of
//! each says (linux/io_uring.h).
//!
//! The kernel trusts none of it: an index is taken modulo its ring, and an entry is copied before it is looked at.
#![no_std]
#![forbid(unsafe_code)]

mod entry;
mod layout;

pub use entry::{Completion, ENTRY_WORDS, Entry};
pub use layout::{Layout, MOST_ENTRIES, NotARing, Wanted, at};
