//! Tunnels: links to programs, which take the packets of IPv4 that are routed to them, and whose packets are received. And routes
//! beside those of the wire's own address: the longest prefix decides (RFC 1812, section 5.2.4.3).

use crate::address::{Hop, Link, Route};
use crate::device::{Buffer, Chunk, Device, Fragment, RxChecksum, RxFrame, TxFrame};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::ip::Address;
use crate::neighbor::ETHERNET_LEN;
use crate::packet::Origin;
use crate::stack::Stack;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, Ordering};
use spin::RwLock;

/// Tunnels of a stack.
pub const TUNNELS_MAX: usize = 6;
/// What each link takes (RFC 791, section 3.2), in bytes.
const LEAST_MTU: usize = 68;
/// Routes that are added to a stack.
const ROUTES_MAX: usize = 256;

/// A tunnel as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Number of its interface.
    pub index: u32,
    /// Whether packets pass.
    pub is_up: bool,
    /// Greatest packet, in bytes.
    pub mtu: u16,
    /// Its address.
    pub address: Option<TunnelAddress>,
}

/// The address of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelAddress {
    /// Our address.
    pub local: Ipv4Addr,
    /// An address of the network that is reached over it: the other end's, or our own again.
    pub peer: Ipv4Addr,
    /// Length of the network's prefix, 0 to 32.
    pub prefix_len: u8,
}

/// A route that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// An address of the network that it leads to.
    pub network: Ipv4Addr,
    /// Length of the network's prefix, 0 to 32.
    pub prefix_len: u8,
    /// What it leads over.
    pub link: Link,
    /// The router.
    pub gateway: Option<Ipv4Addr>,
}

/// The tunnels of a stack, and the routes that were added.
#[derive(Default)]
pub struct Tunnels {
    /// Whether there are any: routes of a stack without cost no lock.
    any: AtomicBool,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    tunnels: heapless::Vec<Tunnel, TUNNELS_MAX>,
    routes: Vec<StaticRoute>,
}

/// Whether two addresses are of one network of this prefix.
fn is_within(address: u32, network: Ipv4Addr, prefix_len: u8) -> bool {
    let unlike = address ^ network.to_bits();
    unlike.leading_zeros() >= u32::from(prefix_len)
}

impl State {
    fn up(&self) -> impl Iterator<Item = (&Tunnel, TunnelAddress)> {
        self.tunnels.iter().filter(|tunnel| tunnel.is_up).filter_map(|own| Some((own, own.address?)))
    }

    fn address_of(&self, link: Link, wire: Option<u32>) -> Option<u32> {
        match link {
            Link::Tunnel(index) => {
                self.up().find(|(own, _)| own.index == index).map(|(_, address)| address.local.to_bits())
            }
            _ => wire,
        }
    }
}

impl Tunnels {
    #[inline(always)]
    pub fn are_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Whether the address is one of a tunnel's, which stays so while that is down.
    pub fn is_local(&self, address: u32) -> bool {
        let state = self.state.read();
        state.tunnels.iter().any(|own| own.address.is_some_and(|own| own.local.to_bits() == address))
    }

    /// The route to `destination`, if it is more exact than the wire's, whose prefix has `wire_len` bits. `wire`: its address.
    #[cold]
    #[inline(never)]
    pub fn route(&self, destination: u32, wire: Option<u32>, wire_len: Option<u8>) -> Option<Route> {
        let state = self.state.read();
        if state.up().any(|(_, own)| own.local.to_bits() == destination) {
            return Some(Route { source: Address::v4(destination), hop: Hop::Loopback });
        }
        let near = state.up().map(|(tunnel, own)| StaticRoute {
            network: own.peer,
            prefix_len: own.prefix_len,
            link: Link::Tunnel(tunnel.index),
            gateway: None,
        });
        let meets = |route: &StaticRoute| is_within(destination, route.network, route.prefix_len);
        let best =
            near.chain(state.routes.iter().copied()).filter(meets).max_by_key(|route| route.prefix_len)?;
        if wire_len.is_some_and(|len| best.prefix_len <= len) {
            return None;
        }
        let source = Address::v4(state.address_of(best.link, wire)?);
        let next = best.gateway.map_or(destination, u32::from);
        let hop = match best.link {
            Link::Tunnel(index) => Hop::Tunnel(index),
            _ => Hop::Neighbor(Address::v4(next)),
        };
        Some(Route { source, hop })
    }

    /// The greatest packet that a tunnel takes.
    pub fn mtu(&self, index: u32) -> usize {
        let state = self.state.read();
        state.tunnels.iter().find(|own| own.index == index).map_or(LEAST_MTU, |own| own.mtu.into())
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    fn change_tunnels<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let tunnels = &self.addresses.tunnels;
        let mut state = tunnels.state.write();
        let result = change(&mut state);
        tunnels.any.store(!(state.tunnels.is_empty() && state.routes.is_empty()), Ordering::Relaxed);
        result
    }

    /// The tunnel of this number.
    pub fn tunnel(&self, index: u32) -> Option<Tunnel> {
        self.addresses.tunnels.state.read().tunnels.iter().find(|own| own.index == index).copied()
    }

    /// Configures the tunnel of this number anew. Routes over one that is down, or that has lost its address, go. False: there is none.
    pub fn change_tunnel(&self, index: u32, change: impl FnOnce(&mut Tunnel)) -> bool {
        self.change_tunnels(|state| {
            let Some(own) = state.tunnels.iter_mut().find(|own| own.index == index) else { return false };
            change(own);
            if !own.is_up || own.address.is_none() {
                state.routes.retain(|route| route.link != Link::Tunnel(index));
            }
            true
        })
    }

    /// Adds a tunnel.
    ///
    /// # Errors
    /// [`Error::NoBuffers`] if there are as many as there may be.
    pub fn add_tunnel(&self, tunnel: Tunnel) -> Result<()> {
        self.change_tunnels(|state| state.tunnels.push(tunnel).map_err(|_| Error::NoBuffers))
    }

    /// Takes a tunnel away, and the routes over it.
    pub fn remove_tunnel(&self, index: u32) {
        self.change_tunnels(|state| {
            state.tunnels.retain(|own| own.index != index);
            state.routes.retain(|route| route.link != Link::Tunnel(index));
        });
    }

    /// The route of this number among those that were added.
    pub fn static_route(&self, number: usize) -> Option<StaticRoute> {
        self.addresses.tunnels.state.read().routes.get(number).copied()
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`Error::NoBuffers`].
    pub fn add_route(&self, route: StaticRoute) -> Result<()> {
        self.change_tunnels(|state| {
            if state.routes.len() >= ROUTES_MAX {
                return Err(Error::NoBuffers);
            }
            Ok(state.routes.try_push(route)?)
        })
    }

    /// Takes the first route away that `is_meant`; returns whether there was one.
    pub fn remove_route(&self, is_meant: &dyn Fn(&StaticRoute) -> bool) -> bool {
        self.change_tunnels(|state| {
            let found = state.routes.iter().position(is_meant);
            found.map(|place| state.routes.remove(place)).is_some()
        })
    }

    /// Sends a packet over a tunnel. `headers` starts with an Ethernet header, which is left out.
    pub(crate) fn tunnel_send(&self, index: u32, headers: &[u8], payload: &[Fragment<'_, D::Buf>]) {
        let headers = headers.get(ETHERNET_LEN..).unwrap_or(&[]);
        self.device.tunnel(index, TxFrame { headers, payload, checksum: None, segment_size: None });
        self.tell_watchers_later();
    }

    /// Takes a packet of IPv4 that a program sends over a tunnel. Those of IPv6 are dropped: tunnels have no addresses of it.
    ///
    /// # Errors
    /// [`Error::NoBuffers`].
    pub fn tunnel_receive(&self, now: u64, index: u32, packet: &[u8]) -> Result<()> {
        let mut chunks = Vec::new();
        let mut rest = packet;
        while !rest.is_empty() {
            let mut buffer = self.device.alloc_looped(true).ok_or(Error::NoBuffers)?;
            let room = buffer.as_mut_slice().ok_or(Error::NoBuffers)?;
            let (piece, after) = rest.split_at(rest.len().min(room.len()));
            room[..piece.len()].copy_from_slice(piece);
            chunks.try_extend(Chunk::new(buffer, 0, piece.len()))?;
            rest = after;
        }
        if packet.first().is_some_and(|first| first >> 4 == 4) {
            let head = chunks.remove(0);
            let frame = RxFrame { head, rest: chunks, checksum: RxChecksum::Unknown, segment_size: 0 };
            self.ipv4_input(now, frame, Origin::Tunnel(index));
            self.loopback_run(now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tunnel(index: u32, local: [u8; 4], peer: [u8; 4], prefix_len: u8) -> Tunnel {
        let address = TunnelAddress { local: local.into(), peer: peer.into(), prefix_len };
        Tunnel { index, is_up: true, mtu: 1500, address: Some(address) }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let tunnels = Tunnels::default();
        {
            let mut state = tunnels.state.write();
            let _ = state.tunnels.push(tunnel(3, [10, 8, 0, 1], [10, 8, 0, 1], 24));
            let _ = state.tunnels.push(tunnel(4, [10, 8, 0, 9], [10, 9, 0, 7], 32));
            let route = |network: [u8; 4], prefix_len, link, gateway: Option<[u8; 4]>| StaticRoute {
                network: network.into(),
                prefix_len,
                link,
                gateway: gateway.map(Ipv4Addr::from),
            };
            state.routes.push(route([0; 4], 1, Link::Tunnel(3), None));
            state.routes.push(route([192, 0, 2, 7], 32, Link::Wire, Some([10, 0, 2, 2])));
        }
        let wire = u32::from_be_bytes([10, 0, 2, 15]);
        let to = |address: [u8; 4], wire_len| {
            let route = tunnels.route(u32::from_be_bytes(address), Some(wire), wire_len);
            route.map(|route| (route.source.to_ipv4().unwrap().octets(), route.hop))
        };
        assert_eq!(to([10, 8, 0, 5], Some(0)), Some(([10, 8, 0, 1], Hop::Tunnel(3))));
        assert_eq!(to([10, 8, 0, 9], Some(0)), Some(([10, 8, 0, 9], Hop::Loopback)));
        assert_eq!(to([10, 9, 0, 7], Some(0)), Some(([10, 8, 0, 9], Hop::Tunnel(4))));
        assert_eq!(to([10, 9, 0, 8], Some(0)), Some(([10, 8, 0, 1], Hop::Tunnel(3))));
        assert_eq!(to([10, 0, 2, 3], Some(24)), None);
        assert_eq!(to([200, 0, 0, 1], Some(0)), None);
        let router = Address::from(Ipv4Addr::new(10, 0, 2, 2));
        assert_eq!(to([192, 0, 2, 7], Some(0)), Some(([10, 0, 2, 15], Hop::Neighbor(router))));
        tunnels.state.write().tunnels[0].is_up = false;
        assert_eq!(to([10, 8, 0, 5], None), None);
    }

    proptest! {
        #[test]
        fn networks_hold_what_their_masks_leave(address: u32, network: u32, len in 0u8..=32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            prop_assert_eq!(is_within(address, network.into(), len), (address ^ network) & mask == 0);
            prop_assert!(is_within(network ^ (address & !mask), network.into(), len));
        }
    }
}
