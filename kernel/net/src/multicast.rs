//! Options of UDP sockets for multicast groups (ip(7)), and those of IPv6 (ipv6(7)).
use super::common::errno;
use super::engine;
use super::interface_ioctl::{CARD_INDEX, LOOPBACK_INDEX};
use super::netlink_change::index_of;
use super::options::{LEAST_MTU, USUAL_HOPS, byte_or_default, int};
use super::stack::Engine;
use super::udp::UdpFile;
use coracle_core::errno::Errno;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering;
use coracle_tcpip::{Address, Error, Link};
use core::net::Ipv4Addr;
use linux_raw_sys::net as n;

/// The number of a network interface (netdevice(7)); 0: none is named.
type InterfaceIndex = u32;

/// Senders that a socket may list for a group (net.ipv4.igmp_max_msf).
const SOURCES_MAX: usize = 10;

/// A group or nothing, and an interface by its address or number: `struct in_addr`, `struct ip_mreq` or `struct ip_mreqn`.
struct Request {
    group: Ipv4Addr,
    address: Ipv4Addr,
    index: InterfaceIndex,
}

fn word(value: &[u8], at: usize) -> Option<[u8; 4]> {
    value.get(at..)?.first_chunk().copied()
}

impl Request {
    /// What a group is joined or left by: an `ip_mreqn` or the shorter `ip_mreq`. EINVAL.
    fn decode(value: &[u8]) -> Result<Request, Errno> {
        let (Some(group), Some(address)) = (word(value, 0), word(value, 4)) else { return Err(Errno::INVAL) };
        let index = word(value, 8).map_or(0, u32::from_le_bytes);
        Ok(Request { group: group.into(), address: address.into(), index })
    }

    /// What names an interface alone: an `in_addr`, or one of the others. EINVAL.
    fn decode_interface(value: &[u8]) -> Result<Request, Errno> {
        let address = word(value, 0).ok_or(Errno::INVAL)?.into();
        Request::decode(value).or(Ok(Request { group: Ipv4Addr::UNSPECIFIED, address, index: 0 }))
    }

    /// `struct group_req` of RFC 3678: the number of an interface, four bytes of padding, a `struct sockaddr_in`. EINVAL;
    /// EADDRNOTAVAIL for another family.
    fn decode_group(value: &[u8]) -> Result<Request, Errno> {
        const ADDRESS_AT: usize = 8;
        let index = word(value, 0).map(u32::from_le_bytes).ok_or(Errno::INVAL)?;
        let family = value.get(ADDRESS_AT..ADDRESS_AT + 2).ok_or(Errno::INVAL)?;
        let group = word(value, ADDRESS_AT + 4).ok_or(Errno::INVAL)?.into();
        if family != (n::AF_INET as u16).to_le_bytes() {
            return Err(Errno::ADDRNOTAVAIL);
        }
        Ok(Request { group, address: Ipv4Addr::UNSPECIFIED, index })
    }

    /// `struct ip_mreq_source`: a group, the address of an interface, and a sender. EINVAL.
    fn decode_source(value: &[u8]) -> Result<(Request, Ipv4Addr), Errno> {
        let (words, []) = value.as_chunks::<4>() else { return Err(Errno::INVAL) };
        let &[group, address, source] = words else { return Err(Errno::INVAL) };
        Ok((Request { group: group.into(), address: address.into(), index: 0 }, source.into()))
    }

    /// `struct group_source_req` of RFC 3678: a `struct group_req`, and a second address. EINVAL, EADDRNOTAVAIL.
    fn decode_group_source(value: &[u8]) -> Result<(Request, Ipv4Addr), Errno> {
        /// The number of an interface with its padding, and a `struct sockaddr_storage`.
        const INDEX_BYTES: usize = 8;
        const STORAGE_BYTES: usize = 128;
        let second = value.get(STORAGE_BYTES..INDEX_BYTES + 2 * STORAGE_BYTES).ok_or(Errno::INVAL)?;
        // It is decoded as if the number stood before it.
        Ok((Request::decode_group(value)?, Request::decode_group(second)?.group))
    }

    fn names_interface(&self) -> bool {
        self.index != 0 || !self.address.is_unspecified()
    }

    /// The link that it names; `None` if there is no such interface.
    fn link(&self) -> Option<Link> {
        if self.index != 0 {
            return link_of(self.index);
        }
        if self.address.is_loopback() {
            return Some(Link::Loopback);
        }
        let own = engine().ipv4().map(|config| config.address);
        (own == Some(self.address)).then_some(Link::Wire)
    }

    /// The link that it names, or else the one that routes lead to.
    fn link_or_default(&self) -> Option<Link> {
        if self.names_interface() {
            return self.link();
        }
        // Without an address from DHCP there is no route yet.
        let _ = super::stack::wait_configured();
        engine().default_group_link()
    }
}

/// The link of an interface of the program's network; `None` if there is no such interface.
pub(super) fn link_of(index: InterfaceIndex) -> Option<Link> {
    link_in(&engine(), index)
}

/// The same of the network of an engine.
pub(super) fn link_in(engine: &Engine, index: InterfaceIndex) -> Option<Link> {
    match index {
        LOOPBACK_INDEX => Some(Link::Loopback),
        CARD_INDEX if engine.device().card().is_some() => Some(Link::Wire),
        index => engine.tunnel(index).map(|_| Link::Tunnel(index)),
    }
}

impl UdpFile {
    /// The group on a link that a request names. EINVAL, ENODEV.
    fn membership(request: &Request) -> Result<(Address, Link), Errno> {
        if !request.group.is_multicast() {
            return Err(Errno::INVAL);
        }
        Ok((request.group.into(), request.link_or_default().ok_or(Errno::NODEV)?))
    }

    fn join(&self, request: &Request) -> Result<(), Errno> {
        self.common.home.udp_join(&self.socket, Self::membership(request)?, false).map_err(errno)
    }

    /// Lists a sender of a group, or takes it off the list (ip(7), IP_ADD_SOURCE_MEMBERSHIP and its kin).
    fn change_source(&self, name: u32, (request, source): (Request, Ipv4Addr)) -> Result<(), Errno> {
        let (includes, adds) = match name {
            n::IP_ADD_SOURCE_MEMBERSHIP | n::MCAST_JOIN_SOURCE_GROUP => (true, true),
            n::IP_DROP_SOURCE_MEMBERSHIP | n::MCAST_LEAVE_SOURCE_GROUP => (true, false),
            n::IP_BLOCK_SOURCE | n::MCAST_BLOCK_SOURCE => (false, true),
            _ => (false, false),
        };
        let home = &self.common.home;
        let membership = Self::membership(&request)?;
        if includes && adds {
            match home.udp_join(&self.socket, membership, true) {
                Ok(()) | Err(Error::AddressInUse) => {}
                Err(error) => return Err(errno(error)),
            }
        }
        home.udp_list_source(&self.socket, membership, source.into(), includes, adds).map_err(errno)
    }

    /// IP_MSFILTER (`struct ip_msfilter`): all senders that are listed for a group. EINVAL, ENOBUFS.
    fn set_sources(&self, value: &[u8]) -> Result<(), Errno> {
        const INCLUDE: u32 = n::MCAST_INCLUDE;
        const EXCLUDE: u32 = n::MCAST_EXCLUDE;
        let (words, _) = value.as_chunks::<4>();
        let Some((&[group, address, mode, count], listed)) = words.split_first_chunk() else {
            return Err(Errno::INVAL);
        };
        let count = u32::from_le_bytes(count) as usize;
        if count > SOURCES_MAX {
            return Err(Errno::NOBUFS);
        }
        let listed = listed.get(..count).ok_or(Errno::INVAL)?;
        let request = Request { group: group.into(), address: address.into(), index: 0 };
        let includes = match u32::from_le_bytes(mode) {
            INCLUDE => true,
            EXCLUDE => false,
            _ => return Err(Errno::INVAL),
        };
        let membership = Self::membership(&request)?;
        let sources = listed.iter().map(|source| Ipv4Addr::from(*source).into()).try_collect_vec()?;
        self.common.home.udp_list_sources(&self.socket, membership, sources, includes).map_err(errno)
    }

    fn leave(&self, request: &Request) -> Result<(), Errno> {
        let link = request.link_or_default();
        if link.is_none() {
            return Err(if request.names_interface() { Errno::ADDRNOTAVAIL } else { Errno::NODEV });
        }
        self.common.home.udp_leave(&self.socket, request.group.into(), link).map_err(errno)
    }

    /// IP_MULTICAST_IF: an address of 0.0.0.0 takes an earlier choice back.
    fn choose_interface(&self, request: &Request) -> Result<(), Errno> {
        let link = match request.names_interface() {
            true => Some(request.link().ok_or(Errno::ADDRNOTAVAIL)?),
            false => None,
        };
        self.socket.set_options(|options| {
            options.multicast_link = link;
            options.multicast_source = request.address.into();
        });
        Ok(())
    }

    /// Sets an option of multicast groups. `None`: it is none.
    pub(super) fn set_multicast(&self, name: u32, value: &[u8]) -> Option<Result<(), Errno>> {
        /// Sets an option that is 0 or 1.
        fn flag(value: i32) -> Result<bool, Errno> {
            match value {
                0 | 1 => Ok(value == 1),
                _ => Err(Errno::INVAL),
            }
        }
        let set = |change: &dyn Fn(&mut coracle_tcpip::UdpOptions, i32)| {
            self.socket.set_options(|options| int(value).map(|value| change(options, value)))
        };
        Some(match name {
            n::IP_ADD_MEMBERSHIP => Request::decode(value).and_then(|request| self.join(&request)),
            n::IP_DROP_MEMBERSHIP => Request::decode(value).and_then(|request| self.leave(&request)),
            n::MCAST_JOIN_GROUP => Request::decode_group(value).and_then(|request| self.join(&request)),
            n::MCAST_LEAVE_GROUP => Request::decode_group(value).and_then(|request| self.leave(&request)),
            n::IP_ADD_SOURCE_MEMBERSHIP
            | n::IP_DROP_SOURCE_MEMBERSHIP
            | n::IP_BLOCK_SOURCE
            | n::IP_UNBLOCK_SOURCE => {
                Request::decode_source(value).and_then(|what| self.change_source(name, what))
            }
            n::MCAST_JOIN_SOURCE_GROUP
            | n::MCAST_LEAVE_SOURCE_GROUP
            | n::MCAST_BLOCK_SOURCE
            | n::MCAST_UNBLOCK_SOURCE => {
                Request::decode_group_source(value).and_then(|what| self.change_source(name, what))
            }
            n::IP_MSFILTER => self.set_sources(value),
            n::IP_MULTICAST_IF => {
                Request::decode_interface(value).and_then(|request| self.choose_interface(&request))
            }
            n::IP_MULTICAST_TTL => match int(value) {
                // -1 is the default.
                Ok(ttl @ -1..=255) => {
                    set(&|options, _| options.multicast_ttl = u8::try_from(ttl).unwrap_or(1))
                }
                Ok(_) => Err(Errno::INVAL),
                Err(error) => Err(error),
            },
            n::IP_MULTICAST_LOOP => set(&|options, on| options.multicast_loop = on != 0),
            n::IP_MULTICAST_ALL => match int(value).and_then(flag) {
                Ok(on) => set(&|options, _| options.multicast_all = on),
                Err(error) => Err(error),
            },
            _ => return None,
        })
    }

    /// The value of an option of multicast groups. `None`: it is none, or can only be set.
    pub(super) fn multicast(&self, name: u32) -> Option<i32> {
        let options = self.socket.options();
        match name {
            n::IP_MULTICAST_IF => {
                options.multicast_source.to_ipv4().map(|address| i32::from_le_bytes(address.octets()))
            }
            n::IP_MULTICAST_TTL => Some(i32::from(options.multicast_ttl)),
            n::IP_MULTICAST_LOOP => Some(i32::from(options.multicast_loop)),
            n::IP_MULTICAST_ALL => Some(i32::from(options.multicast_all)),
            _ => None,
        }
    }

    /// `struct ipv6_mreq`: a group, and the number of an interface or 0. EINVAL, ENODEV.
    fn request_v6(value: &[u8]) -> Result<(Address, Option<Link>), Errno> {
        const INTERFACE_AT: usize = 16;
        let (Some(group), Some(index)) = (value.first_chunk(), word(value, INTERFACE_AT)) else {
            return Err(Errno::INVAL);
        };
        let group = Address::from_octets(*group);
        if !group.is_multicast() || group.is_v4() {
            return Err(Errno::INVAL);
        }
        match u32::from_le_bytes(index) {
            0 => Ok((group, None)),
            index => Ok((group, Some(link_of(index).ok_or(Errno::NODEV)?))),
        }
    }

    /// Sets an option of IPv6. `None`: it is one that only is stored.
    pub(super) fn set_v6(&self, number: u32, value: &[u8]) -> Option<Result<(), Errno>> {
        let byte = || byte_or_default(value);
        let whole = || value.first_chunk().copied().map(i32::from_le_bytes).ok_or(Errno::INVAL);
        let set = |change: &dyn Fn(&mut coracle_tcpip::UdpOptions)| {
            self.socket.set_options(|options| change(options));
        };
        Some(match number {
            // Which addresses a socket has is decided when it is bound.
            n::IPV6_V6ONLY if self.socket.local().port != 0 => Err(Errno::INVAL),
            n::IPV6_V6ONLY => whole().map(|on| {
                self.common.v6_only.store(on != 0, Ordering::Relaxed);
                let family = self.common.family.of_engine(on != 0);
                set(&|options| options.family = family);
            }),
            // The system's, or one that every link of IPv6 takes (RFC 8200, section 5).
            n::IPV6_MTU => whole()
                .and_then(|mtu| match mtu {
                    0 => Ok(None),
                    LEAST_MTU.. => Ok(Some(mtu.min(u16::MAX.into()) as u16)),
                    _ => Err(Errno::INVAL),
                })
                .map(|mtu| set(&|options| options.greatest_v6 = mtu)),
            n::IPV6_UNICAST_HOPS => byte().map(|hops| set(&|options| options.hops = hops)),
            n::IPV6_MULTICAST_HOPS => {
                byte().map(|hops| set(&|options| options.multicast_hops = hops.unwrap_or(1)))
            }
            n::IPV6_TCLASS => byte().map(|class| set(&|options| options.traffic_class = class.unwrap_or(0))),
            n::IPV6_MULTICAST_LOOP => whole()
                .and_then(|on| u8::try_from(on).ok().filter(|on| *on <= 1).ok_or(Errno::INVAL))
                .map(|on| set(&|options| options.multicast_loop = on == 1)),
            n::IPV6_MULTICAST_IF => whole()
                .and_then(|index| match index {
                    0 => Ok(None),
                    index => link_of(index as u32).map(Some).ok_or(Errno::NODEV),
                })
                .map(|link| set(&|options| options.multicast_link = link)),
            n::IPV6_ADD_MEMBERSHIP => Self::request_v6(value).and_then(|(group, link)| {
                // Without a card all routes lead to the loopback.
                let link = link.or(link_of(CARD_INDEX)).unwrap_or(Link::Loopback);
                self.common.home.udp_join(&self.socket, (group, link), false).map_err(errno)
            }),
            n::IPV6_DROP_MEMBERSHIP => Self::request_v6(value).and_then(|(group, link)| {
                self.common.home.udp_leave(&self.socket, group, link).map_err(errno)
            }),
            _ => return None,
        })
    }

    /// The value of an option of IPv6. `None`: it is one that only is stored.
    pub(super) fn option_v6(&self, number: u32) -> Option<i32> {
        let options = self.socket.options();
        match number {
            n::IPV6_UNICAST_HOPS => Some(options.hops.map_or(USUAL_HOPS, i32::from)),
            n::IPV6_MULTICAST_HOPS => Some(options.multicast_hops.into()),
            n::IPV6_MULTICAST_LOOP => Some(options.multicast_loop.into()),
            n::IPV6_MULTICAST_IF => Some(options.multicast_link.map_or(0, |link| index_of(link) as i32)),
            n::IPV6_TCLASS => Some(options.traffic_class.into()),
            _ => None,
        }
    }
}
