//! Our addresses, and routing: loopback, the link, or the default router.

use crate::config::Ipv4Config;
use crate::ip::Address;
use crate::tunnel::Tunnels;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// 127.0.0.1.
pub const LOCALHOST: u32 = 0x7f00_0001;
/// 255.255.255.255.
pub const BROADCAST: u32 = u32::MAX;
/// 127.255.255.255: the loopback's network has a broadcast address, too, as on Linux.
pub const LOOPBACK_BROADCAST: u32 = 0x7fff_ffff;

/// The kind of route of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// To ourselves.
    Loopback,
    /// Over the link, to this neighbour.
    Neighbor(Address),
    /// Over the link, to all.
    Broadcast,
    /// Over the link, to the members of this group.
    Group(Address),
    /// Over this tunnel.
    Tunnel(u32),
    /// To ourselves, the copy of a broadcast or multicast packet that is sent over the link.
    Looped,
}

/// What hosts are reached over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Nothing but this host.
    Loopback,
    /// The device.
    Wire,
    /// A program: the tunnel of this number.
    Tunnel(u32),
}

/// A route: the address we send from, and the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Our address on that route.
    pub source: Address,
    /// The destination of the frame.
    pub hop: Hop,
}

impl Route {
    /// Whether a packet to `destination` would leave the device that its socket is bound to. Packets to the device's own address
    /// don't, though they go over the loopback.
    pub fn leaves(&self, device: Option<Link>, destination: Address) -> bool {
        match device {
            None => false,
            Some(Link::Loopback) => self.hop != Hop::Loopback,
            Some(Link::Wire) => destination.is_loopback() || matches!(self.hop, Hop::Tunnel(_)),
            Some(Link::Tunnel(index)) => {
                let stays = self.hop == Hop::Loopback || self.hop == Hop::Tunnel(index);
                destination.is_loopback() || !stays
            }
        }
    }
}

/// The configuration of the device, read without a lock. It changes rarely; a reader in that moment may see a mixture,
/// which costs a packet.
#[derive(Default)]
pub struct Addresses {
    address: AtomicU32,
    mask: AtomicU32,
    gateway: AtomicU32,
    /// The loopback is down, or has lost its address of IPv4.
    loopback_down: AtomicBool,
    loopback_bare: AtomicBool,
    /// Tunnels, and what is routed otherwise than by the above.
    pub(crate) tunnels: Tunnels,
}

/// The state of the loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopbackState {
    /// Packets pass.
    pub is_up: bool,
    /// 127.0.0.1/8 is an address of it.
    pub has_ipv4: bool,
}

impl Addresses {
    /// Replaces the configuration.
    pub fn set(&self, config: Option<Ipv4Config>) {
        self.mask.store(config.map_or(0, |c| c.mask()), Relaxed);
        self.gateway.store(config.and_then(|c| c.gateway).map_or(0, u32::from), Relaxed);
        self.address.store(config.map_or(0, |c| c.address.into()), Relaxed);
    }

    /// The configuration, if there is one.
    pub fn get(&self) -> Option<Ipv4Config> {
        let gateway = self.gateway.load(Relaxed);
        Some(Ipv4Config {
            address: Ipv4Addr::from(self.own()?),
            prefix_len: self.mask.load(Relaxed).leading_ones() as u8,
            gateway: (gateway != 0).then(|| Ipv4Addr::from(gateway)),
        })
    }

    /// The device's address, if it has one.
    #[inline(always)]
    pub fn own(&self) -> Option<u32> {
        let address = self.address.load(Relaxed);
        (address != 0).then_some(address)
    }

    /// The loopback's state. At first it is up, with its address.
    pub fn loopback(&self) -> LoopbackState {
        LoopbackState { is_up: self.is_loopback_up(), has_ipv4: !self.loopback_bare.load(Relaxed) }
    }

    /// Changes that.
    pub fn set_loopback(&self, state: LoopbackState) {
        self.loopback_down.store(!state.is_up, Relaxed);
        self.loopback_bare.store(!state.has_ipv4, Relaxed);
    }

    /// Whether packets pass over the loopback.
    #[inline]
    pub fn is_loopback_up(&self) -> bool {
        !self.loopback_down.load(Relaxed)
    }

    /// Whether the address is one of the loopback's, which stays so while that is down, as on Linux.
    #[inline]
    fn is_own_loopback(&self, address: u32) -> bool {
        is_loopback(address) && !self.loopback_bare.load(Relaxed)
    }

    /// Whether the address is one of ours.
    #[inline]
    pub fn is_local(&self, address: u32) -> bool {
        self.is_own_loopback(address)
            || (address != 0 && address == self.address.load(Relaxed))
            || (self.tunnels.are_any() && self.tunnels.is_local(address))
    }

    /// Whether a socket can be bound to the address: all (0), one of ours, or one of several hosts, where only datagrams arrive
    /// (Linux's `inet_addr_valid_or_nonlocal`). On Linux an address of a network that has none counts as one of several hosts.
    pub fn can_be_bound(&self, address: u32) -> bool {
        let has_none = self.loopback_bare.load(Relaxed) && self.own().is_none();
        has_none
            || address == 0
            || self.is_local(address)
            || self.is_broadcast(address)
            || is_multicast(address)
    }

    /// Whether this address is a broadcast address of a link.
    pub fn is_broadcast(&self, address: u32) -> bool {
        let (own, mask) = (self.address.load(Relaxed), self.mask.load(Relaxed));
        address == BROADCAST
            || address == LOOPBACK_BROADCAST
            || (own != 0 && mask < u32::MAX - 1 && (address ^ own) & mask == 0 && address | mask == u32::MAX)
    }

    /// Whether a packet from the link is a martian: its source cannot be a host on a link (RFC 1122, 3.2.1.3; RFC 1812,
    /// 5.3.7; RFC 6890). Such packets are dropped before anything is looked up, because connections with ourselves have
    /// such addresses at both ends. A source of 0.0.0.0 is valid in a broadcast only: its sender has no address yet.
    pub fn is_martian(&self, source: u32, destination: u32) -> bool {
        let nameless = source == 0 && destination == BROADCAST;
        is_loopback(source)
            || self.is_local(source)
            || is_multicast(source)
            || self.is_broadcast(source)
            || (source >> 24 == 0 && !nameless)
            || (is_reserved(source) && !self.own().is_some_and(is_reserved))
    }

    /// How many bits the prefix has by which the wire's own configuration routes to `destination`; `None` if it does not.
    fn wire_len(&self, destination: u32) -> Option<u8> {
        let config = self.get()?;
        let is_near = (destination ^ u32::from(config.address)) & config.mask() == 0;
        if is_near || self.is_broadcast(destination) {
            Some(config.prefix_len)
        } else {
            config.gateway.map(|_| 0)
        }
    }

    /// The route to one host or to all on the link, or `None` if there is none. For groups there is [`Self::group_route`].
    pub fn route(&self, destination: u32) -> Option<Route> {
        if is_loopback(destination) {
            let route = Route { source: Address::v4(LOCALHOST), hop: Hop::Loopback };
            return self.is_own_loopback(destination).then_some(route);
        }
        let own = self.own();
        if self.tunnels.are_any() && own != Some(destination) && !is_multicast(destination) {
            let route = self.tunnels.route(destination, own, self.wire_len(destination));
            if route.is_some() {
                return route;
            }
        }
        let source = own?;
        let hop = if destination == source {
            Hop::Loopback
        } else if is_multicast(destination) {
            return None;
        } else if self.is_broadcast(destination) {
            Hop::Broadcast
        } else if (destination ^ source) & self.mask.load(Relaxed) == 0 {
            Hop::Neighbor(Address::v4(destination))
        } else {
            match self.gateway.load(Relaxed) {
                0 => return None,
                gateway => Hop::Neighbor(Address::v4(gateway)),
            }
        };
        Some(Route { source: Address::v4(source), hop })
    }
}

/// Whether the address lies in 127.0.0.0/8.
#[inline]
pub fn is_loopback(address: u32) -> bool {
    address >> 24 == 127
}

/// Whether the address lies in 240.0.0.0/4, which is no source of packets (RFC 6890, table 15). Networks that use it all the same
/// have hosts of their own in it.
fn is_reserved(address: u32) -> bool {
    address >> 28 == 0xf
}

/// Whether the address lies in 224.0.0.0/4.
pub fn is_multicast(address: u32) -> bool {
    address >> 28 == 0xe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let addresses = Addresses::default();
        assert_eq!(
            addresses.route(LOCALHOST),
            Some(Route { source: Address::v4(LOCALHOST), hop: Hop::Loopback })
        );
        assert_eq!(addresses.route(0x0a00_0001), None);
        let config = Ipv4Config {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix_len: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
        };
        addresses.set(Some(config));
        assert_eq!(addresses.get(), Some(config));
        let hop = |a: [u8; 4]| addresses.route(u32::from_be_bytes(a)).map(|r| r.hop);
        assert_eq!(hop([10, 0, 2, 15]), Some(Hop::Loopback));
        assert_eq!(hop([10, 0, 2, 9]), Some(Hop::Neighbor(Address::v4(0x0a00_0209))));
        assert_eq!(hop([1, 1, 1, 1]), Some(Hop::Neighbor(Address::v4(0x0a00_0202))));
        assert_eq!(hop([10, 0, 2, 255]), Some(Hop::Broadcast));
        assert_eq!(hop([255, 255, 255, 255]), Some(Hop::Broadcast));
        let martian = |a: [u8; 4]| addresses.is_martian(u32::from_be_bytes(a), 0x0a00_020f);
        for source in [
            [10, 0, 2, 15],
            [127, 0, 0, 1],
            [10, 0, 2, 255],
            [255; 4],
            [224, 0, 0, 1],
            [240, 0, 0, 1],
            [0; 4],
            [0, 1, 2, 3],
        ] {
            assert!(martian(source), "{source:?}");
        }
        for source in [[10, 0, 2, 2], [1, 1, 1, 1], [192, 168, 0, 255]] {
            assert!(!martian(source), "{source:?}");
        }
        assert!(!addresses.is_martian(0, BROADCAST));
        assert!(addresses.is_broadcast(LOOPBACK_BROADCAST) && !addresses.is_broadcast(LOCALHOST));
        addresses.set(Some(Ipv4Config { gateway: None, ..config }));
        assert_eq!(hop([1, 1, 1, 1]), None);
        for (is_up, has_ipv4) in [(false, false), (false, true), (true, false), (true, true)] {
            addresses.set_loopback(LoopbackState { is_up, has_ipv4 });
            assert_eq!(addresses.loopback(), LoopbackState { is_up, has_ipv4 });
            assert_eq!(addresses.is_loopback_up(), is_up);
            assert_eq!(hop([127, 0, 0, 1]).is_some(), has_ipv4);
            assert!(addresses.can_be_bound(LOCALHOST) == has_ipv4);
            assert!(martian([127, 0, 0, 1]));
        }
    }
}
