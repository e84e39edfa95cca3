//! Datagrams to an echo server, one at a time.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Sample;
use super::histogram::Histogram;
use crate::network;

/// Bytes of a datagram.
const BYTES: usize = 64;
/// When an answer counts as lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Lost answers after which the guest counts as dead.
const MOST_LOST: u32 = 5;

/// Sends datagrams for `period`, each when the one before has come back.
pub fn echo(port: u16, period: Duration) -> Result<Sample> {
    let socket = UdpSocket::bind((network::HOST, 0))?;
    socket.connect(network::guest_port(port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut latencies = Histogram::default();
    let mut lost = 0;
    let mut answer = [0; BYTES + 1];
    let mut turn = 0u64;
    let start = Instant::now();
    while start.elapsed() < period {
        turn += 1;
        let mut datagram = [0; BYTES];
        datagram[..8].copy_from_slice(&turn.to_le_bytes());
        let since = Instant::now();
        socket.send(&datagram)?;
        match socket.recv(&mut answer) {
            Ok(len) if answer[..len] == datagram => latencies.add(since.elapsed()),
            _ => lost += 1,
        }
        if lost > MOST_LOST {
            bail!("{lost} of {turn} datagrams did not come back");
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Sample {
        operations: latencies.len(),
        rate: latencies.len() as f64 / seconds,
        p50: latencies.percentile(0.5),
        p99: latencies.percentile(0.99),
    })
}
