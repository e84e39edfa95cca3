//! The network: sockets over the TCP/IP engine, and the engine over the network card.
//!
//! Packets move when `poll` is called (see `coracle_system::drivers`): it passes received packets to the engine, lets the engine do
//! its due work, and rings the card's doorbell once for all that was queued since the last time. One CPU at a time takes
//! packets off the card; a CPU that finds the receive queue locked leaves a note for the holder. Sockets have their locks in
//! the engine.
#![no_std]
#![forbid(unsafe_code)]
// Constructors are `const`, which `Default` has not, and no caller asks whether a length is 0.
#![allow(clippy::new_without_default, clippy::len_without_is_empty)]
extern crate alloc;
// Hooks name their types by paths that begin with the crate.
extern crate self as coracle_net;
#[macro_use]
extern crate coracle_core;

pub mod address;
mod ancillary;
pub mod arp_ioctl;
mod common;
pub mod fast_open;
mod filter;
mod interface;
pub mod interface_ioctl;
mod multicast;
pub mod netlink;
pub mod netlink_change;
pub mod netlink_diag;
pub mod options;
pub mod packet;
mod packet_ring;
pub mod raw;
mod resolver;
mod space;
mod stack;
pub mod tcp;
pub mod tcp_options;
pub mod tun;
pub mod udp;
pub mod vsock;
mod zerocopy;

pub use resolver::resolv_conf;
pub use stack::{
    arm, drain, engine, first, has_come, is_drained, is_guarded, next_deadline, poll, poll_if_guarded,
    request_guard, settle, start, start_capture, stop_capture,
};
