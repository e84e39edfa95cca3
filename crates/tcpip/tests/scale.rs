//! Many connections, and those who want too many.

mod common;

use common::*;
use coracle_tcpip::*;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A bare TCP segment in an Ethernet frame, from 10.0.0.`host` with right checksums.
fn segment(
    host: u8,
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    options: &[u8],
    payload: &[u8],
) -> Wire {
    let tcp = 20 + options.len();
    let mut f = vec![0; 34 + tcp];
    f[..12].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, host]);
    f[12] = 8;
    f[14] = 0x45;
    f[16..18].copy_from_slice(&((20 + tcp + payload.len()) as u16).to_be_bytes());
    f[22] = 64;
    f[23] = 6;
    f[26..34].copy_from_slice(&[10, 0, 0, host, 10, 0, 0, 2]);
    let ip_sum = sum(&f[14..34]);
    f[24..26].copy_from_slice(&ip_sum.to_be_bytes());
    f[34..36].copy_from_slice(&ports.0.to_be_bytes());
    f[36..38].copy_from_slice(&ports.1.to_be_bytes());
    f[38..42].copy_from_slice(&seq.to_be_bytes());
    f[42..46].copy_from_slice(&ack.to_be_bytes());
    f[46] = (tcp as u8 / 4) << 4;
    f[47] = flags;
    f[48..50].copy_from_slice(&0x4000u16.to_be_bytes());
    f[54..54 + options.len()].copy_from_slice(options);
    f.extend_from_slice(payload);
    let mut pseudo = vec![10, 0, 0, host, 10, 0, 0, 2, 0, 6];
    pseudo.extend_from_slice(&((tcp + payload.len()) as u16).to_be_bytes());
    pseudo.extend_from_slice(&f[34..]);
    let tcp_sum = sum(&pseudo);
    f[50..52].copy_from_slice(&tcp_sum.to_be_bytes());
    Wire { bytes: f, segment_size: 0, partial: false }
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// MSS 1460, SACK permitted, timestamps, window scale 7.
const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

fn answers(stack: &TestStack) -> Vec<Wire> {
    stack
        .device()
        .sent
        .lock()
        .unwrap()
        .drain(..)
        .filter(|w| w.bytes.len() >= 54 && w.bytes[23] == 6)
        .collect()
}

fn long(wire: &Wire, at: usize) -> u32 {
    u32::from_be_bytes(wire.bytes[at..at + 4].try_into().unwrap())
}

/// Lets host 2 know the neighbour 10.0.0.`host`.
fn introduce(stack: &TestStack, now: u64, host: u8) {
    let mut f = vec![0xff; 6];
    f.extend([2, 0, 0, 0, 0, host, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, host, 10, 0, 0, host]);
    f.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    stack.receive(now, rx(&Wire { bytes: f, segment_size: 0, partial: false }));
}

fn listen(stack: &TestStack, now: u64, backlog: usize) -> TestTcp {
    let listener = stack.tcp_socket(Told::default()).unwrap();
    stack.tcp_bind(&listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80)).unwrap();
    stack.tcp_listen(&listener, now, backlog).unwrap();
    listener
}

#[test]
fn a_flood_of_syns_leaves_room_for_others() {
    let now = 1000 * SECOND;
    let stack = stack(2, PLAIN, Limits { syn_backlog: 64, ..Limits::default() });
    introduce(&stack, now, 1);
    introduce(&stack, now, 3);
    let listener = listen(&stack, now, 128);
    for port in 0..50_000u16 {
        stack.receive(now, rx(&segment(3, (port + 1, 80), 7, 0, SYN, &OPTIONS, b"")));
    }
    // Each is answered, most of them from no memory.
    assert_eq!(answers(&stack).len(), 50_000);
    // In the middle of it somebody comes who answers: with a cookie, and all its options.
    stack.receive(now, rx(&segment(1, (4000, 80), 99, 0, SYN, &OPTIONS, b"")));
    let answer = answers(&stack).pop().unwrap();
    let (cookie, clock) = (long(&answer, 38), long(&answer, 62));
    let mut echo = vec![1, 1, 8, 10, 0, 0, 0, 2];
    echo.extend(clock.to_be_bytes());
    stack.receive(now + MS, rx(&segment(1, (4000, 80), 100, cookie.wrapping_add(1), ACK, &echo, b"hello")));
    let server = stack.tcp_accept(&listener, now, Told::default).unwrap();
    let info = server.info();
    assert_eq!((info.readable_bytes, info.sack, info.timestamps, info.window_scale.0), (5, true, true, 7));
    assert_eq!(info.send_mss, 1448);
    // A forged acknowledgement is answered with a reset.
    stack.receive(now + MS, rx(&segment(1, (4001, 80), 100, 12345, ACK, &[], b"")));
    assert_eq!(answers(&stack).pop().unwrap().bytes[47] & RST, RST);
    // What the flood left half open goes away by itself.
    let mut time = now;
    while let Some(next) = stack.next_deadline().filter(|next| *next < now + 120 * SECOND) {
        time = time.max(next);
        stack.poll(time);
        answers(&stack);
    }
    stack.tcp_close(&server, time);
    stack.tcp_close(&listener, time);
    assert_eq!(std::sync::Arc::strong_count(&listener), 1);
}

#[test]
fn blind_resets_and_data_are_not_believed() {
    let mut net = Net::new(1, PLAIN, Weather { delay: MS, ..Weather::default() });
    let (client, server, _listener) = net.connect(80);
    let port = client.local().port;
    net.run(SECOND);
    for guess in 0..1000u32 {
        let seq = guess.wrapping_mul(4_294_967);
        net.hosts[1].receive(net.now, rx(&segment(1, (port, 80), seq, 0, RST, &[], b"")));
        net.hosts[1].receive(net.now, rx(&segment(1, (port, 80), seq, seq, SYN, &[], b"")));
    }
    assert!(answers(&net.hosts[1]).len() < 20, "challenges are limited");
    for guess in 0..1000u32 {
        let seq = guess.wrapping_mul(4_294_967);
        net.hosts[1].receive(net.now, rx(&segment(1, (port, 80), seq, seq, ACK, &[], b"evil")));
    }
    assert_eq!(server.info().state, State::Established);
    assert_eq!(net.recv(1, &server, 10), Err(Error::WouldBlock));
    net.send(0, &client, b"still fine").unwrap();
    net.run(SECOND);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"still fine");
}

#[test]
fn ten_thousand_connections() {
    let mut net = Net::new(1, OFFLOAD, Weather { delay: MS, ..Weather::default() });
    let (_c, _s, _l) = net.connect(79); // makes the neighbours known
    let listener = net.listen(80, 4096);
    let mut pairs = Vec::new();
    for round in 0..10 {
        let clients: Vec<TestTcp> = (0..1000)
            .map(|_| {
                let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
                assert_eq!(net.hosts[0].tcp_connect(&client, net.now, at(2, 80)), Ok(()));
                client
            })
            .collect();
        net.run(50 * MS);
        for client in clients {
            let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default);
            pairs.push((client, server.unwrap_or_else(|error| panic!("round {round}: {error}"))));
        }
    }
    net.run(SECOND);
    for (client, _) in &pairs {
        assert_eq!(client.info().state, State::Established);
        client.events().unwrap().take();
    }
    // Idle, they cost nothing: no timer runs, no packet goes.
    net.run(2 * SECOND);
    let before = net.carried;
    net.run(3600 * SECOND);
    assert_eq!(net.carried, before);
    assert_eq!(net.hosts[1].next_deadline(), None);
    // One is busy: only it is told of anything.
    net.send(0, &pairs[5000].0, b"ping").unwrap();
    net.run(SECOND);
    let server_of = |port: u16| pairs.iter().find(|p| p.1.peer().unwrap().port == port).unwrap();
    let busy = &server_of(pairs[5000].0.local().port).1;
    assert_eq!(net.recv(1, busy, 10).unwrap(), b"ping");
    net.send(1, busy, b"pong").unwrap();
    net.run(SECOND);
    let told = pairs.iter().filter(|p| !p.0.events().unwrap().take().is_empty()).count();
    assert_eq!(told, 1);
    // And they all end.
    for (client, server) in &pairs {
        net.hosts[0].tcp_close(client, net.now);
        net.hosts[1].tcp_close(server, net.now);
    }
    net.run(200 * SECOND);
    for (client, server) in &pairs {
        assert_eq!((std::sync::Arc::strong_count(client), std::sync::Arc::strong_count(server)), (1, 1));
    }
    assert_eq!(net.hosts[0].next_deadline(), None);
}

#[test]
fn reuse_port_spreads_connections() {
    let mut net = Net::new(1, OFFLOAD, Weather::default());
    let listeners: Vec<TestTcp> = (0..4)
        .map(|_| {
            let listener = net.hosts[1].tcp_socket(Told::default()).unwrap();
            net.hosts[1].tcp_set_options(&listener, net.now, |o| o.reuse_port = true);
            net.hosts[1].tcp_bind(&listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80)).unwrap();
            net.hosts[1].tcp_listen(&listener, net.now, 1000).unwrap();
            listener
        })
        .collect();
    let clients: Vec<TestTcp> = (0..400).map(|_| net.hosts[0].tcp_socket(Told::default()).unwrap()).collect();
    for client in &clients {
        let _ = net.hosts[0].tcp_connect(client, net.now, at(2, 80));
    }
    net.run(5 * SECOND);
    for listener in &listeners {
        let mut count = 0;
        while net.hosts[1].tcp_accept(listener, net.now, Told::default).is_ok() {
            count += 1;
        }
        assert!((50..150).contains(&count), "{count}");
    }
}
