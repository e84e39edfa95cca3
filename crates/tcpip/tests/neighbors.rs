//! What the administrator enters into the cache of neighbours (arp(7)), and a limit that a socket sets for its packets of IPv6 (ipv6(7),
//! IPV6_MTU).

mod common;

use common::*;
use coracle_tcpip::*;

/// The Ethernet addresses that frames of a type (`ETHERTYPE`) went to.
fn sent_to(stack: &TestStack, kind: [u8; 2]) -> Vec<[u8; 6]> {
    let frames = std::mem::take(&mut *stack.device().sent.lock().unwrap());
    frames
        .iter()
        .filter(|wire| wire.bytes[12..14] == kind)
        .map(|wire| wire.bytes[..6].try_into().unwrap())
        .collect()
}

const ARP: [u8; 2] = [8, 6];
const IPV4: [u8; 2] = [8, 0];
const ENTERED: [u8; 6] = [2, 0, 0, 0, 0, 77];

/// Host `from` answers host 1 that it has Ethernet address `mac`.
fn arp_reply(from: u8, mac: [u8; 6]) -> Wire {
    let mut bytes = [2, 0, 0, 0, 0, 1].to_vec();
    bytes.extend(mac);
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    bytes.extend(mac);
    bytes.extend(ip(from).octets());
    bytes.extend([2, 0, 0, 0, 0, 1]);
    bytes.extend(ip(1).octets());
    Wire { bytes, segment_size: 0, partial: false }
}

fn send(stack: &TestStack, socket: &Udp<TestDevice, Told>, now: u64, len: usize) {
    let sent = stack.udp_send(socket, now, Way::default(), len, |room| {
        room.fill(7);
        room.len()
    });
    assert_eq!(sent, Ok(len));
}

#[test]
fn entered_neighbours() {
    let stack = stack(1, PLAIN, Limits::default());
    let socket = stack.udp_socket(false, Told::default()).unwrap();
    stack.udp_connect(&socket, at(9, 53)).unwrap();
    let there = Address::from(ip(9));
    assert_eq!(stack.neighbor(there), None);
    // A datagram waits for the address, and leaves when it is entered.
    send(&stack, &socket, SECOND, 10);
    assert_eq!((sent_to(&stack, IPV4).len(), stack.neighbor(there).unwrap().mac), (0, None));
    stack.set_neighbor(SECOND, there, Some(ENTERED), false).unwrap();
    assert_eq!(sent_to(&stack, IPV4), [ENTERED]);
    // What the link says later counts.
    stack.receive(3 * SECOND, rx(&arp_reply(9, [2, 0, 0, 0, 0, 9])));
    assert_eq!(stack.neighbor(there).unwrap().mac, Some([2, 0, 0, 0, 0, 9]));
    // Not so for an entry that is to stay: it is neither changed nor asked for again.
    stack.set_neighbor(4 * SECOND, there, Some(ENTERED), true).unwrap();
    stack.receive(9 * SECOND, rx(&arp_reply(9, [2, 0, 0, 0, 0, 9])));
    for minute in 1..5 {
        send(&stack, &socket, minute * 60 * SECOND, 10);
    }
    let frames = stack.device().sent.lock().unwrap().clone();
    assert!(frames.iter().all(|wire| wire.bytes[12..14] != ARP), "asked for a neighbour that is to stay");
    assert_eq!(sent_to(&stack, IPV4), [ENTERED; 4]);
    assert!(stack.neighbor(there).unwrap().permanent);
    assert!(stack.remove_neighbor(there) && !stack.remove_neighbor(there));
    send(&stack, &socket, 301 * SECOND, 10);
    assert_eq!(sent_to(&stack, ARP), [[0xff; 6]]);
}

#[test]
fn datagrams_of_ipv6_are_cut_as_the_socket_says() {
    let mut net = Net::over_ipv6(1, PLAIN, Weather::default());
    let (_client, _server, _listener) = net.connect(80);
    let [sender, receiver] = [0, 1].map(|host| net.hosts[host].udp_socket(false, Told::default()).unwrap());
    for (socket, host) in [(&sender, 0), (&receiver, 1)] {
        socket.set_options(|options| options.family = Family::V6);
        net.hosts[host].udp_bind(socket, at6(host as u8 + 1, 53)).unwrap();
    }
    net.hosts[0].udp_connect(&sender, at6(2, 53)).unwrap();
    let longest =
        |net: &Net| net.hosts[0].device().sent.lock().unwrap().iter().map(|wire| wire.bytes.len() - 14).max();
    for (greatest, expected) in [(None, 1496), (Some(1280), 1280), (Some(9000), 1496)] {
        sender.set_options(|options| options.greatest_v6 = greatest);
        let now = net.now;
        send(&net.hosts[0], &sender, now, 3000);
        assert_eq!(longest(&net), Some(expected), "{greatest:?}");
        net.run(SECOND);
        let mut bytes = 0;
        let came = net.hosts[1].udp_recv(&receiver, false, |chunk| {
            bytes += chunk.len();
            chunk.len()
        });
        assert!(came.is_ok());
        assert_eq!(bytes, 3000);
    }
}
