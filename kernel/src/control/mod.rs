//! Answers to what other commands ask of the running guest (the crate `coracle-control`).
//!
//! The first request starts a thread, which answers one after the other. A guest that is asked nothing pays
//! nothing for it.
mod answer;
mod files;
mod server;
mod sockets;
mod threads;

pub use server::{main, start};
