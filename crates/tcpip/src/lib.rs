//! Coracle's TCP/IP engine: IPv4 with ARP, ICMP and DHCP, IPv6 with ICMPv6, Neighbor Discovery and address configuration, UDP and TCP,
//! over one Ethernet device and a loopback.
//!
//! The engine knows nothing of the machine. A driver provides packet memory and delivers frames ([`Device`], [`RxFrame`]); a
//! socket layer calls the sockets ([`Stack`]) and is notified of what becomes possible ([`Events`]); both pass the time.
//!
//! No call waits, and no thread or timer interrupt belongs to the engine: its caller polls it and asks when the next timer is
//! due. Every method takes `&self` and may run on several CPUs at once. A connection has one lock; tables are sharded or have
//! short locks of their own, and events are reported after the locks are released. The cost of a segment does not depend on
//! the number of connections. Lack of memory is an error, or a packet that is dropped as if the network had lost it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod autoconf;
mod checksum;
mod config;
mod counters;
mod coverage;
mod datagram;
mod device;
mod dhcp;
mod discovery;
mod error;
mod events;
mod few;
mod groups;
mod hash;
mod icmp;
mod icmpv6;
mod ip;
mod ipv4;
mod ipv6;
mod loopback;
mod mld;
mod neighbor;
mod packet;
mod payload;
mod ports;
mod raw;
mod reassembly;
mod reports;
mod stack;
mod tcp;
#[cfg(test)]
mod testing;
mod timers;
mod tunnel;
mod udp;

pub use address::{Link, LoopbackState};
pub use autoconf::{Own as Ipv6Own, Probe as Ipv6Probe};
pub use checksum::internet_checksum;
pub use config::{Config, Ipv4Config, Ipv6Config, Limits};
pub use counters::{Count, Counters, Traffic};
pub use coverage::Coverage;
pub use device::{
    Buffer, Capabilities, Chunk, DRIVER_ROOM, Device, Fragment, Full, PartialChecksum, RxChecksum, RxFrame,
    TxFrame,
};
pub use dhcp::Lease;
pub use error::{Error, Result};
pub use events::{Ends, Events, Observation, Readiness};
pub use groups::GroupSeen;
pub use ip::{Address, Endpoint, Family};
pub use neighbor::Seen;
pub use packet::{IpInfo, protocol};
pub use payload::Payload;
pub use raw::{RawPacket, RawWay};
pub use reports::{Blame, Report, ReportOrigin, Unsent};
pub use stack::{Stack, Tcp, Udp};
pub use tcp::{
    Flow, Hold, Pending, Shutdown, State, TcpInfo, TcpListed, TcpOptions, TcpSocket, fast_open_setting,
};
pub use tunnel::{StaticRoute, TUNNELS_MAX, Tunnel, TunnelAddress};
pub use udp::{Datagram, UdpHeaders, UdpListed, UdpOptions, UdpSocket, Way};
