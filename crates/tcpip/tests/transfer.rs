//! Streams over a bad network arrive whole and in order, in both directions.

mod common;

use common::*;

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
        let weather = Weather { delay: 10 * MS, jitter: 40 * MS, lose: 100, repeat: 50, corrupt: 20, low: 0 };
        transfer(&mut Net::new(seed, if seed % 2 == 0 { PLAIN } else { OFFLOAD }, weather), 100_000);
    }
}
