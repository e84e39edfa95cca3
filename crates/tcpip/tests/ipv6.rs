//! IPv6: streams and datagrams over it, sockets of both families, addresses by probing and by routers, and what hostile neighbours
//! send.

mod common;

use common::*;
use coracle_tcpip::*;
use proptest::prelude::*;
use std::net::Ipv6Addr;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;
const HOP_BY_HOP: u8 = 0;
const DESTINATION_OPTIONS: u8 = 60;
const ECHO_REQUEST: u8 = 128;
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, 0);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Types of messages.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

fn sum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum: u32 =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A frame for host `to` (or a group).
fn frame(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, next: u8, payload: &[u8]) -> Wire {
    let octets = destination.octets();
    let mac = match destination.is_multicast() {
        true => [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]],
        false => [2, 0, 0, 0, 0, 2],
    };
    let mut bytes = mac.to_vec();
    bytes.extend([2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0]);
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, hop_limit]);
    bytes.extend(source.octets());
    bytes.extend(octets);
    bytes.extend(payload);
    Wire { bytes, segment_size: 0, partial: false }
}

/// The transport's bytes with their checksum, which is at `at`.
fn summed(source: Ipv6Addr, destination: Ipv6Addr, next: u8, mut payload: Vec<u8>, at: usize) -> Vec<u8> {
    payload[at..at + 2].fill(0);
    let len = (payload.len() as u32).to_be_bytes();
    let sum = sum(&[&source.octets(), &destination.octets(), &len, &[0, 0, 0, next], &payload]);
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    payload
}

fn icmp(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: Vec<u8>) -> Wire {
    frame(source, destination, hop_limit, ICMPV6, &summed(source, destination, ICMPV6, message, 2))
}

fn datagram(source: Ipv6Addr, destination: Ipv6Addr, port: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = [1000u16, port, 8 + data.len() as u16, 0].map(u16::to_be_bytes).concat();
    bytes.extend(data);
    summed(source, destination, UDP, bytes, 6)
}

/// One option of a message of Neighbor Discovery.
fn option(kind: u8, data: &[u8]) -> Vec<u8> {
    [&[kind, (data.len() as u8 + 2) / 8][..], data].concat()
}

fn prefix_option(prefix: Ipv6Addr, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let data = [&[64, flags][..], &valid.to_be_bytes(), &preferred.to_be_bytes(), &[0; 4], &prefix.octets()];
    option(3, &data.concat())
}

fn advertisement(lifetime: u16, options: &[Vec<u8>]) -> Wire {
    let mut message = vec![134, 0, 0, 0, 33, 0];
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 8]);
    message.extend(options.concat());
    icmp(ROUTER, ALL_NODES, 255, message)
}

fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Wire {
    let message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), options].concat();
    icmp(source, destination, 255, message)
}

/// Host 2 alone, with an address of the link that is in use.
fn host() -> (TestStack, u64) {
    let host = stack(2, PLAIN, Limits::default());
    host.start_ipv6(0, None);
    host.poll(2 * SECOND);
    host.device().sent.lock().unwrap().clear();
    (host, 2 * SECOND)
}

/// The packets of IPv6 that were sent: next header and all that follows the header.
fn sent(host: &TestStack) -> Vec<(u8, Vec<u8>)> {
    let frames = std::mem::take(&mut *host.device().sent.lock().unwrap());
    let frames = frames.into_iter().filter(|wire| wire.bytes[12..14] == [0x86, 0xdd]);
    frames.map(|wire| (wire.bytes[20], wire.bytes[54..].to_vec())).collect()
}

/// The types of ICMPv6 that were sent.
fn types(host: &TestStack) -> Vec<u8> {
    sent(host).iter().filter(|(next, _)| *next == ICMPV6).map(|(_, bytes)| bytes[0]).collect()
}

fn usable(host: &TestStack) -> Vec<Ipv6Addr> {
    let own = host.ipv6_addresses();
    own.iter().filter(|own| own.probe == Ipv6Probe::Unique).map(|own| own.address.to_ipv6()).collect()
}

fn neighbour(host: &TestStack, now: u64) {
    let link = option(1, &[2, 0, 0, 0, 0, 9]);
    host.receive(now, rx(&solicitation(ROUTER, ip6(2), ip6(2), &link)));
    assert_eq!(types(host), [ADVERTISEMENT]);
}

fn socket(host: &TestStack, family: Family, port: u16) -> Udp<TestDevice, Told> {
    let socket = host.udp_socket(false, Told::default()).unwrap();
    socket.set_options(|options| options.family = family);
    host.udp_bind(&socket, Endpoint::new(family.any(), port)).unwrap();
    socket
}

fn received(host: &TestStack, socket: &Udp<TestDevice, Told>) -> Option<(Endpoint, Vec<u8>)> {
    let mut bytes = Vec::new();
    let take = |part: &[u8]| {
        bytes.extend_from_slice(part);
        part.len()
    };
    let datagram = host.udp_recv(socket, false, take).ok()??;
    Some((datagram.from, bytes))
}

fn send(
    host: &TestStack,
    now: u64,
    socket: &Udp<TestDevice, Told>,
    to: Endpoint,
    bytes: &[u8],
) -> Result<usize> {
    let mut done = 0;
    host.udp_send(socket, now, Way { to: Some(to), ..Way::default() }, bytes.len(), |room| {
        room.copy_from_slice(&bytes[done..done + room.len()]);
        done += room.len();
        room.len()
    })
}

#[test]
fn streams_arrive_whole() {
    for seed in 1..8 {
        let capabilities = if seed % 2 == 0 { PLAIN } else { OFFLOAD };
        let weather = Weather { delay: 2 * MS, jitter: MS, lose: 20, repeat: 20, corrupt: 20, low: 0 };
        transfer(&mut Net::over_ipv6(seed, capabilities, weather), 300_000);
    }
    transfer(&mut Net::over_ipv6(1, OFFLOAD, Weather::default()), 1_000_000);
}

#[test]
fn a_host_reaches_itself() {
    let host = stack(2, PLAIN, Limits::default());
    let listener = host.tcp_socket(Told::default()).unwrap();
    host.tcp_set_options(&listener, 0, |options| options.family = Family::V6);
    host.tcp_bind(&listener, Endpoint::new(Address::ANY_V6, 80)).unwrap();
    host.tcp_listen(&listener, 0, 5).unwrap();
    let client = host.tcp_socket(Told::default()).unwrap();
    host.tcp_connect(&client, 0, Endpoint::new(Address::LOCALHOST_V6, 80)).unwrap();
    let server = host.tcp_accept(&listener, 0, Told::default).unwrap();
    assert_eq!((client.local(), client.peer()), (server.peer().unwrap(), Some(server.local())));
    assert_eq!(client.local().address, Address::LOCALHOST_V6);
    // Without a link there is nothing else.
    let other = host.tcp_socket(Told::default()).unwrap();
    assert_eq!(host.tcp_connect(&other, 0, at6(1, 80)), Err(Error::NetworkUnreachable));
}

#[test]
fn datagrams_of_all_sizes() {
    for capabilities in [PLAIN, OFFLOAD] {
        let mut net = Net::over_ipv6(1, capabilities, Weather::default());
        let there = socket(&net.hosts[1], Family::V6, 53);
        let here = socket(&net.hosts[0], Family::V6, 0);
        for len in [0, 1, 1452, 1453, 1460, 2000, 9000, 65_507, 65_527] {
            let bytes: Vec<u8> = (0..len).map(|i| byte(3, i)).collect();
            assert_eq!(send(&net.hosts[0], net.now, &here, at6(2, 53), &bytes), Ok(len));
            net.run(SECOND);
            let (from, got) =
                received(&net.hosts[1], &there).unwrap_or_else(|| panic!("{len} bytes are lost"));
            assert_eq!((from, got == bytes), (at6(1, here.local().port), true), "{len}");
        }
        assert_eq!(send(&net.hosts[0], net.now, &here, at6(2, 53), &[0; 65_528]), Err(Error::MessageTooLong));
    }
}

#[test]
fn a_socket_may_have_both_families() {
    let mut net = Net::over_ipv6(1, PLAIN, Weather::default());
    let (client, server, listener) = net.connect(80);
    assert_eq!(server.peer(), Some(at6(1, client.local().port)));
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    net.hosts[0].tcp_connect(&client, net.now, at(2, 80)).unwrap();
    net.run(SECOND);
    let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).unwrap();
    assert_eq!(server.peer(), Some(at(1, client.local().port)));
    // Its port is taken in both; one of IPv6 alone leaves that of IPv4 to others.
    let v4 = net.hosts[1].tcp_socket(Told::default()).unwrap();
    assert_eq!(net.hosts[1].tcp_bind(&v4, Endpoint::new(Address::ANY_V4, 80)), Err(Error::AddressInUse));
    let only = socket(&net.hosts[1], Family::V6, 90);
    let v4 = socket(&net.hosts[1], Family::V4, 90);
    let sender = socket(&net.hosts[0], Family::Dual, 0);
    for (to, wants, other) in [(at(2, 90), &v4, &only), (at6(2, 90), &only, &v4)] {
        send(&net.hosts[0], net.now, &sender, to, b"x").unwrap();
        net.run(SECOND);
        assert!(
            received(&net.hosts[1], wants).is_some() && received(&net.hosts[1], other).is_none(),
            "{to:?}"
        );
    }
}

#[test]
fn an_address_of_another_host_is_not_used() {
    let host = stack(2, PLAIN, Limits::default());
    host.start_ipv6(0, None);
    assert!(usable(&host).is_empty() && host.ipv6_is_starting());
    // Another that probes the same address, or has it (RFC 4862, section 5.4.3 and 5.4.4).
    let group: Ipv6Addr = "ff02::1:ff00:2".parse().unwrap();
    host.receive(MS, rx(&solicitation(Ipv6Addr::UNSPECIFIED, group, ip6(2), &[])));
    host.poll(5 * SECOND);
    assert!(usable(&host).is_empty() && !host.ipv6_is_starting());
    assert!(!types(&host).contains(&ADVERTISEMENT));

    let host = stack(2, PLAIN, Limits::default());
    host.start_ipv6(0, None);
    let message =
        [&[ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0][..], &ip6(2).octets(), &option(2, &[2, 0, 0, 0, 0, 9])];
    host.receive(MS, rx(&icmp(ip6(2), ALL_NODES, 255, message.concat())));
    host.poll(5 * SECOND);
    assert!(usable(&host).is_empty());

    // One that is in use is defended.
    let (host, now) = self::host();
    assert_eq!(usable(&host), [ip6(2)]);
    host.receive(now, rx(&solicitation(Ipv6Addr::UNSPECIFIED, group, ip6(2), &[])));
    assert_eq!((types(&host), usable(&host)), (vec![ADVERTISEMENT], vec![ip6(2)]));
    // An address that asks for us is that of one host, and a probe names none.
    host.receive(now, rx(&solicitation(ROUTER, group, ip6(3), &[])));
    host.receive(
        now,
        rx(&solicitation(Ipv6Addr::UNSPECIFIED, group, ip6(2), &option(1, &[2, 0, 0, 0, 0, 9]))),
    );
    assert_eq!(types(&host), []);
}

#[test]
fn routers_give_addresses_routes_and_servers() {
    let (host, mut now) = host();
    let server: Ipv6Addr = "2001:db8::53".parse().unwrap();
    let servers = [&[0; 2][..], &100u32.to_be_bytes(), &server.octets()].concat();
    let mine: Ipv6Addr = "2001:db8:1:2:0:ff:fe00:2".parse().unwrap();
    let all = [
        option(1, &[2, 0, 0, 0, 0, 9]),
        prefix_option(PREFIX, 0xc0, 20_000, 10_000),
        option(5, &[0, 0, 0, 0, 5, 0xdc]),
        option(25, &servers),
    ];
    host.receive(now, rx(&advertisement(1800, &all)));
    assert_eq!(usable(&host), [ip6(2)]);
    now += 2 * SECOND;
    host.poll(now);
    assert_eq!(usable(&host), [ip6(2), mine]);
    assert_eq!(host.ipv6_name_servers()[..], [server]);
    let (prefixes, routers) = host.ipv6_routes();
    assert_eq!((&prefixes[..], &routers[..]), (&[(PREFIX, 64)][..], &[ROUTER][..]));
    sent(&host);

    // What is beyond the prefix goes to the router, from the address of that scope, with the hop limit that it advises.
    let socket = socket(&host, Family::V6, 0);
    let far: Ipv6Addr = "2001:db8:9::1".parse().unwrap();
    send(&host, now, &socket, Endpoint::new(far.into(), 53), b"?").unwrap();
    let wire = host.device().sent.lock().unwrap().pop_front().unwrap();
    assert_eq!(wire.bytes[..6], [2, 0, 0, 0, 0, 9]);
    assert_eq!((wire.bytes[21], &wire.bytes[22..38]), (33, &mine.octets()[..]));

    // It ends as advertised: server, then router, then address.
    host.poll(now + 200 * SECOND);
    assert!(host.ipv6_name_servers().is_empty());
    host.poll(now + 1900 * SECOND);
    assert!(host.ipv6_routes().1.is_empty());
    let sent = send(&host, now + 1900 * SECOND, &socket, Endpoint::new(far.into(), 53), b"?");
    assert_eq!(sent, Err(Error::NetworkUnreachable));
    host.poll(now + 30_000 * SECOND);
    assert_eq!((usable(&host), host.next_deadline()), (vec![ip6(2)], None));
}

#[test]
fn what_is_no_advertisement_of_a_neighbour_is_ignored() {
    let (host, now) = host();
    let good = advertisement(1800, &[prefix_option(PREFIX, 0xc0, 20_000, 10_000)]);
    let mut routed = good.clone();
    routed.bytes[21] = 254;
    let mut damaged = good.clone();
    damaged.bytes[60] ^= 1;
    let message = |source| icmp(source, ALL_NODES, 255, [&[134, 0, 0, 0, 33, 0, 7, 8][..], &[0; 8]].concat());
    let endless = advertisement(1800, &[vec![3, 0, 0, 0, 0, 0, 0, 0]]);
    for wire in [routed, damaged, message("2001:db8::9".parse().unwrap()), endless] {
        host.receive(now, rx(&wire));
    }
    let link_local = prefix_option("fe80::".parse().unwrap(), 0xc0, 20_000, 10_000);
    let reversed = prefix_option(PREFIX, 0xc0, 10_000, 20_000);
    host.receive(now, rx(&advertisement(0, &[link_local, reversed])));
    host.poll(now + 5 * SECOND);
    let (prefixes, routers) = host.ipv6_routes();
    assert_eq!((usable(&host), prefixes.len(), routers.len()), (vec![ip6(2)], 0, 0));
    // An advertisement by anyone can't end an address at once (RFC 4862, section 5.5.3 (e)).
    host.receive(now, rx(&good));
    host.poll(now + 2 * SECOND);
    host.receive(now + 2 * SECOND, rx(&advertisement(1800, &[prefix_option(PREFIX, 0xc0, 0, 0)])));
    host.poll(now + 7000 * SECOND);
    assert_eq!(usable(&host).len(), 2);
    host.poll(now + 8000 * SECOND);
    assert_eq!(usable(&host).len(), 1);
}

#[test]
fn a_hostile_link_fills_nothing() {
    let (host, now) = host();
    for number in 0..5000u16 {
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 0);
        let servers = [&[0; 2][..], &100u32.to_be_bytes(), &prefix.octets()].concat();
        let wire = advertisement(1800, &[prefix_option(prefix, 0xc0, 20_000, 10_000), option(25, &servers)]);
        host.receive(now, rx(&wire));
        let stranger = Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 0, 0, number);
        let link = option(1, &[2, 0, 0, 1, 0, 9]);
        host.receive(now, rx(&solicitation(stranger, ip6(2), ip6(2), &link)));
        let part = [&[UDP, 0, 0, 1][..], &u32::from(number).to_be_bytes(), &[0; 64]].concat();
        host.receive(now, rx(&frame(stranger, ip6(2), 64, FRAGMENT, &part)));
        let big =
            [&[2, 0, 0, 0, 0, 0, 5, 0][..], &frame(ip6(2), stranger, 64, UDP, &[0; 8]).bytes[14..]].concat();
        host.receive(now, rx(&icmp(stranger, ip6(2), 64, big)));
    }
    host.poll(now + 2 * SECOND);
    let (prefixes, routers) = host.ipv6_routes();
    assert!(usable(&host).len() <= 8 && prefixes.len() <= 8 && routers.len() == 1);
    assert!(host.ipv6_name_servers().len() <= 3);
    // The host still speaks.
    sent(&host);
    neighbour(&host, now + 3 * SECOND);
}

#[test]
fn echo_and_errors() {
    let (host, now) = host();
    neighbour(&host, now);
    let echo = [&[ECHO_REQUEST, 0, 0, 0, 1, 2, 3, 4][..], b"hello, who is there?"].concat();
    host.receive(now, rx(&icmp(ROUTER, ip6(2), 64, echo.clone())));
    let replies = sent(&host);
    assert_eq!((replies.len(), replies[0].1[0]), (1, 129));
    assert_eq!(replies[0].1[4..], echo[4..]);
    assert_eq!(sum(&[&ip6(2).octets(), &ROUTER.octets(), &[0, 0, 0, 28, 0, 0, 0, 58], &replies[0].1]), 0);

    // The whole datagram is quoted, but for what exceeds the least MTU.
    for len in [3, 1300] {
        let datagram = datagram(ROUTER, ip6(2), 7, &vec![5; len]);
        let packet = frame(ROUTER, ip6(2), 64, UDP, &datagram);
        host.receive(now, rx(&packet));
        let errors = sent(&host);
        assert_eq!((errors.len(), &errors[0].1[..2]), (1, &[1, 4][..]));
        let quoted = packet.bytes[14..].len().min(1280 - 48);
        assert_eq!(errors[0].1[8..], packet.bytes[14..14 + quoted]);
    }
    // Without a checksum there is no datagram of IPv6.
    let mut bare = datagram(ROUTER, ip6(2), 7, b"x");
    bare[6..8].fill(0);
    host.receive(now, rx(&frame(ROUTER, ip6(2), 64, UDP, &bare)));
    assert_eq!(types(&host), []);
}

#[test]
fn extension_headers() {
    let (host, now) = host();
    neighbour(&host, now);
    let socket = socket(&host, Family::V6, 53);
    let data = datagram(ROUTER, ip6(2), 53, b"data");
    let with = |kind: u8, header: &[u8]| frame(ROUTER, ip6(2), 64, kind, &[header, &data].concat());
    let reason = |wire: &Wire| {
        host.receive(now, rx(wire));
        let came = received(&host, &socket).is_some();
        (came, sent(&host).first().map(|(_, bytes)| (bytes[0], bytes[1], bytes[7])))
    };
    let padding = [UDP, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(reason(&with(HOP_BY_HOP, &padding)), (true, None));
    assert_eq!(reason(&with(DESTINATION_OPTIONS, &padding)), (true, None));
    let both = [[DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0], padding].concat();
    assert_eq!(reason(&with(HOP_BY_HOP, &both)), (true, None));
    // An atomic fragment, and a routing header with nothing left.
    assert_eq!(reason(&with(FRAGMENT, &[UDP, 0, 0, 0, 1, 2, 3, 4])), (true, None));
    assert_eq!(reason(&with(43, &[UDP, 0, 0, 0, 0, 0, 0, 0])), (true, None));
    // Type 4: parameter problem. Codes 0: header, 1: next header, 2: option; and where.
    assert_eq!(reason(&with(43, &[UDP, 0, 0, 1, 0, 0, 0, 0])), (false, Some((4, 0, 42))));
    assert_eq!(reason(&with(DESTINATION_OPTIONS, &[UDP, 0, 0x80, 4, 0, 0, 0, 0])), (false, Some((4, 2, 42))));
    assert_eq!(reason(&with(DESTINATION_OPTIONS, &[UDP, 0, 0x40, 4, 0, 0, 0, 0])), (false, None));
    assert_eq!(reason(&with(99, &[])), (false, Some((4, 1, 6))));
    let twice = [[HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0], padding].concat();
    assert_eq!(reason(&with(HOP_BY_HOP, &twice)), (false, Some((4, 1, 40))));
    assert_eq!(reason(&with(59, &[])), (false, None));
    // More than are of any use.
    let many = [&[DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0].repeat(9)[..], &padding].concat();
    assert_eq!(reason(&with(DESTINATION_OPTIONS, &many)), (false, None));
    // Addresses of IPv4 are none of this protocol (RFC 4291, section 2.5.5.2).
    let mapped: Ipv6Addr = "::ffff:10.0.0.1".parse().unwrap();
    let data = datagram(mapped, ip6(2), 53, b"data");
    assert_eq!(reason(&frame(mapped, ip6(2), 64, UDP, &data)), (false, None));
}

#[test]
fn overlapping_fragments_are_dropped() {
    let (host, now) = host();
    neighbour(&host, now);
    let socket = socket(&host, Family::V6, 53);
    let data = datagram(ROUTER, ip6(2), 53, &[7; 40]);
    let part = |ident: u8, from: usize, to: usize| {
        let more = u8::from(to < data.len());
        let header = [UDP, 0, 0, from as u8 | more, 0, 0, 0, ident];
        frame(ROUTER, ip6(2), 64, FRAGMENT, &[&header[..], &data[from..to]].concat())
    };
    for wire in [part(1, 16, 48), part(1, 0, 16)] {
        host.receive(now, rx(&wire));
    }
    assert_eq!(received(&host, &socket).map(|(_, bytes)| bytes.len()), Some(40));
    for wire in [part(2, 0, 24), part(2, 16, 48), part(2, 24, 48)] {
        host.receive(now, rx(&wire));
    }
    assert!(received(&host, &socket).is_none());
}

#[test]
fn a_path_with_a_small_mtu_is_respected() {
    let mut net = Net::over_ipv6(1, PLAIN, Weather::default());
    let (client, server, _listener) = net.connect(80);
    let full = client.info().send_mss;
    net.send(0, &client, &[1; 5000]).unwrap();
    let sent: Vec<Wire> = net.hosts[0].device().sent.lock().unwrap().drain(..).collect();
    let lost = sent.iter().find(|wire| wire.bytes[20] == TCP && wire.bytes.len() > 1400).unwrap().bytes[14..]
        .to_vec();
    let too_big = |mtu: u16, quoted: &[u8]| {
        let mut message = vec![2, 0, 0, 0, 0, 0];
        message.extend(mtu.to_be_bytes());
        message.extend(&quoted[..200]);
        let mut wire = icmp(ip6(2), ip6(1), 64, message);
        wire.bytes[5] = 1;
        wire
    };
    // Less than any link must carry, and a packet that was never sent, are not believed (RFC 8201, section 4).
    net.hosts[0].receive(net.now, rx(&too_big(1000, &lost)));
    let mut forged = lost.clone();
    forged[44] ^= 0x40;
    net.hosts[0].receive(net.now, rx(&too_big(1400, &forged)));
    assert_eq!(client.info().send_mss, full);
    net.hosts[0].receive(net.now, rx(&too_big(1300, &lost)));
    assert_eq!(client.info().send_mss, full - 200);
    net.run(10 * SECOND);
    let mut got = 0;
    while let Ok(bytes) = net.recv(1, &server, 9000) {
        got += bytes.len();
    }
    assert_eq!(got, 5000);
    // Another connection on the path knows.
    let (other, _server, _listener) = net.connect(81);
    assert_eq!(other.info().send_mss, full - 200);
}

#[test]
fn errors_reach_their_sockets() {
    let mut net = Net::over_ipv6(1, PLAIN, Weather::default());
    let here = socket(&net.hosts[0], Family::V6, 0);
    net.hosts[0].udp_connect(&here, at6(2, 99)).unwrap();
    send(&net.hosts[0], net.now, &here, at6(2, 99), b"?").unwrap();
    net.run(SECOND);
    assert_eq!(here.take_error(), Some(Error::ConnectionRefused));
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    net.hosts[0].tcp_connect(&client, net.now, at6(2, 99)).unwrap();
    net.run(SECOND);
    assert_eq!(client.take_error(), Some(Error::ConnectionRefused));
    // A neighbour that does not answer.
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    net.hosts[0].tcp_connect(&client, net.now, at6(7, 80)).unwrap();
    net.run(20 * SECOND);
    assert_eq!(client.take_error(), Some(Error::HostUnreachable));
}

#[test]
fn groups_are_reported_and_received() {
    let (host, now) = host();
    neighbour(&host, now);
    let group: Ipv6Addr = "ff02::fb".parse().unwrap();
    let socket = socket(&host, Family::V6, 5353);
    let data = frame(ROUTER, group, 1, UDP, &datagram(ROUTER, group, 5353, b"news"));
    host.receive(now, rx(&data));
    assert!(received(&host, &socket).is_none());
    host.udp_join(&socket, (group.into(), Link::Wire), false).unwrap();
    // A report in a hop-by-hop header with the router alert: joined (4), then asked for (2), then left (3).
    let reports = || {
        let all = sent(&host).into_iter().filter(|(next, bytes)| *next == HOP_BY_HOP && bytes[8] == 143);
        all.map(|(_, bytes)| (bytes[16], bytes[20..36].to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(reports(), [(4, group.octets().to_vec())]);
    host.receive(now, rx(&data));
    assert_eq!(received(&host, &socket).map(|(_, bytes)| bytes), Some(b"news".to_vec()));
    let query = [&[130, 0, 0, 0, 0, 0, 0, 0][..], &[0; 20]].concat();
    host.receive(now + SECOND, rx(&icmp(ROUTER, ALL_NODES, 1, query)));
    let asked = reports();
    assert!(asked.contains(&(2, group.octets().to_vec())) && asked.len() == 2, "{asked:?}");
    host.udp_leave(&socket, group.into(), None).unwrap();
    assert_eq!(reports(), [(3, group.octets().to_vec())]);
}

/// Frames that come close to something real.
fn near() -> impl Strategy<Value = Wire> {
    let kinds = [HOP_BY_HOP, 43, FRAGMENT, ICMPV6, ICMPV6, DESTINATION_OPTIONS, UDP, TCP];
    let bytes = proptest::collection::vec(any::<u8>(), 0..120);
    let groups = [ip6(2), ip6(2), ALL_NODES, "ff02::1:ff00:2".parse().unwrap()];
    (bytes, 0usize..8, 0usize..4, any::<[bool; 2]>(), 130u8..=137).prop_map(
        move |(mut payload, kind, group, [sums, hops], message)| {
            let (kind, to) = (kinds[kind], groups[group]);
            if kind == ICMPV6 && payload.len() >= 8 {
                payload[..2].copy_from_slice(&[message, 0]);
                if payload.len() >= 40 {
                    payload[8..24].copy_from_slice(&ip6(2).octets());
                }
                if sums {
                    payload = summed(ROUTER, to, kind, payload, 2);
                }
            }
            frame(ROUTER, to, if hops { 255 } else { 1 }, kind, &payload)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_frames_are_survived(frames in proptest::collection::vec((near(), 0u64..SECOND), 1..60)) {
        let mut net = Net::over_ipv6(1, PLAIN, Weather { delay: MS, ..Weather::default() });
        let (client, server, _listener) = net.connect(80);
        for (wire, wait) in frames {
            net.hosts[1].receive(net.now, rx(&wire));
            net.run(wait);
        }
        net.send(0, &client, b"hello").unwrap();
        net.run(10 * SECOND);
        prop_assert_eq!(net.recv(1, &server, 10).unwrap(), b"hello");
    }
}
