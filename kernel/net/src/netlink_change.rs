//! Requests of rtnetlink(7) that change links, addresses and routes, as far as the engine can: one IPv4 address and one default router
//! of the card, and the loopback's state and address.
use super::engine;
use super::interface_ioctl::{InterfaceInfo, LOOPBACK_INDEX, interfaces, set_flags};
use coracle_core::errno::Errno;
use coracle_core::fs::access::capability;
use coracle_core::task::namespaces::check_network_capability;
use coracle_hal::time::now_ns;
use coracle_tcpip::{Ipv4Config, LoopbackState};
use core::net::Ipv4Addr;
use linux_raw_sys::net as n;

/// Message types (linux/rtnetlink.h).
pub const RTM_NEWLINK: u16 = 16;
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
            RTM_NEWLINK | RTM_SETLINK => LINK_BYTES,
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
        if name.is_some_and(|name| name != own.name.as_bytes())
            || mtu.is_some_and(|mtu| *mtu != own.mtu.to_le_bytes())
        {
            return Err(Errno::OPNOTSUPP);
        }
        if flags == 0 && changed == 0 {
            return Ok(());
        }
        let mask = if changed == 0 { u32::MAX } else { changed };
        set_flags(&own, flags & mask | own.flags & !mask)
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
        if is_loopback {
            let is_up = engine.loopback_state().is_up;
            engine.set_loopback_state(LoopbackState { is_up, has_ipv4: is_new });
        } else {
            let config = Ipv4Config { address, prefix_len, gateway: None };
            engine.set_ipv4(now_ns(), is_new.then_some(config));
        }
        Ok(())
    }

    /// `ip route add default via` and `ip route del default`; the routes of links are those of their addresses.
    fn route(&self) -> Result<(), Errno> {
        let (family, prefix_len) = (u32::from(self.body[0]), self.body[1]);
        if family != n::AF_INET {
            return Err(Errno::OPNOTSUPP);
        }
        if let Some(index) = self.attribute(ROUTE_BYTES, RTA_OIF).and_then(|value| value.first_chunk()) {
            interface(u32::from_le_bytes(*index))?;
        }
        let is_new = self.kind == RTM_NEWROUTE;
        let (engine, gateway) = (engine(), self.ipv4(ROUTE_BYTES, RTA_GATEWAY));
        let config = engine.ipv4();
        let there = config.and_then(|config| config.gateway);
        if prefix_len != 0 || self.ipv4(ROUTE_BYTES, RTA_DST).is_some_and(|to| !to.is_unspecified()) {
            let network = |config: &Ipv4Config| u32::from(config.address) & config.mask();
            let to = self.ipv4(ROUTE_BYTES, RTA_DST).map(u32::from);
            let exists = config.is_some_and(|own| prefix_len == own.prefix_len && to == Some(network(&own)));
            return Err(match (exists, is_new) {
                (true, true) if gateway.is_none() => Errno::EXIST,
                (false, false) => Errno::SRCH,
                _ => Errno::OPNOTSUPP,
            });
        }
        if !is_new {
            let is_meant = there.is_some() && gateway.is_none_or(|gateway| there == Some(gateway));
            let config = config.filter(|_| is_meant).ok_or(Errno::SRCH)?;
            engine.set_ipv4(now_ns(), Some(Ipv4Config { gateway: None, ..config }));
            return Ok(());
        }
        let gateway = gateway.ok_or(Errno::OPNOTSUPP)?;
        // A router is a neighbour.
        let is_near = |own: &Ipv4Config| (u32::from(own.address) ^ u32::from(gateway)) & own.mask() == 0;
        let config = config.filter(is_near).ok_or(Errno::NETUNREACH)?;
        if there.is_some() && self.flags & NLM_F_REPLACE == 0 {
            return Err(Errno::EXIST);
        }
        engine.set_ipv4(now_ns(), Some(Ipv4Config { gateway: Some(gateway), ..config }));
        Ok(())
    }
}

/// The interface of this number. ENODEV.
fn interface(index: u32) -> Result<InterfaceInfo, Errno> {
    interfaces().into_iter().find(|own| own.index == index).ok_or(Errno::NODEV)
}
