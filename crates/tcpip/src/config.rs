//! What the owner of a [`Stack`](crate::Stack) configures: secrets, limits, addresses.

use core::net::{Ipv4Addr, Ipv6Addr};

/// Settings of a stack, fixed at its creation.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// 32 random bytes: they key the hash tables, initial sequence numbers (RFC 6528), SYN cookies and port choice
    /// (RFC 6056).
    pub secret: [u64; 4],
    /// Bounds of memory.
    pub limits: Limits,
}

impl Config {
    /// Default limits with this secret.
    pub fn new(secret: [u64; 4]) -> Self {
        Config { secret, limits: Limits::default() }
    }
}

/// Bounds of what sockets may hold. All in bytes unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// First size of a TCP receive buffer (`tcp_rmem[1]`).
    pub receive_default: usize,
    /// Greatest size by autotuning or `SO_RCVBUF` (`tcp_rmem[2]`).
    pub receive_max: usize,
    /// First size of a TCP send buffer (`tcp_wmem[1]`).
    pub send_default: usize,
    /// Greatest size by autotuning or `SO_SNDBUF` (`tcp_wmem[2]`).
    pub send_max: usize,
    /// Bytes that may wait in a UDP socket.
    pub udp_receive: usize,
    /// Greatest accept backlog (`somaxconn`), in connections.
    pub backlog_max: usize,
    /// Half-open connections per listener before SYN cookies are used (`tcp_max_syn_backlog`).
    pub syn_backlog: usize,
    /// Connections in TIME_WAIT before old ones are dropped early (`tcp_max_tw_buckets`).
    pub time_wait_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            receive_default: 128 << 10,
            receive_max: 4 << 20,
            send_default: 64 << 10,
            send_max: 4 << 20,
            udp_receive: 208 << 10,
            backlog_max: 4096,
            syn_backlog: 256,
            time_wait_max: 8192,
        }
    }
}

/// An IPv4 configuration of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Config {
    /// Our address.
    pub address: Ipv4Addr,
    /// Length of the network prefix, 0 to 32.
    pub prefix_len: u8,
    /// The default router, if there is one.
    pub gateway: Option<Ipv4Addr>,
}

/// An IPv6 configuration of the device, beside what routers advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Config {
    /// Our address.
    pub address: Ipv6Addr,
    /// Length of the network prefix, 0 to 128.
    pub prefix_len: u8,
    /// The default router, if there is one.
    pub gateway: Option<Ipv6Addr>,
}

impl Ipv4Config {
    /// The network mask as a number.
    pub fn mask(&self) -> u32 {
        match self.prefix_len {
            0 => 0,
            n => u32::MAX << (32 - u32::from(n.min(32))),
        }
    }
}
