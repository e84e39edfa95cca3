//! UDP, ICMP, fragments, DHCP.

mod common;

use common::*;
use coracle_tcpip::*;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet,
    Ipv4Repr, UdpPacket, UdpRepr,
};
use std::net::{Ipv4Addr, SocketAddrV4};

type TestUdp = Udp<TestDevice, Told>;

fn bound(stack: &TestStack, port: u16) -> TestUdp {
    let socket = stack.udp_socket(false, Told::default()).unwrap();
    stack.udp_bind(&socket, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).unwrap();
    socket
}

fn send(net: &Net, host: usize, socket: &TestUdp, to: Option<Endpoint>, bytes: &[u8]) -> Result<usize> {
    let mut done = 0;
    net.hosts[host].udp_send(socket, net.now, Way { to, ..Way::default() }, bytes.len(), |room| {
        room.copy_from_slice(&bytes[done..done + room.len()]);
        done += room.len();
        room.len()
    })
}

fn recv(net: &Net, host: usize, socket: &TestUdp) -> Result<(Endpoint, Vec<u8>)> {
    let mut bytes = Vec::new();
    let datagram = net.hosts[host]
        .udp_recv(socket, false, |part| {
            bytes.extend_from_slice(part);
            part.len()
        })?
        .expect("receiving is not shut down");
    assert_eq!((datagram.len, datagram.copied), (bytes.len(), bytes.len()));
    Ok((datagram.from, bytes))
}

#[test]
fn datagrams_of_all_sizes() {
    for capabilities in [PLAIN, OFFLOAD] {
        let mut net = Net::new(1, capabilities, Weather::default());
        let (a, b) = (bound(&net.hosts[0], 1000), bound(&net.hosts[1], 2000));
        for len in [0, 1, 2, 100, 1471, 1472, 1473, 2048, 4000, 9001, 65507] {
            let bytes: Vec<u8> = (0..len).map(|i| byte(9, i)).collect();
            assert_eq!(send(&net, 0, &a, Some(at(2, 2000)), &bytes), Ok(len));
            net.run(SECOND);
            assert!(b.events().take().contains(Readiness::READABLE));
            assert_eq!(b.next_len(), len);
            assert_eq!(recv(&net, 1, &b).unwrap(), (at(1, 1000), bytes.clone()), "{len} bytes");
            assert_eq!(recv(&net, 1, &b), Err(Error::WouldBlock));
            // To ourselves too.
            assert_eq!(send(&net, 0, &a, Some(at(1, 1000)), &bytes), Ok(len));
            assert_eq!(recv(&net, 0, &a).unwrap().1, bytes);
        }
        assert_eq!(send(&net, 0, &a, Some(at(2, 2000)), &[0; 65508]), Err(Error::MessageTooLong));
    }
}

#[test]
fn fragments_in_any_order() {
    let weather = Weather { jitter: 5 * MS, repeat: 100, ..Weather::default() };
    let mut net = Net::new(3, PLAIN, weather);
    let (a, b) = (bound(&net.hosts[0], 1000), bound(&net.hosts[1], 2000));
    for len in [3000, 20_000, 65_507] {
        let bytes: Vec<u8> = (0..len).map(|i| byte(9, i)).collect();
        send(&net, 0, &a, Some(at(2, 2000)), &bytes).unwrap();
        net.run(SECOND);
        assert_eq!(recv(&net, 1, &b).unwrap().1, bytes);
        while recv(&net, 1, &b).is_ok() {}
    }
}

#[test]
fn connected_sockets_hear_only_their_peer_and_of_errors() {
    let mut net = Net::new(1, OFFLOAD, Weather::default());
    let client = net.hosts[0].udp_socket(false, Told::default()).unwrap();
    assert_eq!(send(&net, 0, &client, None, b"x"), Err(Error::DestinationRequired));
    net.hosts[0].udp_connect(&client, at(2, 53)).unwrap();
    assert_eq!((client.local().address, client.peer()), (ip(1).into(), Some(at(2, 53))));
    // Nobody is there: ICMP tells.
    send(&net, 0, &client, None, b"anybody?").unwrap();
    net.run(SECOND);
    assert!(client.readiness().contains(Readiness::ERROR));
    assert_eq!(recv(&net, 0, &client), Err(Error::ConnectionRefused));
    assert_eq!(recv(&net, 0, &client), Err(Error::WouldBlock));
    let server = bound(&net.hosts[1], 53);
    send(&net, 0, &client, None, b"question").unwrap();
    net.run(SECOND);
    let (from, bytes) = recv(&net, 1, &server).unwrap();
    assert_eq!((from, &bytes[..]), (client.local(), &b"question"[..]));
    let other = bound(&net.hosts[1], 54);
    send(&net, 1, &other, Some(from), b"intruder").unwrap();
    send(&net, 1, &server, Some(from), b"answer").unwrap();
    net.run(SECOND);
    assert_eq!(recv(&net, 0, &client).unwrap().1, b"answer");
    assert_eq!(recv(&net, 0, &client), Err(Error::WouldBlock));
    net.hosts[1].udp_close(&server);
    net.hosts[1].udp_close(&other);
    assert_eq!(std::sync::Arc::strong_count(&server), 1);
}

#[test]
fn broadcast_needs_permission() {
    let mut net = Net::new(1, OFFLOAD, Weather::default());
    let (a, b, c) = (bound(&net.hosts[0], 1000), bound(&net.hosts[1], 2000), bound(&net.hosts[1], 2001));
    let all = SocketAddrV4::new(Ipv4Addr::BROADCAST, 2000);
    assert_eq!(send(&net, 0, &a, Some(all.into()), b"all"), Err(Error::AccessDenied));
    a.set_options(|o| o.broadcast = true);
    send(&net, 0, &a, Some(all.into()), b"all").unwrap();
    send(&net, 0, &a, Some(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 255), 2000).into()), b"subnet").unwrap();
    net.run(SECOND);
    assert_eq!(recv(&net, 1, &b).unwrap().1, b"all");
    assert_eq!(recv(&net, 1, &b).unwrap().1, b"subnet");
    assert_eq!(recv(&net, 1, &c), Err(Error::WouldBlock));
}

#[test]
fn a_call_that_is_wrong_leaves_the_error_of_an_earlier_datagram() {
    let mut net = Net::new(1, OFFLOAD, Weather::default());
    let a = bound(&net.hosts[0], 1000);
    send(&net, 0, &a, Some(at(2, 9)), b"to nobody").unwrap();
    net.hosts[0].udp_connect(&a, at(2, 9)).unwrap();
    send(&net, 0, &a, None, b"to nobody").unwrap();
    net.run(SECOND);
    let all = SocketAddrV4::new(Ipv4Addr::BROADCAST, 2000);
    assert_eq!(send(&net, 0, &a, Some(all.into()), b"all"), Err(Error::AccessDenied));
    assert_eq!(send(&net, 0, &a, None, b"again"), Err(Error::ConnectionRefused));
}

#[test]
fn a_slow_reader_loses_datagrams_not_memory() {
    let mut net = Net::new(1, OFFLOAD, Weather::default());
    let (a, b) = (bound(&net.hosts[0], 1000), bound(&net.hosts[1], 2000));
    send(&net, 0, &a, Some(at(2, 2000)), &[1; 1000]).unwrap();
    net.run(SECOND); // the neighbour is known now
    for _ in 0..1000 {
        send(&net, 0, &a, Some(at(2, 2000)), &[1; 1000]).unwrap();
    }
    net.run(SECOND);
    let mut count = 0;
    while recv(&net, 1, &b).is_ok() {
        count += 1;
    }
    assert!((100..300).contains(&count), "{count}");
}

fn ping(from: &TestStack, to: [u8; 4], len: usize) -> Wire {
    let mut frame = vec![0; 14 + 28 + len];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    frame[6..12].copy_from_slice(&from.device().mac);
    frame[12] = 8;
    let icmp = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 9, data: &vec![0x5a; len] };
    let ip = Ipv4Repr {
        src_addr: ip(1),
        dst_addr: Ipv4Addr::from(to),
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: 64,
    };
    let checksums = smoltcp::phy::ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    ip.emit(&mut packet, &checksums);
    icmp.emit(&mut Icmpv4Packet::new_unchecked(packet.payload_mut()), &checksums);
    Wire { bytes: frame, segment_size: 0, partial: false }
}

#[test]
fn echo() {
    let mut net = Net::new(1, PLAIN, Weather::default());
    let (_c, _s, _l) = net.connect(80);
    net.run(SECOND);
    for len in [0, 1, 56, 1400] {
        let request = ping(&net.hosts[0], [10, 0, 0, 2], len);
        net.hosts[1].receive(net.now, rx(&request));
        let reply = net.hosts[1].device().sent.lock().unwrap().pop_back().unwrap();
        let packet = Ipv4Packet::new_checked(&reply.bytes[14..]).unwrap();
        assert!(packet.verify_checksum());
        let icmp = Icmpv4Packet::new_checked(packet.payload()).unwrap();
        let repr = Icmpv4Repr::parse(&icmp, &Default::default()).unwrap();
        assert_eq!(repr, Icmpv4Repr::EchoReply { ident: 7, seq_no: 9, data: &vec![0x5a; len] });
    }
    let not_ours = ping(&net.hosts[0], [10, 0, 0, 77], 10);
    net.hosts[1].receive(net.now, rx(&not_ours));
    assert!(net.hosts[1].device().sent.lock().unwrap().is_empty());
}

/// A DHCP server's answer to the last message of the stack's.
fn dhcp_answer(stack: &TestStack, kind: DhcpMessageType) -> Option<(DhcpMessageType, Wire)> {
    let sent = stack.device().sent.lock().unwrap().drain(..).rfind(|w| w.bytes[12..14] == [8, 0])?;
    let ip = Ipv4Packet::new_checked(&sent.bytes[14..]).unwrap();
    let udp = UdpPacket::new_checked(ip.payload()).unwrap();
    assert_eq!((udp.src_port(), udp.dst_port()), (68, 67));
    let packet = DhcpPacket::new_checked(udp.payload()).unwrap();
    let message = DhcpRepr::parse(&packet).unwrap();
    let server = Ipv4Addr::new(10, 0, 2, 2);
    let mut dns = heapless::Vec::new();
    dns.push(Ipv4Addr::new(10, 0, 2, 3)).unwrap();
    let answer = DhcpRepr {
        message_type: kind,
        your_ip: Ipv4Addr::new(10, 0, 2, 15),
        server_ip: server,
        router: Some(server),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(server),
        parameter_request_list: None,
        dns_servers: Some(dns),
        max_size: None,
        lease_duration: Some(3600),
        ..message.clone()
    };
    let len = answer.buffer_len();
    let mut frame = vec![0; 14 + 28 + len];
    frame[..6].copy_from_slice(&stack.device().mac);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
    let checksums = smoltcp::phy::ChecksumCapabilities::default();
    let ip = Ipv4Repr {
        src_addr: server,
        dst_addr: Ipv4Addr::new(10, 0, 2, 15),
        next_header: IpProtocol::Udp,
        payload_len: 8 + len,
        hop_limit: 64,
    };
    let mut out = Ipv4Packet::new_unchecked(&mut frame[14..]);
    ip.emit(&mut out, &checksums);
    let mut out = UdpPacket::new_unchecked(out.payload_mut());
    let udp = UdpRepr { src_port: 67, dst_port: 68 };
    udp.emit(
        &mut out,
        &IpAddress::Ipv4(server),
        &IpAddress::Ipv4(Ipv4Addr::new(10, 0, 2, 15)),
        len,
        |payload| answer.emit(&mut DhcpPacket::new_unchecked(payload)).unwrap(),
        &checksums,
    );
    Some((message.message_type, Wire { bytes: frame, segment_size: 0, partial: false }))
}

#[test]
fn dhcp_from_discovery_to_renewal_to_loss() {
    let stack = stack(1, PLAIN, Limits::default());
    let mut now = SECOND;
    stack.set_ipv4(now, None);
    stack.dhcp_start(now, Some("boat"));
    // The first message is lost; it is repeated.
    assert!(dhcp_answer(&stack, DhcpMessageType::Offer).is_some());
    // The deadline is a lower bound: several may pass before anything is due.
    while stack.device().sent.lock().unwrap().is_empty() {
        now = stack.next_deadline().unwrap();
        stack.poll(now);
    }
    let (kind, offer) = dhcp_answer(&stack, DhcpMessageType::Offer).unwrap();
    assert_eq!(kind, DhcpMessageType::Discover);
    stack.receive(now, rx(&offer));
    let (kind, ack) = dhcp_answer(&stack, DhcpMessageType::Ack).unwrap();
    assert_eq!(kind, DhcpMessageType::Request);
    assert_eq!(stack.ipv4(), None);
    stack.receive(now, rx(&ack));
    let lease = stack.lease().unwrap();
    let own = Ipv4Config {
        address: Ipv4Addr::new(10, 0, 2, 15),
        prefix_len: 24,
        gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
    };
    assert_eq!((lease.config, &lease.dns[..], lease.seconds), (own, &[Ipv4Addr::new(10, 0, 2, 3)][..], 3600));
    assert_eq!(stack.ipv4(), Some(own));
    // Nothing until half of the lease is over; then it is renewed. The server's address is asked for first.
    let start = now;
    let mut renewed = None;
    while renewed.is_none() {
        now = stack.next_deadline().unwrap();
        stack.poll(now);
        if stack
            .device()
            .sent
            .lock()
            .unwrap()
            .iter()
            .any(|w| w.bytes[12..14] == [8, 6] && w.bytes[38..42] == [10, 0, 2, 2])
        {
            let mut arp = vec![
                2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 0, 2,
                2,
            ];
            arp.extend([2, 0, 0, 0, 0, 1, 10, 0, 2, 15]);
            stack.receive(now, rx(&Wire { bytes: arp, segment_size: 0, partial: false }));
        }
        renewed = dhcp_answer(&stack, DhcpMessageType::Ack);
    }
    assert!((now - start).abs_diff(1800 * SECOND) < 2 * SECOND, "{}", (now - start) / SECOND);
    stack.receive(now, rx(&renewed.unwrap().1));
    assert_eq!(stack.ipv4(), Some(own));
    // The server falls silent: at the end of the lease the address goes.
    let start = now;
    while stack.ipv4().is_some() {
        now = stack.next_deadline().unwrap();
        stack.poll(now);
        stack.device().sent.lock().unwrap().clear();
    }
    assert!((now - start).abs_diff(3600 * SECOND) < 2 * SECOND, "{}", (now - start) / SECOND);
    assert_eq!(stack.lease(), None);
}
