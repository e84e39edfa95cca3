//! IPv6 (RFC 8200): checks packets that arrive, walks their extension headers, and passes them on; writes the headers of packets
//! that leave.
//!
//! A packet that this host does not know how to handle is answered as the RFC demands, at the rate of all ICMP errors. The number of
//! extension headers is bounded, because each costs the receiver and none is of use here (RFC 8504, section 5.3).

use crate::counters::Count;
use crate::device::{Device, RxChecksum, RxFrame};
use crate::events::{Ends, Events};
use crate::icmpv6::{PARAMETER_PROBLEM, Report};
use crate::ip::Address;
use crate::neighbor::ETHERNET_LEN;
use crate::packet::{IPV6_LEN, IpHeader, IpInfo, Origin, TRANSPORT_AT, protocol};
use crate::payload::Payload;
use crate::raw::RawPacket;
use crate::stack::Stack;

/// Ethernet type of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Length of a fragment header.
pub const FRAGMENT_LEN: usize = 8;
/// The least MTU of a link (RFC 8200, section 5).
pub const LEAST_MTU: u16 = 1280;
/// Extension headers of a packet; more are dropped.
const EXTENSIONS_MAX: usize = 8;

/// Extension headers (RFC 8200, section 4).
pub mod extension {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// Codes of ICMPv6's parameter problem (RFC 4443, section 3.4).
mod problem {
    pub const ERRONEOUS_HEADER: u8 = 0;
    pub const UNKNOWN_NEXT_HEADER: u8 = 1;
    pub const UNKNOWN_OPTION: u8 = 2;
}

/// What becomes of a packet with an option or a header that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    /// Drop, and report the byte at this place of the header with this code; `always`: also to the sender of a multicast packet.
    Report {
        at: usize,
        code: u8,
        always: bool,
    },
}

/// What the options of a hop-by-hop or destination options header demand of a host that knows none of them (RFC 8200, section
/// 4.2). `header` is the whole header.
fn options(header: &[u8]) -> Verdict {
    /// An option of one byte, which has no length.
    const PAD1: u8 = 0;
    /// Type and length of an option come before its data.
    const OPTION_HEADER_LEN: usize = 2;
    let mut at = 2;
    while let Some(kind) = header.get(at) {
        if *kind == PAD1 {
            at += 1;
            continue;
        }
        let Some(len) = header.get(at + 1) else { return Verdict::Drop };
        let next = at + OPTION_HEADER_LEN + usize::from(*len);
        if next > header.len() {
            return Verdict::Drop;
        }
        // The two highest bits say what to do with an option that is not known.
        match kind >> 6 {
            0 => at = next,
            1 => return Verdict::Drop,
            highest => {
                return Verdict::Report { at, code: problem::UNKNOWN_OPTION, always: highest == 2 };
            }
        }
    }
    Verdict::Accept
}

/// Writes Ethernet and IPv6 header as [`IpHeader::write`] does.
pub fn write_ipv6(header: &IpHeader, mac: [u8; 6], out: &mut [u8; TRANSPORT_AT], len: usize) -> usize {
    out[6..12].copy_from_slice(&mac);
    out[12..14].copy_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
    let ip = &mut out[ETHERNET_LEN..];
    ip[..2].copy_from_slice(&(0x6000 | u16::from(header.tos) << 4).to_be_bytes());
    ip[2..4].copy_from_slice(&[0, 0]);
    ip[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    ip[6] = header.protocol;
    ip[7] = header.ttl;
    ip[8..24].copy_from_slice(&header.source.octets());
    ip[24..40].copy_from_slice(&header.destination.octets());
    0
}

/// The addresses in an IPv6 header: source and destination.
pub fn addresses(header: &[u8; IPV6_LEN]) -> (Address, Address) {
    let address = |at: usize| Address::from_octets(core::array::from_fn(|i| header[at + i]));
    (address(8), address(24))
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a packet, which starts at the IPv6 header.
    #[inline(never)]
    pub(crate) fn ipv6_input(&self, now: u64, frame: RxFrame<D::Buf>, origin: Origin) {
        let Some(h) = frame.head.bytes().first_chunk::<IPV6_LEN>() else { return };
        let total = IPV6_LEN as u32 + u32::from(u16::from_be_bytes([h[4], h[5]]));
        let (source, destination) = addresses(h);
        let mut info = IpInfo {
            source,
            destination,
            protocol: h[6],
            broadcast: destination.is_multicast(),
            link: origin.link(),
            checksum: frame.checksum,
            segment_size: frame.segment_size,
            header_len: IPV6_LEN as u16,
            ttl: h[7],
            ident: 0,
        };
        if h[0] >> 4 != 6 || !self.is_for_us(&info, origin) {
            return;
        }
        let mut payload = Payload::new(frame.head, frame.rest, total);
        if payload.len() < total {
            return self.drop_packet(Ends::of(info.source), Count::HeaderErrors);
        }
        if info.protocol != protocol::TCP && self.device.is_short() {
            return self.drop_packet(Ends::of(info.source), Count::ShortOfMemory);
        }
        payload.skip(IPV6_LEN as u32);
        if !matches!(info.protocol, protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::ICMPV6)
            && !self.extensions(now, &mut info, &mut payload)
        {
            return;
        }
        match info.protocol {
            protocol::TCP if !info.broadcast => self.tcp_input(now, &info, &mut payload),
            protocol::TCP => {}
            protocol::UDP | protocol::UDP_LITE => self.udp_input(now, &info, payload),
            _ => self.icmpv6_input(now, &info, payload),
        }
    }

    /// Whether a packet is to be taken. On a link no address is v4-mapped, and none of ours is a source. Only ICMPv6 is sent by
    /// a host without an address.
    fn is_for_us(&self, info: &IpInfo, origin: Origin) -> bool {
        let IpInfo { source, destination, .. } = *info;
        if source.is_v4() || destination.is_v4() || source.is_multicast() {
            return false;
        }
        if destination.is_multicast() && !self.is_member(destination, info.link) {
            return false;
        }
        let Origin::Wire { link_broadcast } = origin else { return true };
        let nameless = source == Address::ANY_V6 && info.protocol != protocol::ICMPV6;
        !(nameless || source.is_loopback() || self.v6.is_usable(source))
            && (info.broadcast
                || (!destination.is_loopback() && !link_broadcast && self.is_local(destination)))
    }

    /// Takes the extension headers off a packet. False if the packet is dropped, or is a fragment and not yet complete.
    #[cold]
    #[inline(never)]
    fn extensions(&self, now: u64, info: &mut IpInfo, payload: &mut Payload<D::Buf>) -> bool {
        /// Where the IPv6 header names what follows.
        const NEXT_HEADER_AT: u16 = 6;
        let mut named_at = NEXT_HEADER_AT;
        for number in 0..EXTENSIONS_MAX {
            let kind = info.protocol;
            let verdict = match kind {
                protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::ICMPV6 => return true,
                extension::NO_NEXT_HEADER => return false,
                extension::FRAGMENT => {
                    if !self.fragment(now, info, payload) {
                        return false;
                    }
                    continue;
                }
                extension::HOP_BY_HOP if number == 0 => Verdict::Accept,
                extension::ROUTING | extension::DESTINATION_OPTIONS => Verdict::Accept,
                _ if self.device.raw(now, &RawPacket { info, payload }) => return false,
                _ => Verdict::Report { at: 0, code: problem::UNKNOWN_NEXT_HEADER, always: false },
            };
            if let Verdict::Report { code, .. } = verdict {
                if !info.broadcast {
                    self.problem(now, info, payload, named_at, code);
                }
                return false;
            }
            let head = payload.head();
            let Some([next, words]) = head.first_chunk::<2>().copied() else { return false };
            let len = (usize::from(words) + 1) * 8;
            let Some(header) = head.get(..len) else { return false };
            let verdict = match kind {
                // A route of the sender's choice is not followed, and its type 0 must not be (RFC 5095).
                extension::ROUTING if header[3] != 0 => {
                    Verdict::Report { at: 2, code: problem::ERRONEOUS_HEADER, always: false }
                }
                extension::ROUTING => Verdict::Accept,
                _ => options(header),
            };
            match verdict {
                Verdict::Accept => {}
                Verdict::Report { at, code, always } if always || !info.broadcast => {
                    let at = info.header_len + at as u16;
                    self.problem(now, info, payload, at, code);
                    return false;
                }
                _ => return false,
            }
            named_at = info.header_len;
            info.protocol = next;
            info.header_len += len as u16;
            payload.skip(len as u32);
        }
        false
    }

    fn problem(&self, now: u64, info: &IpInfo, payload: &Payload<D::Buf>, at: u16, code: u8) {
        let report = Report { kind: PARAMETER_PROBLEM, code, word: at.into() };
        self.icmpv6_error(now, report, info, payload, 0);
    }

    /// Takes a fragment (RFC 8200, section 4.5). True if `payload` is the whole packet now, behind its fragment header.
    fn fragment(&self, now: u64, info: &mut IpInfo, payload: &mut Payload<D::Buf>) -> bool {
        const MORE: u16 = 1;
        const OFFSET_MASK: u16 = !7;
        let Some(header) = payload.head().first_chunk::<FRAGMENT_LEN>().copied() else { return false };
        payload.skip(FRAGMENT_LEN as u32);
        info.protocol = header[0];
        let place = u16::from_be_bytes([header[2], header[3]]);
        if place & (OFFSET_MASK | MORE) == 0 {
            // The only one: it is not kept among the others (RFC 6946).
            info.header_len += FRAGMENT_LEN as u16;
            return true;
        }
        let ident = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let offset = u32::from(place & OFFSET_MASK);
        let Some(whole) = self.reassemble(now, info, ident, offset, place & MORE != 0, payload.take()) else {
            return false;
        };
        *payload = whole;
        info.checksum = RxChecksum::Unknown;
        // The header is not in one piece with what follows, so that the packet can't be quoted.
        info.header_len = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unknown_options_are_handled_as_they_demand() {
        let with = |kind: u8| options(&[6, 0, 1, 0, kind, 2, 0, 0]);
        assert_eq!((with(0x05), with(0x45)), (Verdict::Accept, Verdict::Drop));
        let report = |always| Verdict::Report { at: 4, code: problem::UNKNOWN_OPTION, always };
        assert_eq!((with(0x85), with(0xc5)), (report(true), report(false)));
        // Padding of one byte has no length; what reaches beyond the header is dropped.
        assert_eq!(options(&[6, 0, 0, 0, 0, 0, 0, 0]), Verdict::Accept);
        assert_eq!(options(&[6, 0, 1, 5, 0, 0, 0, 0]), Verdict::Drop);
        assert_eq!(options(&[6, 0, 1, 3, 0, 0, 0, 1]), Verdict::Drop);
    }

    proptest! {
        #[test]
        fn any_options_end(header in proptest::collection::vec(any::<u8>(), 0..64)) {
            options(&header);
        }

        #[test]
        fn a_header_is_read_as_written(source: u128, destination: u128, tos: u8, ttl: u8, len in 0usize..65535) {
            let address = |bits| Address::from(core::net::Ipv6Addr::from_bits(bits));
            let header = IpHeader {
                source: address(source), destination: address(destination), protocol: 17, ttl, tos, ident: None, greatest: None
            };
            let mut out = [0; TRANSPORT_AT];
            prop_assert_eq!(write_ipv6(&header, [2; 6], &mut out, len), 0);
            let ip: &[u8; IPV6_LEN] = out[ETHERNET_LEN..].try_into().unwrap();
            prop_assert_eq!(addresses(ip), (address(source), address(destination)));
            prop_assert_eq!((ip[0], ip[1], ip[6], ip[7]), (0x60 | tos >> 4, tos << 4, 17, ttl));
            prop_assert_eq!(usize::from(u16::from_be_bytes([ip[4], ip[5]])), len);
        }
    }
}
