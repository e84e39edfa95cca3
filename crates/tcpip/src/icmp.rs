//! ICMP (RFC 792; RFC 1122, 3.2.2): echo, and errors in both directions.

use crate::checksum::Sum;
use crate::counters::Count;
use crate::datagram::{ChecksumField, TRANSPORT_LEN};
use crate::device::{Device, RxChecksum};
use crate::error::Error;
use crate::events::Events;
use crate::ip::Address;
use crate::ipv4::IPV4_LEN;
use crate::packet::{IPV4_START, IpHeader, IpInfo, TRANSPORT_AT, protocol};
use crate::payload::Payload;
use crate::stack::Stack;
use crate::tcp::{Seq, Tuple};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const CODE_PROTOCOL: u8 = 2;
const CODE_PORT: u8 = 3;
const CODE_FRAGMENTATION_NEEDED: u8 = 4;
const CHECKSUM: ChecksumField = ChecksumField { field: 2, start: Sum::EMPTY, device: false };
const TTL: u8 = 64;

/// How often we may send errors (RFC 1812, 4.3.2.8): one per interval, ns, with bursts.
const ERROR_INTERVAL: u64 = 1_000_000;
const ERROR_BURST: u64 = 50 * ERROR_INTERVAL;

/// A leaky bucket for errors: when it would be empty.
#[derive(Default)]
pub struct ErrorLimit(AtomicU64);

impl ErrorLimit {
    /// Whether one more may be sent.
    pub fn allow(&self, now: u64) -> bool {
        self.0
            .try_update(Relaxed, Relaxed, |level| {
                let level = level.max(now);
                (level - now < ERROR_BURST).then_some(level + ERROR_INTERVAL)
            })
            .is_ok()
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes an ICMP message.
    pub(crate) fn icmp_input(&self, now: u64, info: &IpInfo, payload: Payload<D::Buf>) {
        self.counters.add(Count::IcmpIn);
        // ICMP's checksum has no pseudo-header; devices do not check it.
        if info.checksum == RxChecksum::Unknown && !Sum::default().chunks(payload.chunks()).is_valid() {
            return;
        }
        let Some(head) = payload.head().first_chunk::<TRANSPORT_LEN>().copied() else { return };
        match (head[0], head[1]) {
            (ECHO_REQUEST, 0) if !info.broadcast => self.echo_reply(now, info, head, payload),
            (UNREACHABLE, code) => {
                let (error, mtu) = match code {
                    CODE_PROTOCOL | CODE_PORT => (Error::ConnectionRefused, None),
                    CODE_FRAGMENTATION_NEEDED => {
                        (Error::MessageTooLong, Some(u16::from_be_bytes([head[6], head[7]])))
                    }
                    0 | 6 | 9 | 11 => (Error::NetworkUnreachable, None),
                    _ => (Error::HostUnreachable, None),
                };
                self.error_for(now, &payload.head()[TRANSPORT_LEN..], error, mtu);
            }
            (TIME_EXCEEDED, _) => {
                self.error_for(now, &payload.head()[TRANSPORT_LEN..], Error::HostUnreachable, None)
            }
            _ => {}
        }
    }

    fn echo_reply(
        &self,
        now: u64,
        info: &IpInfo,
        mut head: [u8; TRANSPORT_LEN],
        mut payload: Payload<D::Buf>,
    ) {
        let Some(route) = self.route(info.source) else { return };
        payload.skip(TRANSPORT_LEN as u32);
        head[0] = ECHO_REPLY;
        let ip = IpHeader {
            source: info.destination,
            destination: info.source,
            protocol: protocol::ICMP,
            ttl: TTL,
            tos: 0,
            ident: Some(self.next_ident()),
        };
        let mut done = 0;
        let pieces = self.collect(payload.len() as usize, |room| {
            let wrote = payload.copy_out(done, room);
            done += wrote;
            wrote
        });
        if let Ok(pieces) = pieces {
            // If the device is full, an echo is lost as on any network.
            let _ = self.send_datagram(now, route, ip, &head, &pieces, CHECKSUM);
        }
    }

    /// Reports to the sender of a datagram that no socket is bound to its port. `head`: the first bytes behind the IPv4
    /// header, `len`: how many there are.
    pub(crate) fn port_unreachable(&self, now: u64, info: &IpInfo, head: &[u8; TRANSPORT_LEN], len: usize) {
        self.unreachable(now, CODE_PORT, info, head, len);
    }

    /// Reports to the sender of a packet that its protocol is not spoken here (RFC 1122, 3.2.2.1).
    pub(crate) fn protocol_unreachable(&self, now: u64, info: &IpInfo, payload: &Payload<D::Buf>) {
        if let Some(head) = payload.head().first_chunk::<TRANSPORT_LEN>() {
            self.unreachable(now, CODE_PROTOCOL, info, head, payload.len() as usize);
        }
    }

    fn unreachable(&self, now: u64, code: u8, info: &IpInfo, head: &[u8; TRANSPORT_LEN], len: usize) {
        if info.broadcast || info.destination.is_multicast() || !self.icmp_limit.allow(now) {
            return;
        }
        let Some(route) = self.route(info.source) else { return };
        let ip = IpHeader {
            source: info.destination,
            destination: info.source,
            protocol: protocol::ICMP,
            ttl: TTL,
            tos: 0,
            ident: Some(self.next_ident()),
        };
        // The quotation: the datagram's IPv4 header and the first eight bytes behind it.
        let quoted = IpHeader {
            source: info.source,
            destination: info.destination,
            protocol: info.protocol,
            ttl: info.ttl,
            tos: 0,
            ident: Some(info.ident),
        };
        let mut link = [0; TRANSPORT_AT];
        quoted.write(self.mac, &mut link, len);
        let mut quote = [0; IPV4_LEN + TRANSPORT_LEN];
        quote[..IPV4_LEN].copy_from_slice(&link[IPV4_START + crate::neighbor::ETHERNET_LEN..]);
        quote[IPV4_LEN..].copy_from_slice(head);
        let pieces = self.collect(quote.len(), |room| {
            room.copy_from_slice(&quote[..room.len()]);
            room.len()
        });
        if let Ok(pieces) = pieces {
            let head = [UNREACHABLE, code, 0, 0, 0, 0, 0, 0];
            let _ = self.send_datagram(now, route, ip, &head, &pieces, CHECKSUM);
        }
    }

    /// A packet of ours could not be delivered because its neighbour does not answer.
    pub(crate) fn undeliverable(&self, now: u64, packet: &[u8], error: Error) {
        match packet.first() {
            Some(first) if first >> 4 == 6 => self.error_for_v6(now, packet, error, None),
            _ => self.error_for(now, packet, error, None),
        }
    }

    /// Tells the sender of `packet` (its IPv4 header and at least eight bytes more) of an error.
    fn error_for(&self, now: u64, packet: &[u8], error: Error, mtu: Option<u16>) {
        let Some(ip) = packet.first_chunk::<IPV4_LEN>() else { return };
        let header_len = usize::from(ip[0] & 15) * 4;
        let Some(t) = packet.get(header_len..).and_then(|rest| rest.first_chunk::<TRANSPORT_LEN>()) else {
            return;
        };
        let tuple = Tuple {
            local: Address::v4(u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]])),
            remote: Address::v4(u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]])),
            local_port: u16::from_be_bytes([t[0], t[1]]),
            remote_port: u16::from_be_bytes([t[2], t[3]]),
        };
        self.error_for_tuple(now, ip[9], &tuple, t, error, mtu);
    }

    /// Tells the sender of a packet of an error. `head`: the first bytes of its transport header.
    pub(crate) fn error_for_tuple(
        &self,
        now: u64,
        kind: u8,
        tuple: &Tuple,
        head: &[u8; TRANSPORT_LEN],
        error: Error,
        mtu: Option<u16>,
    ) {
        let sequence = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        match kind {
            protocol::TCP => self.tcp_error(now, tuple, Seq(sequence), error, mtu),
            protocol::UDP => self.udp_error(now, tuple, error, mtu),
            _ => {}
        }
    }
}
