//! CPUs read the clock before they wait for a connection's lock, so that times reach it out of order.

mod common;

use common::*;
use coracle_tcpip::*;

/// How much earlier one CPU has read the clock than the one that came before it.
const EARLIER: u64 = 5 * MS;

/// Carries what host `from` has sent to the other, which takes it at `now`.
fn carry(net: &Net, from: usize, now: u64) {
    let sent: Vec<Wire> = net.hosts[from].device().sent.lock().unwrap().drain(..).collect();
    for wire in sent {
        net.hosts[1 - from].receive(now, rx(&wire));
    }
    net.hosts[1 - from].poll(now);
}

#[test]
fn a_handshake_seen_backwards_measures_no_endless_round_trip() {
    let mut net = Net::new(1, OFFLOAD, Weather::default());
    let listener = net.listen(80, 4);
    let client = net.hosts[0].tcp_socket(Told::default()).unwrap();
    assert_eq!(net.hosts[0].tcp_connect(&client, net.now, at(2, 80)), Ok(()));
    for _ in 0..4 {
        carry(&net, 0, net.now);
        carry(&net, 1, net.now - EARLIER);
        net.now -= EARLIER;
    }
    let server = net.hosts[1].tcp_accept(&listener, net.now, Told::default).unwrap();
    for info in [client.info(), server.info()] {
        assert_eq!(info.state, State::Established);
        assert!(u64::from(info.rto) * 1000 < SECOND, "retransmission time-out of {} us", info.rto);
    }
}

#[test]
fn segments_sent_with_an_earlier_time_are_taken() {
    let mut net = Net::new(1, OFFLOAD, Weather::default());
    let (client, server, _listener) = net.connect(80);
    net.run(SECOND);
    net.hosts[0].tcp_set_options(&client, net.now, |o| o.no_delay = true);
    let mut received = 0;
    for _ in 0..10 {
        net.send(0, &client, b"first").unwrap();
        net.now -= EARLIER;
        net.send(0, &client, b"second").unwrap();
        carry(&net, 0, net.now);
        carry(&net, 1, net.now);
        received += net.recv(1, &server, 100).unwrap().len();
        net.now += EARLIER + MS;
    }
    assert_eq!(received, 10 * b"firstsecond".len());
    assert_eq!(client.info().total_retransmits, 0);
    assert!(u64::from(client.info().rto) * 1000 < SECOND);
}
