//! TCP Fast Open (RFC 7413) over a link: data in SYNs, and what is lost of it.

mod common;

use common::*;
use coracle_tcpip::*;

const PORT: u16 = 80;

/// Two hosts of which the second accepts data in SYNs.
fn net(weather: Weather) -> (Net, TestTcp) {
    let mut net = Net::new(7, PLAIN, weather);
    net.hosts
        .iter()
        .for_each(|host| host.set_fast_open(fast_open_setting::CLIENT | fast_open_setting::SERVER));
    let listener = net.listen(PORT, 16);
    net.hosts[1].tcp_accept_syn_data(&listener, 2, [None; 2]).unwrap();
    (net, listener)
}

/// Begins a connection with `text`; returns it with the number of bytes that the SYN took.
fn open(net: &Net, text: &[u8]) -> (TestTcp, usize) {
    let socket = net.hosts[0].tcp_socket(Told::default()).unwrap();
    let mut done = 0;
    let fill = &mut |room: &mut [u8]| {
        let len = room.len().min(text.len() - done);
        room[..len].copy_from_slice(&text[done..done + len]);
        done += len;
        len
    };
    let queued = net.hosts[0].tcp_connect_with_data(&socket, net.now, Some(at(2, PORT)), text.len(), fill);
    (socket, queued.unwrap())
}

/// Has host 0 learn the cookie, by a connection that it aborts.
fn learn(net: &mut Net, listener: &TestTcp) {
    let (socket, queued) = open(net, b"first");
    assert_eq!(queued, 0);
    net.run(SECOND);
    assert_eq!(socket.info().state, State::Established);
    assert!(!socket.info().syn_data);
    let server = net.hosts[1].tcp_accept(listener, net.now, Told::default).unwrap();
    net.hosts[0].tcp_disconnect(&socket, net.now);
    net.run(SECOND);
    net.hosts[1].tcp_close(&server, net.now);
}

/// Hands the frames that a host has sent to the other, but for the first `lost`.
fn carry(net: &Net, from: usize, lost: usize) -> usize {
    let sent = std::mem::take(&mut *net.hosts[from].device().sent.lock().unwrap());
    sent.iter().skip(lost).for_each(|frame| net.hosts[1 - from].receive(net.now, rx(frame)));
    net.hosts[1 - from].poll(net.now);
    sent.len()
}

#[test]
fn an_answer_comes_within_one_round_trip() {
    let (mut net, listener) = net(Weather::default());
    learn(&mut net, &listener);
    let (client, queued) = open(&net, b"question");
    assert_eq!((queued, client.info().state), (8, State::SynSent));
    assert_eq!(carry(&net, 0, 0), 1);
    let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).unwrap();
    assert_eq!((server.info().state, server.info().syn_data), (State::SynReceived, true));
    assert_eq!(net.recv(1, &server, 100), Ok(b"question".to_vec()));
    assert_eq!(net.send(1, &server, b"answer"), Ok(6));
    net.hosts[1].tcp_shutdown(&server, net.now, Shutdown::Write).unwrap();
    // The SYN-ACK, the answer and the end, all before the handshake's third segment.
    assert!(carry(&net, 1, 0) >= 2);
    assert_eq!(net.recv(0, &client, 100), Ok(b"answer".to_vec()));
    assert_eq!(net.recv(0, &client, 100), Ok(vec![]));
    assert!(client.info().syn_data);
    net.run(SECOND);
    net.hosts[0].tcp_close(&client, net.now);
    net.run(SECOND);
    assert_eq!(net.recv(1, &server, 100), Ok(vec![]));
    assert_eq!(server.info().state, State::Closed);
}

#[test]
fn a_lost_answer_is_sent_again() {
    let (mut net, listener) = net(Weather::default());
    learn(&mut net, &listener);
    let (client, _) = open(&net, b"question");
    carry(&net, 0, 0);
    // Not the SYN-ACK, but the answer, which the client can't take without it.
    let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).unwrap();
    assert_eq!(net.send(1, &server, b"answer"), Ok(6));
    carry(&net, 1, 1);
    net.run(30 * SECOND);
    assert_eq!((client.info().state, server.info().state), (State::Established, State::Established));
    assert_eq!(net.recv(1, &server, 100), Ok(b"question".to_vec()));
    assert_eq!(net.recv(0, &client, 100), Ok(b"answer".to_vec()));
}

#[test]
fn a_lost_syn_is_sent_again_without_data_and_the_cookie_is_forgotten() {
    let (mut net, listener) = net(Weather::default());
    learn(&mut net, &listener);
    let (client, queued) = open(&net, b"question");
    assert_eq!(queued, 8);
    assert_eq!(carry(&net, 0, 1), 1);
    net.run(30 * SECOND);
    let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).unwrap();
    assert_eq!(net.recv(1, &server, 100), Ok(b"question".to_vec()));
    assert!(!client.info().syn_data && !server.info().syn_data);
    assert_eq!(open(&net, b"asks again").1, 0);
}

#[test]
fn a_listener_has_so_many_and_not_more() {
    let (mut net, listener) = net(Weather::default());
    learn(&mut net, &listener);
    let all: Vec<_> = (0..3).map(|_| open(&net, b"question").0).collect();
    carry(&net, 0, 0);
    let accept = |net: &Net| net.hosts[1].tcp_accept(&listener, net.now, Told::default);
    let servers = [accept(&net).unwrap(), accept(&net).unwrap()];
    assert!(accept(&net).is_err());
    net.run(SECOND);
    let last = accept(&net).unwrap();
    assert_eq!(net.recv(1, &last, 100), Ok(b"question".to_vec()));
    assert!(servers.iter().all(|server| server.info().syn_data) && !last.info().syn_data);
    assert!(all.iter().all(|client| client.info().state == State::Established));
    // A reset makes room.
    let (client, _) = open(&net, b"question");
    carry(&net, 0, 0);
    net.hosts[0].tcp_disconnect(&client, net.now);
    net.run(SECOND);
    let more: Vec<_> = (0..2).map(|_| open(&net, b"question").0).collect();
    carry(&net, 0, 0);
    let _ = accept(&net);
    assert!(accept(&net).is_ok() && accept(&net).is_ok());
    drop(more);
}

#[test]
fn streams_arrive_whatever_the_link_does() {
    let weather = Weather { lose: 150, repeat: 50, corrupt: 50, delay: 10 * MS, jitter: 20 * MS, low: 0 };
    let (mut net, listener) = net(weather);
    let text: Vec<u8> = (0..1300).map(|at| byte(1, at)).collect();
    let mut with_syn = 0;
    for _ in 0..60 {
        let (client, mut sent) = open(&net, &text);
        let mut got = Vec::new();
        let mut server = None;
        for _ in 0..100_000 {
            if sent < text.len()
                && let Ok(more) = net.send(0, &client, &text[sent..])
            {
                sent += more;
            }
            if server.is_none() {
                server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).ok();
            }
            if let Some(server) = &server
                && let Ok(bytes) = net.recv(1, server, 4000)
            {
                got.extend_from_slice(&bytes);
            }
            if got.len() >= text.len() {
                break;
            }
            net.step(u64::MAX);
        }
        assert_eq!(got, text);
        net.run(20 * SECOND);
        with_syn += usize::from(client.info().syn_data);
        net.hosts[0].tcp_close(&client, net.now);
        net.hosts[1].tcp_close(&server.unwrap(), net.now);
        net.run(100 * SECOND);
    }
    assert!(with_syn > 10, "{with_syn}");
}
