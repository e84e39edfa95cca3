//! What comes back for packets that could not be delivered: an ICMP message of a router or of the receiver, or an error of this host.

use crate::address::Link;
use crate::error::Error;
use crate::ip::{Address, Endpoint};
use crate::packet::protocol;
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

/// Reports that a socket keeps at most; more are lost.
pub const REPORTS_MAX: usize = 64;

/// The origin of an error, with the numbers of Linux's `struct sock_extended_err` (ip(7), IP_RECVERR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOrigin {
    /// This host.
    Local = 1,
    /// A message of ICMP.
    Icmp = 2,
    /// A message of ICMPv6.
    Icmp6 = 3,
}

/// An error and its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The kind of reporter.
    pub origin: ReportOrigin,
    /// Type of the ICMP message.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The MTU of a path that a packet did not fit, or 0.
    pub info: u32,
    /// The sender of the message.
    pub offender: Address,
    /// Time to live or hop limit with which the message came.
    pub ttl: u8,
    /// What programs are told.
    pub error: Error,
    /// Whether a connected socket fails with it that has not asked for reports (`icmp_err_convert`).
    pub is_hard: bool,
}

impl Blame {
    /// A neighbour does not answer: what this host would have sent to itself, by a message of the family of `own`.
    pub fn no_neighbor(own: Address, error: Error) -> Blame {
        const HOST_UNREACHABLE: (u8, u8) = (3, 1);
        const ADDRESS_UNREACHABLE: (u8, u8) = (1, 3);
        let (origin, (kind, code)) = match own.is_v4() {
            true => (ReportOrigin::Icmp, HOST_UNREACHABLE),
            false => (ReportOrigin::Icmp6, ADDRESS_UNREACHABLE),
        };
        Blame { origin, kind, code, info: 0, offender: own, ttl: 64, error, is_hard: false }
    }
}

/// A packet of this host that could not be delivered.
#[derive(Clone, Copy, Debug)]
pub struct Unsent<'a> {
    /// Why.
    pub blame: Blame,
    /// Its sender's address.
    pub source: Address,
    /// Where it was sent to.
    pub destination: Address,
    /// What it carries.
    pub protocol: u8,
    /// What is known of its bytes behind the IP header.
    pub rest: &'a [u8],
}

/// A report that a socket keeps.
#[derive(Clone, Debug)]
pub struct Report {
    /// What happened.
    pub blame: Blame,
    /// Where the datagram was sent to.
    pub destination: Endpoint,
    /// What came over the message.
    pub link: Link,
    /// When, in the nanoseconds of the engine's clock.
    pub arrived: u64,
    /// What the message quotes of the datagram's payload.
    pub payload: Vec<u8>,
}

impl Report {
    /// Of a datagram to `port`, of which `payload` is quoted.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn new(now: u64, unsent: &Unsent<'_>, port: u16, payload: &[u8]) -> Result<Report, NoMemory> {
        let link = if unsent.blame.offender.is_loopback() { Link::Loopback } else { Link::Wire };
        Ok(Report {
            blame: unsent.blame,
            destination: Endpoint::new(unsent.destination, port),
            link,
            arrived: now,
            payload: payload.try_to_vec()?,
        })
    }
}

/// The error for an ICMP message that says a packet could not be delivered, and whether it is hard (Linux's `icmp_err_convert`). `None`
/// for other messages.
pub fn icmp_error(kind: u8, code: u8) -> Option<(Error, bool)> {
    const UNREACHABLE: u8 = 3;
    const TIME_EXCEEDED: u8 = 11;
    const PARAMETER_PROBLEM: u8 = 12;
    Some(match (kind, code) {
        (UNREACHABLE, 0) => (Error::NetworkUnreachable, false),
        (UNREACHABLE, 2) => (Error::ProtocolNotAvailable, true),
        (UNREACHABLE, 3) => (Error::ConnectionRefused, true),
        (UNREACHABLE, 4) => (Error::MessageTooLong, true),
        (UNREACHABLE, 5) => (Error::NotSupported, false),
        (UNREACHABLE, 6 | 9) => (Error::NetworkUnreachable, true),
        (UNREACHABLE, 7) => (Error::HostDown, true),
        (UNREACHABLE, 8) => (Error::NoNetwork, true),
        (UNREACHABLE, 10 | 13..=15) => (Error::HostUnreachable, true),
        (UNREACHABLE, 11) => (Error::NetworkUnreachable, false),
        (UNREACHABLE | TIME_EXCEEDED, _) => (Error::HostUnreachable, false),
        (PARAMETER_PROBLEM, _) => (Error::Protocol, true),
        _ => return None,
    })
}

/// The same for ICMPv6 (Linux's `icmpv6_err_convert`).
pub fn icmpv6_error(kind: u8, code: u8) -> Option<(Error, bool)> {
    const UNREACHABLE: u8 = 1;
    const TOO_BIG: u8 = 2;
    const TIME_EXCEEDED: u8 = 3;
    const PARAMETER_PROBLEM: u8 = 4;
    Some(match (kind, code) {
        (UNREACHABLE, 0) => (Error::NetworkUnreachable, false),
        (UNREACHABLE, 1 | 5 | 6) => (Error::AccessDenied, true),
        (UNREACHABLE, 4) => (Error::ConnectionRefused, true),
        (TOO_BIG, _) => (Error::MessageTooLong, false),
        (UNREACHABLE | TIME_EXCEEDED, _) => (Error::HostUnreachable, false),
        (PARAMETER_PROBLEM, _) => (Error::Protocol, true),
        _ => return None,
    })
}

/// Whether the engine itself takes packets of this protocol, which are then none for raw sockets.
pub fn is_transport(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | protocol::UDP_LITE)
}
