//! Streams over a bad network arrive whole and in order, in both directions.

mod common;

use common::*;
use coracle_tcpip::*;

/// Sends `total` bytes each way at once, reading in odd amounts; gives the time it took.
fn transfer(net: &mut Net, total: usize) -> u64 {
    let (client, server, _listener) = net.connect(80);
    let start = net.now;
    let sockets = [client, server];
    let mut sent = [0usize; 2];
    let mut got = [0usize; 2];
    let mut closed = [false; 2];
    let mut ended = [false; 2];
    for _ in 0..4_000_000 {
        for host in 0..2 {
            while sent[host] < total {
                let want = (1 + net.rng.below(20_000) as usize).min(total - sent[host]);
                let bytes: Vec<u8> = (sent[host]..sent[host] + want).map(|i| byte(host as u64, i)).collect();
                match net.send(host, &sockets[host], &bytes) {
                    Ok(n) => sent[host] += n,
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("send: {error}"),
                }
            }
            if sent[host] == total && !closed[host] {
                closed[host] = true;
                net.hosts[host].tcp_shutdown(&sockets[host], net.now, Shutdown::Write).unwrap();
            }
            loop {
                let want = 1 + net.rng.below(30_000) as usize;
                match net.recv(host, &sockets[host], want) {
                    Ok(bytes) if bytes.is_empty() => {
                        ended[host] = true;
                        break;
                    }
                    Ok(bytes) => {
                        for b in bytes {
                            assert_eq!(b, byte(1 - host as u64, got[host]), "host {host} at {}", got[host]);
                            got[host] += 1;
                        }
                    }
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("recv: {error} after {} of {total}", got[host]),
                }
            }
        }
        if ended == [true; 2] {
            assert_eq!(got, [total; 2]);
            let took = net.now - start;
            net.run(200 * SECOND);
            for (host, socket) in sockets.iter().enumerate() {
                net.hosts[host].tcp_close(socket, net.now);
                assert_eq!(socket.info().state, State::Closed);
            }
            return took;
        }
        assert!(
            net.step(u64::MAX),
            "stalled: sent {sent:?} got {got:?} {:#?} {:#?}",
            sockets[0].info(),
            sockets[1].info()
        );
    }
    panic!("no end: sent {sent:?} got {got:?}");
}

#[test]
fn good_network() {
    for capabilities in [PLAIN, OFFLOAD] {
        let weather = Weather { delay: MS, ..Weather::default() };
        let took = transfer(&mut Net::new(1, capabilities, weather), 4_000_000);
        assert!(took < 4 * SECOND, "{took} ns");
    }
}

#[test]
fn no_delay_at_all() {
    transfer(&mut Net::new(1, OFFLOAD, Weather::default()), 1_000_000);
}

#[test]
fn losing_network() {
    for seed in 1..20 {
        let weather = Weather { lose: 30, delay: 5 * MS, ..Weather::default() };
        let took =
            transfer(&mut Net::new(seed, if seed % 2 == 0 { PLAIN } else { OFFLOAD }, weather), 1_000_000);
        assert!(took < 60 * SECOND, "seed {seed}: {} ms", took / MS);
    }
}

#[test]
fn reordering_network() {
    for seed in 1..10 {
        let weather = Weather { delay: 2 * MS, jitter: 3 * MS, repeat: 50, ..Weather::default() };
        transfer(&mut Net::new(seed, PLAIN, weather), 500_000);
    }
}

#[test]
fn corrupting_network() {
    for seed in 1..10 {
        let weather = Weather { delay: 2 * MS, corrupt: 30, ..Weather::default() };
        transfer(&mut Net::new(seed, PLAIN, weather), 300_000);
    }
}

#[test]
fn terrible_network() {
    for seed in 1..20 {
        let weather = Weather { delay: 10 * MS, jitter: 40 * MS, lose: 100, repeat: 50, corrupt: 20 };
        transfer(&mut Net::new(seed, if seed % 2 == 0 { PLAIN } else { OFFLOAD }, weather), 100_000);
    }
}
