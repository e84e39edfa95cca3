//! The network: sockets over the TCP/IP engine.
pub mod socket;
