//! Urgent bytes over links that lose, repeat and reorder: the mark stands where the sender put it, and the stream is whole.

mod common;

use common::*;
use coracle_tcpip::*;

const ROUNDS: usize = 40;

fn send_urgent(net: &Net, socket: &TestTcp, bytes: &[u8]) -> Result<usize> {
    let mut done = 0;
    net.hosts[0].tcp_send_urgent(socket, net.now, bytes.len(), |room| {
        room.copy_from_slice(&bytes[done..done + room.len()]);
        done += room.len();
        room.len()
    })
}

/// Sends plain bytes, then some of which the last is urgent, then plain ones again; reads up to the mark and past it.
fn rounds(seed: u64, capabilities: Capabilities, inline: bool) {
    let weather = Weather { lose: 50, repeat: 20, corrupt: 0, low: 0, delay: MS, jitter: 2 * MS };
    let mut net = Net::new(seed, capabilities, weather);
    let (client, server, _listener) = net.connect(80);
    net.hosts[1].tcp_set_options(&server, net.now, |o| o.oob_inline = inline);
    assert_eq!(net.hosts[1].tcp_recv_urgent(&server, false), Err(Error::Invalid));
    let mut place = 0;
    for _ in 0..ROUNDS {
        let lengths =
            [net.rng.below(20_000), 1 + net.rng.below(3_000), net.rng.below(5_000)].map(|n| n as usize);
        let parts = lengths.map(|len| {
            let bytes: Vec<u8> = (place..place + len).map(|i| byte(0, i)).collect();
            place += len;
            bytes
        });
        assert_eq!(net.send(0, &client, &parts[0]), Ok(lengths[0]));
        assert_eq!(send_urgent(&net, &client, &parts[1]), Ok(lengths[1]));
        assert_eq!(net.send(0, &client, &parts[2]), Ok(lengths[2]));
        while client.info().unacknowledged_bytes > 0 {
            assert!(net.step(u64::MAX));
        }
        let all = parts.concat();
        let mark = lengths[0] + lengths[1] - 1;
        assert!(server.readiness().contains(Readiness::URGENT));
        assert_eq!(server.info().readable_bytes as usize, if inline { all.len() } else { mark });
        let mut got = Vec::new();
        while got.len() < mark {
            assert!(!server.info().at_mark);
            let want = 1 + net.rng.below(6_000) as usize;
            got.extend(net.recv(1, &server, want).unwrap());
        }
        assert!(server.info().at_mark && got == all[..mark]);
        if inline {
            assert_eq!(net.hosts[1].tcp_recv_urgent(&server, false), Err(Error::Invalid));
            got.extend(net.recv(1, &server, 1).unwrap());
        } else {
            for peek in [true, false] {
                assert_eq!(net.hosts[1].tcp_recv_urgent(&server, peek), Ok(Some(all[mark])));
            }
            assert_eq!(net.hosts[1].tcp_recv_urgent(&server, false), Err(Error::Invalid));
            got.push(all[mark]);
        }
        assert!(!inline || !server.readiness().contains(Readiness::URGENT));
        while got.len() < all.len() {
            let want = 1 + net.rng.below(6_000) as usize;
            got.extend(net.recv(1, &server, want).unwrap());
        }
        assert!(got == all);
        // The byte alone is nothing to be read.
        assert_eq!(net.recv(1, &server, 1), Err(Error::WouldBlock));
        assert!(!server.readiness().intersects(Readiness::URGENT | Readiness::READABLE));
        assert!(!server.info().at_mark);
    }
}

#[test]
fn marks_survive_bad_links() {
    for seed in 1..=6 {
        for capabilities in [PLAIN, OFFLOAD] {
            rounds(seed, capabilities, false);
            rounds(seed, capabilities, true);
        }
    }
}

#[test]
fn an_urgent_byte_that_is_not_read_in_time_is_lost_or_becomes_part_of_the_stream() {
    let mut net = Net::new(1, PLAIN, Weather::default());
    let (client, server, _listener) = net.connect(80);
    // Two before any is read: the first becomes part of the stream.
    send_urgent(&net, &client, b"ab").unwrap();
    net.run(MS);
    send_urgent(&net, &client, b"cd").unwrap();
    net.run(MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"abc");
    // One that is next to be read when another comes is lost, and so is one that is read past.
    send_urgent(&net, &client, b"e").unwrap();
    net.run(MS);
    assert_eq!(net.hosts[1].tcp_recv_urgent(&server, false), Ok(Some(b'e')));
    assert_eq!(net.recv(1, &server, 10), Err(Error::WouldBlock));
    assert_eq!(net.hosts[1].tcp_recv_urgent(&server, false), Err(Error::Invalid));
    net.hosts[0].tcp_shutdown(&client, net.now, Shutdown::Write).unwrap();
    net.run(MS);
    assert_eq!(net.recv(1, &server, 10).unwrap(), b"");
}
