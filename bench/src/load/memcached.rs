//! The bench's own memcached client: 90 % get, 10 % set, values of 1 KB, as memcaslap asks, but with percentiles of the
//! latency and with idle connections beside the busy ones.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Sample;
use super::closed::{self, Protocol};
use crate::network;

/// memcached's port.
pub const PORT: u16 = 11211;
/// Bytes of a value, as memcaslap has them.
const VALUE_BYTES: usize = 1024;
/// Bytes of a key, as memcaslap has them.
const KEY_BYTES: usize = 64;
/// Keys in use: few enough to stay in the smallest cache measured.
const KEYS: u64 = 1000;
/// One request in this many is a set.
const SET_EVERY: u64 = 10;

struct Client {
    value: Vec<u8>,
    turn: u64,
}

impl Client {
    fn new() -> Self {
        Self { value: vec![b'v'; VALUE_BYTES], turn: 0 }
    }

    fn key(number: u64) -> String {
        format!("{number:0>width$}", width = KEY_BYTES)
    }

    fn set(&self, number: u64, request: &mut Vec<u8>) {
        request.extend_from_slice(format!("set {} 0 0 {VALUE_BYTES}\r\n", Self::key(number)).as_bytes());
        request.extend_from_slice(&self.value);
        request.extend_from_slice(b"\r\n");
    }
}

impl Protocol for Client {
    fn request(&mut self, request: &mut Vec<u8>) {
        // A full-period walk over the keys (Weyl sequence): no key is asked twice in a row.
        self.turn += 1;
        let number = self.turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
        if self.turn.is_multiple_of(SET_EVERY) {
            self.set(number, request);
        } else {
            request.extend_from_slice(format!("get {}\r\n", Self::key(number)).as_bytes());
        }
    }

    fn complete(&self, answer: &[u8]) -> Result<bool> {
        let head = &answer[..answer.len().min(6)];
        if "STORED".as_bytes().starts_with(head) {
            Ok(answer.ends_with(b"\r\n"))
        } else if b"VALUE ".starts_with(head) {
            Ok(answer.len() > VALUE_BYTES && answer.ends_with(b"\r\nEND\r\n"))
        } else {
            bail!("memcached answered {:?}", String::from_utf8_lossy(&answer[..answer.len().min(60)]))
        }
    }
}

/// Stores every key once.
pub fn fill() -> Result<()> {
    let client = Client::new();
    let mut stream = TcpStream::connect(network::guest_port(PORT))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    let mut answer = [0; 8];
    for number in 0..KEYS {
        request.clear();
        client.set(number, &mut request);
        stream.write_all(&request)?;
        stream.read_exact(&mut answer).context("memcached does not answer a set")?;
        if &answer != b"STORED\r\n" {
            bail!("memcached answered a set with {:?}", String::from_utf8_lossy(&answer));
        }
    }
    Ok(())
}

/// Runs `busy` connections in a closed loop.
pub fn run(busy: usize, period: Duration) -> Result<Sample> {
    closed::run(network::guest_port(PORT), busy, period, &mut Client::new())
}

/// Gets and sets that memcached has served, by its own statistics.
pub fn served() -> Result<u64> {
    let mut stream = TcpStream::connect(network::guest_port(PORT))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"stats\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"END\r\n") {
        let len = stream.read(&mut buffer).context("memcached does not answer `stats`")?;
        if len == 0 {
            bail!("memcached closed the connection that asked `stats`");
        }
        answer.extend_from_slice(&buffer[..len]);
    }
    let answer = String::from_utf8_lossy(&answer);
    let value = |name: &str| {
        answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(value("STAT cmd_get ") + value("STAT cmd_set "))
}
