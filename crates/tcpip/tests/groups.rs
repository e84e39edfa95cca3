//! Multicast groups (RFC 1112): which sockets receive what is sent to one, on the loopback and over the link.

mod common;

use common::*;
use coracle_tcpip::*;
use std::net::{Ipv4Addr, SocketAddrV4};

type TestUdp = Udp<TestDevice, Told>;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 4);
const PORT: u16 = 5000;

fn bound_to(stack: &TestStack, address: Ipv4Addr) -> TestUdp {
    let socket = stack.udp_socket(false, Told::default()).unwrap();
    socket.set_options(|options| {
        options.reuse_address = true;
        options.multicast_all = false;
    });
    stack.udp_bind(&socket, SocketAddrV4::new(address, PORT)).unwrap();
    socket
}

fn member(stack: &TestStack, group: Ipv4Addr, link: Link) -> TestUdp {
    let socket = bound_to(stack, Ipv4Addr::UNSPECIFIED);
    stack.udp_join(&socket, (group.into(), link), false).unwrap();
    socket
}

fn sender(stack: &TestStack, change: impl FnOnce(&mut UdpOptions)) -> TestUdp {
    let socket = stack.udp_socket(false, Told::default()).unwrap();
    socket.set_options(change);
    socket
}

fn send(stack: &TestStack, socket: &TestUdp, group: Ipv4Addr) -> Result<usize> {
    let way = Way { to: Some(SocketAddrV4::new(group, PORT).into()), ..Way::default() };
    stack.udp_send(socket, SECOND, way, 5, |room| {
        room.copy_from_slice(&b"hello"[..room.len()]);
        room.len()
    })
}

fn received(stack: &TestStack, socket: &TestUdp) -> Option<Datagram> {
    stack.udp_recv(socket, false, |part| part.len()).ok().flatten()
}

/// Takes the frames that were sent, but for ARP.
fn sent(stack: &TestStack) -> Vec<Wire> {
    let frames = std::mem::take(&mut *stack.device().sent.lock().unwrap());
    frames.into_iter().filter(|frame| frame.bytes[12..14] == [8, 0]).collect()
}

#[test]
fn members_on_the_loopback_receive() {
    let stack = stack(2, PLAIN, Limits::default());
    let sockets = [
        member(&stack, GROUP, Link::Loopback),
        member(&stack, GROUP, Link::Loopback),
        member(&stack, OTHER, Link::Loopback),
        member(&stack, GROUP, Link::Wire),
        bound_to(&stack, GROUP),
    ];
    // On the loopback nothing is looped back, so the option means nothing (Linux: `ip_output()`).
    let from = sender(&stack, |options| {
        options.multicast_link = Some(Link::Loopback);
        options.multicast_source = Ipv4Addr::LOCALHOST.into();
        options.multicast_loop = false;
    });
    assert_eq!(send(&stack, &from, GROUP), Ok(5));
    let got = sockets.each_ref().map(|socket| received(&stack, socket).is_some());
    assert_eq!(got, [true, true, false, false, false]);
    assert!(sent(&stack).is_empty());
    // A socket that wants what others have joined.
    sockets[4].set_options(|options| options.multicast_all = true);
    send(&stack, &from, GROUP).unwrap();
    let datagram = received(&stack, &sockets[4]).unwrap();
    assert_eq!(
        (datagram.to.to_ipv4(), datagram.from.address.to_ipv4(), datagram.link),
        (Some(GROUP), Some(Ipv4Addr::LOCALHOST), Link::Loopback)
    );
    // The host receives nothing of a group that no socket is a member of.
    let last = [&sockets[0], &sockets[1]];
    assert!(last.iter().all(|socket| received(&stack, socket).is_some()));
    stack.udp_leave(&sockets[0], GROUP.into(), None).unwrap();
    stack.udp_close(&sockets[1]);
    send(&stack, &from, GROUP).unwrap();
    assert!(received(&stack, &sockets[0]).is_none() && received(&stack, &sockets[4]).is_none());
}

#[test]
fn frames_to_a_group_have_its_ethernet_address_and_ttl() {
    let stack = stack(2, PLAIN, Limits::default());
    let from = sender(&stack, |options| options.multicast_link = Some(Link::Wire));
    sent(&stack);
    assert_eq!(send(&stack, &from, GROUP), Ok(5));
    let [frame] = sent(&stack).try_into().unwrap();
    assert_eq!(frame.bytes[..6], [1, 0, 0x5e, 1, 2, 3]);
    assert_eq!((frame.bytes[22], &frame.bytes[26..30]), (1, &[10, 0, 0, 2][..]));
    from.set_options(|options| options.multicast_ttl = 0);
    assert_eq!(send(&stack, &from, GROUP), Ok(5));
    assert!(sent(&stack).is_empty());
    // No link is named, and no route leads to groups.
    let lost = sender(&stack, |_| {});
    assert_eq!(send(&stack, &lost, GROUP), Err(Error::NetworkUnreachable));
    assert_eq!(stack.default_group_link(), None);
}

#[test]
fn members_on_the_link_receive_from_it_and_from_this_host() {
    let (here, there) = (stack(1, PLAIN, Limits::default()), stack(2, PLAIN, Limits::default()));
    let (ours, theirs) = (member(&here, GROUP, Link::Wire), member(&there, GROUP, Link::Wire));
    let on_loopback = member(&there, GROUP, Link::Loopback);
    let from = sender(&here, |options| options.multicast_link = Some(Link::Wire));
    for looped in [true, false] {
        from.set_options(|options| options.multicast_loop = looped);
        sent(&here);
        send(&here, &from, GROUP).unwrap();
        let own = received(&here, &ours);
        assert_eq!(own.map(|datagram| datagram.link), looped.then_some(Link::Wire));
        let [frame] = sent(&here).try_into().unwrap();
        there.receive(SECOND, rx(&frame));
        assert_eq!(received(&there, &theirs).map(|datagram| datagram.to), Some(GROUP.into()));
        assert!(received(&there, &on_loopback).is_none());
    }
    send(&here, &from, OTHER).unwrap();
    let [frame] = sent(&here).try_into().unwrap();
    there.receive(SECOND, rx(&frame));
    assert!(received(&there, &theirs).is_none());
    // Nothing is bound to the port: no report goes to a sender that asked several (RFC 1122, 3.2.2).
    sent(&there);
    stack_without_socket_is_silent(&there, &theirs, &on_loopback, &frame);
}

fn stack_without_socket_is_silent(stack: &TestStack, one: &TestUdp, other: &TestUdp, frame: &Wire) {
    stack.udp_join(one, (OTHER.into(), Link::Wire), false).unwrap();
    stack.udp_close(other);
    let mut bytes = frame.bytes.clone();
    bytes[36..38].copy_from_slice(&(PORT + 1).to_be_bytes());
    bytes[40..42].fill(0);
    stack.receive(SECOND, rx(&Wire { bytes, ..frame.clone() }));
    assert!(sent(stack).is_empty());
}

#[test]
fn a_broadcast_reaches_sockets_of_its_sender() {
    let stack = stack(2, PLAIN, Limits::default());
    let sockets =
        [bound_to(&stack, Ipv4Addr::UNSPECIFIED), bound_to(&stack, ip(255)), bound_to(&stack, ip(2))];
    let from = sender(&stack, |options| options.broadcast = true);
    sent(&stack);
    send(&stack, &from, ip(255)).unwrap();
    assert_eq!(sent(&stack).len(), 1);
    assert_eq!(sockets.each_ref().map(|socket| received(&stack, socket).is_some()), [true, true, false]);
}

#[test]
fn memberships_are_counted_and_bounded() {
    let stack = stack(2, PLAIN, Limits::default());
    let socket = bound_to(&stack, Ipv4Addr::UNSPECIFIED);
    assert_eq!(stack.udp_join(&socket, (ip(9).into(), Link::Wire), false), Err(Error::Invalid));
    assert_eq!(stack.udp_leave(&socket, GROUP.into(), None), Err(Error::AddressNotAvailable));
    for last in 0..20 {
        stack.udp_join(&socket, (Ipv4Addr::new(239, 0, 0, last).into(), Link::Wire), false).unwrap();
    }
    assert_eq!(
        stack.udp_join(&socket, (Ipv4Addr::new(239, 0, 0, 1).into(), Link::Wire), false),
        Err(Error::AddressInUse)
    );
    assert_eq!(stack.udp_join(&socket, (GROUP.into(), Link::Wire), false), Err(Error::NoBuffers));
    let first = Ipv4Addr::new(239, 0, 0, 0);
    assert_eq!(stack.udp_leave(&socket, first.into(), Some(Link::Loopback)), Err(Error::AddressNotAvailable));
    assert_eq!(stack.udp_leave(&socket, first.into(), Some(Link::Wire)), Ok(()));
    assert_eq!(stack.udp_join(&socket, (GROUP.into(), Link::Loopback), false), Ok(()));
}

#[test]
fn connections_to_a_group_are_refused() {
    let stack = stack(2, PLAIN, Limits::default());
    let config = Ipv4Config { address: ip(2), prefix_len: 24, gateway: Some(ip(1)) };
    stack.set_ipv4(0, Some(config));
    let socket = stack.tcp_socket(Told::default()).unwrap();
    let to = SocketAddrV4::new(GROUP, PORT);
    assert_eq!(stack.tcp_connect(&socket, SECOND, to), Err(Error::NetworkUnreachable));
}
