//! The options of a UDP socket, and what is told of it and its datagrams.

use crate::address::Link;
use crate::coverage::Coverage;
use crate::datagram::TRANSPORT_LEN;
use crate::ip::{Address, Endpoint, Family};
use crate::ipv4::IPV4_LEN;
use crate::packet::{IPV6_LEN, protocol};
use crate::payload::Payload;

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_RCVBUF`, bytes (not doubled).
    pub receive_buffer: usize,
    /// `IP_TTL`.
    pub ttl: u8,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IP_MULTICAST_TTL`; 0 keeps datagrams to groups on this host.
    pub multicast_ttl: u8,
    /// `IP_MULTICAST_LOOP`: this host receives a copy of datagrams sent over the link to a group that it is a member of.
    pub multicast_loop: bool,
    /// `IP_MULTICAST_ALL`: datagrams to groups that other sockets have joined are received as well.
    pub multicast_all: bool,
    /// `IP_MULTICAST_IF`: the link to groups.
    pub multicast_link: Option<Link>,
    /// Its address: the source of datagrams to groups, if the socket has none.
    pub multicast_source: Address,
    /// The addresses that the socket may have. It is fixed once the socket is bound.
    pub family: Family,
    /// `SO_BINDTODEVICE`: the only link of its datagrams.
    pub device: Option<Link>,
    /// `IPV6_UNICAST_HOPS`; `None`: as the routers of the link advise.
    pub hops: Option<u8>,
    /// `IPV6_MULTICAST_HOPS`.
    pub multicast_hops: u8,
    /// `IPV6_TCLASS`.
    pub traffic_class: u8,
    /// `IP_RECVERR`, `IPV6_RECVERR`: what comes back for a datagram is kept.
    pub reports: bool,
    /// What the checksums of UDP-Lite cover.
    pub coverage: Coverage,
    /// `IPV6_MTU`: the greatest packet of IPv6, if datagrams are to be cut into smaller ones than the route takes.
    pub greatest_v6: Option<u16>,
}

/// The route that a datagram is to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Its destination, instead of the socket's peer.
    pub to: Option<Endpoint>,
    /// The sender's address, one of ours, instead of the socket's.
    pub from: Option<Address>,
    /// The link to a group, instead of the socket's.
    pub link: Option<Link>,
    /// The time to live or hop limit, instead of the socket's.
    pub ttl: Option<u8>,
    /// The type of service or traffic class, instead of the socket's.
    pub tos: Option<u8>,
}

/// A datagram that `udp_recv` took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its sender.
    pub from: Endpoint,
    /// The address it was sent to.
    pub to: Address,
    /// What it came over.
    pub link: Link,
    /// When it came, in the nanoseconds of the engine's clock.
    pub arrived: u64,
    /// Datagrams that there was no room for before it.
    pub lost: u32,
    /// Its whole length.
    pub len: usize,
    /// Bytes that the sink took.
    pub copied: usize,
}

/// What the headers before a datagram's payload say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeaders {
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// The port it was sent to.
    pub port: u16,
}

impl UdpHeaders {
    /// Those before a payload. `None` if they are no longer there, or of an unusual length.
    pub fn before<B: crate::Buffer>(payload: &Payload<B>) -> Option<UdpHeaders> {
        /// An IPv4 header without options begins so.
        const PLAIN_V4: u8 = 0x45;
        let port = |udp: &[u8]| u16::from_be_bytes([udp[2], udp[3]]);
        let v4 = payload.dropped(IPV4_LEN + TRANSPORT_LEN);
        if let Some(ip) = v4
            && ip[0] == PLAIN_V4
            && matches!(ip[9], protocol::UDP | protocol::UDP_LITE)
        {
            return Some(UdpHeaders { ttl: ip[8], tos: ip[1], port: port(&ip[IPV4_LEN..]) });
        }
        let ip = payload.dropped(IPV6_LEN + TRANSPORT_LEN).filter(|ip| ip[0] >> 4 == 6)?;
        Some(UdpHeaders { ttl: ip[7], tos: ip[0] << 4 | ip[1] >> 4, port: port(&ip[IPV6_LEN..]) })
    }
}

/// A UDP socket as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpListed {
    /// Our end.
    pub local: Endpoint,
    /// The peer's, if the socket is connected.
    pub remote: Option<Endpoint>,
    /// It was made for the addresses of IPv6.
    pub is_v6: bool,
    /// What the datagrams that wait count for, in bytes.
    pub to_read: u32,
    /// Datagrams that wait.
    pub waiting: u32,
    /// Datagrams that its buffer had no room for.
    pub dropped: u32,
    /// When the datagram came that waits first, in ns.
    pub oldest: Option<u64>,
}
