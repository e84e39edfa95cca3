//! What a program has asked to be told of each datagram (ip(7), ipv6(7), socket(7), RFC 3542).
use super::interface_ioctl::{CARD_INDEX, LOOPBACK_INDEX};
use super::options::{SOL_IP, SOL_IPV6, SOL_SOCKET};
use super::{address::Family, first};
use alloc::boxed::Box;
use coracle_core::errno::Errno;
use coracle_core::net::socket::{
    Arrival, DatagramInfo, ExtendedError, PacketInfo, PacketInfo6, Received, SocketAddress,
};
use coracle_core::time::clock;
use coracle_fallible::try_box;
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use coracle_tcpip::{Address, Endpoint, Link, Report};
use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use linux_raw_sys::net as n;

/// SOF_TIMESTAMPING_RX_SOFTWARE and SOF_TIMESTAMPING_SOFTWARE: stamps are made when packets arrive, and are reported.
const STAMP_RECEIVED: u32 = 1 << 3;
const STAMP_SOFTWARE: u32 = 1 << 4;
/// All flags of SO_TIMESTAMPING (linux/net_tstamp.h).
const STAMP_ALL: u32 = (1 << 19) - 1;

/// The options, by level and name, each with its bit in [`Wanted`].
const OPTIONS: &[(i32, u32)] = &[
    (SOL_SOCKET, n::SO_TIMESTAMP),
    (SOL_SOCKET, n::SO_TIMESTAMPNS),
    (SOL_IP, n::IP_PKTINFO),
    (SOL_IP, n::IP_RECVTTL),
    (SOL_IP, n::IP_RECVTOS),
    (SOL_IP, n::IP_RECVORIGDSTADDR),
    (SOL_IPV6, n::IPV6_RECVPKTINFO),
    (SOL_IPV6, n::IPV6_RECVHOPLIMIT),
    (SOL_IPV6, n::IPV6_RECVTCLASS),
    (SOL_IPV6, n::IPV6_RECVORIGDSTADDR),
    (SOL_SOCKET, n::SO_RXQ_OVFL),
];
const MICROS: u32 = 1;
const NANOS: u32 = 1 << 1;
const PKTINFO: u32 = 1 << 2;
const TTL: u32 = 1 << 3;
const TOS: u32 = 1 << 4;
const DESTINATION: u32 = 1 << 5;
const PKTINFO6: u32 = 1 << 6;
const HOPS: u32 = 1 << 7;
const CLASS: u32 = 1 << 8;
const DESTINATION6: u32 = 1 << 9;
const LOST: u32 = 1 << 10;
/// Something of SO_TIMESTAMPING is set.
const STAMP: u32 = 1 << 31;

/// A datagram that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// Where it was sent to.
    pub to: Address,
    /// The port, or 0.
    pub port: u16,
    /// What it came over.
    pub link: Link,
    /// When, in nanoseconds since boot.
    pub at: u64,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Datagrams that were lost before it.
    pub lost: u32,
}

/// What a program has asked for.
pub struct Wanted {
    bits: AtomicU32,
    stamping: AtomicU32,
}

impl Wanted {
    /// Nothing.
    pub const fn new() -> Wanted {
        Wanted { bits: AtomicU32::new(0), stamping: AtomicU32::new(0) }
    }

    /// Whether anything is.
    #[inline]
    pub fn any(&self) -> bool {
        self.bits.load(Ordering::Relaxed) != 0
    }

    fn change(&self, set: u32, clear: u32) {
        let _ = self.bits.try_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some(bits & !clear | set));
    }

    /// Sets the option to `value`. `None`: it is none of these.
    pub fn set(&self, level: i32, name: u32, value: i32) -> Option<Result<(), Errno>> {
        if (level, name) == (SOL_SOCKET, n::SO_TIMESTAMPING) {
            let flags = value as u32;
            if flags & !STAMP_ALL != 0 {
                return Some(Err(Errno::INVAL));
            }
            self.stamping.store(flags, Ordering::Relaxed);
            let stamps = flags & STAMP_RECEIVED != 0 && flags & STAMP_SOFTWARE != 0;
            self.change(if stamps { STAMP } else { 0 }, STAMP);
            return Some(Ok(()));
        }
        let bit = OPTIONS.iter().position(|option| *option == (level, name)).map(|at| 1 << at)?;
        // One of the two replaces the other.
        let clear = if bit & (MICROS | NANOS) != 0 { MICROS | NANOS } else { bit };
        self.change(if value != 0 { bit } else { 0 }, clear);
        Some(Ok(()))
    }

    /// The value of an option. `None`: it is none of these.
    pub fn get(&self, level: i32, name: u32) -> Option<i32> {
        if (level, name) == (SOL_SOCKET, n::SO_TIMESTAMPING) {
            return Some(self.stamping.load(Ordering::Relaxed) as i32);
        }
        let at = OPTIONS.iter().position(|option| *option == (level, name))?;
        Some((self.bits.load(Ordering::Relaxed) >> at & 1) as i32)
    }

    /// What the program is told of a datagram, if it has asked for anything. Without memory it is told nothing.
    #[cold]
    #[inline(never)]
    pub fn info(&self, of: &Arrived) -> Option<Box<DatagramInfo>> {
        let mut info = try_box(DatagramInfo::default()).ok()?;
        let bits = self.bits.load(Ordering::Relaxed);
        let has = |bit: u32| bits & bit != 0;
        let (is_v4, wall_ns) = (of.to.is_v4(), of.at.wrapping_add(clock::wall_offset_ns()));
        if has(MICROS) {
            info.arrival = Some(Arrival::Micros(wall_ns));
        } else if has(NANOS) {
            info.arrival = Some(Arrival::Nanos(wall_ns));
        }
        info.stamp = has(STAMP).then_some(wall_ns);
        info.lost = (has(LOST) && of.lost > 0).then_some(of.lost);
        let place = packet_info(of.to, of.link);
        if is_v4 {
            info.packet_info = has(PKTINFO).then_some(place);
            info.ttl = has(TTL).then_some(of.ttl);
            info.tos = has(TOS).then_some(of.tos);
            let here = of.to.to_ipv4().map(|to| SocketAddr::V4(SocketAddrV4::new(to, of.port)));
            info.destination = here.filter(|_| has(DESTINATION));
        } else {
            info.hop_limit = has(HOPS).then_some(of.ttl);
            info.traffic_class = has(CLASS).then_some(of.tos);
            let here = SocketAddrV6::new(of.to.to_ipv6(), of.port, 0, 0);
            info.destination = has(DESTINATION6).then_some(SocketAddr::V6(here));
        }
        // In the addresses of an AF_INET6 socket.
        let place6 = PacketInfo6 { address: of.to.to_ipv6(), interface: place.interface };
        info.packet_info6 = has(PKTINFO6).then_some(place6);
        Some(info)
    }
}

/// Where a datagram arrived. One to several hosts is reported with our own address on its link.
fn packet_info(to: Address, link: Link) -> PacketInfo {
    let own = first().ipv4().map(|config| config.address);
    let (interface, own) = match link {
        Link::Loopback => (LOOPBACK_INDEX, Some(Ipv4Addr::LOCALHOST)),
        Link::Wire => (CARD_INDEX, own),
        Link::Tunnel(index) => (index, Some(to).and_then(|to| to.to_ipv4())),
    };
    let to = to.to_ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let to_several = to.is_multicast() || (link == Link::Wire && own != Some(to));
    PacketInfo { interface, local: if to_several { own.unwrap_or(to) } else { to }, destination: to }
}

fn ip_address(address: Address) -> IpAddr {
    address.to_ipv4().map_or(IpAddr::V6(address.to_ipv6()), IpAddr::V4)
}

/// A message of the error queue (MSG_ERRQUEUE): `copied` of the quoted bytes are given. ENOMEM.
pub fn error_message(
    family: Family,
    wanted: &Wanted,
    report: &Report,
    copied: usize,
) -> Result<Received, Errno> {
    let blame = report.blame;
    let arrived = Arrived {
        to: blame.offender,
        port: 0,
        link: report.link,
        at: report.arrived,
        ttl: blame.ttl,
        tos: 0,
        lost: 0,
    };
    let mut info = match wanted.info(&arrived) {
        Some(info) => info,
        None => try_box(DatagramInfo::default())?,
    };
    let error = ExtendedError {
        errno: blame.error.errno() as u32,
        origin: blame.origin as u8,
        kind: blame.kind,
        code: blame.code,
        info: blame.info,
        data: 0,
        offender: Some(ip_address(blame.offender)),
    };
    info.error = Some((error, family == Family::V6));
    let from = raise(family, report.destination);
    let cut = if copied < report.payload.len() { n::MSG_TRUNC } else { 0 };
    Ok(Received {
        from: Some(from),
        flags: n::MSG_ERRQUEUE | cut,
        info: Some(info),
        ..Received::bytes(copied)
    })
}

fn raise(family: Family, end: Endpoint) -> SocketAddress {
    family.raise(end)
}
