//! How quiet the host is: what it costs two of its own threads to wake each other, with no guest in play.
//!
//! A request to a guest takes several such wake-ups (of QEMU's main loop, of the virtual CPU, of the client), so the
//! slowest hundredth of requests can't be better than that of these.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::load::histogram::Histogram;

/// How long each of the two works before it wakes the other, about as a guest and a client do.
const WORK: Duration = Duration::from_micros(30);

/// There and back again, for `period`: median and 99th percentile, in microseconds.
pub fn wake_ups(period: Duration) -> Result<(f64, f64)> {
    let (mut here, mut there) = UnixStream::pair()?;
    let partner = thread::spawn(move || {
        let mut byte = [0];
        // Ends when the other end is closed.
        while there.read_exact(&mut byte).is_ok() {
            work();
            if there.write_all(&byte).is_err() {
                break;
            }
        }
    });
    let mut latencies = Histogram::default();
    let start = Instant::now();
    while start.elapsed() < period {
        work();
        let sent = Instant::now();
        let mut byte = [0];
        here.write_all(&byte)?;
        here.read_exact(&mut byte)?;
        latencies.add(sent.elapsed());
    }
    drop(here);
    partner.join().map_err(|_| anyhow!("the partner of the host's wake-ups panicked"))?;
    latencies
        .percentile(0.5)
        .zip(latencies.percentile(0.99))
        .ok_or_else(|| anyhow!("no wake-up was measured"))
}

fn work() {
    let start = Instant::now();
    while start.elapsed() < WORK {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_takes_at_least_the_work() {
        let (median, slowest) = wake_ups(Duration::from_millis(20)).unwrap();
        assert!(median >= WORK.as_secs_f64() * 1e6 && slowest >= median);
    }
}
