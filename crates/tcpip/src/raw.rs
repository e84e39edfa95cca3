//! Packets whose transport is a program's: raw sockets and those of ping. The engine hands the user each packet that arrives for this
//! host and is neither of TCP nor of UDP ([`Device::raw`]), and sends what the user made.

use crate::address::{Link, Route};
use crate::checksum::Sum;
use crate::datagram::{DatagramHeaders, HEADER_AT, TRANSPORT_LEN};
use crate::device::{Buffer, Device, TxFrame};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::ip::Address;
use crate::ipv4::ETHERTYPE_IPV4;
use crate::ipv6::ETHERTYPE_IPV6;
use crate::loopback::LOOPBACK_MTU;
use crate::neighbor::{ETHERNET_LEN, FrameRest};
use crate::packet::{IPV6_LEN, IpHeader, IpInfo, Origin, TRANSPORT_AT, ip_len};
use crate::payload::Payload;
use crate::stack::Stack;

/// A packet for this host.
#[derive(Debug)]
pub struct RawPacket<'a, B> {
    /// What its IP header says.
    pub info: &'a IpInfo,
    /// What follows the header.
    pub payload: &'a Payload<B>,
}

impl<B: Buffer> RawPacket<'_, B> {
    /// The IP header, options and extension headers with it. That of an IPv4 packet which came in fragments is the first one's. Empty if
    /// it isn't in one piece with what follows.
    pub fn header(&self) -> &[u8] {
        self.payload.dropped(self.info.header_len.into()).unwrap_or(&[])
    }
}

/// How a packet is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct RawWay {
    /// Its destination.
    pub to: Address,
    /// The sender's address, instead of that of the route.
    pub from: Option<Address>,
    /// The link to a group.
    pub link: Option<Link>,
    /// What it carries.
    pub protocol: u8,
    /// Time to live or hop limit; `None`: the usual.
    pub ttl: Option<u8>,
    /// Type of service or traffic class.
    pub tos: u8,
    /// A packet that does not fit the link is not cut into fragments: [`Error::MessageTooLong`].
    pub is_whole: bool,
    /// Where the checksum is to be written: of ICMP, or over IPv6 of any protocol, with the pseudo-header.
    pub checksum_at: Option<usize>,
    /// Packets to all on the link may be sent (`SO_BROADCAST`).
    pub may_broadcast: bool,
}

impl<D: Device, E: Events> Stack<D, E> {
    fn raw_route(&self, way: &RawWay) -> Result<(Route, Address)> {
        let route = match way.to.is_multicast() {
            true => self.group_route(way.to, way.link, way.from.unwrap_or_default()),
            false => self.route(way.to),
        };
        let route = route.ok_or(Error::NetworkUnreachable)?;
        if self.is_broadcast(way.to) && !way.may_broadcast {
            return Err(Error::AccessDenied);
        }
        let source = way.from.filter(|from| !from.is_unspecified()).unwrap_or(route.source);
        Ok((route, source))
    }

    /// The sender's address of a packet that goes this way.
    ///
    /// # Errors
    /// [`Error::NetworkUnreachable`], [`Error::AccessDenied`].
    pub fn raw_source(&self, way: &RawWay) -> Result<Address> {
        self.raw_route(way).map(|(_, source)| source)
    }

    /// Whether a raw socket can be bound to the address.
    pub fn raw_can_be_bound(&self, address: Address) -> bool {
        self.can_be_bound(address)
    }

    /// Sends `bytes` behind an IP header. Their checksum is written, if the way has one.
    ///
    /// # Errors
    /// Those of [`Stack::raw_source`]; [`Error::MessageTooLong`], [`Error::NoBuffers`]; [`Error::Invalid`]: the checksum lies outside.
    pub fn raw_send(&self, now: u64, way: &RawWay, bytes: &mut [u8]) -> Result<()> {
        let (route, source) = self.raw_route(way)?;
        let len = bytes.len();
        if let Some(at) = way.checksum_at {
            let field =
                bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()).ok_or(Error::Invalid)?;
            *field = [0; 2];
            let start = match way.to.is_v4() {
                true => Sum::EMPTY,
                false => Sum::EMPTY.pseudo_header(source, way.to, way.protocol, len),
            };
            let sum = start.bytes(bytes).finish();
            bytes[at..at + 2].copy_from_slice(&sum);
        }
        let usual = if way.to.is_v4() { 64 } else { self.hop_limit() };
        let usual = if way.to.is_multicast() { 1 } else { usual };
        let ip = IpHeader {
            source,
            destination: way.to,
            protocol: way.protocol,
            ttl: way.ttl.unwrap_or(usual),
            tos: way.tos,
            ident: (!way.is_whole).then(|| self.next_ident()),
            greatest: None,
        };
        let mtu = self.mtu_of(&route, way.to);
        if ip.len() + len > usize::from(u16::MAX) {
            return Err(Error::MessageTooLong);
        }
        let sent = if ip.len() + len <= mtu {
            let mut headers = [0; TRANSPORT_AT];
            let start = ip.write(self.mac, &mut headers, len);
            self.raw_transmit(now, route, &mut headers[start..], bytes)
        } else if way.is_whole {
            return Err(Error::MessageTooLong);
        } else {
            let Some((head, rest)) = bytes.split_first_chunk::<TRANSPORT_LEN>() else { return Ok(()) };
            let mut headers: DatagramHeaders = [0; HEADER_AT + TRANSPORT_LEN];
            headers[HEADER_AT..].copy_from_slice(head);
            let mut rest = rest.iter().copied();
            let pieces = self.collect(len - TRANSPORT_LEN, |room| copy(room, &mut rest))?;
            self.send_in_fragments(now, route, ip, &mut headers, &pieces, None).map_err(|_| Error::NoBuffers)
        };
        self.loopback_run(now);
        sent
    }

    /// Sends a packet that begins with its IP header, to the host that `way` names. In one of IPv4 the length, the checksum, and where
    /// they are 0 the sender's address and the identification are filled in (raw(7), IP_HDRINCL).
    ///
    /// # Errors
    /// Those of [`Stack::raw_send`]; [`Error::Invalid`] for a header that is none.
    pub fn raw_send_whole(&self, now: u64, way: &RawWay, packet: &mut [u8]) -> Result<()> {
        const HEADER_MAX: usize = 60;
        let (route, source) = self.raw_route(way)?;
        let len = packet.len();
        if len > self.mtu_of(&route, way.to) {
            return Err(Error::MessageTooLong);
        }
        let is_v4 = way.to.is_v4();
        let header_len = match packet.first() {
            Some(first) if is_v4 => usize::from(first & 15) * 4,
            _ => IPV6_LEN,
        };
        if header_len < ip_len(way.to) || header_len > len {
            return Err(Error::Invalid);
        }
        let (header, rest) = packet.split_at_mut(header_len);
        if is_v4 {
            complete_header(header, len, source, self.next_ident());
        }
        let ethertype = if is_v4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let mut headers = [0; ETHERNET_LEN + HEADER_MAX];
        let headers = &mut headers[..ETHERNET_LEN + header_len];
        headers[6..12].copy_from_slice(&self.mac);
        headers[12..14].copy_from_slice(&ethertype.to_be_bytes());
        headers[ETHERNET_LEN..].copy_from_slice(header);
        let sent = self.raw_transmit(now, route, headers, rest);
        self.loopback_run(now);
        sent
    }

    /// Sends a frame that begins with its Ethernet header, over the link as it is; over the loopback it is received as the packet in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a whole header; [`Error::MessageTooLong`], [`Error::NoBuffers`].
    pub fn link_send(&self, now: u64, link: Link, frame: &[u8]) -> Result<()> {
        let (head, rest) = frame.split_first_chunk::<ETHERNET_LEN>().ok_or(Error::Invalid)?;
        let mtu = if link == Link::Loopback { LOOPBACK_MTU } else { self.mtu };
        if rest.len() > mtu {
            return Err(Error::MessageTooLong);
        }
        let mut bytes = rest.iter().copied();
        let pieces = self.collect(rest.len(), |room| copy(room, &mut bytes))?;
        let payload = pieces.fragments(0, usize::MAX);
        match link {
            Link::Tunnel(index) => {
                self.tunnel_send(index, head, &payload);
                Ok(())
            }
            Link::Wire => {
                let frame = TxFrame { headers: head, payload: &payload, checksum: None, segment_size: None };
                self.device.transmit(frame).map_err(|_| Error::NoBuffers)
            }
            // What comes from an own address without a route for it is a martian: it is seen, and no more.
            Link::Loopback if head[12..] == ETHERTYPE_IPV4.to_be_bytes() => {
                if let Some(frame) = self.loopback_frame(head, &payload) {
                    self.device.looped(&frame);
                }
                Ok(())
            }
            Link::Loopback => {
                self.loopback_send(head, &payload, Origin::Loopback);
                self.loopback_run(now);
                Ok(())
            }
        }
    }

    fn raw_transmit(&self, now: u64, route: Route, headers: &mut [u8], bytes: &[u8]) -> Result<()> {
        let mut rest = bytes.iter().copied();
        let pieces = self.collect(bytes.len(), |room| copy(room, &mut rest))?;
        let payload = pieces.fragments(0, usize::MAX);
        let rest = FrameRest { payload: &payload, checksum: None, segment_size: None };
        self.ip_transmit(now, route, headers, rest).map_err(|_| Error::NoBuffers)
    }
}

/// Fills in what a program may leave open in a header of IPv4.
fn complete_header(header: &mut [u8], len: usize, source: Address, ident: u16) {
    header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    if header[4..6] == [0; 2] {
        header[4..6].copy_from_slice(&ident.to_be_bytes());
    }
    if header[12..16] == [0; 4] {
        header[12..16].copy_from_slice(&source.as_v4().unwrap_or(0).to_be_bytes());
    }
    header[10..12].fill(0);
    let sum = Sum::EMPTY.bytes(header).finish();
    header[10..12].copy_from_slice(&sum);
}

/// Fills the room as far as there are bytes.
fn copy(room: &mut [u8], bytes: &mut impl Iterator<Item = u8>) -> usize {
    room.iter_mut().zip(bytes).map(|(to, byte)| *to = byte).count()
}
