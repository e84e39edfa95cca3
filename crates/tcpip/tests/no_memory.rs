//! What there is no memory for when it arrives is as if it had been lost: streams arrive whole. One test, since memory is low
//! for the whole process.

mod common;

use common::*;

#[test]
fn streams_survive_a_lack_of_memory() {
    for seed in 1..12 {
        let capabilities = if seed % 2 == 0 { PLAIN } else { OFFLOAD };
        // Losses leave gaps, and what arrives behind them waits out of order.
        let weather = Weather { low: 200, lose: 20, delay: 5 * MS, jitter: 3 * MS, ..Weather::default() };
        transfer(&mut Net::new(seed, capabilities, weather), 300_000);
    }
}
