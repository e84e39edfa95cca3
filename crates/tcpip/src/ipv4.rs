//! IPv4 (RFC 791): checks packets that arrive and passes them on; writes the headers of packets that leave.

use crate::address::{LOOPBACK_BROADCAST, is_loopback, is_multicast};
use crate::checksum::Sum;
use crate::counters::Count;
use crate::device::{Device, RxChecksum, RxFrame};
use crate::events::{Ends, Events};
use crate::ip::Address;
use crate::ipv6::ETHERTYPE_IPV6;
use crate::neighbor::ETHERNET_LEN;
use crate::packet::{IPV4_START, IpHeader, IpInfo, Origin, TRANSPORT_AT, protocol};
use crate::payload::Payload;
use crate::stack::Stack;

/// Length of a header without options.
pub const IPV4_LEN: usize = 20;
/// Ethernet type of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethernet type of ARP.
const ETHERTYPE_ARP: u16 = 0x0806;
/// "Don't fragment" in the flags and offset field.
pub const DONT_FRAGMENT: u16 = 0x4000;
pub const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Option kinds (RFC 791, 3.1).
mod option {
    pub const END: u8 = 0;
    pub const NO_OPERATION: u8 = 1;
    pub const LOOSE_SOURCE_ROUTE: u8 = 0x83;
    pub const STRICT_SOURCE_ROUTE: u8 = 0x89;
}
/// Kind and length of an option; the length counts them.
const OPTION_HEADER_LEN: u8 = 2;

/// Whether the options of a header may be ignored: each has a length that fits, and none requests a route of the sender's
/// choice. A source route lets a stranger receive the answers to a forged sender, so hosts discard it by default (RFC 7126,
/// 4.3 and 4.4; Linux: `accept_source_route`).
fn options_are_harmless(mut options: &[u8]) -> bool {
    loop {
        match options {
            [] | [option::END, ..] => return true,
            [option::NO_OPERATION, rest @ ..] => options = rest,
            [option::LOOSE_SOURCE_ROUTE | option::STRICT_SOURCE_ROUTE, ..] => return false,
            [_, len, ..] if *len >= OPTION_HEADER_LEN => match options.get(usize::from(*len)..) {
                Some(rest) => options = rest,
                None => return false,
            },
            _ => return false,
        }
    }
}

/// Writes Ethernet and IPv4 header as [`IpHeader::write`] does, with this field for flags and offset of a fragment.
pub fn write_ipv4(
    header: &IpHeader,
    mac: [u8; 6],
    out: &mut [u8; TRANSPORT_AT],
    len: usize,
    fragment: u16,
) -> usize {
    let out = &mut out[IPV4_START..];
    out[6..12].copy_from_slice(&mac);
    out[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
    let ip = &mut out[ETHERNET_LEN..];
    let address = |address: Address| address.as_v4().unwrap_or(0).to_be_bytes();
    ip[0] = 0x45;
    ip[1] = header.tos;
    ip[2..4].copy_from_slice(&((IPV4_LEN + len) as u16).to_be_bytes());
    ip[4..6].copy_from_slice(&header.ident.unwrap_or(0).to_be_bytes());
    ip[6..8].copy_from_slice(&fragment.to_be_bytes());
    ip[8] = header.ttl;
    ip[9] = header.protocol;
    ip[10..12].copy_from_slice(&[0, 0]);
    ip[12..16].copy_from_slice(&address(header.source));
    ip[16..20].copy_from_slice(&address(header.destination));
    let sum = Sum::default().bytes(ip).finish();
    ip[10..12].copy_from_slice(&sum);
    IPV4_START
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a frame of any kind.
    #[inline(never)]
    pub(crate) fn receive_any(&self, now: u64, mut frame: RxFrame<D::Buf>) {
        self.counters.add(Count::GeneralIn);
        let Some(header) = frame.head.bytes().first_chunk::<ETHERNET_LEN>() else { return };
        // An Ethernet address with the lowest bit set is for several.
        let link_broadcast = header[0] & 1 != 0;
        if !link_broadcast && header[..6] != self.mac {
            return;
        }
        match u16::from_be_bytes([header[12], header[13]]) {
            ETHERTYPE_IPV4 => {
                frame.head.skip(ETHERNET_LEN);
                self.ipv4_input(now, frame, Origin::Wire { link_broadcast });
                self.loopback_run(now);
            }
            ETHERTYPE_IPV6 => {
                frame.head.skip(ETHERNET_LEN);
                self.ipv6_input(now, frame, Origin::Wire { link_broadcast });
                self.loopback_run(now);
            }
            ETHERTYPE_ARP => self.arp_input(now, &frame.head.bytes()[ETHERNET_LEN..]),
            _ => self.counters.add(Count::UnknownFrames),
        }
    }

    /// Takes a packet, which starts at the IPv4 header.
    #[inline(never)]
    pub(crate) fn ipv4_input(&self, now: u64, frame: RxFrame<D::Buf>, origin: Origin) {
        let bytes = frame.head.bytes();
        let Some(h) = bytes.first_chunk::<IPV4_LEN>() else { return };
        let header_len = usize::from(h[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([h[2], h[3]]));
        if h[0] >> 4 != 4 || header_len < IPV4_LEN || total < header_len || header_len > bytes.len() {
            return self.counters.add(Count::HeaderErrors);
        }
        let source = u32::from_be_bytes([h[12], h[13], h[14], h[15]]);
        let destination = u32::from_be_bytes([h[16], h[17], h[18], h[19]]);
        let mut info = IpInfo {
            source: Address::v4(source),
            destination: Address::v4(destination),
            protocol: h[9],
            broadcast: false,
            link: origin.link(),
            checksum: frame.checksum,
            segment_size: frame.segment_size,
            header_len: header_len as u16,
            ttl: h[8],
            ident: u16::from_be_bytes([h[4], h[5]]),
        };
        if let Origin::Wire { .. } | Origin::Tunnel(_) = origin {
            let options = &bytes[IPV4_LEN..header_len];
            let sum = if options.is_empty() {
                Sum::EMPTY.header(h)
            } else {
                Sum::EMPTY.bytes(&bytes[..header_len])
            };
            if !sum.is_valid() || !options_are_harmless(options) {
                return self.drop_packet(Ends::of(info.source), Count::HeaderErrors);
            }
            if self.addresses.is_martian(source, destination) {
                return self.drop_packet(Ends::of(info.source), Count::AddressErrors);
            }
            if !is_loopback(destination) && self.addresses.is_local(destination) {
                // To all on the link, but to one address: RFC 1122, 3.3.6.
                if origin == (Origin::Wire { link_broadcast: true }) {
                    return;
                }
            } else {
                if is_loopback(destination)
                    || (!self.addresses.is_broadcast(destination)
                        && !self.is_member(info.destination, info.link)
                        && !self.dhcp_wants(&info))
                {
                    return self.drop_packet(Ends::of(info.source), Count::AddressErrors);
                }
                info.broadcast = true;
            }
        } else if origin == Origin::Looped || is_multicast(destination) || destination == LOOPBACK_BROADCAST {
            if is_multicast(destination) && !self.is_member(info.destination, info.link) {
                return;
            }
            info.broadcast = true;
        }
        let fragment = u16::from_be_bytes([h[6], h[7]]);
        let mut payload = Payload::new(frame.head, frame.rest, total as u32);
        if (payload.len() as usize) < total {
            return self.drop_packet(Ends::of(info.source), Count::HeaderErrors);
        }
        payload.skip(header_len as u32);
        let is_fragment = fragment & (MORE_FRAGMENTS | OFFSET_MASK) != 0;
        if (is_fragment || info.protocol != protocol::TCP) && self.device.is_short() {
            return self.drop_packet(Ends::of(info.source), Count::ShortOfMemory);
        }
        if is_fragment {
            let offset = u32::from(fragment & OFFSET_MASK) * 8;
            let ident = info.ident.into();
            let whole = self.reassemble(now, &info, ident, offset, fragment & MORE_FRAGMENTS != 0, payload);
            let Some(whole) = whole else { return };
            payload = whole;
            info.checksum = RxChecksum::Unknown;
        }
        match info.protocol {
            protocol::TCP if !info.broadcast => self.tcp_input(now, &info, &mut payload),
            protocol::TCP => {}
            protocol::UDP | protocol::UDP_LITE => self.udp_input(now, &info, payload),
            protocol::ICMP => self.icmp_input(now, &info, payload),
            _ => self.protocol_unreachable(now, &info, &payload),
        }
    }
}
