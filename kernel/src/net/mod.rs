//! The network: sockets over the TCP/IP engine, and the engine over the network card.
//!
//! Packets move when [`poll`] is called (see [`crate::drivers`]): it passes received packets to the engine, lets the engine do
//! its due work, and rings the card's doorbell once for all that was queued since the last time. One CPU at a time takes
//! packets off the card; a CPU that finds the receive queue locked leaves a note for the holder. Sockets have their locks in
//! the engine.
pub mod address;
mod common;
mod interface;
pub mod interface_ioctl;
mod multicast;
pub mod netlink;
pub mod open;
pub mod options;
mod resolver;
pub mod sockaddr;
pub mod socket;
mod stack;
pub mod tcp;
mod tcp_options;
pub mod udp;

pub use resolver::resolv_conf;
pub use stack::{
    arm, drain, engine, has_come, is_drained, is_guarded, next_deadline, poll, poll_if_guarded,
    request_guard, settle, start, start_capture, stop_capture,
};
