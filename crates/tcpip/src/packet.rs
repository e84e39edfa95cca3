//! What packets of IPv4 and IPv6 have in common: where they came from, what their headers say, and how they leave.

use crate::address::{Hop, Link, Route};
use crate::checksum::Sum;
use crate::device::{Device, Fragment, Full, PartialChecksum, RxChecksum};
use crate::events::Events;
use crate::ip::Address;
use crate::ipv4::{DONT_FRAGMENT, IPV4_LEN, write_ipv4};
use crate::ipv6::write_ipv6;
use crate::loopback::LOOPBACK_MTU;
use crate::neighbor::{ETHERNET_BROADCAST, ETHERNET_LEN, FrameRest};
use crate::payload::Payload;
use crate::stack::Stack;

/// Length of an IPv6 header.
pub const IPV6_LEN: usize = 40;
/// Where the transport's header begins in the headers of a packet to send. The IP header lies directly before it, and Ethernet's
/// before that, so the transport's place does not depend on the family.
pub const TRANSPORT_AT: usize = ETHERNET_LEN + IPV6_LEN;
/// Where the frame of an IPv4 packet begins in these headers.
pub const IPV4_START: usize = IPV6_LEN - IPV4_LEN;

/// Protocol numbers, which IPv6 calls "next header".
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: u8 = 136;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
}

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This host.
    Loopback,
    /// This host, which sent it to several on the link, and is one of them.
    Looped,
    /// A program, over the tunnel of this number.
    Tunnel(u32),
    /// The link.
    Wire {
        /// The frame's Ethernet destination is a group address.
        link_broadcast: bool,
    },
}

impl Origin {
    /// What it came over.
    pub fn link(self) -> Link {
        match self {
            Origin::Loopback => Link::Loopback,
            Origin::Tunnel(index) => Link::Tunnel(index),
            _ => Link::Wire,
        }
    }
}

/// The fields of the IP header of a received packet.
#[derive(Clone, Copy, Debug)]
pub struct IpInfo {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// Of what it carries.
    pub protocol: u8,
    /// Whether it went to several: to all on the link, or to a group.
    pub broadcast: bool,
    /// What it came over.
    pub link: Link,
    /// What the device knows of the transport checksum.
    pub checksum: RxChecksum,
    /// As in [`RxFrame::segment_size`](crate::RxFrame::segment_size).
    pub segment_size: u16,
    /// Length of the headers before the transport's, in bytes.
    pub header_len: u16,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Identification of an IPv4 packet, for quotation in ICMP errors (RFC 792).
    pub ident: u16,
}

impl IpInfo {
    /// Whether the transport checksum of the payload is right (or vouched for).
    pub fn checksum_ok<B: crate::Buffer>(&self, payload: &Payload<B>) -> bool {
        self.checksum != RxChecksum::Unknown
            || Sum::default()
                .pseudo_header(self.source, self.destination, self.protocol, payload.len() as usize)
                .chunks(payload.chunks())
                .is_valid()
    }
}

/// What is to be put into an IP header. The destination's family decides which.
#[derive(Clone, Copy, Debug)]
pub struct IpHeader {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// Of what it carries.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Identification of an IPv4 packet that may be fragmented; `None` sets "don't fragment" (RFC 6864).
    pub ident: Option<u16>,
    /// The greatest packet that the sender allows (IPV6_MTU of ipv6(7)), if it is less than what the route takes.
    pub greatest: Option<u16>,
}

impl IpHeader {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        ip_len(self.destination)
    }

    /// Writes Ethernet and IP header at the end of `out`, where the transport's follows; the Ethernet destination stays as it
    /// is. `len` is that of the payload. Returns where the frame begins.
    pub fn write(&self, mac: [u8; 6], out: &mut [u8; TRANSPORT_AT], len: usize) -> usize {
        if !self.destination.is_v4() {
            return write_ipv6(self, mac, out, len);
        }
        write_ipv4(self, mac, out, len, if self.ident.is_none() { DONT_FRAGMENT } else { 0 })
    }
}

/// Length of the header of a packet to `destination`, in bytes.
#[inline]
pub fn ip_len(destination: Address) -> usize {
    if destination.is_v4() { IPV4_LEN } else { IPV6_LEN }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// The route to one host or to all on the link, or `None` if there is none. For groups there is `group_route`.
    pub(crate) fn route(&self, destination: Address) -> Option<Route> {
        match destination.as_v4() {
            Some(destination) => self.addresses.route(destination),
            None if destination == Address::LOCALHOST_V6 && !self.addresses.is_loopback_up() => None,
            None => self.v6.route(destination),
        }
    }

    /// The route to a group over `link`, or over the one that routes from `source` lead to.
    pub(crate) fn group_route(&self, group: Address, link: Option<Link>, source: Address) -> Option<Route> {
        match group.as_v4() {
            Some(group) => self.addresses.group_route(group, link, source.as_v4().unwrap_or(0)),
            None => self.v6.group_route(group, link),
        }
    }

    /// The hop limit of packets, unless a socket sets it.
    pub(crate) fn hop_limit(&self) -> u8 {
        self.v6.hop_limit()
    }

    /// The greatest packet that is sent to `route`'s destination in one piece.
    pub(crate) fn mtu_of(&self, route: &Route, destination: Address) -> usize {
        match route.hop {
            Hop::Loopback | Hop::Looped => LOOPBACK_MTU,
            Hop::Tunnel(index) => self.addresses.tunnels.mtu(index),
            _ if destination.is_v4() => self.mtu,
            _ => self.v6.mtu_to(destination, self.mtu),
        }
    }

    /// The same, and no more than the sender allows.
    pub(crate) fn mtu_for(&self, route: &Route, ip: &IpHeader) -> usize {
        let mtu = self.mtu_of(route, ip.destination);
        ip.greatest.map_or(mtu, |greatest| mtu.min(greatest.into()))
    }

    /// The greatest packet that is sent to a host in one piece, if there is a route to it (ip(7), IP_MTU).
    pub fn mtu_to(&self, destination: Address) -> Option<usize> {
        Some(self.mtu_of(&self.route(destination)?, destination))
    }

    /// Whether the address is one of ours.
    pub(crate) fn is_local(&self, address: Address) -> bool {
        match address.as_v4() {
            Some(address) => self.addresses.is_local(address),
            None if address == Address::LOCALHOST_V6 => self.addresses.is_loopback_up(),
            None => self.v6.is_usable(address),
        }
    }

    /// Whether this address is a broadcast address of a link.
    pub(crate) fn is_broadcast(&self, address: Address) -> bool {
        address.as_v4().is_some_and(|address| self.addresses.is_broadcast(address))
    }

    /// Whether a socket can be bound to the address.
    pub(crate) fn can_be_bound(&self, address: Address) -> bool {
        match address.as_v4() {
            Some(address) => self.addresses.can_be_bound(address),
            None => address.is_unspecified() || address.is_multicast() || self.is_local(address),
        }
    }

    /// Sends a packet. `headers` has room for Ethernet, holds IP and transport headers.
    pub(crate) fn ip_transmit(
        &self,
        now: u64,
        route: Route,
        headers: &mut [u8],
        rest: FrameRest<'_, D::Buf>,
    ) -> Result<(), Full> {
        match route.hop {
            Hop::Loopback => {
                self.loopback_send(headers, rest.payload, Origin::Loopback);
                Ok(())
            }
            Hop::Looped => {
                self.loopback_send(headers, rest.payload, Origin::Looped);
                Ok(())
            }
            Hop::Tunnel(index) => {
                self.tunnel_send(index, headers, rest.payload);
                Ok(())
            }
            Hop::Group(group) => {
                headers[..6].copy_from_slice(&crate::groups::ethernet_address(group));
                self.device.transmit(rest.frame(headers))
            }
            Hop::Broadcast => {
                headers[..6].copy_from_slice(&ETHERNET_BROADCAST);
                self.device.transmit(rest.frame(headers))
            }
            Hop::Neighbor(ip) => self.transmit_to(now, ip, headers, rest),
        }
    }

    /// Writes the transport checksum: leaves it to the device (or, on the loopback, out) where that is possible.
    /// `at` is the transport header's place in `headers`, `field` that of the checksum in it.
    pub(crate) fn fill_checksum(
        &self,
        hop: Hop,
        pseudo: Sum,
        headers: &mut [u8],
        at: usize,
        field: usize,
        payload: &[Fragment<'_, D::Buf>],
    ) -> Option<PartialChecksum> {
        let partial = match hop {
            Hop::Loopback | Hop::Looped => true,
            Hop::Tunnel(_) => false,
            _ => self.capabilities.tx_checksum,
        };
        let bytes = if partial {
            pseudo.partial()
        } else {
            headers[at + field..at + field + 2].fill(0);
            pseudo.bytes(&headers[at..]).fragments(payload).finish()
        };
        headers[at + field..at + field + 2].copy_from_slice(&bytes);
        partial.then_some(PartialChecksum { start: at as u16, offset: field as u16 })
    }
}
