//! ICMPv6 (RFC 4443): echo, and errors in both directions. Neighbor Discovery and reports of groups, which are messages of it, have
//! files of their own.

use crate::checksum::Sum;
use crate::datagram::{ChecksumField, TRANSPORT_LEN};
use crate::device::Device;
use crate::discovery::message;
use crate::error::Error;
use crate::events::Events;
use crate::ipv6::{FRAGMENT_LEN, LEAST_MTU, addresses, extension};
use crate::packet::{IPV6_LEN, IpHeader, IpInfo, protocol};
use crate::payload::Payload;
use crate::raw::RawPacket;
use crate::reports::{Blame, ReportOrigin, Unsent, icmpv6_error};
use crate::stack::Stack;

const UNREACHABLE: u8 = 1;
/// A field of a packet is wrong; its place is reported.
pub const PARAMETER_PROBLEM: u8 = 4;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// No socket is bound to the port.
const CODE_PORT: u8 = 4;
/// Where the checksum is.
pub const CHECKSUM_AT: usize = 2;

/// An error to send.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// What the word behind the checksum says.
    pub word: u32,
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes an ICMPv6 message.
    #[inline(never)]
    pub(crate) fn icmpv6_input(&self, now: u64, info: &IpInfo, payload: Payload<D::Buf>) {
        if !info.checksum_ok(&payload) {
            return;
        }
        self.device.raw(now, &RawPacket { info, payload: &payload });
        let Some(head) = payload.head().first_chunk::<TRANSPORT_LEN>().copied() else { return };
        match (head[0], head[1]) {
            (ECHO_REQUEST, 0) => return self.echo_reply_v6(now, info, head, payload),
            (kind @ message::FIRST..=message::LAST, 0) => {
                return self.discovery_input(now, info, kind, payload.head());
            }
            (message::MLD_QUERY, 0) => return self.group_query(now, info),
            _ => {}
        }
        let [kind, code] = [head[0], head[1]];
        let Some((error, is_hard)) = icmpv6_error(kind, code) else { return };
        let info_word = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let mtu = (error == Error::MessageTooLong).then_some(info_word);
        let blame = Blame {
            origin: ReportOrigin::Icmp6,
            kind,
            code,
            info: mtu.unwrap_or(0),
            offender: info.source,
            ttl: info.ttl,
            error,
            is_hard,
        };
        let mtu = mtu.map(|mtu| mtu.min(u16::MAX.into()) as u16);
        self.error_for_v6(now, &payload.head()[TRANSPORT_LEN..], blame, mtu);
    }

    fn echo_reply_v6(
        &self,
        now: u64,
        info: &IpInfo,
        mut head: [u8; TRANSPORT_LEN],
        mut payload: Payload<D::Buf>,
    ) {
        payload.skip(TRANSPORT_LEN as u32);
        head[0] = ECHO_REPLY;
        let mut done = 0;
        self.icmpv6_send(now, info, &head, payload.len() as usize, |room| {
            let wrote = payload.copy_out(done, room);
            done += wrote;
            wrote
        });
    }

    /// Reports an error to the sender of a packet whose `payload` is left, and of which `taken` bytes behind its headers are not.
    /// Not sent for a packet to several (but for the parameter problem that RFC 4443, section 2.4 (e.3) excepts, which the caller
    /// decides), from no single host, or when too many were sent.
    #[cold]
    #[inline(never)]
    pub(crate) fn icmpv6_error(
        &self,
        now: u64,
        report: Report,
        info: &IpInfo,
        payload: &Payload<D::Buf>,
        taken: usize,
    ) {
        /// As much of the packet as fits the least MTU (RFC 4443, section 2.4 (c)).
        const QUOTE_MAX: usize = LEAST_MTU as usize - IPV6_LEN - TRANSPORT_LEN;
        let several = info.broadcast && report.kind != PARAMETER_PROBLEM;
        if several || info.source.is_unspecified() || info.header_len == 0 || !self.icmp_limit.allow(now) {
            return;
        }
        let Some(before) = payload.dropped(usize::from(info.header_len) + taken) else { return };
        let rest = payload.head();
        let rest = &rest[..rest.len().min(QUOTE_MAX.saturating_sub(before.len()))];
        let mut quote = before.iter().chain(rest).copied();
        let mut head = [0; TRANSPORT_LEN];
        head[..2].copy_from_slice(&[report.kind, report.code]);
        head[4..].copy_from_slice(&report.word.to_be_bytes());
        self.icmpv6_send(now, info, &head, before.len() + rest.len(), |room| {
            room.iter_mut().zip(&mut quote).map(|(to, byte)| *to = byte).count()
        });
    }

    /// Answers a packet with a message of `len` bytes behind its header, which `fill` writes.
    fn icmpv6_send(
        &self,
        now: u64,
        info: &IpInfo,
        head: &[u8; TRANSPORT_LEN],
        len: usize,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) {
        let Some(route) = self.route(info.source) else { return };
        let source = if info.broadcast { route.source } else { info.destination };
        let ip = IpHeader {
            source,
            destination: info.source,
            protocol: protocol::ICMPV6,
            ttl: self.hop_limit(),
            tos: 0,
            ident: None,
            greatest: None,
        };
        let start = Sum::EMPTY.pseudo_header(source, info.source, protocol::ICMPV6, TRANSPORT_LEN + len);
        if let Ok(pieces) = self.collect(len, fill) {
            // If the device is full, a message is lost as on any network.
            let sum = ChecksumField { field: CHECKSUM_AT, start, device: false, covered: None };
            let _ = self.send_datagram(now, route, ip, head, &pieces, sum);
        }
    }

    /// No socket is bound to the port of a datagram, of whose `payload` the header was taken.
    pub(crate) fn port_unreachable_v6(&self, now: u64, info: &IpInfo, payload: &Payload<D::Buf>) {
        let report = Report { kind: UNREACHABLE, code: CODE_PORT, word: 0 };
        self.icmpv6_error(now, report, info, payload, TRANSPORT_LEN);
    }

    /// Reports an error to the sender of `packet`, the start of a packet of ours. `mtu`: what fits its path.
    pub(crate) fn error_for_v6(&self, now: u64, packet: &[u8], blame: Blame, mtu: Option<u16>) {
        let Some((ip, mut rest)) = packet.split_first_chunk::<IPV6_LEN>() else { return };
        let (local, remote) = addresses(ip);
        let mut kind = ip[6];
        if kind == extension::FRAGMENT
            && let Some((header, first)) = rest.split_first_chunk::<FRAGMENT_LEN>()
        {
            (kind, rest) = (header[0], first);
            // Only the first has the ports.
            if u16::from_be_bytes([header[2], header[3]]) & !7 != 0 {
                return;
            }
        }
        // A path with an MTU below the least does not exist (RFC 8201, section 4).
        if local.is_v4() || !self.is_local(local) || mtu.is_some_and(|mtu| mtu < LEAST_MTU) {
            return;
        }
        let unsent = Unsent { blame, source: local, destination: remote, protocol: kind, rest };
        self.error_for_packet(now, &unsent, mtu);
    }
}
