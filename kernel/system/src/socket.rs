//! socket(2): the object for a domain, a type and a protocol.
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_net::address::Family;
use coracle_net::netlink::NetlinkFile;
use coracle_net::options::{SOL_TCP, SOL_UDP, SOL_UDPLITE};
use coracle_net::packet::PacketFile;
use coracle_net::raw::RawFile;
use coracle_net::tcp::TcpFile;
use coracle_net::udp::UdpFile;
use linux_raw_sys::net as n;

/// Beyond the last domain and the last type of sockets (AF_MAX and SOCK_MAX of Linux).
const AF_MAX: u32 = 46;
const SOCK_MAX: u32 = 11;
/// Beyond the last protocol of IP (IPPROTO_MAX of Linux).
const IPPROTO_MAX: i32 = 263;
/// Protocols of ping.
const ICMP: i32 = 1;
const ICMPV6: i32 = 58;
/// NETLINK_ROUTE (netlink(7)).
const NETLINK_ROUTE: i32 = 0;
/// NETLINK_SOCK_DIAG (sock_diag(7)).
const SOCK_DIAG: i32 = coracle_net::netlink_diag::PROTOCOL as i32;

/// A new socket. `kind` is without SOCK_CLOEXEC and SOCK_NONBLOCK.
pub fn socket(domain: u32, kind: u32, protocol: i32) -> Result<Arc<dyn File>, Errno> {
    // Linux looks at the domain first, if it is none at all.
    if domain < AF_MAX && kind >= SOCK_MAX {
        return Err(Errno::INVAL);
    }
    match domain {
        n::AF_UNIX => {
            if protocol != 0 && protocol != n::AF_UNIX as i32 {
                return Err(Errno::PROTONOSUPPORT);
            }
            coracle_ipc::unix::new(kind)
        }
        n::AF_INET | n::AF_INET6 => {
            let family = if domain == n::AF_INET { Family::V4 } else { Family::V6 };
            if !(0..IPPROTO_MAX).contains(&protocol) {
                return Err(Errno::INVAL);
            }
            match (kind, protocol) {
                (n::SOCK_STREAM, 0 | SOL_TCP) => Ok(TcpFile::new(family)?),
                (n::SOCK_DGRAM, 0 | SOL_UDP) => Ok(UdpFile::new(family, false)?),
                (n::SOCK_DGRAM, SOL_UDPLITE) => Ok(UdpFile::new(family, true)?),
                (n::SOCK_DGRAM, ICMP) if family == Family::V4 => Ok(RawFile::new(family, kind, protocol)?),
                (n::SOCK_DGRAM, ICMPV6) if family == Family::V6 => Ok(RawFile::new(family, kind, protocol)?),
                (n::SOCK_RAW, 1..) => Ok(RawFile::new(family, kind, protocol)?),
                (n::SOCK_STREAM | n::SOCK_DGRAM | n::SOCK_RAW, _) => Err(Errno::PROTONOSUPPORT),
                _ => Err(Errno::SOCKTNOSUPPORT),
            }
        }
        n::AF_PACKET => match kind {
            n::SOCK_RAW | n::SOCK_DGRAM => Ok(PacketFile::new(kind, protocol as u16)?),
            _ => Err(Errno::SOCKTNOSUPPORT),
        },
        n::AF_VSOCK => coracle_net::vsock::new(kind, protocol),
        n::AF_NETLINK => match (kind, protocol) {
            (n::SOCK_RAW | n::SOCK_DGRAM, NETLINK_ROUTE | SOCK_DIAG) => {
                Ok(NetlinkFile::new(kind, protocol as u32)?)
            }
            (n::SOCK_RAW | n::SOCK_DGRAM, _) => Err(Errno::PROTONOSUPPORT),
            _ => Err(Errno::SOCKTNOSUPPORT),
        },
        _ => Err(Errno::AFNOSUPPORT),
    }
}
