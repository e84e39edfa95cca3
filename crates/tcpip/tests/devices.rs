//! Sockets that are bound to a link (`SO_BINDTODEVICE`): what comes over another is not for them.

mod common;

use common::*;
use coracle_tcpip::*;

const PORT: u16 = 5000;

fn receives(stack: &TestStack, socket: &Udp<TestDevice, Told>) -> bool {
    stack.udp_recv(socket, false, |piece| piece.len()).is_ok()
}

/// Sends a datagram to a port of host 2 from host 1, and one from host 2 itself.
fn send(net: &mut Net, to: Endpoint, over_wire: bool) {
    let host = &net.hosts[usize::from(!over_wire)];
    let sender = host.udp_socket(false, Told::default()).unwrap();
    let way = Way { to: Some(to), ..Way::default() };
    assert_eq!(host.udp_send(&sender, net.now, way, 3, |room| room.len()), Ok(3));
    net.run(SECOND);
}

#[test]
fn datagrams_go_to_sockets_of_their_link() {
    let mut net = Net::new(1, PLAIN, Weather::default());
    let bind = |net: &Net, device| {
        let socket = net.hosts[1].udp_socket(false, Told::default()).unwrap();
        net.hosts[1].udp_set_device(&socket, device);
        let bound = net.hosts[1].udp_bind(&socket, Endpoint::new(Address::ANY_V4, PORT));
        (socket, bound)
    };
    let (wire, loopback) = (bind(&net, Some(Link::Wire)), bind(&net, Some(Link::Loopback)));
    assert_eq!((wire.1, loopback.1), (Ok(()), Ok(())));
    assert_eq!(bind(&net, None).1, Err(Error::AddressInUse));
    for over_wire in [true, false] {
        send(&mut net, at(2, PORT), over_wire);
        assert_eq!(receives(&net.hosts[1], &wire.0), over_wire);
        assert_eq!(receives(&net.hosts[1], &loopback.0), !over_wire);
    }
    // What is bound to the loopback sends nothing over the wire, and what is bound to the wire nothing to the loopback.
    let carried = net.carried;
    let other = Endpoint::new(Address::from(std::net::Ipv4Addr::LOCALHOST), PORT);
    for (socket, to) in [(&loopback.0, at(1, PORT)), (&wire.0, other)] {
        let way = Way { to: Some(to), ..Way::default() };
        assert_eq!(net.hosts[1].udp_send(socket, net.now, way, 3, |room| room.len()), Ok(3));
        net.run(SECOND);
        assert!(!receives(&net.hosts[1], &loopback.0) && net.carried == carried);
    }
    // A socket with a port changes its link.
    net.hosts[1].udp_close(&loopback.0);
    net.hosts[1].udp_set_device(&wire.0, None);
    send(&mut net, at(2, PORT), false);
    assert!(receives(&net.hosts[1], &wire.0));
}

#[test]
fn listeners_take_connections_over_their_link() {
    let mut net = Net::new(2, PLAIN, Weather::default());
    let listener = net.listen(PORT, 4);
    for (device, over_wire) in [(Some(Link::Loopback), false), (Some(Link::Wire), true), (None, true)] {
        net.hosts[1].tcp_set_options(&listener, net.now, |options| options.device = device);
        let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
        net.hosts[0].tcp_connect(&client, net.now, at(2, PORT)).unwrap();
        net.run(SECOND);
        assert_eq!(client.info().state == State::Established, over_wire);
        assert_eq!(net.hosts[1].tcp_accept(&listener, net.now, Told::default).is_ok(), over_wire);
    }
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    net.hosts[0].tcp_set_options(&client, net.now, |options| options.device = Some(Link::Loopback));
    assert_eq!(net.hosts[0].tcp_connect(&client, net.now, at(2, PORT)), Err(Error::NetworkUnreachable));
}
