//! Socket options that TCP and UDP sockets share (socket(7), ip(7), ipv6(7)).
use super::address::Family;
use super::common::Common;
use super::interface_ioctl::{NAME_BYTES, interfaces};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::access::capability;
use coracle_core::task::namespaces::check_network_capability;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use coracle_tcpip::{Endpoint, Link};
use core::ops::RangeInclusive;
use linux_raw_sys::net as n;

/// Levels. The protocol numbers are an enumeration in linux-raw-sys.
pub const SOL_SOCKET: i32 = n::SOL_SOCKET as i32;
/// See [`SOL_SOCKET`].
pub const SOL_IP: i32 = 0;
/// See [`SOL_SOCKET`].
pub const SOL_TCP: i32 = 6;
/// See [`SOL_SOCKET`].
pub const SOL_UDP: i32 = 17;
/// See [`SOL_SOCKET`].
pub const SOL_IPV6: i32 = 41;
/// See [`SOL_SOCKET`].
pub const SOL_UDPLITE: i32 = 136;

/// Greatest SO_RCVBUF and SO_SNDBUF (net.core.rmem_max and wmem_max), in bytes.
pub const BUFFER_MAX: usize = 212_992;
/// Smallest, as Linux bounds them (SOCK_MIN_RCVBUF).
pub const BUFFER_MIN: usize = 2048;

/// Options of SOL_SOCKET that change nothing here: hints for hardware, scheduling, accounting, or what there is only
/// one of.
const HINTS: &[u32] = &[
    n::SO_DEBUG,
    n::SO_DONTROUTE,
    n::SO_OOBINLINE,
    n::SO_PRIORITY,
    n::SO_MARK,
    n::SO_BUSY_POLL,
    n::SO_PREFER_BUSY_POLL,
    n::SO_BUSY_POLL_BUDGET,
    n::SO_INCOMING_CPU,
    n::SO_RXQ_OVFL,
    n::SO_MAX_PACING_RATE,
    n::SO_NO_CHECK,
    n::SO_LOCK_FILTER,
    n::SO_RCVLOWAT,
];

/// Where the flags of a `struct sock_txtime` are in what is kept of it, above its clock, and all of them (SOF_TXTIME_FLAGS_MASK).
const TXTIME_FLAGS_AT: u32 = 8;
const TXTIME_FLAGS: u32 = 3;

/// A number that a program gave as an option: an `int`, or for some options of IP a single byte.
pub fn int(value: &[u8]) -> Result<i32, Errno> {
    match (value.first_chunk::<4>(), value) {
        (Some(bytes), _) => Ok(i32::from_le_bytes(*bytes)),
        (None, [byte, ..]) => Ok(i32::from(*byte)),
        (None, []) => Err(Errno::INVAL),
    }
}

/// An answer of type `int`.
pub fn answer(value: i32) -> Result<Vec<u8>, Errno> {
    Ok(value.to_le_bytes().try_to_vec()?)
}

/// A buffer size that a program requests, within the system's bounds.
pub fn buffer_size(value: i32) -> usize {
    (value.max(0) as usize).clamp(BUFFER_MIN, BUFFER_MAX)
}

/// A time to live that a program requests; -1 is the system's (ip(7), IP_TTL).
pub fn ttl(value: i32) -> Result<u8, Errno> {
    /// net.ipv4.ip_default_ttl.
    const USUAL: u8 = 64;
    match value {
        -1 => Ok(USUAL),
        1..=255 => Ok(value as u8),
        _ => Err(Errno::INVAL),
    }
}

/// A hop limit of IPv6 or a traffic class that a program requests; `None`, written as -1, is the system's (ipv6(7)). EINVAL.
pub fn byte_or_default(value: &[u8]) -> Result<Option<u8>, Errno> {
    let value: i32 = value.first_chunk().copied().map(i32::from_le_bytes).ok_or(Errno::INVAL)?;
    match value {
        -1 => Ok(None),
        0..=255 => Ok(Some(value as u8)),
        _ => Err(Errno::INVAL),
    }
}

/// The least MTU that a program may set for IPv6 (IPV6_MTU; RFC 8200, section 5).
pub const LEAST_MTU: i32 = 1280;
/// The hop limit of a packet of IPv6, unless the program sets it.
pub const USUAL_HOPS: i32 = 64;

/// EPERM without CAP_NET_ADMIN or CAP_NET_RAW, which IP_TRANSPARENT, SO_MARK and a high SO_PRIORITY need.
fn may_use_network() -> Result<(), Errno> {
    check_network_capability(capability::NET_ADMIN).or_else(|_| check_network_capability(capability::NET_RAW))
}

/// What is kept of one of the [`HINTS`] set to `value` (socket(7)). EPERM, EACCES, EINVAL.
fn hint(number: u32, value: i32) -> Result<i32, Errno> {
    /// Priorities that every program may set.
    const FREE_PRIORITIES: RangeInclusive<i32> = 0..=6;
    match number {
        n::SO_MARK => may_use_network()?,
        n::SO_PRIORITY if !FREE_PRIORITIES.contains(&value) => may_use_network()?,
        n::SO_DEBUG if value != 0 => {
            check_network_capability(capability::NET_ADMIN).map_err(|_| Errno::ACCES)?
        }
        n::SO_BUSY_POLL if value < 0 => return Err(Errno::INVAL),
        _ => {}
    }
    Ok(match number {
        n::SO_DEBUG | n::SO_DONTROUTE | n::SO_OOBINLINE => i32::from(value != 0),
        n::SO_RCVLOWAT if value == 0 => 1,
        _ => value,
    })
}

impl Common {
    /// SO_TXTIME. EINVAL; EPERM for a clock other than CLOCK_MONOTONIC without CAP_NET_ADMIN.
    #[cold]
    fn set_departures(&self, value: &[u8]) -> Result<(), Errno> {
        const CLOCK_MONOTONIC: u32 = 1;
        let (&[clock, flags], []) = value.as_chunks::<4>() else { return Err(Errno::INVAL) };
        let (clock, flags) = (u32::from_le_bytes(clock), u32::from_le_bytes(flags));
        if flags & !TXTIME_FLAGS != 0 || clock >> TXTIME_FLAGS_AT != 0 {
            return Err(Errno::INVAL);
        }
        if clock != CLOCK_MONOTONIC {
            check_network_capability(capability::NET_ADMIN)?;
        }
        self.remember(SOL_SOCKET, n::SO_TXTIME as i32, (flags << TXTIME_FLAGS_AT | clock) as i32)
    }

    /// Whether SO_TXTIME was set.
    pub fn takes_departures(&self) -> bool {
        self.recall(SOL_SOCKET, n::SO_TXTIME as i32, -1) >= 0
    }

    /// Sets an option that is the same for all inet sockets. `None`: it is not.
    pub fn set(&self, level: i32, name: i32, value: &[u8]) -> Option<Result<(), Errno>> {
        let remember = || int(value).and_then(|value| self.remember(level, name, value));
        let number = name as u32;
        match level {
            SOL_SOCKET => match number {
                n::SO_RCVTIMEO_OLD | n::SO_SNDTIMEO_OLD | n::SO_RCVTIMEO_NEW | n::SO_SNDTIMEO_NEW => {
                    Some(self.set_timeout(number, value))
                }
                // Times of departure have no effect without a queueing discipline that uses them (tc-etf(8)).
                n::SO_TXTIME => Some(self.set_departures(value)),
                // It is for TCP and UDP, which take it before.
                n::SO_ZEROCOPY => Some(Err(Errno::OPNOTSUPP)),
                // It is for AF_UNIX alone.
                n::SO_PASSSEC => Some(Err(Errno::OPNOTSUPP)),
                // There is one interface to bind to, and the loopback; routes lead to the right one in any case.
                n::SO_BINDTODEVICE => Some(self.bind_to_device(level, name, value)),
                n::SO_TYPE
                | n::SO_DOMAIN
                | n::SO_PROTOCOL
                | n::SO_ERROR
                | n::SO_ACCEPTCONN
                | n::SO_SNDLOWAT => Some(Err(Errno::NOPROTOOPT)),
                _ if HINTS.contains(&number) => Some(int(value).and_then(|value| {
                    let kept = hint(number, value)?;
                    self.remember(level, name, kept)
                })),
                _ => None,
            },
            SOL_IP => match number {
                // What it allows, packets for others, never reaches this machine.
                n::IP_TRANSPARENT => Some(may_use_network().and_then(|()| remember())),
                n::IP_MTU_DISCOVER
                | n::IP_RECVERR
                | n::IP_FREEBIND
                | n::IP_BIND_ADDRESS_NO_PORT
                | n::IP_RECVTOS
                | n::IP_RECVTTL
                | n::IP_MULTICAST_LOOP
                | n::IP_MULTICAST_ALL
                | n::IP_LOCAL_PORT_RANGE => Some(remember()),
                // Addresses or time of arrival in control messages are not given.
                _ => None,
            },
            SOL_IPV6 if self.family == Family::V4 => Some(Err(Errno::NOPROTOOPT)),
            SOL_IPV6 => match number {
                n::IPV6_MTU_DISCOVER
                | n::IPV6_RECVERR
                | n::IPV6_RECVTCLASS
                | n::IPV6_RECVHOPLIMIT
                | n::IPV6_FREEBIND
                | n::IPV6_DONTFRAG
                | n::IPV6_AUTOFLOWLABEL => Some(remember()),
                _ => None,
            },
            _ => None,
        }
    }

    /// SO_BINDTODEVICE (socket(7)). ENODEV; EPERM: what is bound is bound to another only with CAP_NET_RAW.
    fn bind_to_device(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if self.recall(level, name, 0) != 0 {
            check_network_capability(capability::NET_RAW)?;
        }
        // What is longer than a name is cut.
        let named = value.split(|byte| *byte == 0).next().unwrap_or_default();
        let named = &named[..named.len().min(NAME_BYTES - 1)];
        if named.is_empty() {
            return self.remember(level, name, 0);
        }
        let found = interfaces().into_iter().find(|interface| interface.name.as_bytes() == named);
        self.remember(level, name, found.ok_or(Errno::NODEV)?.index as i32)
    }

    /// The link that SO_BINDTODEVICE has bound the socket to.
    pub fn device(&self) -> Option<Link> {
        let index = self.recall(SOL_SOCKET, n::SO_BINDTODEVICE as i32, 0) as u32;
        super::multicast::link_in(&self.home, index)
    }

    /// IP_MTU and IPV6_MTU: the greatest packet to the peer (ip(7), ipv6(7)). ENOTCONN without one.
    pub fn path_mtu(peer: Option<Endpoint>) -> Result<Vec<u8>, Errno> {
        /// Linux's MTU of the loopback, which is more than a packet of IPv4 can have.
        const LOOPBACK: usize = 65536;
        let peer = peer.ok_or(Errno::NOTCONN)?.address;
        let mtu = super::engine().mtu_to(peer).ok_or(Errno::NOTCONN)?;
        let is_loopback = mtu >= usize::from(u16::MAX);
        answer(if is_loopback && !peer.is_v4() { LOOPBACK } else { mtu } as i32)
    }

    /// Returns an option that is the same for all inet sockets. `None`: it is not.
    pub fn get(&self, level: i32, name: i32) -> Option<Result<Vec<u8>, Errno>> {
        let number = name as u32;
        let recall = |default| answer(self.recall(level, name, default));
        match level {
            SOL_SOCKET => match number {
                n::SO_RCVTIMEO_OLD | n::SO_SNDTIMEO_OLD | n::SO_RCVTIMEO_NEW | n::SO_SNDTIMEO_NEW => {
                    Some(self.timeout_value(number))
                }
                n::SO_BINDTODEVICE => {
                    let index = self.recall(level, name, 0) as u32;
                    let bound = interfaces().into_iter().find(|interface| interface.index == index);
                    let text = bound.map_or(Ok(Vec::new()), |bound| {
                        bound.name.bytes().chain([0]).try_collect_vec().map_err(Errno::from)
                    });
                    Some(text)
                }
                // No packet has arrived at any.
                n::SO_INCOMING_CPU => Some(recall(-1)),
                n::SO_INCOMING_NAPI_ID => Some(answer(0)),
                n::SO_COOKIE => Some(self.inode.to_le_bytes().try_to_vec().map_err(Errno::from)),
                n::SO_ZEROCOPY => Some(answer(self.zerocopy.is_on.load(Relaxed).into())),
                n::SO_TXTIME => {
                    let kept = self.recall(level, name, 0) as u32;
                    let words =
                        [kept & !(!0 << TXTIME_FLAGS_AT), kept >> TXTIME_FLAGS_AT].map(u32::to_le_bytes);
                    Some(words.as_flattened().try_to_vec().map_err(Errno::from))
                }
                n::SO_RCVLOWAT => Some(recall(1)),
                n::SO_SNDLOWAT => Some(answer(1)),
                _ if HINTS.contains(&number) => Some(recall(0)),
                _ => None,
            },
            SOL_IP => match number {
                n::IP_MTU_DISCOVER => Some(recall(n::IP_PMTUDISC_WANT as i32)),
                n::IP_MULTICAST_TTL | n::IP_MULTICAST_LOOP | n::IP_MULTICAST_ALL => Some(recall(1)),
                n::IP_RECVERR
                | n::IP_FREEBIND
                | n::IP_TRANSPARENT
                | n::IP_BIND_ADDRESS_NO_PORT
                | n::IP_RECVTOS
                | n::IP_RECVTTL
                | n::IP_LOCAL_PORT_RANGE => Some(recall(0)),
                n::IP_OPTIONS => Some(Ok(Vec::new())),
                _ => None,
            },
            SOL_IPV6 if self.family == Family::V4 => Some(Err(Errno::NOPROTOOPT)),
            SOL_IPV6 => match number {
                n::IPV6_V6ONLY => Some(answer(self.is_only_v6().into())),
                n::IPV6_MTU_DISCOVER => Some(recall(1)),
                n::IPV6_RECVERR
                | n::IPV6_RECVTCLASS
                | n::IPV6_RECVHOPLIMIT
                | n::IPV6_FREEBIND
                | n::IPV6_DONTFRAG
                | n::IPV6_AUTOFLOWLABEL => Some(recall(0)),
                _ => None,
            },
            _ => None,
        }
    }
}
