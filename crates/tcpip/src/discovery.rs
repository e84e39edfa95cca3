//! Neighbor Discovery (RFC 4861): solicitations and advertisements of neighbours, and what routers advertise. The cache of
//! neighbours is the one of ARP ([`crate::neighbor`]); what is learnt of the link is kept by [`crate::autoconf`].
//!
//! Only a neighbour can send these messages: a router would have lowered the hop limit, so that any other than 255 is a forgery.
//! A neighbour may still lie. What it can cause to be kept is bounded, and redirects are ignored: a host may (section 8.3), and no
//! router then can send the traffic for one destination to another neighbour.

use crate::checksum::Sum;
use crate::device::{Device, TxFrame};
use crate::events::Events;
use crate::groups::ethernet_address;
use crate::icmpv6::CHECKSUM_AT;
use crate::ip::Address;
use crate::packet::{IpHeader, IpInfo, TRANSPORT_AT, protocol};
use crate::stack::Stack;

/// Types of messages.
pub mod message {
    pub const MLD_QUERY: u8 = 130;
    pub const FIRST: u8 = ROUTER_SOLICITATION;
    pub const ROUTER_SOLICITATION: u8 = 133;
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    pub const LAST: u8 = NEIGHBOR_ADVERTISEMENT;
}

/// Types of options (RFC 4861, section 4.6; RFC 8106).
pub mod option {
    pub const SOURCE_LINK_ADDRESS: u8 = 1;
    pub const TARGET_LINK_ADDRESS: u8 = 2;
    pub const PREFIX: u8 = 3;
    pub const MTU: u8 = 5;
    pub const DNS_SERVERS: u8 = 25;
}

/// Hop limit of these messages.
const HOP_LIMIT: u8 = 255;
/// The message up to its options: type, code, checksum, flags, target.
const TARGET_AT: usize = 8;
const OPTIONS_AT: usize = TARGET_AT + 16;
/// An option with an Ethernet address.
const LINK_OPTION_LEN: usize = 8;
/// The longest message that is sent.
const MESSAGE_MAX: usize = OPTIONS_AT + LINK_OPTION_LEN;
/// Flags of an advertisement: solicited, override.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// The options of a message. `None`: one has no length or reaches beyond the end, and the message is to be dropped.
pub fn options(mut bytes: &[u8]) -> Option<impl Iterator<Item = (u8, &[u8])> + Clone> {
    let all = bytes;
    let split = |bytes: &[u8]| -> Option<usize> {
        let len = usize::from(*bytes.get(1)?) * 8;
        (len > 0 && len <= bytes.len()).then_some(len)
    };
    while !bytes.is_empty() {
        bytes = &bytes[split(bytes)?..];
    }
    let mut rest = all;
    Some(core::iter::from_fn(move || {
        let (option, behind) = rest.split_at_checked(split(rest)?)?;
        rest = behind;
        Some((option[0], option))
    }))
}

/// The Ethernet address of one host in an option of this kind.
fn link_address<'a>(mut options: impl Iterator<Item = (u8, &'a [u8])>, kind: u8) -> Option<[u8; 6]> {
    let (_, option) = options.find(|(found, _)| *found == kind)?;
    option[2..].first_chunk::<6>().copied().filter(|mac| mac[0] & 1 == 0)
}

/// The group in which a host with this address is asked for (RFC 4291, section 2.7.1).
pub fn solicited_node(address: Address) -> Address {
    let [.., a, b, c] = address.octets();
    let mut group = [0; 16];
    group[..2].copy_from_slice(&[0xff, 2]);
    group[11..].copy_from_slice(&[1, 0xff, a, b, c]);
    Address::from_octets(group)
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a message of Neighbor Discovery whose checksum holds.
    #[inline(never)]
    pub(crate) fn discovery_input(&self, now: u64, info: &IpInfo, kind: u8, bytes: &[u8]) {
        if info.ttl != HOP_LIMIT || info.link != crate::Link::Wire {
            return;
        }
        if kind == message::ROUTER_ADVERTISEMENT {
            return self.router_advertised(now, info, bytes);
        }
        let Some((head, rest)) = bytes.split_first_chunk::<OPTIONS_AT>() else { return };
        let Some(options) = options(rest) else { return };
        let target = Address::from_octets(core::array::from_fn(|i| head[TARGET_AT + i]));
        match kind {
            message::NEIGHBOR_SOLICITATION => {
                let mac = link_address(options, option::SOURCE_LINK_ADDRESS);
                self.solicited(now, info, target, mac);
            }
            message::NEIGHBOR_ADVERTISEMENT if !target.is_multicast() && !target.is_v4() => {
                if self.v6.has(target) {
                    // Another host has our address. One that is in use is kept, as by Linux.
                    return self.v6.taken(target);
                }
                let Some(mac) = link_address(options, option::TARGET_LINK_ADDRESS) else { return };
                let is_answer = head[4] & SOLICITED != 0 && !info.broadcast;
                let waiting = self.learn(now, target, mac, false, is_answer && head[4] & OVERRIDE != 0);
                self.transmit_waiting(waiting, mac);
            }
            _ => {}
        }
    }

    /// A neighbour asks for `target`, or for a host that has that address already (RFC 4862, section 5.4.3).
    fn solicited(&self, now: u64, info: &IpInfo, target: Address, mac: Option<[u8; 6]>) {
        let nameless = info.source.is_unspecified();
        if !self.v6.has(target) || (nameless && (mac.is_some() || !info.broadcast)) {
            return;
        }
        if !self.v6.is_usable(target) {
            if nameless {
                self.v6.taken(target);
            }
            return;
        }
        let flags = if nameless { OVERRIDE } else { SOLICITED | OVERRIDE };
        let to = if nameless { Address::ALL_NODES } else { info.source };
        if let (false, Some(mac)) = (nameless, mac) {
            let waiting = self.learn(now, to, mac, true, false);
            self.transmit_waiting(waiting, mac);
        }
        let to_mac = match (nameless, mac) {
            (true, _) => Some(ethernet_address(to)),
            // It may leave its address out if it asks us alone, and knows ours.
            (false, mac) => mac.or_else(|| self.resolve(now, to).map(|resolved| resolved.mac)),
        };
        let Some(to_mac) = to_mac else { return };
        let head = [message::NEIGHBOR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
        self.send_discovery(target, to, to_mac, head, Some((target, option::TARGET_LINK_ADDRESS)));
    }

    /// Asks for a neighbour: itself if its Ethernet address is known, else all that may have the address.
    pub(crate) fn solicit_v6(&self, target: Address, known: Option<[u8; 6]>) {
        let Some(source) = self.v6.source_for(target) else { return };
        let to = if known.is_some() { target } else { solicited_node(target) };
        let mac = known.unwrap_or_else(|| ethernet_address(to));
        let head = [message::NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        self.send_discovery(source, to, mac, head, Some((target, option::SOURCE_LINK_ADDRESS)));
    }

    /// Asks whether another host has `target`, before it is used (RFC 4862, section 5.4.2).
    pub(crate) fn probe_address(&self, target: Address) {
        let to = solicited_node(target);
        let head = [message::NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        self.send_discovery(Address::ANY_V6, to, ethernet_address(to), head, Some((target, 0)));
    }

    /// Asks the routers to advertise themselves (section 6.3.7).
    pub(crate) fn solicit_routers(&self) {
        let source = self.v6.source_for(Address::ALL_ROUTERS).unwrap_or(Address::ANY_V6);
        let to = Address::ALL_ROUTERS;
        let head = [message::ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        self.send_discovery(source, to, ethernet_address(to), head, None);
    }

    /// Sends a message: `head`, and a target with the kind of the option that has our Ethernet address (0: none).
    fn send_discovery(
        &self,
        source: Address,
        destination: Address,
        to: [u8; 6],
        head: [u8; TARGET_AT],
        target: Option<(Address, u8)>,
    ) {
        let mut message = [0; MESSAGE_MAX];
        message[..TARGET_AT].copy_from_slice(&head);
        let mut len = TARGET_AT;
        let mut kind = 0;
        if let Some((target, option)) = target {
            message[TARGET_AT..OPTIONS_AT].copy_from_slice(&target.octets());
            (len, kind) = (OPTIONS_AT, option);
        } else if !source.is_unspecified() {
            kind = option::SOURCE_LINK_ADDRESS;
        }
        if kind != 0 {
            message[len..len + 2].copy_from_slice(&[kind, 1]);
            message[len + 2..len + LINK_OPTION_LEN].copy_from_slice(&self.mac);
            len += LINK_OPTION_LEN;
        }
        let ip = IpHeader {
            source,
            destination,
            protocol: protocol::ICMPV6,
            ttl: HOP_LIMIT,
            tos: 0,
            ident: None,
            greatest: None,
        };
        self.send_icmpv6_frame(ip, to, &[], &mut message[..len]);
    }

    /// Sends one frame with a message of ICMPv6 behind the extension header `extension`. If the device is full it is lost: all
    /// these are repeated.
    pub(crate) fn send_icmpv6_frame(&self, ip: IpHeader, to: [u8; 6], extension: &[u8], message: &mut [u8]) {
        let sum = Sum::EMPTY.pseudo_header(ip.source, ip.destination, protocol::ICMPV6, message.len());
        let sum = sum.bytes(message).finish();
        message[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&sum);
        let mut headers: heapless::Vec<u8, { TRANSPORT_AT + MESSAGE_MAX + LINK_OPTION_LEN }> =
            heapless::Vec::new();
        let mut link = [0; TRANSPORT_AT];
        ip.write(self.mac, &mut link, extension.len() + message.len());
        link[..6].copy_from_slice(&to);
        for part in [&link[..], extension, message] {
            if headers.extend_from_slice(part).is_err() {
                return;
            }
        }
        let frame = TxFrame { headers: &headers, payload: &[], checksum: None, segment_size: None };
        self.transmit_or_drop(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn ip(text: &str) -> Address {
        text.parse::<core::net::Ipv6Addr>().unwrap().into()
    }

    #[test]
    fn groups_of_solicited_nodes() {
        // The example of RFC 4291, section 2.7.1.
        assert_eq!(solicited_node(ip("4037::1:800:200e:8c6c")), ip("ff02::1:ff0e:8c6c"));
    }

    #[test]
    fn options_that_do_not_fit_spoil_the_message() {
        let link = [1, 1, 2, 0, 0, 0, 0, 1];
        let read = |bytes: &[u8]| options(bytes).map(|all| all.map(|(kind, _)| kind).collect::<Vec<_>>());
        assert_eq!(read(&[]), Some(Vec::new()));
        assert_eq!(read(&link), Some(std::vec![1]));
        assert_eq!(read(&[link, [99, 1, 0, 0, 0, 0, 0, 0]].concat()), Some(std::vec![1, 99]));
        assert_eq!(read(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(read(&[1, 2, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(read(&[1]), None);
        assert_eq!(link_address(options(&link).unwrap(), 1), Some([2, 0, 0, 0, 0, 1]));
        // The address of several hosts is that of none.
        assert_eq!(link_address(options(&[1, 1, 3, 0, 0, 0, 0, 1]).unwrap(), 1), None);
    }

    proptest! {
        #[test]
        fn any_options_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(all) = options(&bytes) {
                prop_assert_eq!(all.map(|(_, option)| option.len()).sum::<usize>(), bytes.len());
            }
        }
    }
}
