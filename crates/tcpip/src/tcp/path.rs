//! The route of a connection's segments: headers that are prepared once, and the neighbour's address.
//!
//! The template of the headers is valid until the neighbour has to be confirmed or an address of the host changes, which a
//! generation number shows. Only the fields that differ between segments are written anew.

use super::control::{CHECKSUM_FIELD, MAX_HEADERS, TCP_AT};
use super::demux::Tuple;
use super::header::{HEADER_LEN, TIMESTAMP_PREFIX};
use super::predicted::{PREDICTED_LEN, PREDICTED_TCP_LEN};
use super::send_queue::HEADROOM;
use crate::address::{Hop, Route};
use crate::checksum::Sum;
use crate::device::{Buffer, Device, Fragment, Full, PartialChecksum, TxFrame};
use crate::events::Events;
use crate::ip::Address;
use crate::ipv4::IPV4_LEN;
use crate::loopback::LOOPBACK_MTU;
use crate::neighbor::{ETHERNET_LEN, FrameRest};
use crate::packet::{IPV4_START, IpHeader, TRANSPORT_AT, protocol};
use crate::stack::Stack;

/// Where the IP header of a segment over IPv4 is in the template.
const IPV4_AT: usize = IPV4_START + ETHERNET_LEN;
/// Where the device sums in a segment over IPv4, if it does.
const TCP_CHECKSUM: PartialChecksum =
    PartialChecksum { start: (TCP_AT - IPV4_START) as u16, offset: CHECKSUM_FIELD as u16 };

/// The route of a connection's segments.
pub struct Path {
    /// The headers of the segment being sent. What is the same for all segments is written once.
    pub headers: [u8; MAX_HEADERS],
    /// Where the frame begins therein.
    start: u8,
    hop: Hop,
    /// Sum of the IPv4 header without its length.
    ip_sum: Sum,
    /// Sum of the pseudo-header without its length.
    pseudo_sum: Sum,
    /// Until when the Ethernet destination in the template is good, and of which generation it is.
    mac_until: u64,
    /// The same if `transmit_ready` can use it, else 0.
    ready_until: u64,
    generation: u32,
    /// What path MTU discovery found (RFC 1191), 0 if nothing.
    path_mtu: u16,
}

impl Default for Path {
    fn default() -> Self {
        Path {
            headers: [0; MAX_HEADERS],
            start: IPV4_START as u8,
            hop: Hop::Loopback,
            ip_sum: Sum::default(),
            pseudo_sum: Sum::default(),
            mac_until: 0,
            ready_until: 0,
            generation: 0,
            path_mtu: 0,
        }
    }
}

impl Path {
    /// The path to `tuple.remote` by `route`.
    pub fn new(route: Route, tuple: &Tuple, mac: [u8; 6], ttl: u8, tos: u8) -> Self {
        let mut path = Path { hop: route.hop, ..Path::default() };
        let ip = IpHeader {
            source: tuple.local,
            destination: tuple.remote,
            protocol: protocol::TCP,
            ttl,
            tos,
            ident: None,
            greatest: None,
        };
        let Some((link, tcp)) = path.headers.split_first_chunk_mut::<TRANSPORT_AT>() else { return path };
        path.start = ip.write(mac, link, 0) as u8;
        if usize::from(path.start) == IPV4_START {
            link[IPV4_AT + 2..IPV4_AT + 4].fill(0);
            link[IPV4_AT + 10..IPV4_AT + 12].fill(0);
            path.ip_sum = Sum::default().bytes(&link[IPV4_AT..]);
        }
        path.pseudo_sum = Sum::default().pseudo_header(tuple.local, tuple.remote, protocol::TCP, 0);
        tcp[0..2].copy_from_slice(&tuple.local_port.to_be_bytes());
        tcp[2..4].copy_from_slice(&tuple.remote_port.to_be_bytes());
        tcp[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&TIMESTAMP_PREFIX);
        path
    }

    /// Whether it is a path of IPv4.
    #[inline(always)]
    fn is_v4(&self) -> bool {
        usize::from(self.start) == IPV4_START
    }

    /// Whether the peer is ourselves.
    #[inline(always)]
    pub fn is_loopback(&self) -> bool {
        self.hop == Hop::Loopback
    }

    /// Whether segments leave by the device, which may cut and sum them.
    pub fn is_on_wire(&self) -> bool {
        !matches!(self.hop, Hop::Loopback | Hop::Tunnel(_))
    }

    /// The greatest packet.
    pub fn mtu<D: Device, E: Events>(&self, stack: &Stack<D, E>) -> usize {
        match (self.is_loopback(), self.path_mtu) {
            (true, _) => LOOPBACK_MTU,
            (false, 0) => stack.mtu,
            (false, found) => usize::from(found).min(stack.mtu),
        }
    }

    /// A router reported how much fits (RFC 1191); less than 552 is ignored (as Linux's `min_pmtu`).
    pub fn reduce_mtu(&mut self, mtu: u16) {
        const LEAST_MTU: u16 = 552;
        let mtu = mtu.max(LEAST_MTU);
        if self.path_mtu == 0 || mtu < self.path_mtu {
            self.path_mtu = mtu;
        }
    }

    /// Whether `transmit_ready` may be used: the peer is over the link, its Ethernet address is in the template and
    /// fresh, and the device sums.
    #[inline(always)]
    pub fn is_ready<D: Device, E: Events>(&self, stack: &Stack<D, E>, now: u64) -> bool {
        // It is set only on a route to a neighbour over IPv4.
        now < self.ready_until
            && self.generation == stack.neighbors.generation()
            && stack.capabilities.tx_checksum
    }

    /// Sends a segment with the predicted header, written before its `len` bytes of data. `None` if there is another owner of
    /// the buffer.
    #[inline(always)]
    pub fn transmit_ready<D: Device, E: Events>(
        &mut self,
        stack: &Stack<D, E>,
        buffer: &mut D::Buf,
        len: u32,
    ) -> Option<Result<(), Full>> {
        const START: usize = HEADROOM - PREDICTED_LEN;
        let room = buffer.as_mut_slice()?.get_mut(START..HEADROOM)?;
        let pseudo = self.complete_lengths(PREDICTED_TCP_LEN + len as usize);
        self.headers[TCP_AT + CHECKSUM_FIELD..TCP_AT + CHECKSUM_FIELD + 2].copy_from_slice(&pseudo.partial());
        room.copy_from_slice(&self.headers[IPV4_START..IPV4_START + PREDICTED_LEN]);
        let len = PREDICTED_LEN as u32 + len;
        Some(stack.device.transmit_in_place(buffer, START as u32, len, Some(TCP_CHECKSUM)))
    }

    /// Completes the IPv4 header for a segment of `len` bytes, header and payload; returns the sum of the pseudo-header.
    #[inline(always)]
    fn complete_lengths(&mut self, len: usize) -> Sum {
        let total = (len + IPV4_LEN) as u16;
        self.headers[IPV4_AT + 2..IPV4_AT + 4].copy_from_slice(&total.to_be_bytes());
        let sum = self.ip_sum.word(total).finish();
        self.headers[IPV4_AT + 10..IPV4_AT + 12].copy_from_slice(&sum);
        self.pseudo_sum.word(len as u16)
    }

    /// Fills in lengths and checksums and sends. `tcp_len` is the length of the TCP header with its options.
    #[inline(never)]
    pub fn transmit<D: Device, E: Events>(
        &mut self,
        stack: &Stack<D, E>,
        now: u64,
        tcp_len: usize,
        payload: &[Fragment<'_, D::Buf>],
        payload_len: u32,
        segment_size: u32,
    ) -> Result<(), Full> {
        let len = tcp_len + payload_len as usize;
        let pseudo = if self.is_v4() {
            self.complete_lengths(len)
        } else {
            /// Where the length of the payload is in an IPv6 header.
            const LENGTH_AT: usize = ETHERNET_LEN + 4;
            self.headers[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&(len as u16).to_be_bytes());
            self.pseudo_sum.word(len as u16)
        };
        let start = usize::from(self.start);
        let Some(headers) = self.headers.get_mut(start..TCP_AT + tcp_len) else { return Ok(()) };
        let checksum =
            stack.fill_checksum(self.hop, pseudo, headers, TCP_AT - start, CHECKSUM_FIELD, payload);
        let segment_size = (payload_len > segment_size).then_some(segment_size as u16);
        let Hop::Neighbor(next_hop) = self.hop else {
            let route = Route { source: Address::default(), hop: self.hop };
            return stack.ip_transmit(now, route, headers, FrameRest { payload, checksum, segment_size });
        };
        if now >= self.mac_until || self.generation != stack.neighbors.generation() {
            let Some(resolved) = stack.resolve(now, next_hop) else {
                return stack.transmit_to(
                    now,
                    next_hop,
                    headers,
                    FrameRest { payload, checksum, segment_size },
                );
            };
            headers[..6].copy_from_slice(&resolved.mac);
            self.mac_until = resolved.until;
            self.ready_until = if start == IPV4_START { resolved.until } else { 0 };
            self.generation = resolved.generation;
        }
        stack.device.transmit(TxFrame { headers, payload, checksum, segment_size })
    }
}
