//! /proc/net (proc(5)).
mod counters;
mod files;
mod interfaces;
mod sockets;

pub use files::FILES;
pub use sockets::{netlink_sockets, unix_sockets};
