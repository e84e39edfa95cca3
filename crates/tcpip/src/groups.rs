//! Multicast groups (RFC 1112): which sockets have joined which group on which link, and the route of a datagram to a group.
//!
//! Membership is a filter of this host. That of groups of IPv6 is reported ([`crate::mld`]); that of IPv4 is not (IGMP, RFC 3376), so
//! these are received from the link of the device, whose switches have to flood them.

use crate::address::{Addresses, Hop, LOCALHOST, Link, Route, is_loopback};
use crate::device::Device;
use crate::discovery::solicited_node;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::ip::Address;
use crate::mld::Record;
use crate::packet::IpInfo;
use crate::stack::{Stack, Udp};
use crate::udp::State;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_sorted_map::SortedMap;
use spin::RwLock;

/// Groups that a socket may join (Linux: `net.ipv4.igmp_max_memberships`).
const MEMBERSHIPS_MAX: usize = 20;
/// Senders that a socket may list for a group (Linux: `net.ipv4.igmp_max_msf`).
const SOURCES_MAX: usize = 10;
/// 224.0.0.1, the group of all hosts: each host is a member on each link, always (RFC 1112, section 4).
const ALL_HOSTS: u32 = 0xe000_0001;
/// The Ethernet address of a group: these three bytes, then the low 23 bits of the group (RFC 1112, section 6.4).
const ETHERNET_PREFIX: u32 = 0x0100_5e00;
/// That of a group of IPv6: these two bytes, then the last four of the group (RFC 2464, section 7).
const ETHERNET_PREFIX_V6: [u8; 2] = [0x33; 2];

/// A group on a link.
pub type Membership = (Address, Link);

/// A group that a socket has joined, and whose datagrams of it the socket takes (RFC 3678, section 3).
#[derive(Clone, Debug)]
pub struct Joined {
    membership: Membership,
    /// The senders listed are those that it takes (MCAST_INCLUDE), not those that it doesn't (MCAST_EXCLUDE).
    includes: bool,
    /// `None`: none was ever listed.
    sources: Option<Vec<Address>>,
}

impl Joined {
    fn lists(&self, source: Address) -> Option<usize> {
        self.sources.as_ref()?.iter().position(|listed| *listed == source)
    }
}

/// The groups that sockets have joined, with the number of these sockets.
#[derive(Default)]
pub struct Groups(RwLock<SortedMap<Membership, usize>>);

impl Groups {
    /// Whether the host is a member.
    pub fn contains(&self, membership: Membership) -> bool {
        matches!(membership.0, group if group == Address::v4(ALL_HOSTS) || group == Address::ALL_NODES)
            || self.0.read().contains_key(&membership)
    }

    /// One socket more is a member of the group. True if it is the first.
    fn add(&self, membership: Membership) -> Result<bool> {
        let mut all = self.0.write();
        let count = all.get_or_insert_with(membership, || 0)?;
        *count += 1;
        Ok(*count == 1)
    }

    /// One socket less is a member of the group. True if it was the last.
    fn remove(&self, membership: Membership) -> bool {
        let mut all = self.0.write();
        let Some(count) = all.get_mut(&membership) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            all.remove(&membership);
        }
        last
    }

    /// The groups that sockets have joined, with the number of these sockets.
    pub fn for_each(&self, mut each: impl FnMut(Membership, usize)) {
        self.0.read().iter().for_each(|(membership, sockets)| each(*membership, *sockets));
    }
}

/// The Ethernet address that frames to `group` have.
pub fn ethernet_address(group: Address) -> [u8; 6] {
    let low = group.words().1 as u32;
    let [c, d, e, f] = low.to_be_bytes();
    if group.is_v4() {
        let [x, y, z, _] = ETHERNET_PREFIX.to_be_bytes();
        [x, y, z, d & 0x7f, e, f]
    } else {
        let [x, y] = ETHERNET_PREFIX_V6;
        [x, y, c, d, e, f]
    }
}

impl Addresses {
    /// The link that a group is on for a socket which names none: that of the socket's own address `source` (0: it has
    /// none), else the one that the default route leads to.
    pub fn group_link(&self, source: u32) -> Option<Link> {
        if is_loopback(source) {
            Some(Link::Loopback)
        } else if source != 0 && Some(source) == self.own() {
            Some(Link::Wire)
        } else {
            self.get().and_then(|config| config.gateway).map(|_| Link::Wire)
        }
    }

    /// The route to a group over `link`, or over what [`Self::group_link`] returns.
    pub fn group_route(&self, group: u32, link: Option<Link>, source: u32) -> Option<Route> {
        match link.or_else(|| self.group_link(source))? {
            Link::Loopback => {
                let source = Address::v4(self.own().unwrap_or(LOCALHOST));
                Some(Route { source, hop: Hop::Loopback })
            }
            // No route leads to groups there.
            Link::Tunnel(_) => None,
            Link::Wire => {
                Some(Route { source: Address::v4(self.own()?), hop: Hop::Group(Address::v4(group)) })
            }
        }
    }
}

/// A group that the host is a member of, as [`Stack::memberships`] shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupSeen {
    /// The group.
    pub group: Address,
    /// On this link.
    pub link: Link,
    /// Sockets that have joined it; 1 for the host itself.
    pub users: usize,
    /// Each host is a member, and none reports it (RFC 2710, section 5).
    pub is_silent: bool,
}

impl<D: Device, E: Events> Stack<D, E> {
    /// The groups that the host is a member of: those that sockets have joined, and its own. ENOMEM.
    pub fn memberships(&self) -> Result<Vec<GroupSeen>> {
        let mut all = Vec::new();
        let mut found = Ok(());
        let mut add = |(group, link), users, is_silent| {
            found = found.and(all.try_push(GroupSeen { group, link, users, is_silent }));
        };
        self.groups.for_each(|membership, users| add(membership, users, false));
        for own in &self.ipv6_addresses() {
            add((solicited_node(own.address), Link::Wire), 1, false);
        }
        for link in [Link::Loopback, Link::Wire] {
            [Address::v4(ALL_HOSTS), Address::ALL_NODES, Address::ALL_NODES_OF_INTERFACE]
                .into_iter()
                .for_each(|group| add((group, link), 1, true));
        }
        found?;
        Ok(all)
    }

    /// The link that a group is joined on by a socket which names none; `None` if no route leads to groups.
    pub fn default_group_link(&self) -> Option<Link> {
        self.addresses.group_link(0)
    }

    /// Whether a packet to a group is for this host.
    pub(crate) fn is_member(&self, group: Address, link: Link) -> bool {
        group.is_multicast()
            && (self.groups.contains((group, link)) || (link == Link::Wire && self.v6.is_asked_in(group)))
    }

    /// Joins a group on a link (ip(7), `IP_ADD_MEMBERSHIP`); `includes`: to take the datagrams of senders that are to be listed, and no
    /// others.
    ///
    /// # Errors
    /// [`Error::Invalid`]: no group has this address. [`Error::AddressInUse`]: the socket is a member.
    /// [`Error::NoBuffers`]: it is a member of as many groups as are allowed, or there is no memory.
    pub fn udp_join(&self, socket: &Udp<D, E>, membership: Membership, includes: bool) -> Result<()> {
        let (group, link) = membership;
        if !group.is_multicast() {
            return Err(Error::Invalid);
        }
        let mut state = socket.state();
        if state.groups.iter().any(|joined| joined.membership == membership) {
            return Err(Error::AddressInUse);
        }
        if state.groups.len() >= MEMBERSHIPS_MAX {
            return Err(Error::NoBuffers);
        }
        state.groups.try_reserve(1).map_err(|_| Error::NoBuffers)?;
        let first = self.groups.add(membership)?;
        state.groups.try_push(Joined { membership, includes, sources: None })?;
        drop(state);
        if first && link == Link::Wire {
            self.report_group(group, Record::Joined);
        }
        Ok(())
    }

    /// Leaves a group on a link; on any for `None` (`IP_DROP_MEMBERSHIP`).
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`]: the socket is no member.
    pub fn udp_leave(&self, socket: &Udp<D, E>, group: Address, link: Option<Link>) -> Result<()> {
        let mut state = socket.state();
        let is_it = |joined: &Joined| {
            joined.membership.0 == group && link.is_none_or(|link| joined.membership.1 == link)
        };
        let index = state.groups.iter().position(is_it).ok_or(Error::AddressNotAvailable)?;
        let joined = state.groups.remove(index);
        drop(state);
        self.leave_group(joined.membership);
        Ok(())
    }

    /// Lists a sender for a group, or takes it off the list: of those whose datagrams the socket takes (`includes`), or of those whose
    /// it doesn't. A group without senders that are taken is left (RFC 3678, section 4.1.3).
    ///
    /// # Errors
    /// [`Error::Invalid`]: the socket is no member, or lists senders in the other way. [`Error::AddressNotAvailable`]: the sender is
    /// listed already, or is not. [`Error::NoBuffers`]: as many are listed as are allowed, or there is no memory.
    pub fn udp_list_source(
        &self,
        socket: &Udp<D, E>,
        membership: Membership,
        source: Address,
        includes: bool,
        adds: bool,
    ) -> Result<()> {
        let mut state = socket.state();
        let is_it = |joined: &Joined| joined.membership == membership;
        let index = state.groups.iter().position(is_it).ok_or(Error::Invalid)?;
        let joined = &mut state.groups[index];
        if joined.includes != includes && joined.sources.is_some() {
            return Err(Error::Invalid);
        }
        joined.includes = includes;
        let listed = joined.lists(source);
        if adds {
            let sources = joined.sources.get_or_insert_default();
            return match listed {
                _ if sources.len() >= SOURCES_MAX => Err(Error::NoBuffers),
                Some(_) => Err(Error::AddressNotAvailable),
                None => Ok(sources.try_push(source)?),
            };
        }
        let (Some(listed), Some(sources)) = (listed, &mut joined.sources) else {
            return Err(Error::AddressNotAvailable);
        };
        if includes && sources.len() == 1 {
            let joined = state.groups.remove(index);
            drop(state);
            self.leave_group(joined.membership);
        } else {
            sources.swap_remove(listed);
        }
        Ok(())
    }

    /// Replaces the list of senders for a group. Errors as those of [`udp_list_source`](Self::udp_list_source).
    pub fn udp_list_sources(
        &self,
        socket: &Udp<D, E>,
        membership: Membership,
        sources: Vec<Address>,
        includes: bool,
    ) -> Result<()> {
        if includes && sources.is_empty() {
            return self.udp_leave(socket, membership.0, Some(membership.1));
        }
        if sources.len() > SOURCES_MAX {
            return Err(Error::NoBuffers);
        }
        let mut state = socket.state();
        let joined = state.groups.iter_mut().find(|joined| joined.membership == membership);
        let joined = joined.ok_or(Error::Invalid)?;
        joined.includes = includes;
        joined.sources = (!sources.is_empty()).then_some(sources);
        Ok(())
    }

    /// The socket is closed: leaves these.
    pub(crate) fn leave_all(&self, groups: Vec<Joined>) {
        groups.into_iter().for_each(|joined| self.leave_group(joined.membership));
    }

    fn leave_group(&self, membership: Membership) {
        if self.groups.remove(membership) && membership.1 == Link::Wire {
            self.report_group(membership.0, Record::Left);
        }
    }
}

impl<B> State<B> {
    /// Whether the socket wants a broadcast or multicast datagram: to its group it must be a member, and take the sender's, or want what
    /// any socket of this host has joined (`IP_MULTICAST_ALL`).
    pub fn wants(&self, info: &IpInfo) -> bool {
        if !info.destination.is_multicast() {
            return true;
        }
        let joined = self.groups.iter().find(|joined| joined.membership == (info.destination, info.link));
        joined.map_or(self.options.multicast_all, |joined| {
            joined.lists(info.source).is_some() == joined.includes
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ipv4Config;
    use core::net::Ipv4Addr;

    #[test]
    fn ways_to_groups() {
        let addresses = Addresses::default();
        let group = 0xe000_00fb;
        assert_eq!(addresses.group_route(group, None, 0), None);
        assert_eq!(addresses.group_route(group, Some(Link::Wire), 0), None);
        let over_loopback = addresses.group_route(group, Some(Link::Loopback), 0);
        assert_eq!(over_loopback, Some(Route { source: Address::v4(LOCALHOST), hop: Hop::Loopback }));
        let address = Ipv4Addr::new(10, 0, 2, 15);
        let mut config = Ipv4Config { address, prefix_len: 24, gateway: None };
        addresses.set(Some(config));
        let over_wire = Some(Route { source: address.into(), hop: Hop::Group(Address::v4(group)) });
        assert_eq!(addresses.group_route(group, Some(Link::Wire), 0), over_wire);
        assert_eq!(addresses.group_route(group, None, address.into()), over_wire);
        assert_eq!(addresses.group_route(group, None, LOCALHOST).map(|r| r.hop), Some(Hop::Loopback));
        // Without a default route, none leads to groups, as on Linux.
        assert_eq!(addresses.group_route(group, None, 0), None);
        config.gateway = Some(Ipv4Addr::new(10, 0, 2, 2));
        addresses.set(Some(config));
        assert_eq!(addresses.group_route(group, None, 0), over_wire);
        // No other kind of packet is sent to a group.
        assert_eq!(addresses.route(group), None);
    }

    #[test]
    fn ethernet_addresses() {
        assert_eq!(ethernet_address(Address::v4(0xe0ff_00fb)), [1, 0, 0x5e, 0x7f, 0, 0xfb]);
        let group = "ff02::1:ff12:3456".parse::<core::net::Ipv6Addr>().unwrap();
        assert_eq!(ethernet_address(group.into()), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    }
}
