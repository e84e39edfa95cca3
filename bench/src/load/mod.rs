//! The loads: what is asked of a guest, and what came of it.

pub mod closed;
pub mod histogram;
pub mod memcached;
pub mod tools;
pub mod udp;

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use crate::network;

/// What one run of a load gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Operations done (for streams: bytes).
    pub operations: u64,
    /// Operations per second, as the client saw them.
    pub rate: f64,
    /// Median latency in microseconds, where the client tells.
    pub p50: Option<f64>,
    /// 99th percentile of the latency in microseconds.
    pub p99: Option<f64>,
}

/// A load.
#[derive(Clone, Debug)]
pub enum Load {
    /// memcaslap with this many connections.
    Memcaslap { connections: u32 },
    /// The bench's own memcached client: busy connections in a closed loop beside idle ones.
    Memcached { busy: usize, idle: usize },
    /// redis-benchmark.
    Redis { test: &'static str, connections: u32, pipeline: u32 },
    /// pgbench's own transactions, which are like TPC-B's.
    Pgbench { clients: u32 },
    /// wrk.
    Http { port: u16, path: &'static str, connections: u32, keep_alive: bool },
    /// iperf3; `to_guest` tells the direction.
    Stream { to_guest: bool },
    /// Datagrams that come back, one at a time.
    UdpEcho {
        port: u16,
        /// A thread of the guest computes meanwhile: what the guest executes says nothing.
        beside_work: bool,
    },
}

impl Load {
    /// Runs the load for about this long.
    pub fn run(&self, period: Duration) -> Result<Sample> {
        match *self {
            Self::Memcaslap { connections } => tools::memcaslap(connections, period),
            Self::Memcached { busy, .. } => memcached::run(busy, period),
            Self::Redis { test, connections, pipeline } => {
                tools::redis_benchmark(test, connections, pipeline, period)
            }
            Self::Pgbench { clients } => tools::pgbench(clients, period),
            Self::Http { port, path, connections, keep_alive } => {
                tools::wrk(port, path, connections, keep_alive, period)
            }
            Self::Stream { to_guest } => tools::iperf3(to_guest, period),
            Self::UdpEcho { port, .. } => udp::echo(port, period),
        }
    }

    /// Whether the guest executes only what the load asks of it, so that counting its instructions tells something.
    pub fn is_counted(&self) -> bool {
        !matches!(self, Self::UdpEcho { beside_work: true, .. })
    }

    /// What is done once before measuring starts: fills a cache, opens idle connections (open as long as the caller
    /// keeps them), warms up.
    pub fn prepare(&self) -> Result<Vec<TcpStream>> {
        match *self {
            Self::Memcached { idle, .. } => {
                memcached::fill()?;
                let streams = closed::open_idle(network::guest_port(memcached::PORT), idle)?;
                std::thread::sleep(WARM_UP);
                Ok(streams)
            }
            Self::Memcaslap { .. } => memcached::fill().map(|()| Vec::new()),
            Self::Pgbench { .. } => {
                tools::pgbench_tables()?;
                self.run(WARM_UP).map(|_| Vec::new())
            }
            _ => self.run(WARM_UP).map(|_| Vec::new()),
        }
    }
}

/// How long a load runs, or opened connections come to rest, before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);
