//! Requests of rtnetlink(7) that change links, addresses and routes, as far as the engine can: one IPv4 address and one default router
//! of the card, the loopback's state and address, interfaces whose other end is a program, and routes of IPv4.
use super::engine;
use super::interface_ioctl::{
    CARD_INDEX, InterfaceInfo, LOOPBACK_INDEX, change_tunnel, interfaces, set_flags, set_mtu,
};
use coracle_core::errno::Errno;
use coracle_core::fs::access::capability;
use coracle_core::task::namespaces::check_network_capability;
use coracle_fallible::NoMemory;
use coracle_hal::time::now_ns;
use coracle_tcpip::{Ipv4Config, Link, LoopbackState, StaticRoute, TunnelAddress};
use core::net::Ipv4Addr;
use linux_raw_sys::net as n;

/// Message types (linux/rtnetlink.h).
pub const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;
/// See [`RTM_NEWLINK`].
pub const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
/// See [`RTM_NEWLINK`].
pub const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// Flags of requests that make something.
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
/// Attributes.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// Bytes of `struct ifinfomsg`, `struct ifaddrmsg` and `struct rtmsg`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const ROUTE_BYTES: usize = 12;
/// Length of the loopback's prefix.
const LOOPBACK_PREFIX: u8 = 8;

/// A request: its type, flags and what follows its header.
pub struct Change<'a> {
    /// RTM_*.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Change<'a> {
    fn word(&self, at: usize) -> u32 {
        self.body.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
    }

    /// The attribute of this type behind the fixed part of `len` bytes.
    fn attribute(&self, len: usize, kind: u16) -> Option<&'a [u8]> {
        /// The upper bits say how a value is encoded (netlink(7)).
        const TYPE: u16 = 0x3fff;
        let mut rest = self.body.get(len..)?;
        while let [a, b, c, d, ..] = rest {
            let size = usize::from(u16::from_le_bytes([*a, *b]));
            let value = rest.get(4..size)?;
            if u16::from_le_bytes([*c, *d]) & TYPE == kind {
                return Some(value);
            }
            rest = rest.get(size.next_multiple_of(4)..)?;
        }
        None
    }

    fn ipv4(&self, len: usize, kind: u16) -> Option<Ipv4Addr> {
        let octets = self.attribute(len, kind)?.first_chunk::<4>()?;
        Some(Ipv4Addr::from(*octets))
    }

    /// Makes the change. EOPNOTSUPP: the engine can't, or this is no request for one. EPERM without CAP_NET_ADMIN.
    pub fn apply(&self) -> Result<(), Errno> {
        let needs = match self.kind {
            RTM_NEWLINK | RTM_SETLINK | RTM_DELLINK => LINK_BYTES,
            RTM_NEWADDR | RTM_DELADDR => ADDRESS_BYTES,
            RTM_NEWROUTE | RTM_DELROUTE => ROUTE_BYTES,
            _ => return Err(Errno::OPNOTSUPP),
        };
        check_network_capability(capability::NET_ADMIN)?;
        if self.body.len() < needs {
            return Err(Errno::INVAL);
        }
        match self.kind {
            RTM_NEWLINK | RTM_SETLINK => self.link(),
            RTM_DELLINK => self.remove_link(),
            RTM_NEWADDR | RTM_DELADDR => self.address(),
            _ => self.route(),
        }
    }

    /// The interface that a request about links is for, by its number or its name. ENODEV.
    pub fn meant(&self) -> Result<InterfaceInfo, Errno> {
        let (index, name) = (self.word(4), self.name());
        let is_meant = |own: &InterfaceInfo| match index {
            0 => name.is_some_and(|name| name == own.name.as_bytes()),
            index => own.index == index,
        };
        interfaces().into_iter().find(is_meant).ok_or(Errno::NODEV)
    }

    fn name(&self) -> Option<&'a [u8]> {
        let name = self.attribute(LINK_BYTES, IFLA_IFNAME)?;
        Some(name.strip_suffix(&[0]).unwrap_or(name))
    }

    /// `ip link set`: flags, and of the rest what is so already.
    fn link(&self) -> Result<(), Errno> {
        let (flags, changed, name) = (self.word(8), self.word(12), self.name());
        let creates = self.kind == RTM_NEWLINK && self.flags & NLM_F_CREATE != 0;
        let own = self.meant().map_err(|error| if creates { Errno::OPNOTSUPP } else { error })?;
        let mtu = self.attribute(LINK_BYTES, IFLA_MTU);
        if name.is_some_and(|name| name != own.name.as_bytes()) {
            return Err(Errno::OPNOTSUPP);
        }
        if let Some(mtu) = mtu.and_then(|mtu| mtu.first_chunk()) {
            set_mtu(&own, u32::from_le_bytes(*mtu))?;
        }
        if flags == 0 && changed == 0 {
            return Ok(());
        }
        let mask = if changed == 0 { u32::MAX } else { changed };
        set_flags(&own, flags & mask | own.flags & !mask)
    }

    /// `ip link del`. EOPNOTSUPP for what is no program's.
    fn remove_link(&self) -> Result<(), Errno> {
        let (own, engine) = (self.meant()?, engine());
        let tun = engine.device().tuns().of(own.index).ok_or(Errno::OPNOTSUPP)?;
        engine.device().tuns().remove(&engine, &tun);
        Ok(())
    }

    /// `ip addr add` and `ip addr del`.
    fn address(&self) -> Result<(), Errno> {
        let (family, prefix_len) = (u32::from(self.body[0]), self.body[1]);
        if family != n::AF_INET {
            return Err(Errno::OPNOTSUPP);
        }
        let own = interface(self.word(4))?;
        let address = self.ipv4(ADDRESS_BYTES, IFA_LOCAL);
        let is_new = self.kind == RTM_NEWADDR;
        let Some(address) = address.or_else(|| self.ipv4(ADDRESS_BYTES, IFA_ADDRESS).filter(|_| !is_new))
        else {
            return Err(Errno::INVAL);
        };
        if prefix_len > 32 {
            return Err(Errno::INVAL);
        }
        let (is_loopback, engine) = (own.index == LOOPBACK_INDEX, engine());
        match own.address {
            Some(there) if there == (address, prefix_len) => match is_new {
                true if self.flags & NLM_F_REPLACE != 0 => return Ok(()),
                true => return Err(Errno::EXIST),
                false => {}
            },
            _ if !is_new => return Err(Errno::ADDRNOTAVAIL),
            // It has one, or another than the loopback's.
            Some(_) => return Err(Errno::OPNOTSUPP),
            None if is_loopback && (address, prefix_len) != (Ipv4Addr::LOCALHOST, LOOPBACK_PREFIX) => {
                return Err(Errno::OPNOTSUPP);
            }
            None => {}
        }
        if own.is_tunnel() {
            let peer = self.ipv4(ADDRESS_BYTES, IFA_ADDRESS).unwrap_or(address);
            let new = is_new.then_some(TunnelAddress { local: address, peer, prefix_len });
            return change_tunnel(own.index, |tunnel| tunnel.address = new);
        }
        if is_loopback {
            let is_up = engine.loopback_state().is_up;
            engine.set_loopback_state(LoopbackState { is_up, has_ipv4: is_new });
        } else {
            let config = Ipv4Config { address, prefix_len, gateway: None };
            engine.set_ipv4(now_ns(), is_new.then_some(config));
        }
        Ok(())
    }

    /// `ip route add` and `ip route del`. The routes of links are those of their addresses.
    fn route(&self) -> Result<(), Errno> {
        let (family, prefix_len) = (u32::from(self.body[0]), self.body[1]);
        if family != n::AF_INET {
            return Err(Errno::OPNOTSUPP);
        }
        if prefix_len > 32 {
            return Err(Errno::INVAL);
        }
        let index = self.attribute(ROUTE_BYTES, RTA_OIF).and_then(|value| value.first_chunk());
        let named = index.map(|index| interface(u32::from_le_bytes(*index))).transpose()?;
        let network = self.ipv4(ROUTE_BYTES, RTA_DST).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let gateway = self.ipv4(ROUTE_BYTES, RTA_GATEWAY);
        let is_of_wire = named.as_ref().is_none_or(|own| !own.is_tunnel());
        if prefix_len == 0 && is_of_wire && (gateway.is_none() || near(gateway) == Some(CARD_INDEX)) {
            return self.default_route(gateway);
        }
        let is_meant = |shown: &Shown| {
            (shown.network, shown.prefix_len) == (network, prefix_len)
                && named.as_ref().is_none_or(|own| own.index == shown.interface)
                && gateway.is_none_or(|gateway| shown.gateway == Some(gateway))
        };
        let mut found = None;
        for_each_route(&mut |shown| {
            if is_meant(shown) {
                found = Some(*shown);
            }
            Ok(())
        })?;
        let of_wire = engine().ipv4().is_some_and(|own| {
            let own_network = Ipv4Addr::from(u32::from(own.address) & own.mask());
            (own_network, own.prefix_len) == (network, prefix_len) && is_of_wire
        });
        if self.kind == RTM_DELROUTE {
            let shown = match found {
                Some(shown) if !shown.is_of_kernel => shown,
                // Such a route goes with its address.
                _ => return Err(if of_wire || found.is_some() { Errno::OPNOTSUPP } else { Errno::SRCH }),
            };
            engine().remove_route(&|own| {
                (own.network, own.prefix_len, own.gateway) == (shown.network, prefix_len, shown.gateway)
                    && index_of(own.link) == shown.interface
            });
            return Ok(());
        }
        if network.to_bits() & !mask(prefix_len) != 0 {
            return Err(Errno::INVAL);
        }
        if found.is_some() || (of_wire && gateway.is_none()) {
            return if self.flags & NLM_F_REPLACE != 0 { Ok(()) } else { Err(Errno::EXIST) };
        }
        let own = match named {
            Some(own) => own,
            None => interface(near(gateway).ok_or(Errno::NETUNREACH)?)?,
        };
        // A router is a neighbour.
        if gateway.is_some() && near(gateway) != Some(own.index) {
            return Err(Errno::NETUNREACH);
        }
        if !own.is_up() {
            return Err(Errno::NETDOWN);
        }
        let link = own.link();
        if link == Link::Loopback || own.address.is_none() {
            return Err(Errno::OPNOTSUPP);
        }
        engine().add_route(StaticRoute { network, prefix_len, link, gateway }).map_err(super::common::errno)
    }

    /// The route of the card to what no other route leads to.
    fn default_route(&self, gateway: Option<Ipv4Addr>) -> Result<(), Errno> {
        let engine = engine();
        let config = engine.ipv4();
        let there = config.and_then(|config| config.gateway);
        if self.kind == RTM_DELROUTE {
            let is_meant = there.is_some() && gateway.is_none_or(|gateway| there == Some(gateway));
            let config = config.filter(|_| is_meant).ok_or(Errno::SRCH)?;
            engine.set_ipv4(now_ns(), Some(Ipv4Config { gateway: None, ..config }));
            return Ok(());
        }
        let gateway = gateway.ok_or(Errno::OPNOTSUPP)?;
        let config = config.ok_or(Errno::NETUNREACH)?;
        if there.is_some() && self.flags & NLM_F_REPLACE == 0 {
            return Err(Errno::EXIST);
        }
        engine.set_ipv4(now_ns(), Some(Ipv4Config { gateway: Some(gateway), ..config }));
        Ok(())
    }
}

/// A route of IPv4 that is no part of the card's configuration.
#[derive(Clone, Copy)]
pub struct Shown {
    /// The network.
    pub network: Ipv4Addr,
    /// Length of its prefix.
    pub prefix_len: u8,
    /// Number of the interface.
    pub interface: u32,
    /// The router.
    pub gateway: Option<Ipv4Addr>,
    /// Our address on it, where it came with that.
    pub source: Option<Ipv4Addr>,
    /// It came with an address.
    pub is_of_kernel: bool,
}

/// Calls `see` for the routes that came with addresses of tunnels, and for those that were added, up to its first error.
pub fn for_each_route(see: &mut dyn FnMut(&Shown) -> Result<(), NoMemory>) -> Result<(), NoMemory> {
    for own in interfaces().iter().filter(|own| own.is_tunnel() && own.is_up()) {
        let Some((source, prefix_len)) = own.address else { continue };
        let reached = own.peer.unwrap_or(source).to_bits() & mask(prefix_len);
        // A network of our own address alone is no route.
        if own.peer.is_some() || prefix_len < 32 {
            let (network, interface) = (Ipv4Addr::from(reached), own.index);
            let (gateway, source) = (None, Some(source));
            see(&Shown { network, prefix_len, interface, gateway, source, is_of_kernel: true })?;
        }
    }
    let engine = engine();
    let mut number = 0;
    while let Some(own) = engine.static_route(number) {
        let StaticRoute { network, prefix_len, link, gateway } = own;
        let interface = index_of(link);
        see(&Shown { network, prefix_len, interface, gateway, source: None, is_of_kernel: false })?;
        number += 1;
    }
    Ok(())
}

/// The number of a link's interface.
pub fn index_of(link: Link) -> u32 {
    match link {
        Link::Loopback => LOOPBACK_INDEX,
        Link::Wire => CARD_INDEX,
        Link::Tunnel(index) => index,
    }
}

/// The interface on whose network a router is.
fn near(gateway: Option<Ipv4Addr>) -> Option<u32> {
    let gateway = gateway?.to_bits();
    let is_near = |own: &InterfaceInfo| {
        let Some((address, prefix_len)) = own.address else { return false };
        let network = own.peer.unwrap_or(address).to_bits();
        own.is_up() && own.index != LOOPBACK_INDEX && (network ^ gateway) & mask(prefix_len) == 0
    };
    interfaces().into_iter().find(is_near).map(|own| own.index)
}

/// The mask of a prefix of so many bits, up to 32.
fn mask(prefix_len: u8) -> u32 {
    Ipv4Config { address: Ipv4Addr::UNSPECIFIED, prefix_len, gateway: None }.mask()
}

/// The interface of this number. ENODEV.
fn interface(index: u32) -> Result<InterfaceInfo, Errno> {
    interfaces().into_iter().find(|own| own.index == index).ok_or(Errno::NODEV)
}
