//! The objects programs talk through: AF_UNIX sockets, System V IPC, POSIX message queues, native AIO, io_uring, splice.
#![no_std]
#![forbid(unsafe_code)]
// Constructors are `const`, which `Default` has not, and no caller asks whether a length is 0.
#![allow(clippy::new_without_default, clippy::len_without_is_empty)]
extern crate alloc;

pub mod aio;
pub mod mqueue;
pub mod space;
pub mod sysv;
pub mod unix;
pub mod uring;
