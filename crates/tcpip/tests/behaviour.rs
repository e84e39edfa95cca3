//! What a program sees of TCP: connecting, closing, resets, windows, time-outs, options.

mod common;

use common::*;
use coracle_tcpip::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::Ordering;

fn net() -> Net {
    Net::new(7, OFFLOAD, Weather { delay: MS, ..Weather::default() })
}

fn state(socket: &TestTcp) -> State {
    socket.info().state
}

#[test]
fn a_request_and_its_reply_are_three_packets() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.run(SECOND);
    let before = net.carried;
    net.send(0, &client, b"request").unwrap();
    net.run(2 * MS);
    assert_eq!(net.recv(1, &server, 100).unwrap(), b"request");
    net.send(1, &server, b"reply").unwrap();
    net.run(10 * MS);
    assert_eq!(net.recv(0, &client, 100).unwrap(), b"reply");
    // The acknowledgement of the request rides on the reply; that of the reply is delayed.
    assert_eq!(net.carried - before, 2);
    net.run(SECOND);
    assert_eq!(net.carried - before, 3);
}

/// As of a database that waits for its disk before it replies.
#[test]
fn a_reply_that_comes_later_carries_the_next_acknowledgement() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.run(SECOND);
    let mut round = |wait| {
        let before = net.carried;
        net.send(0, &client, b"request").unwrap();
        net.run(2 * MS);
        assert_eq!(net.recv(1, &server, 100).unwrap(), b"request");
        net.run(wait);
        net.send(1, &server, b"reply").unwrap();
        net.run(2 * MS);
        assert_eq!(net.recv(0, &client, 100).unwrap(), b"reply");
        net.carried - before
    };
    // The first request is acknowledged when it is read, as its peer may wait for that; that of the first reply rides on the next request.
    assert_eq!(round(10 * MS), 3);
    assert_eq!([round(10 * MS), round(10 * MS)], [2, 2]);
    // Beyond the delay of an acknowledgement it goes out alone, from then on at once.
    assert_eq!([round(60 * MS), round(60 * MS)], [3, 3]);
}

#[test]
fn events_tell_what_readiness_says() {
    let mut net = net();
    let (client, server, listener) = net.connect(80);
    let told = client.events().unwrap();
    net.hosts[1].tcp_set_options(&server, net.now, |o| o.no_delay = true);
    assert!(told.take().contains(Readiness::WRITABLE));
    assert_eq!(client.readiness(), Readiness::WRITABLE);
    assert_eq!(listener.readiness(), Readiness::EMPTY);
    assert!(listener.events().unwrap().take().contains(Readiness::ACCEPTABLE));
    for _ in 0..2 {
        // Told of each arrival, though it was readable before.
        net.send(1, &server, b"x").unwrap();
        net.run(5 * MS);
        assert_eq!(told.take(), Readiness::READABLE);
        assert!(client.readiness().contains(Readiness::READABLE));
    }
    assert_eq!(net.recv(0, &client, 10).unwrap().len(), 2);
    assert_eq!(client.readiness(), Readiness::WRITABLE);
    net.hosts[1].tcp_shutdown(&server, net.now, Shutdown::Write).unwrap();
    net.run(5 * MS);
    assert!(told.take().contains(Readiness::READABLE | Readiness::READ_HANGUP));
    assert!(!client.readiness().contains(Readiness::HANGUP));
    net.hosts[0].tcp_shutdown(&client, net.now, Shutdown::Write).unwrap();
    net.run(5 * MS);
    assert!(client.readiness().contains(Readiness::HANGUP));
}

#[test]
fn half_close() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.send(0, &client, b"question").unwrap();
    net.hosts[0].tcp_shutdown(&client, net.now, Shutdown::Write).unwrap();
    assert_eq!(net.send(0, &client, b"more"), Err(Error::BrokenPipe));
    net.run(10 * MS);
    assert_eq!(net.recv(1, &server, 100).unwrap(), b"question");
    assert_eq!(net.recv(1, &server, 100).unwrap(), b"");
    assert_eq!((state(&client), state(&server)), (State::FinWait2, State::CloseWait));
    net.send(1, &server, b"answer").unwrap();
    net.run(10 * MS);
    assert_eq!(net.recv(0, &client, 100).unwrap(), b"answer");
    net.hosts[1].tcp_close(&server, net.now);
    net.run(10 * MS);
    assert_eq!(net.recv(0, &client, 100).unwrap(), b"");
    assert_eq!((state(&client), state(&server)), (State::Closed, State::Closed));
}

#[test]
fn refused_and_unreachable() {
    let mut net = net();
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    assert_eq!(net.hosts[0].tcp_connect(&client, net.now, at(2, 81)), Ok(()));
    net.run(100 * MS);
    assert!(client.readiness().contains(Readiness::ERROR | Readiness::HANGUP));
    assert_eq!(client.take_error(), Some(Error::ConnectionRefused));
    assert_eq!(client.take_error(), None);

    // Nobody has this address: ARP gives up after three seconds.
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    assert_eq!(net.hosts[0].tcp_connect(&client, net.now, at(9, 80)), Ok(()));
    net.run(5 * SECOND);
    assert_eq!(client.take_error(), Some(Error::HostUnreachable));

    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    let far = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 80);
    assert_eq!(net.hosts[0].tcp_connect(&client, net.now, far), Err(Error::NetworkUnreachable));
}

#[test]
fn a_silent_peer_times_out() {
    let mut net = net();
    net.run(SECOND);
    let (_c, _s, _l) = net.connect(80); // fills the neighbour caches
    net.weather.lose = 1000;
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    assert_eq!(net.hosts[0].tcp_connect(&client, net.now, at(2, 80)), Ok(()));
    let start = net.now;
    while client.readiness().is_empty() {
        net.step(u64::MAX);
    }
    assert!(matches!(client.take_error(), Some(Error::TimedOut | Error::HostUnreachable)));
    let took = (net.now - start) / SECOND;
    assert!((3..=130).contains(&took), "{took} s");
}

#[test]
fn user_timeout() {
    let mut net = net();
    let (client, _server, _listener) = net.connect(80);
    net.run(SECOND);
    net.hosts[0].tcp_set_options(&client, net.now, |o| o.user_timeout = 5000);
    net.weather.lose = 1000;
    net.send(0, &client, b"anybody?").unwrap();
    let start = net.now;
    while !client.readiness().contains(Readiness::ERROR) {
        net.step(u64::MAX);
    }
    let took = net.now - start;
    assert!((5 * SECOND..13 * SECOND).contains(&took), "{} ms", took / MS);
}

#[test]
fn unread_data_resets_on_close() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.send(0, &client, b"nobody will read this").unwrap();
    net.run(10 * MS);
    net.hosts[1].tcp_close(&server, net.now);
    net.run(10 * MS);
    assert_eq!(net.recv(0, &client, 10), Err(Error::ConnectionReset));
    assert_eq!(net.recv(0, &client, 10), Ok(vec![]));
    assert_eq!(net.send(0, &client, b"x"), Err(Error::BrokenPipe));
}

#[test]
fn data_after_close_resets() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.hosts[1].tcp_close(&server, net.now);
    net.run(10 * MS);
    assert_eq!(net.recv(0, &client, 10), Ok(vec![]));
    net.send(0, &client, b"still here").unwrap();
    net.run(10 * MS);
    assert_eq!(net.send(0, &client, b"x"), Err(Error::BrokenPipe));
}

#[test]
fn linger_of_no_time_resets() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.hosts[0].tcp_set_options(&client, net.now, |o| o.linger = Some(0));
    net.hosts[0].tcp_close(&client, net.now);
    net.run(10 * MS);
    assert_eq!(server.take_error(), Some(Error::ConnectionReset));
    assert_eq!(state(&server), State::Closed);
}

#[test]
fn received_data_survives_a_reset() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.send(0, &client, b"last words").unwrap();
    net.run(10 * MS);
    net.hosts[0].tcp_set_options(&client, net.now, |o| o.linger = Some(0));
    net.hosts[0].tcp_close(&client, net.now);
    net.run(10 * MS);
    assert_eq!(net.recv(1, &server, 100).unwrap(), b"last words");
    assert_eq!(net.recv(1, &server, 100), Err(Error::ConnectionReset));
}

#[test]
fn a_reader_that_stops_closes_the_window_and_opens_it_again() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    let mut sent = 0;
    let pump = |net: &mut Net, sent: &mut usize| {
        for _ in 0..50 {
            let bytes: Vec<u8> = (*sent..*sent + 100_000).map(|i| byte(3, i)).collect();
            if let Ok(n) = net.send(0, &client, &bytes) {
                *sent += n;
            }
            net.run(20 * MS);
        }
    };
    pump(&mut net, &mut sent);
    assert_eq!(net.send(0, &client, b"x"), Err(Error::WouldBlock));
    assert!(!client.readiness().contains(Readiness::WRITABLE));
    let held = server.info().readable_bytes as usize;
    assert!((100_000..200_000).contains(&held), "{held}");
    client.events().unwrap().take();
    // Nothing but probes for a long time, and no time-out.
    let before = net.carried;
    net.run(600 * SECOND);
    assert!(net.carried - before < 100, "{}", net.carried - before);
    assert_eq!(state(&client), State::Established);
    // The window update may even be lost: the probe finds out.
    net.weather.lose = 1000;
    let mut got = net.recv(1, &server, 80_000).unwrap();
    net.run(MS);
    net.weather.lose = 0;
    net.run(130 * SECOND);
    assert!(client.events().unwrap().take().contains(Readiness::WRITABLE));
    while got.len() < sent {
        match net.recv(1, &server, 50_000) {
            Ok(bytes) => got.extend(bytes),
            Err(_) => assert!(net.step(u64::MAX)),
        }
    }
    assert!(got.iter().enumerate().all(|(i, b)| *b == byte(3, i)));
}

#[test]
fn nagle_cork_and_more() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.run(SECOND);
    // Nagle: the second small segment waits for the acknowledgement of the first.
    net.send(0, &client, b"a").unwrap();
    net.send(0, &client, b"b").unwrap();
    net.send(0, &client, b"c").unwrap();
    net.run(5 * MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"a");
    net.run(100 * MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"bc");
    net.hosts[0].tcp_set_options(&client, net.now, |o| o.no_delay = true);
    net.send(0, &client, b"d").unwrap();
    net.send(0, &client, b"e").unwrap();
    net.run(5 * MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"de");
    // MSG_MORE holds until the next send.
    net.hosts[0]
        .tcp_send(&client, net.now, 1, true, |b| {
            b[0] = b'f';
            1
        })
        .unwrap();
    net.run(100 * MS);
    assert_eq!(net.recv(1, &server, 10), Err(Error::WouldBlock));
    net.send(0, &client, b"g").unwrap();
    net.run(5 * MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"fg");
    // TCP_CORK holds for 200 ms.
    assert!(!net.hosts[0].tcp_set_hold(&client, net.now, Hold::Cork, true));
    net.send(0, &client, b"h").unwrap();
    net.run(100 * MS);
    assert_eq!(net.recv(1, &server, 10), Err(Error::WouldBlock));
    net.run(150 * MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"h");
    net.send(0, &client, b"i").unwrap();
    assert!(net.hosts[0].tcp_set_hold(&client, net.now, Hold::Cork, false));
    net.run(5 * MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"i");
    // The same goes for data that Nagle's algorithm holds back, also where a segment is lost.
    for lose in [0, 1000] {
        net.hosts[0].tcp_set_hold(&client, net.now, Hold::NoDelay, false);
        net.weather.lose = lose;
        net.send(0, &client, b"j").unwrap();
        if lose > 0 {
            net.run(5 * MS);
        }
        net.weather.lose = 0;
        net.send(0, &client, b"k").unwrap();
        assert!(net.hosts[0].tcp_set_hold(&client, net.now, Hold::NoDelay, true));
        net.run(if lose > 0 { SECOND } else { 5 * MS });
        assert_eq!(net.recv(1, &server, 10).unwrap(), b"jk");
    }
}

#[test]
fn keep_alive_finds_a_dead_peer() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.hosts[0].tcp_set_options(&client, net.now, |o| {
        o.keep_alive = true;
        o.keep_idle = 10;
        o.keep_interval = 2;
        o.keep_count = 3;
    });
    net.run(100 * SECOND);
    assert_eq!((state(&client), state(&server)), (State::Established, State::Established));
    net.weather.lose = 1000;
    let start = net.now;
    while !client.readiness().contains(Readiness::ERROR) {
        assert!(net.step(u64::MAX));
    }
    let took = net.now - start;
    assert!((6 * SECOND..20 * SECOND).contains(&took), "{} ms", took / MS);
    assert_eq!(client.take_error(), Some(Error::TimedOut));
}

/// Connects host 0, from port 5000, to a listener on port 80 of host 1, and closes host 1's end first: it has the connection
/// in TIME_WAIT then.
fn leave_time_wait_behind(net: &mut Net, listener: &TestTcp) {
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    net.hosts[0].tcp_bind(&client, at(1, 5000)).unwrap();
    let _ = net.hosts[0].tcp_connect(&client, net.now, at(2, 80));
    net.run(10 * MS);
    let server = net.hosts[1].tcp_accept(listener, net.now, Told::default).unwrap();
    net.hosts[1].tcp_close(&server, net.now);
    net.run(10 * MS);
    net.hosts[0].tcp_close(&client, net.now);
    net.run(10 * MS);
}

#[test]
fn time_wait_keeps_the_port() {
    let mut net = net();
    let listener = net.listen(80, 16);
    leave_time_wait_behind(&mut net, &listener);
    assert!(net.hosts[1].next_deadline().is_some());
    // The port stays taken, but for those that share it; without a word from the program, as on Linux, it can't be bound.
    net.hosts[1].tcp_close(&listener, net.now);
    let again = net.hosts[1].tcp_socket(Told::default()).unwrap();
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80);
    assert_eq!(net.hosts[1].tcp_bind(&again, any), Err(Error::AddressInUse));
    net.run(70 * SECOND);
    assert_eq!(net.hosts[1].tcp_bind(&again, any), Ok(()));
    net.hosts[1].tcp_close(&again, net.now);
}

#[test]
fn time_wait_makes_room_for_its_peer() {
    let mut net = net();
    let listener = net.listen(80, 16);
    leave_time_wait_behind(&mut net, &listener);
    // A new connection from the same port is let in at once (RFC 6191).
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    net.hosts[0].tcp_bind(&client, at(1, 5000)).unwrap();
    let _ = net.hosts[0].tcp_connect(&client, net.now, at(2, 80));
    net.run(10 * MS);
    let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).unwrap();
    net.send(0, &client, b"again").unwrap();
    net.run(10 * MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"again");
    net.hosts[1].tcp_close(&server, net.now);
    net.run(10 * MS);
    net.hosts[0].tcp_close(&client, net.now);
    net.run(70 * SECOND);
    // All is over: a sleeping guest executes nothing.
    assert_eq!(net.hosts[0].next_deadline(), None);
    assert_eq!(net.hosts[1].next_deadline(), None);
}

#[test]
fn a_closed_socket_leaves_nothing_behind() {
    let mut net = net();
    let (client, server, listener) = net.connect(80);
    net.send(0, &client, &[7; 100_000]).unwrap();
    net.hosts[0].tcp_close(&client, net.now);
    net.run(100 * MS);
    let mut got = 0;
    while let Ok(bytes) = net.recv(1, &server, 1 << 20) {
        if bytes.is_empty() {
            break;
        }
        got += bytes.len();
        net.run(10 * MS);
    }
    assert!(got > 0);
    net.hosts[1].tcp_close(&server, net.now);
    net.hosts[1].tcp_close(&listener, net.now);
    net.run(100 * SECOND);
    for socket in [client, server, listener] {
        assert_eq!(std::sync::Arc::strong_count(&socket), 1);
    }
}

#[test]
fn bind_listen_and_their_errors() {
    let net = net();
    let stack = &net.hosts[0];
    let socket = |_| stack.tcp_socket(Told::default()).unwrap();
    let any = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let [a, b, c] = std::array::from_fn(socket);
    assert_eq!(stack.tcp_bind(&a, at(9, 80)), Err(Error::AddressNotAvailable));
    stack.tcp_bind(&a, any(80)).unwrap();
    assert_eq!(stack.tcp_bind(&a, any(81)), Err(Error::Invalid));
    assert_eq!(stack.tcp_bind(&b, any(80)), Err(Error::AddressInUse));
    stack.tcp_listen(&a, 0, 1).unwrap();
    assert_eq!(stack.tcp_accept(&a, 0, Told::default).err(), Some(Error::WouldBlock));
    stack.tcp_listen(&c, 0, 1).unwrap();
    assert_ne!(c.local().port, 0);
    assert_eq!(stack.tcp_connect(&a, 0, at(2, 80)), Err(Error::IsConnected));
    assert_eq!(net.recv(0, &b, 1), Err(Error::NotConnected));
    assert_eq!(net.send(0, &b, b"x"), Err(Error::BrokenPipe));
    assert_eq!(stack.tcp_shutdown(&b, 0, Shutdown::Both), Err(Error::NotConnected));
    stack.tcp_close(&a, 0);
    stack.tcp_bind(&b, any(80)).unwrap();
}

#[test]
fn backlog_holds_back_and_loses_nobody() {
    let mut net = net();
    let listener = net.listen(80, 2);
    let clients: Vec<TestTcp> = (0..8)
        .map(|_| {
            let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
            let _ = net.hosts[0].tcp_connect(&client, net.now, at(2, 80));
            client
        })
        .collect();
    let mut accepted = Vec::new();
    for _ in 0..200 {
        net.run(500 * MS);
        accepted.extend(net.hosts[1].tcp_accept(&listener, net.now, Told::default));
    }
    assert_eq!(accepted.len(), 8);
    for client in &clients {
        assert_eq!(state(client), State::Established);
    }
}

#[test]
fn closing_a_listener_resets_who_waits() {
    let mut net = net();
    let listener = net.listen(80, 8);
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    let _ = net.hosts[0].tcp_connect(&client, net.now, at(2, 80));
    net.run(10 * MS);
    net.hosts[1].tcp_close(&listener, net.now);
    net.run(10 * MS);
    assert_eq!(client.take_error(), Some(Error::ConnectionReset));
}

#[test]
fn simultaneous_open() {
    let mut net = net();
    let a = net.hosts[0].tcp_socket(Told::default()).unwrap();
    let b = net.hosts[1].tcp_socket(Told::default()).unwrap();
    net.hosts[0].tcp_bind(&a, at(1, 1000)).unwrap();
    net.hosts[1].tcp_bind(&b, at(2, 2000)).unwrap();
    // ARP first, so that the SYNs cross.
    let (_c, _s, _l) = net.connect(80);
    let _ = net.hosts[0].tcp_connect(&a, net.now, at(2, 2000));
    let _ = net.hosts[1].tcp_connect(&b, net.now, at(1, 1000));
    net.run(3 * SECOND);
    assert_eq!((state(&a), state(&b)), (State::Established, State::Established));
    net.send(0, &a, b"hello").unwrap();
    net.run(10 * MS);
    assert_eq!(net.recv(1, &b, 10).unwrap(), b"hello");
}

#[test]
fn loopback_connects_at_once_and_carries_much() {
    let net = net();
    let stack = &net.hosts[0];
    for address in [Ipv4Addr::LOCALHOST, ip(1), Ipv4Addr::UNSPECIFIED] {
        let listener = stack.tcp_socket(Told::default()).unwrap();
        stack.tcp_bind(&listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 90)).unwrap();
        stack.tcp_listen(&listener, net.now, 5).unwrap();
        let client = stack.tcp_socket(Told::default()).unwrap();
        assert_eq!(stack.tcp_connect(&client, net.now, SocketAddrV4::new(address, 90)), Ok(()));
        let server = stack.tcp_accept(&listener, net.now, Told::default).unwrap();
        let (mut sent, mut got) = (0, 0);
        while got < 3_000_000 {
            let bytes: Vec<u8> = (sent..sent + 40_000).map(|i| byte(1, i)).collect();
            match net.send(0, &client, &bytes) {
                Ok(n) => sent += n,
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
            for b in net.recv(0, &server, 1 << 20).unwrap() {
                assert_eq!(b, byte(1, got));
                got += 1;
            }
            stack.poll(net.now);
        }
        assert_eq!(client.peer().unwrap().port, 90);
        assert_eq!(server.peer().unwrap(), client.local());
        stack.tcp_close(&client, net.now);
        stack.tcp_close(&server, net.now);
        stack.tcp_close(&listener, net.now);
    }
    let client = stack.tcp_socket(Told::default()).unwrap();
    let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 91);
    assert_eq!(stack.tcp_connect(&client, net.now, nobody), Ok(()));
    assert_eq!(client.take_error(), Some(Error::ConnectionRefused));
    assert!(
        stack.device().sent.lock().unwrap().iter().all(|w| w.bytes[12..14] == [8, 6]),
        "only ARP reached the link"
    );
}

#[test]
fn defer_accept_waits_for_data() {
    let mut net = net();
    let listener = net.listen(80, 8);
    net.hosts[1].tcp_set_options(&listener, net.now, |o| o.defer_accept = 5);
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    let _ = net.hosts[0].tcp_connect(&client, net.now, at(2, 80));
    net.run(500 * MS);
    assert_eq!(state(&client), State::Established);
    assert!(net.hosts[1].tcp_accept(&listener, net.now, Told::default).is_err());
    net.send(0, &client, b"data").unwrap();
    net.run(10 * MS);
    let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).unwrap();
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"data");
}

#[test]
fn a_full_device_delays_and_loses_nothing() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.run(SECOND);
    let mut sent = 0;
    let mut got = 0;
    let mut turn = 0usize;
    while got < 400_000 {
        turn += 1;
        net.hosts[0].device().room.store(if turn.is_multiple_of(3) { 2 } else { 0 }, Ordering::Relaxed);
        if sent < 400_000 {
            let bytes: Vec<u8> = (sent..(sent + 9000).min(400_000)).map(|i| byte(5, i)).collect();
            if let Ok(n) = net.send(0, &client, &bytes) {
                sent += n;
            }
        }
        net.hosts[0].poll(net.now);
        net.run(3 * MS);
        if let Ok(bytes) = net.recv(1, &server, 1 << 20) {
            for b in bytes {
                assert_eq!(b, byte(5, got));
                got += 1;
            }
        }
        assert!(turn < 10_000, "{sent} {got}");
    }
    assert!(net.now < 1100 * SECOND);
}

#[test]
fn no_packet_memory_is_survived() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.hosts[0].device().buffers.store(0, Ordering::Relaxed);
    assert_eq!(net.send(0, &client, b"x"), Err(Error::WouldBlock));
    net.hosts[0].device().buffers.store(1000, Ordering::Relaxed);
    net.send(0, &client, b"y").unwrap();
    net.run(10 * MS);
    assert_eq!(net.recv(1, &server, 1).unwrap(), b"y");
}

#[test]
fn small_reads_and_peeks_and_faults() {
    let mut net = net();
    let (client, server, _listener) = net.connect(80);
    net.send(0, &client, b"0123456789").unwrap();
    net.run(10 * MS);
    let stack = &net.hosts[1];
    let mut peeked = Vec::new();
    let peek = stack.tcp_recv(
        &server,
        || net.now,
        4,
        true,
        |b| {
            peeked.extend_from_slice(b);
            b.len()
        },
    );
    assert_eq!((peek, &peeked[..]), (Ok(4), &b"0123"[..]));
    // A sink that takes less (a page fault) ends the call, and loses nothing.
    assert_eq!(stack.tcp_recv(&server, || net.now, 8, false, |b| b.len().min(3)), Ok(3));
    assert_eq!(stack.tcp_recv(&server, || net.now, 8, false, |_| 0), Ok(0));
    assert_eq!(net.recv(1, &server, 2).unwrap(), b"34");
    assert_eq!(net.recv(1, &server, 100).unwrap(), b"56789");
    // So does a source.
    assert_eq!(
        net.hosts[0].tcp_send(&client, net.now, 10, false, |b| {
            b[..2].copy_from_slice(b"ab");
            2
        }),
        Ok(2)
    );
    net.run(10 * MS);
    assert_eq!(net.recv(1, &server, 100).unwrap(), b"ab");
}

#[test]
fn a_peer_that_takes_nothing_ends_the_patience() {
    for window_closed in [true, false] {
        let mut net = net();
        let (client, _server, _listener) = net.connect(80);
        net.hosts[0].tcp_set_options(&client, net.now, |o| o.user_timeout = 3000);
        if !window_closed {
            net.weather.lose = 1000;
        }
        for _ in 0..30 {
            let _ = net.send(0, &client, &[7; 50_000]);
            net.run(20 * MS);
        }
        let start = net.now;
        while !client.readiness().contains(Readiness::ERROR) {
            assert!(net.step(u64::MAX));
        }
        let took = net.now - start;
        assert!((2 * SECOND..5 * SECOND).contains(&took), "{} ms", took / MS);
        assert_eq!(net.recv(0, &client, 1), Err(Error::TimedOut));
        assert_eq!(net.recv(0, &client, 1), Ok(vec![]));
        assert_eq!(net.send(0, &client, b"x"), Err(Error::BrokenPipe));
    }
}
