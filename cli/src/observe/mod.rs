//! Looking into running guests: what other commands ask over the control channel.

mod addresses;
mod calls;
mod client;
mod clock;
mod errno;
mod events;
mod filter;
mod locks;
mod netstat;
mod outside;
mod pcap;
mod pcapng;
pub mod process;
mod profile;
mod rates;
mod stack;
mod stats;
mod stuck;
mod symbols;
mod tables;
mod top;
mod trace;
mod unwind;

pub use client::Client;
pub use events::{Event, Names, line};
pub use netstat::netstat;
pub use pcap::pcap;
pub use profile::profile;
pub use stack::{DWARF_NAMES, Mapping, Thread, is_same_file, kernel_frames, mapping, stack, threads};
pub use stats::{Figures, json, stats};
pub use symbols::Module;
pub use tables::{files, maps};
pub use top::top;
pub use trace::{RunTrace, trace};
