//! Socket addresses as the TCP/IP engine has them.
//!
//! An AF_INET6 socket uses IPv4 through v4-mapped addresses (RFC 4291, section 2.5.5.2; ipv6(7)), as the engine does.
use super::interface_ioctl::CARD_INDEX;
use coracle_core::errno::Errno;
use coracle_core::net::socket::SocketAddress;
use coracle_tcpip::Endpoint;
use core::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};
use linux_raw_sys::net as n;

/// How a socket of one of the inet families writes addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET
    V4,
    /// AF_INET6
    V6,
}

impl Family {
    /// AF_INET or AF_INET6.
    pub fn number(self) -> i32 {
        match self {
            Family::V4 => n::AF_INET as i32,
            Family::V6 => n::AF_INET6 as i32,
        }
    }

    /// The family of the engine's sockets.
    pub fn of_engine(self, only_v6: bool) -> coracle_tcpip::Family {
        match (self, only_v6) {
            (Family::V4, _) => coracle_tcpip::Family::V4,
            (Family::V6, false) => coracle_tcpip::Family::Dual,
            (Family::V6, true) => coracle_tcpip::Family::V6,
        }
    }

    /// The engine's address for one of the program's. EAFNOSUPPORT if it is of another family. Of 0.0.0.0 the family may be
    /// missing (Linux's `inet_bind`).
    pub fn lower(self, address: &SocketAddress) -> Result<Endpoint, Errno> {
        match (self, address) {
            (Family::V4, SocketAddress::Inet(address)) => Ok((*address).into()),
            (Family::V4, SocketAddress::Unspecified(Some(address))) if address.ip().is_unspecified() => {
                Ok((*address).into())
            }
            (Family::V6, SocketAddress::Inet6(address)) => Ok((*address).into()),
            _ => Err(Errno::AFNOSUPPORT),
        }
    }

    /// The program's address for one of the engine's. Addresses of the link are those of the card (RFC 4007).
    pub fn raise(self, end: Endpoint) -> SocketAddress {
        let Endpoint { address, port } = end;
        match self {
            Family::V4 => SocketAddress::Inet(SocketAddrV4::new(
                address.to_ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED),
                port,
            )),
            Family::V6 => {
                let scope = if address.is_link_local() { CARD_INDEX } else { 0 };
                SocketAddress::Inet6(SocketAddrV6::new(address.to_ipv6(), port, 0, scope))
            }
        }
    }
}

/// The address of a socket that has none, for its family.
pub fn unspecified(family: Family) -> SocketAddress {
    family.raise(Endpoint::new(family.of_engine(false).any(), 0))
}
