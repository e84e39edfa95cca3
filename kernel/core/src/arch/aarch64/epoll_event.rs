//! `struct epoll_event`: 32 bits of events, padding, 64 bits of data.

/// Its bytes.
pub const SIZE: usize = 16;
/// Where the data begin.
pub const DATA: usize = 8;
