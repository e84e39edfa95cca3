//! Packets from the link that no host on it can have sent (RFC 1122, 3.2.1.3; RFC 1812, 5.3.7; RFC 6890), and others that
//! a host must not take.

mod common;

use common::*;
use coracle_tcpip::*;
use smoltcp::wire::{Ipv4Packet, UdpPacket};
use std::net::{Ipv4Addr, SocketAddrV4};

const PROTOCOL_UDP: u8 = 17;

/// An Ethernet frame for host 2 with an IPv4 packet in it.
fn frame(source: Ipv4Addr, to: Ipv4Addr, protocol: u8, options: &[u8], transport: &[u8]) -> Wire {
    let header_len = 20 + options.len();
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 8, 0];
    bytes.push(0x40 | (header_len / 4) as u8);
    bytes.push(0);
    bytes.extend(((header_len + transport.len()) as u16).to_be_bytes());
    bytes.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    bytes.extend(source.octets());
    bytes.extend(to.octets());
    bytes.extend(options);
    bytes.extend(transport);
    Ipv4Packet::new_unchecked(&mut bytes[14..]).fill_checksum();
    Wire { bytes, segment_size: 0, partial: false }
}

fn udp(source: Ipv4Addr, to: Ipv4Addr, options: &[u8], port: u16) -> Wire {
    let mut datagram = vec![0; 12];
    let mut packet = UdpPacket::new_unchecked(&mut datagram[..]);
    packet.set_src_port(port);
    packet.set_dst_port(port);
    packet.set_len(12);
    packet.payload_mut().copy_from_slice(b"loop");
    packet.fill_checksum(&source.into(), &to.into());
    frame(source, to, PROTOCOL_UDP, options, &datagram)
}

fn bound(stack: &TestStack, port: u16) -> Udp<TestDevice, Told> {
    let socket = stack.udp_socket(false, Told::default()).unwrap();
    stack.udp_bind(&socket, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).unwrap();
    socket
}

fn is_received(stack: &TestStack, socket: &Udp<TestDevice, Told>, wire: &Wire) -> bool {
    stack.receive(SECOND, rx(wire));
    stack.udp_recv(socket, false, |part| part.len()).is_ok()
}

fn has_sent(stack: &TestStack) -> bool {
    let sent = std::mem::take(&mut *stack.device().sent.lock().unwrap());
    !sent.is_empty()
}

#[test]
fn datagrams_of_martians_are_dropped() {
    let stack = stack(2, PLAIN, Limits::default());
    let socket = bound(&stack, 7);
    assert!(is_received(&stack, &socket, &udp(ip(1), ip(2), &[], 7)));
    has_sent(&stack);
    for source in [
        ip(2),
        ip(255),
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::new(0, 1, 2, 3),
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(240, 0, 0, 1),
        Ipv4Addr::BROADCAST,
    ] {
        assert!(!is_received(&stack, &socket, &udp(source, ip(2), &[], 7)), "{source}");
        // Nor is the sender answered: nothing is bound to this port.
        stack.receive(SECOND, rx(&udp(source, ip(2), &[], 8)));
        assert!(!has_sent(&stack), "{source}");
    }
    // A host without an address may speak to all.
    assert!(is_received(&stack, &socket, &udp(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, &[], 7)));
}

#[test]
fn a_packet_to_one_address_in_a_frame_to_all_is_dropped() {
    let stack = stack(2, PLAIN, Limits::default());
    let socket = bound(&stack, 7);
    for (to, taken) in [(ip(2), false), (ip(255), true)] {
        let mut wire = udp(ip(1), to, &[], 7);
        wire.bytes[..6].fill(0xff);
        assert_eq!(is_received(&stack, &socket, &wire), taken, "{to}");
    }
}

#[test]
fn source_routes_and_broken_options_are_dropped() {
    let stack = stack(2, PLAIN, Limits::default());
    let socket = bound(&stack, 7);
    for (options, taken) in [
        (&[1, 1, 1, 0][..], true),
        (&[0x94, 4, 0, 0], true), // router alert
        (&[1, 0x83, 7, 4, 10, 0, 0, 9], false),
        (&[0x89, 7, 4, 10, 0, 0, 9, 0], false),
        (&[0x94, 5, 0, 0], false),
        (&[0x94, 1, 0, 0], false),
        (&[1, 1, 1, 7], false),
    ] {
        assert_eq!(is_received(&stack, &socket, &udp(ip(1), ip(2), options, 7)), taken, "{options:x?}");
    }
}

#[test]
fn an_unknown_protocol_is_reported_to_its_sender() {
    let stack = stack(2, PLAIN, Limits::default());
    // ARP teaches the sender's address, so that the report can leave at once.
    let mut arp = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    stack.receive(SECOND, rx(&Wire { bytes: arp, segment_size: 0, partial: false }));
    has_sent(&stack);
    stack.receive(SECOND, rx(&frame(ip(1), ip(2), 99, &[], b"whatever")));
    let report = stack.device().sent.lock().unwrap().pop_back().unwrap();
    assert_eq!((report.bytes[23], report.bytes[34], report.bytes[35]), (1, 3, 2));
    // The quotation names the protocol.
    assert_eq!(report.bytes[34 + 8 + 9], 99);
}

#[test]
fn an_address_in_use_is_defended() {
    let stack = stack(2, PLAIN, Limits::default());
    has_sent(&stack);
    let mut probe = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    probe.extend([2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    stack.receive(SECOND, rx(&Wire { bytes: probe, segment_size: 0, partial: false }));
    let reply = stack.device().sent.lock().unwrap().pop_back().unwrap();
    assert_eq!(reply.bytes[..6], [2, 0, 0, 0, 0, 9]);
    assert_eq!(reply.bytes[20..32], [0, 2, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2]);
}

#[test]
fn what_is_dropped_is_counted() {
    let stack = stack(2, PLAIN, Limits::default());
    let counts = || {
        [Count::AddressErrors, Count::HeaderErrors, Count::UnknownFrames]
            .map(|what| stack.counters().get(what))
    };
    let good = || udp(ip(1), ip(2), &[], 7);
    stack.receive(SECOND, rx(&good()));
    assert_eq!(counts(), [0, 0, 0]);
    stack.receive(SECOND, rx(&udp(ip(1), ip(9), &[], 7)));
    assert_eq!(counts(), [1, 0, 0]);
    let mut wrong_sum = good();
    wrong_sum.bytes[14 + 10] ^= 1;
    stack.receive(SECOND, rx(&wrong_sum));
    let mut cut = good();
    cut.bytes.truncate(40);
    stack.receive(SECOND, rx(&cut));
    assert_eq!(counts(), [1, 2, 0]);
    let mut unknown = good();
    unknown.bytes[12..14].copy_from_slice(&[0x88, 0xcc]);
    stack.receive(SECOND, rx(&unknown));
    assert_eq!(counts(), [1, 2, 1]);
}
