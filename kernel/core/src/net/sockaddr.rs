//! Socket addresses as the program has them: bytes (sockaddr(3type)).
use super::socket::{LinkAddress, SocketAddress, UnixName};
use crate::errno::Errno;
use core::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};
use linux_raw_sys::net as n;

/// Bytes of an address's family.
const FAMILY_BYTES: usize = 2;
/// Bytes of an address of AF_INET.
pub const INET_BYTES: usize = 16;
/// Bytes of one of AF_INET6.
const INET6_BYTES: usize = 28;
/// What Linux takes at least for AF_INET6: RFC 2133's structure, without a scope.
pub const INET6_MIN_BYTES: usize = 24;
/// Bytes of one of AF_NETLINK.
const NETLINK_BYTES: usize = 12;
/// Bytes of one of AF_VSOCK.
const VSOCK_BYTES: usize = 16;
/// Bytes of one of AF_PACKET up to the hardware address, and with all that there may be of it.
const LINK_HEAD_BYTES: usize = 12;
const LINK_BYTES: usize = 20;
/// Bytes of the longest of AF_UNIX.
const UNIX_MAX_BYTES: usize = 110;
/// Linux's limit of any address (`struct sockaddr_storage`).
pub const ADDRESS_MAX: usize = 128;

impl SocketAddress {
    /// From the program's bytes. EINVAL if they are too few for their family; EAFNOSUPPORT for a family we don't know.
    pub fn parse(bytes: &[u8]) -> Result<SocketAddress, Errno> {
        let Some((family, rest)) = bytes.split_first_chunk::<FAMILY_BYTES>() else {
            return Err(Errno::INVAL);
        };
        let port = || rest.first_chunk().copied().map(u16::from_be_bytes).ok_or(Errno::INVAL);
        let word = |at: usize| {
            bytes.get(at..).and_then(|b| b.first_chunk::<4>()).copied().map_or(0, u32::from_le_bytes)
        };
        let inet = || {
            if bytes.len() < INET_BYTES {
                return Err(Errno::INVAL);
            }
            Ok(SocketAddrV4::new(Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]), port()?))
        };
        match u32::from(u16::from_le_bytes(*family)) {
            n::AF_UNSPEC => Ok(SocketAddress::Unspecified(inet().ok())),
            n::AF_INET => inet().map(SocketAddress::Inet),
            n::AF_INET6 if bytes.len() >= INET6_MIN_BYTES => {
                let octets: [u8; 16] = core::array::from_fn(|i| bytes[8 + i]);
                let address = SocketAddrV6::new(octets.into(), port()?, word(4), word(24));
                Ok(SocketAddress::Inet6(address))
            }
            n::AF_UNIX if bytes.len() <= UNIX_MAX_BYTES => {
                // A path ends at its zero; an abstract name (first byte zero) has all its bytes (unix(7)).
                let path = match rest.first() {
                    Some(0) | None => rest,
                    Some(_) => &rest[..rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len())],
                };
                let name = UnixName::from_slice(path).map_err(|_| Errno::INVAL)?;
                Ok(SocketAddress::Unix(name))
            }
            n::AF_NETLINK if bytes.len() >= NETLINK_BYTES => {
                Ok(SocketAddress::Netlink { port: word(4), groups: word(8) })
            }
            // Its byte of flags has one that is known, for the host of nested machines (vsock(7)).
            n::AF_VSOCK if bytes.len() >= VSOCK_BYTES && bytes[12] <= 1 => {
                Ok(SocketAddress::Vsock { port: word(4), cid: word(8) })
            }
            n::AF_PACKET if bytes.len() >= LINK_BYTES => {
                let (mut address, mut interface) = ([0; 8], [0; 4]);
                address.copy_from_slice(&bytes[LINK_HEAD_BYTES..LINK_BYTES]);
                interface.copy_from_slice(&bytes[4..8]);
                Ok(SocketAddress::Packet(LinkAddress {
                    protocol: port()?,
                    interface: u32::from_le_bytes(interface),
                    hardware: u16::from_le_bytes([bytes[8], bytes[9]]),
                    kind: bytes[10],
                    len: bytes[11],
                    address,
                }))
            }
            n::AF_INET6 | n::AF_UNIX | n::AF_NETLINK | n::AF_PACKET | n::AF_VSOCK => Err(Errno::INVAL),
            _ => Err(Errno::AFNOSUPPORT),
        }
    }

    /// As the program reads it.
    pub fn encode(&self) -> heapless::Vec<u8, ADDRESS_MAX> {
        let mut bytes = heapless::Vec::new();
        // All addresses are shorter than the vector: pushing does not fail.
        let mut put = |part: &[u8]| {
            let _ = bytes.extend_from_slice(part);
        };
        let family = |family: u32| (family as u16).to_le_bytes();
        match self {
            SocketAddress::Unspecified(_) => put(&family(n::AF_UNSPEC)),
            SocketAddress::Inet(address) => {
                put(&family(n::AF_INET));
                put(&address.port().to_be_bytes());
                put(&address.ip().octets());
                put(&[0; 8]);
            }
            SocketAddress::Inet6(address) => {
                put(&family(n::AF_INET6));
                put(&address.port().to_be_bytes());
                put(&address.flowinfo().to_le_bytes());
                put(&address.ip().octets());
                put(&address.scope_id().to_le_bytes());
                debug_assert_eq!(bytes.len(), INET6_BYTES);
            }
            SocketAddress::Unix(path) => {
                put(&family(n::AF_UNIX));
                put(&path[..path.len().min(UNIX_MAX_BYTES - FAMILY_BYTES)]);
                // A path is returned with its zero, an abstract or missing name without.
                if path.first().is_some_and(|byte| *byte != 0) {
                    put(&[0]);
                }
            }
            SocketAddress::Packet(link) => {
                put(&family(n::AF_PACKET));
                put(&link.protocol.to_be_bytes());
                put(&link.interface.to_le_bytes());
                put(&link.hardware.to_le_bytes());
                put(&[link.kind, link.len]);
                put(&link.address);
            }
            SocketAddress::Vsock { cid, port } => {
                put(&family(n::AF_VSOCK));
                put(&[0; 2]);
                put(&port.to_le_bytes());
                put(&cid.to_le_bytes());
                put(&[0; 4]);
            }
            SocketAddress::Netlink { port, groups } => {
                put(&family(n::AF_NETLINK));
                put(&[0; 2]);
                put(&port.to_le_bytes());
                put(&groups.to_le_bytes());
            }
        }
        bytes
    }
}
