//! Raw sockets (raw(7), RFC 3542 section 3), and those of ping (icmp(7)), as files.
//!
//! A packet that is neither of TCP nor of UDP is shown to all of them ([`input`]); each takes a copy of what it wants. While there is
//! none, such a packet costs one test.
mod file;
mod input;
mod options;
mod send;
mod socket;

pub use input::{input, unsent};
pub use socket::{RawFile, RawListed, list, ping_groups, set_ping_groups};
