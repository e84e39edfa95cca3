//! Whatever arrives, nothing panics, nothing is held for ever, and who has a connection keeps it.

mod common;

use common::*;
use proptest::prelude::*;

/// Frames that come close to something real: some fields are what they must be, the rest is not.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    (bytes, any::<[bool; 4]>(), 0u8..8).prop_map(|(mut b, [ethernet, ip, total, sum], kind)| {
        if ethernet && b.len() >= 14 {
            b[..6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
            b[12] = 8;
            b[13] = if kind == 0 { 6 } else { 0 };
        }
        if ip && b.len() >= 34 {
            b[14] = 0x45;
            b[23] = [1, 6, 17, 6][usize::from(kind % 4)];
            if kind < 6 {
                b[20..22].fill(0);
            }
            b[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
            if total {
                let len = (b.len() - 14) as u16;
                b[16..18].copy_from_slice(&len.to_be_bytes());
            }
            if b.len() >= 38 {
                b[36..38].copy_from_slice(&80u16.to_be_bytes());
            }
            if sum {
                b[24..26].fill(0);
                let mut s: u32 = b[14..34].chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c[1])).sum();
                s = (s & 0xffff) + (s >> 16);
                s = (s & 0xffff) + (s >> 16);
                b[24..26].copy_from_slice(&(!(s as u16)).to_be_bytes());
            }
        }
        b
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_frames_are_survived(frames in proptest::collection::vec((frame(), any::<bool>(), 0u64..SECOND), 1..80)) {
        let mut net = Net::new(1, PLAIN, Weather { delay: MS, ..Weather::default() });
        let (client, server, _listener) = net.connect(80);
        let port = client.local().port;
        for (mut bytes, partial, wait) in frames {
            if bytes.len() >= 36 && wait % 2 == 0 {
                bytes[34..36].copy_from_slice(&port.to_be_bytes());
            }
            net.hosts[1].receive(net.now, rx(&Wire { bytes, segment_size: (wait % 3000) as u16, partial }));
            net.run(wait);
        }
        // Sequence numbers are not guessed that easily.
        net.run(5 * SECOND);
        net.send(0, &client, b"hello").unwrap();
        net.run(10 * SECOND);
        prop_assert_eq!(net.recv(1, &server, 10).unwrap(), b"hello");
    }
}

/// Segments of a real connection, with one field changed: the stream stays what it is, or the connection ends.
#[test]
fn mutated_segments() {
    for seed in 1..400u64 {
        let mut net = Net::new(seed, OFFLOAD, Weather { delay: MS, ..Weather::default() });
        let (client, server, _listener) = net.connect(80);
        let mut rng = Rng(seed * 7919 + 1);
        for _ in 0..40 {
            let bytes: Vec<u8> = vec![1; rng.below(3000) as usize];
            let _ = net.send(0, &client, &bytes);
            let _ = net.send(1, &server, &bytes);
            let sent: Vec<Wire> = net.hosts[0].device().sent.lock().unwrap().iter().cloned().collect();
            for mut wire in sent {
                // Trusted by their mark, so that the change gets through.
                wire.partial = true;
                for _ in 0..1 + rng.below(3) {
                    let place = 34 + rng.below(wire.bytes.len() as u64 - 34) as usize;
                    wire.bytes[place.min(70)] = rng.next() as u8;
                }
                if wire.bytes[12..14] == [8, 0] {
                    net.hosts[1].receive(net.now, rx(&wire));
                }
            }
            net.run(rng.below(100 * MS));
            let _ = net.recv(0, &client, 2000);
            let _ = net.recv(1, &server, 2000);
        }
        net.hosts[0].tcp_close(&client, net.now);
        net.hosts[1].tcp_close(&server, net.now);
        net.run(2000 * SECOND);
        assert_eq!(std::sync::Arc::strong_count(&client), 1, "seed {seed}");
        assert_eq!(std::sync::Arc::strong_count(&server), 1, "seed {seed}: {:?}", server.info());
    }
}
