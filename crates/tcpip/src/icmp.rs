//! ICMP (RFC 792; RFC 1122, 3.2.2): echo, and errors in both directions.

use crate::checksum::Sum;
use crate::counters::Count;
use crate::datagram::{ChecksumField, TRANSPORT_LEN};
use crate::device::{Device, RxChecksum};
use crate::error::Error;
use crate::events::Events;
use crate::ip::Address;
use crate::ipv4::IPV4_LEN;
use crate::ipv6::addresses;
use crate::packet::{IPV6_LEN, IpHeader, IpInfo, protocol};
use crate::payload::Payload;
use crate::raw::RawPacket;
use crate::reports::{Blame, ReportOrigin, Unsent, icmp_error, is_transport};
use crate::stack::Stack;
use crate::tcp::{Seq, Tuple};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const CODE_PROTOCOL: u8 = 2;
const CODE_PORT: u8 = 3;
const CHECKSUM: ChecksumField = ChecksumField { field: 2, start: Sum::EMPTY, device: false, covered: None };
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
        self.device.raw(now, &RawPacket { info, payload: &payload });
        let Some(head) = payload.head().first_chunk::<TRANSPORT_LEN>().copied() else { return };
        match (head[0], head[1]) {
            (ECHO_REQUEST, 0) if !info.broadcast => self.echo_reply(now, info, head, payload),
            (kind, code) => {
                let Some((error, is_hard)) = icmp_error(kind, code) else { return };
                let is_too_long = error == Error::MessageTooLong;
                let mtu = is_too_long.then_some(u16::from_be_bytes([head[6], head[7]]));
                let blame = Blame {
                    origin: ReportOrigin::Icmp,
                    kind,
                    code,
                    info: mtu.unwrap_or(0).into(),
                    offender: info.source,
                    ttl: info.ttl,
                    error,
                    is_hard,
                };
                self.error_for(now, &payload.head()[TRANSPORT_LEN..], blame, mtu);
            }
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
        // An answer is as urgent as the question (RFC 1122, 3.2.2.6).
        let tos = payload.dropped(info.header_len.into()).map_or(0, |header| header[1]);
        payload.skip(TRANSPORT_LEN as u32);
        head[0] = ECHO_REPLY;
        let ip = IpHeader {
            source: info.destination,
            destination: info.source,
            protocol: protocol::ICMP,
            ttl: TTL,
            tos,
            ident: Some(self.next_ident()),
            greatest: None,
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

    /// Reports to the sender of a datagram, of whose `payload` the header was taken, that no socket is bound to its port.
    pub(crate) fn port_unreachable(&self, now: u64, info: &IpInfo, payload: &Payload<D::Buf>) {
        self.unreachable(now, CODE_PORT, info, payload, TRANSPORT_LEN);
    }

    /// Reports to the sender of a packet that its protocol is not spoken here (RFC 1122, 3.2.2.1).
    pub(crate) fn protocol_unreachable(&self, now: u64, info: &IpInfo, payload: &Payload<D::Buf>) {
        if !self.device.raw(now, &RawPacket { info, payload }) {
            self.unreachable(now, CODE_PROTOCOL, info, payload, 0);
        }
    }

    /// Reports to the sender of a packet whose `payload` is left, and of which `taken` bytes behind its header are not.
    #[cold]
    #[inline(never)]
    fn unreachable(&self, now: u64, code: u8, info: &IpInfo, payload: &Payload<D::Buf>, taken: usize) {
        /// As much of the packet as makes a message of 576 bytes (RFC 1812, 4.3.2.3).
        const QUOTE_MAX: usize = 576 - IPV4_LEN - TRANSPORT_LEN;
        if info.broadcast || info.destination.is_multicast() || !self.icmp_limit.allow(now) {
            return;
        }
        let Some(route) = self.route(info.source) else { return };
        let Some(before) = payload.dropped(usize::from(info.header_len) + taken) else { return };
        let rest = payload.head();
        let rest = &rest[..rest.len().min(QUOTE_MAX.saturating_sub(before.len()))];
        let mut quote = before.iter().chain(rest).copied();
        let ip = IpHeader {
            source: info.destination,
            destination: info.source,
            protocol: protocol::ICMP,
            ttl: TTL,
            tos: 0,
            ident: Some(self.next_ident()),
            greatest: None,
        };
        let pieces = self.collect(before.len() + rest.len(), |room| {
            room.iter_mut().zip(&mut quote).map(|(to, byte)| *to = byte).count()
        });
        if let Ok(pieces) = pieces {
            let head = [UNREACHABLE, code, 0, 0, 0, 0, 0, 0];
            let _ = self.send_datagram(now, route, ip, &head, &pieces, CHECKSUM);
        }
    }

    /// A packet of ours could not be delivered because its neighbour does not answer.
    pub(crate) fn undeliverable(&self, now: u64, packet: &[u8], error: Error) {
        match packet.first_chunk::<IPV6_LEN>() {
            Some(header) if header[0] >> 4 == 6 => {
                self.error_for_v6(now, packet, Blame::no_neighbor(addresses(header).0, error), None);
            }
            _ => {
                let own = self.addresses.own().unwrap_or(0);
                self.error_for(now, packet, Blame::no_neighbor(Address::v4(own), error), None);
            }
        }
    }

    /// Tells the sender of `packet` (its IPv4 header and at least eight bytes more) of an error.
    fn error_for(&self, now: u64, packet: &[u8], blame: Blame, mtu: Option<u16>) {
        let Some(ip) = packet.first_chunk::<IPV4_LEN>() else { return };
        let header_len = usize::from(ip[0] & 15) * 4;
        let Some(rest) = packet.get(header_len..) else { return };
        let address =
            |at: usize| Address::v4(u32::from_be_bytes([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]]));
        let unsent = Unsent { blame, source: address(12), destination: address(16), protocol: ip[9], rest };
        self.error_for_packet(now, &unsent, mtu);
    }

    /// Tells the sender of a packet of an error. `mtu`: what fits its path.
    pub(crate) fn error_for_packet(&self, now: u64, unsent: &Unsent<'_>, mtu: Option<u16>) {
        if !is_transport(unsent.protocol) {
            return self.device.raw_unsent(now, unsent);
        }
        let Some(t) = unsent.rest.first_chunk::<TRANSPORT_LEN>() else { return };
        let short = |at: usize| u16::from_be_bytes([t[at], t[at + 1]]);
        let tuple = Tuple {
            local: unsent.source,
            remote: unsent.destination,
            local_port: short(0),
            remote_port: short(2),
        };
        let sequence = u32::from_be_bytes([t[4], t[5], t[6], t[7]]);
        match unsent.protocol {
            protocol::TCP => self.tcp_error(now, &tuple, Seq(sequence), unsent.blame.error, mtu),
            _ => self.udp_error(now, &tuple, unsent, mtu),
        }
    }
}
