//! `struct epoll_event`: packed on x86-64, 32 bits of events and 64 of data.

/// Its bytes.
pub const SIZE: usize = 12;
/// Where the data begin.
pub const DATA: usize = 4;
