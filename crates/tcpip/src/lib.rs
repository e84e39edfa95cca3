//! Coracle's TCP/IP engine: IPv4, ARP, ICMP, UDP, TCP and DHCP over one Ethernet device and a loopback.
//!
//! It knows nothing of the machine: a driver gives it packet memory and frames ([`Device`], [`RxFrame`]), a socket
//! layer calls its sockets ([`Stack`]) and is told what becomes possible ([`Events`]), and both tell it the time.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod checksum;
mod config;
mod datagram;
mod device;
mod dhcp;
mod error;
mod events;
mod few;
mod groups;
mod hash;
mod icmp;
mod ipv4;
mod loopback;
mod neighbor;
mod payload;
mod ports;
mod reassembly;
mod stack;
mod tcp;
#[cfg(test)]
mod testing;
mod timers;
mod udp;

pub use address::Link;
pub use config::{Config, Ipv4Config, Limits};
pub use device::{
    Buffer, Capabilities, Chunk, DRIVER_ROOM, Device, Fragment, Full, PartialChecksum, RxChecksum, RxFrame,
    TxFrame,
};
pub use dhcp::Lease;
pub use error::{Error, Result};
pub use events::{Events, Readiness};
pub use stack::{Stack, Tcp, Udp};
pub use tcp::{Shutdown, State, TcpInfo, TcpOptions, TcpSocket};
pub use udp::{Datagram, UdpOptions, UdpSocket, Way};
