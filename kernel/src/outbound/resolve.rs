//! Names, as programs resolve them: /etc/hosts, then the servers of /etc/resolv.conf (the crate `coracle-stub-resolver`).
use super::socket::Connected;
use crate::metrics::Proc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_fallible::prelude::*;
use coracle_hal::time::now_ns;
use coracle_metrics::Files as _;
use coracle_stub_resolver::{Answer, Kind, LONGEST, LONGEST_QUESTION, PORT, answer, question};
use core::net::IpAddr;
use linux_raw_sys::net::SOCK_DGRAM;

/// How long a server may take, how often all are asked, and how many they are at most (resolv.conf(5)'s MAXNS).
const PATIENCE_NS: u64 = 2_000_000_000;
const ATTEMPTS: usize = 2;
const SERVERS: usize = 3;

/// The address of a host. ENOENT: it has none; EAGAIN: no server answers; ENOMEM.
pub fn resolve(host: &str) -> Result<IpAddr, Errno> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let mut files = Proc::new()?;
    let mut known = None;
    files.lines("/etc/hosts", &mut |line| {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if words.any(|name| name.eq_ignore_ascii_case(host)) {
            known = known.or(address);
        }
    });
    if let Some(address) = known {
        return Ok(address);
    }
    let mut servers: Vec<IpAddr> = Vec::new();
    servers.make_room(SERVERS)?;
    files.lines("/etc/resolv.conf", &mut |line| {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver")
            && servers.len() < SERVERS
            && let Some(address) = words.next().and_then(|word| word.parse().ok())
        {
            servers.push_reserved(address);
        }
    });
    let mut outcome = Errno::AGAIN;
    for _ in 0..ATTEMPTS {
        for server in &servers {
            for kind in [Kind::V4, Kind::V6] {
                match ask(*server, host, kind) {
                    Ok(Answer::Address(address)) => return Ok(address),
                    Ok(Answer::None) => outcome = Errno::NOENT,
                    Err(_) => break,
                }
            }
            if outcome == Errno::NOENT {
                return Err(outcome);
            }
        }
    }
    Err(outcome)
}

fn ask(server: IpAddr, host: &str, kind: Kind) -> Result<Answer, Errno> {
    let mut asked = [0; LONGEST_QUESTION];
    let len = question(coracle_core::random::u64() as u16, host, kind, &mut asked).ok_or(Errno::INVAL)?;
    let asked = &asked[..len];
    let until_ns = now_ns() + PATIENCE_NS;
    let socket = Connected::new(SOCK_DGRAM, server, PORT, until_ns)?;
    socket.send(asked, until_ns)?;
    let mut buffer = [0; LONGEST];
    loop {
        let len = socket.receive(&mut buffer, until_ns)?;
        if let Some(answer) = answer(&buffer[..len], asked) {
            return Ok(answer);
        }
    }
}
