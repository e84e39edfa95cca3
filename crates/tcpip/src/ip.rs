//! Addresses of IPv4 and IPv6, and what sockets are bound to.

use crate::address::Link;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// What stands before an IPv4 address in a v4-mapped one (RFC 4291, 2.5.5.2).
const MAPPED: u64 = 0xffff << 32;

/// An address of either family. One of IPv4 is held as v4-mapped, as AF_INET6 sockets write it, so that both families have the
/// same tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    high: u64,
    low: u64,
}

impl Address {
    /// 0.0.0.0.
    pub const ANY_V4: Address = Address::v4(0);
    /// `::`.
    pub const ANY_V6: Address = Address { high: 0, low: 0 };
    /// `::1`.
    pub const LOCALHOST_V6: Address = Address { high: 0, low: 1 };

    /// fe80::, before an identifier.
    pub const LINK_LOCAL: Address = Address { high: 0xfe80 << 48, low: 0 };
    /// ff02::1, all hosts of the link.
    pub const ALL_NODES: Address = Address { high: 0xff02 << 48, low: 1 };
    /// ff01::1, the same that no packet leaves the host for.
    pub const ALL_NODES_OF_INTERFACE: Address = Address { high: 0xff01 << 48, low: 1 };
    /// ff02::2, all routers of the link.
    pub const ALL_ROUTERS: Address = Address { high: 0xff02 << 48, low: 2 };
    /// ff02::16, all routers of the link that speak MLDv2.
    pub const ALL_MLDV2_ROUTERS: Address = Address { high: 0xff02 << 48, low: 0x16 };

    /// An address of IPv4, as a number.
    #[inline(always)]
    pub const fn v4(address: u32) -> Address {
        Address { high: 0, low: MAPPED | address as u64 }
    }

    /// From the bytes of an IPv6 header.
    #[inline]
    pub const fn from_octets(octets: [u8; 16]) -> Address {
        let all = u128::from_be_bytes(octets);
        Address { high: (all >> 64) as u64, low: all as u64 }
    }

    /// As the bytes of an IPv6 header.
    #[inline]
    pub const fn octets(self) -> [u8; 16] {
        ((self.high as u128) << 64 | self.low as u128).to_be_bytes()
    }

    /// Its last eight bytes, as a number.
    pub const fn low(self) -> u64 {
        self.low
    }

    /// The number of an IPv4 address; `None` for one of IPv6.
    #[inline(always)]
    pub const fn as_v4(self) -> Option<u32> {
        if self.high == 0 && self.low >> 32 == MAPPED >> 32 { Some(self.low as u32) } else { None }
    }

    /// Whether the address is one of IPv4.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.as_v4().is_some()
    }

    /// The two halves as numbers.
    #[inline(always)]
    pub const fn words(self) -> (u64, u64) {
        (self.high, self.low)
    }

    /// 0.0.0.0 or `::`.
    #[inline]
    pub fn is_unspecified(self) -> bool {
        self == Address::ANY_V4 || self == Address::ANY_V6
    }

    /// What a program means that connects to it: to the unspecified address means to this host, as on Linux.
    pub fn or_localhost(self) -> Address {
        match self {
            Address::ANY_V4 => Address::v4(crate::address::LOCALHOST),
            Address::ANY_V6 => Address::LOCALHOST_V6,
            other => other,
        }
    }

    /// 127.0.0.0/8 or `::1`.
    pub fn is_loopback(self) -> bool {
        self == Address::LOCALHOST_V6 || self.as_v4().is_some_and(crate::address::is_loopback)
    }

    /// 224.0.0.0/4 or ff00::/8.
    pub fn is_multicast(self) -> bool {
        self.high >> 56 == 0xff || self.as_v4().is_some_and(crate::address::is_multicast)
    }

    /// fe80::/10, or a group of the same scope (RFC 4291, 2.5.6 and 2.7): only the link's number makes it unique.
    pub fn is_link_local(self) -> bool {
        self.high >> 54 == 0xfe80 >> 6 || (self.high >> 56 == 0xff && self.high >> 48 & 0xf == 2)
    }

    /// Whether the first `len` bits (0 to 128) are those of `other`.
    pub fn matches(self, other: Address, len: u8) -> bool {
        self.common_bits(other) >= u32::from(len)
    }

    /// How many leading bits both have in common.
    pub fn common_bits(self, other: Address) -> u32 {
        match (self.high ^ other.high).leading_zeros() {
            64 => 64 + (self.low ^ other.low).leading_zeros(),
            bits => bits,
        }
    }

    /// As an address of IPv6; one of IPv4 is v4-mapped.
    pub fn to_ipv6(self) -> Ipv6Addr {
        Ipv6Addr::from(self.octets())
    }

    /// As an address of IPv4, if it is one.
    pub fn to_ipv4(self) -> Option<Ipv4Addr> {
        self.as_v4().map(Ipv4Addr::from)
    }
}

impl Default for Address {
    fn default() -> Self {
        Address::ANY_V4
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_ipv4() {
            Some(address) => address.fmt(f),
            None => self.to_ipv6().fmt(f),
        }
    }
}

impl From<Ipv4Addr> for Address {
    #[inline]
    fn from(address: Ipv4Addr) -> Address {
        Address::v4(address.to_bits())
    }
}

impl From<Ipv6Addr> for Address {
    #[inline]
    fn from(address: Ipv6Addr) -> Address {
        Address::from_octets(address.octets())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Address {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

/// One end of a connection, or what a datagram is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Of these two.
    pub const fn new(address: Address, port: u16) -> Endpoint {
        Endpoint { address, port }
    }
}

impl From<SocketAddrV4> for Endpoint {
    fn from(address: SocketAddrV4) -> Endpoint {
        Endpoint::new((*address.ip()).into(), address.port())
    }
}

impl From<SocketAddrV6> for Endpoint {
    fn from(address: SocketAddrV6) -> Endpoint {
        Endpoint::new((*address.ip()).into(), address.port())
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint::new(address.ip().into(), address.port())
    }
}

/// Which addresses a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Family {
    /// Those of IPv4 (AF_INET).
    #[default]
    V4,
    /// Those of both families (AF_INET6 without `IPV6_V6ONLY`).
    Dual,
    /// Those of IPv6 (AF_INET6 with `IPV6_V6ONLY`).
    V6,
}

impl Family {
    /// The address of a socket that is bound to none.
    #[inline]
    pub const fn any(self) -> Address {
        match self {
            Family::V4 => Address::ANY_V4,
            _ => Address::ANY_V6,
        }
    }
}

/// The addresses that a socket receives on: one, all of IPv4, all of IPv6, or all of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The address, or the unspecified one.
    pub address: Address,
    /// Whether `::` is for IPv6 alone.
    pub only_v6: bool,
    /// The only link that it receives from (`SO_BINDTODEVICE`).
    pub device: Option<Link>,
}

impl Bound {
    /// Of a socket of this family that is bound to `address`, and to `device`.
    #[inline]
    pub fn new(address: Address, family: Family, device: Option<Link>) -> Bound {
        Bound { address, only_v6: family == Family::V6, device }
    }

    /// How well a packet is met that came over `link` (`None`: any): 0 not at all; a better address counts more than a device.
    #[inline]
    pub fn meets(&self, destination: Address, link: Option<Link>) -> u8 {
        let on_device = match (self.device, link) {
            (None, _) => 0,
            (Some(own), Some(link)) if own != link => return 0,
            (Some(_), _) => 1,
        };
        match self.meets_address(destination) {
            0 => 0,
            address => 2 * address + on_device,
        }
    }

    /// How well a destination is met: 0 not at all, 1 as one of all of both families, 2 as one of all of its family, 3 exactly.
    #[inline]
    fn meets_address(&self, destination: Address) -> u8 {
        if self.address == destination {
            3
        } else if self.address == Address::ANY_V4 && destination.is_v4() {
            2
        } else if self.address == Address::ANY_V6 && !(self.only_v6 && destination.is_v4()) {
            if destination.is_v4() { 1 } else { 2 }
        } else {
            0
        }
    }

    /// Whether two sockets share an address of a link (Linux's `inet_rcv_saddr_equal` and `inet_csk_bind_conflict`).
    pub fn overlaps(&self, other: &Bound) -> bool {
        let are_apart = matches!((self.device, other.device), (Some(own), Some(other)) if own != other);
        !are_apart && (self.meets_address(other.address) > 0 || other.meets_address(self.address) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn goes_through_octets(v4: u32, v6: u128) {
            let address = Address::v4(v4);
            prop_assert_eq!((address.as_v4(), Address::from_octets(address.octets())), (Some(v4), address));
            prop_assert_eq!(address.to_ipv6(), Ipv4Addr::from(v4).to_ipv6_mapped());
            let address = Address::from(Ipv6Addr::from(v6));
            prop_assert_eq!(address.to_ipv6(), Ipv6Addr::from(v6));
            prop_assert_eq!(address.as_v4(), Ipv6Addr::from(v6).to_ipv4_mapped().map(u32::from));
        }

        #[test]
        fn common_bits_are_those_of_the_number(a: u128, b: u128, len in 0u8..=128) {
            let both = a.checked_shr(len.into()).unwrap_or(0) ^ b;
            let (x, y) = (Address::from(Ipv6Addr::from(b)), Address::from(Ipv6Addr::from(both)));
            prop_assert_eq!(x.common_bits(y), (b ^ both).leading_zeros());
            prop_assert!(x.matches(y, len));
        }
    }

    #[test]
    fn devices_keep_sockets_apart() {
        let bound = |device| Bound::new(Address::ANY_V4, Family::V4, device);
        let (any, loopback, wire) = (bound(None), bound(Some(Link::Loopback)), bound(Some(Link::Wire)));
        assert!(
            any.overlaps(&wire) && wire.overlaps(&any) && wire.overlaps(&wire) && !loopback.overlaps(&wire)
        );
        let meets = |bound: Bound, link| bound.meets(Address::v4(5), link);
        assert_eq!(meets(loopback, Some(Link::Wire)), 0);
        assert!(meets(wire, Some(Link::Wire)) > meets(any, Some(Link::Wire)) && meets(wire, None) > 0);
        let exact = Bound::new(Address::v4(5), Family::V4, None);
        assert!(meets(exact, Some(Link::Wire)) > meets(wire, Some(Link::Wire)));
    }

    #[test]
    fn bound_addresses_overlap_as_on_linux() {
        let v4 = |address| Bound::new(Address::v4(address), Family::V4, None);
        let v6 =
            |address: &str, family| Bound::new(address.parse::<Ipv6Addr>().unwrap().into(), family, None);
        let (any4, dual, any6) = (v4(0), v6("::", Family::Dual), v6("::", Family::V6));
        for other in [any4, v4(5), dual, any6, v6("::1", Family::Dual)] {
            assert!(dual.overlaps(&other) && other.overlaps(&dual), "{other:?}");
        }
        for other in [any4, v4(5), v6("::ffff:1.2.3.4", Family::Dual)] {
            assert!(!any6.overlaps(&other) && !other.overlaps(&any6), "{other:?}");
        }
        assert!(
            any6.overlaps(&v6("::1", Family::V6)) && !v6("::1", Family::V6).overlaps(&v6("::2", Family::V6))
        );
        assert!(any4.overlaps(&v4(5)) && !v4(6).overlaps(&v4(5)));
    }
}
