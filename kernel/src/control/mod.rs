//! Answers to what other commands ask of the running guest (the crate `coracle-control`).
//!
//! The first request starts a thread, which answers one after the other; those that wait for a program or a stream (`session`)
//! are put aside meanwhile. A guest that is asked nothing pays
//! nothing for it.
mod answer;
pub mod cron;
mod debug;
mod files;
pub mod launch;
mod probe;
mod server;
mod session;
mod sockets;
pub mod syslog;
mod threads;
mod tree;

use server::is_full;
pub use server::{is_open, main, remembers, start};
