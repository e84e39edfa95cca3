//! Looking into running guests: what other commands ask over the control channel.

mod calls;
mod client;
mod errno;
mod locks;
mod netstat;
mod process;
mod stack;
mod stats;
mod symbols;
mod tables;
mod trace;
mod unwind;

pub use client::Client;
pub use netstat::netstat;
pub use stack::stack;
pub use stats::{Figures, json, stats, top};
pub use tables::{files, maps};
pub use trace::trace;
