//! What the host has of IPv6 on its link: addresses (RFC 4862), prefixes, routers and name servers that routers advertise (RFC 4861,
//! section 6.3; RFC 8106), and the paths' MTUs (RFC 8201); and the routes and sources that follow from it.
//!
//! An address is made of a prefix and of the Ethernet address (RFC 2464, section 4), so that a guest keeps it; an identifier
//! after RFC 7217 needs a secret that is kept from boot to boot, which an image has no place for. Each address is probed before
//! it is used. Every list has a fixed size: what a router advertises beyond it is ignored.

use crate::address::{Hop, Link, Route};
use crate::config::Ipv6Config;
use crate::device::Device;
use crate::discovery::{self, option, solicited_node};
use crate::events::Events;
use crate::ip::Address;
use crate::ipv6::LEAST_MTU;
use crate::packet::IpInfo;
use crate::stack::Stack;
use crate::timers::NEVER;
use core::net::Ipv6Addr;
use heapless::Vec;
use spin::RwLock;

const SECOND: u64 = 1_000_000_000;
/// How long another host with the same address may take to answer (RFC 4861, section 10: RETRANS_TIMER).
const PROBE_TIME: u64 = SECOND;
/// Solicitations of routers, and the time between two (MAX_RTR_SOLICITATIONS, RTR_SOLICITATION_INTERVAL).
const SOLICITATIONS: u8 = 3;
const SOLICITATION_INTERVAL: u64 = 4 * SECOND;
/// An advertisement does not shorten the life of an address below this (RFC 4862, section 5.5.3 (e)), in seconds.
const LEAST_LIFETIME: u32 = 2 * 60 * 60;
/// A lifetime without end.
const FOREVER: u32 = u32::MAX;
/// How long an MTU that was found for a path is believed (RFC 8201, section 4), ns.
const PATH_MTU_LIFE: u64 = 600 * SECOND;
/// Hop limit where no router advises another.
const HOP_LIMIT: u8 = 64;
/// Bits of an interface identifier, and of the prefix before it.
const IDENTIFIER_BITS: u8 = 64;

const ADDRESSES_MAX: usize = 8;
const PREFIXES_MAX: usize = 8;
const ROUTERS_MAX: usize = 4;
const SERVERS_MAX: usize = 3;
const PATHS_MAX: usize = 16;

/// What is known of an address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Another host may have it until this time, ns.
    Until(u64),
    /// No other host has it.
    Unique,
    /// Another host has it: it is not used.
    Taken,
}

/// An address of the device.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// The address.
    pub address: Address,
    /// Bits of its prefix.
    pub prefix_len: u8,
    /// Whether it may be used.
    pub probe: Probe,
    /// When it becomes deprecated, and when it ends, ns; `NEVER` for one that was not advertised.
    pub preferred_until: u64,
    /// See above.
    pub valid_until: u64,
    /// Another is preferred as a source (RFC 4862, section 5.5.4).
    pub deprecated: bool,
}

/// Something that routers advertise, until a time.
#[derive(Clone, Copy)]
struct Until<T> {
    what: T,
    until: u64,
}

#[derive(Default)]
struct State {
    own: Vec<Own, ADDRESSES_MAX>,
    /// Prefixes of hosts on the link, with their bits.
    on_link: Vec<Until<(Address, u8)>, PREFIXES_MAX>,
    routers: Vec<Until<Address>, ROUTERS_MAX>,
    servers: Vec<Until<Address>, SERVERS_MAX>,
    paths: Vec<Until<(Address, u16)>, PATHS_MAX>,
    hop_limit: u8,
    mtu: u16,
    solicitations: u8,
    solicit_at: u64,
}

/// The IPv6 of the link. Read by packets of IPv6 only.
#[derive(Default)]
pub struct Ipv6(RwLock<State>);

/// When a lifetime of so many seconds ends.
fn end(now: u64, seconds: u32) -> u64 {
    if seconds == FOREVER { NEVER } else { now + u64::from(seconds) * SECOND }
}

/// Keeps `what` for so many seconds; none ends it. What there is no room for is ignored.
fn keep<T: Copy + PartialEq, const N: usize>(all: &mut Vec<Until<T>, N>, what: T, now: u64, seconds: u32) {
    let until = end(now, seconds);
    match all.iter_mut().find(|one| one.what == what) {
        Some(one) => one.until = until,
        None => drop(all.push(Until { what, until })),
    }
    all.retain(|one| one.until > now);
}

impl State {
    fn usable(&self) -> impl Iterator<Item = &Own> {
        self.own.iter().filter(|own| own.probe == Probe::Unique)
    }

    /// The source of packets to `destination` (RFC 6724, section 5): of its scope, then preferred, then of the prefix that has
    /// most in common with it.
    fn source_for(&self, destination: Address) -> Option<Address> {
        let local = destination.is_link_local();
        let rank = |own: &&Own| {
            (own.address.is_link_local() == local, !own.deprecated, own.address.common_bits(destination))
        };
        self.usable().max_by_key(rank).map(|own| own.address)
    }

    fn route(&self, destination: Address) -> Option<Route> {
        if self.usable().any(|own| own.address == destination) {
            return Some(Route { source: destination, hop: Hop::Loopback });
        }
        let near = destination.is_link_local()
            || self.on_link.iter().any(|prefix| destination.matches(prefix.what.0, prefix.what.1));
        let next = if near { destination } else { self.routers.first()?.what };
        Some(Route { source: self.source_for(destination)?, hop: Hop::Neighbor(next) })
    }

    fn add(&mut self, own: Own) -> bool {
        !self.own.iter().any(|there| there.address == own.address) && self.own.push(own).is_ok()
    }

    /// The next time that something is to be done.
    fn deadline(&self) -> u64 {
        let own = self.own.iter().map(|own| match own.probe {
            Probe::Until(time) => time.min(own.valid_until),
            _ if own.deprecated => own.valid_until,
            _ => own.preferred_until.min(own.valid_until),
        });
        let lists = self.on_link.iter().map(|one| one.until);
        let lists = lists.chain(self.routers.iter().map(|one| one.until));
        let lists = lists.chain(self.servers.iter().map(|one| one.until));
        own.chain(lists).chain([self.solicit_at]).min().unwrap_or(NEVER)
    }
}

impl Ipv6 {
    /// Whether the address is one of ours, usable or not.
    pub fn has(&self, address: Address) -> bool {
        self.0.read().own.iter().any(|own| own.address == address)
    }

    /// Whether the address is ours, and no other host's.
    pub fn is_usable(&self, address: Address) -> bool {
        self.0.read().usable().any(|own| own.address == address)
    }

    /// Whether hosts that ask for one of our addresses ask this group.
    pub fn is_asked_in(&self, group: Address) -> bool {
        self.0.read().own.iter().any(|own| solicited_node(own.address) == group)
    }

    /// Another host has an address of ours: if it is still being probed, it is not used.
    pub fn taken(&self, address: Address) {
        let mut state = self.0.write();
        let found = state.own.iter_mut().find(|own| own.address == address);
        if let Some(own) = found
            && matches!(own.probe, Probe::Until(_))
        {
            own.probe = Probe::Taken;
        }
    }

    /// The source of packets to `destination`.
    pub fn source_for(&self, destination: Address) -> Option<Address> {
        self.0.read().source_for(destination)
    }

    /// The route to one host.
    pub fn route(&self, destination: Address) -> Option<Route> {
        if destination == Address::LOCALHOST_V6 {
            return Some(Route { source: destination, hop: Hop::Loopback });
        }
        self.0.read().route(destination)
    }

    /// The route to a group.
    pub fn group_route(&self, group: Address, link: Option<Link>) -> Option<Route> {
        // No route leads to groups over the loopback, as on Linux.
        if link == Some(Link::Loopback) {
            return None;
        }
        Some(Route { source: self.source_for(group)?, hop: Hop::Group(group) })
    }

    /// The hop limit that routers advise.
    pub fn hop_limit(&self) -> u8 {
        match self.0.read().hop_limit {
            0 => HOP_LIMIT,
            advised => advised,
        }
    }

    /// The greatest packet that is known to reach `destination`, if it is less than `device_mtu`.
    pub fn mtu_to(&self, destination: Address, device_mtu: usize) -> usize {
        let state = self.0.read();
        let link = if state.mtu == 0 { device_mtu } else { device_mtu.min(state.mtu.into()) };
        let path = state.paths.iter().find(|path| path.what.0 == destination);
        path.map_or(link, |path| link.min(path.what.1.into()))
    }

    /// A router reported how much reaches `destination`. Of more paths than are kept, the oldest is forgotten.
    pub fn path_mtu_found(&self, now: u64, destination: Address, mtu: u16) {
        let mut state = self.0.write();
        state.paths.retain(|path| path.what.0 != destination && path.until > now);
        if state.paths.is_full() {
            state.paths.remove(0);
        }
        let _ = state.paths.push(Until { what: (destination, mtu), until: now + PATH_MTU_LIFE });
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Starts IPv6 on the link: with an address of the link, those of the prefixes that routers advertise, and this one, if there
    /// is one.
    pub fn start_ipv6(&self, now: u64, config: Option<Ipv6Config>) {
        let mut state = self.v6.0.write();
        state.solicitations = 0;
        state.solicit_at = now;
        if let Some(router) = config.and_then(|config| config.gateway) {
            keep(&mut state.routers, router.into(), now, FOREVER);
        }
        if let Some(config) = config {
            keep(&mut state.on_link, (config.address.into(), config.prefix_len), now, FOREVER);
        }
        drop(state);
        let link_local = self.with_identifier(Address::LINK_LOCAL);
        self.add_address(now, link_local, IDENTIFIER_BITS, NEVER, NEVER);
        if let Some(config) = config {
            self.add_address(now, config.address.into(), config.prefix_len, NEVER, NEVER);
        }
        self.ipv6_due(now);
    }

    /// The addresses of the device.
    pub fn ipv6_addresses(&self) -> Vec<Own, ADDRESSES_MAX> {
        self.v6.0.read().own.clone()
    }

    /// Prefixes on the link, with their bits, and the routers.
    pub fn ipv6_routes(&self) -> (Vec<(Ipv6Addr, u8), PREFIXES_MAX>, Vec<Ipv6Addr, ROUTERS_MAX>) {
        let state = self.v6.0.read();
        let prefixes = state.on_link.iter().map(|prefix| (prefix.what.0.to_ipv6(), prefix.what.1));
        (prefixes.collect(), state.routers.iter().map(|router| router.what.to_ipv6()).collect())
    }

    /// Name servers that routers advertise.
    pub fn ipv6_name_servers(&self) -> Vec<Ipv6Addr, SERVERS_MAX> {
        self.v6.0.read().servers.iter().map(|server| server.what.to_ipv6()).collect()
    }

    /// Whether an address may soon be usable. A router that is there has answered before the first address is.
    pub fn ipv6_is_starting(&self) -> bool {
        let state = self.v6.0.read();
        state.own.iter().any(|own| matches!(own.probe, Probe::Until(_)))
    }

    /// A router reported how much of a packet of ours reaches `destination`. Paths of IPv4 belong to connections.
    pub(crate) fn path_mtu_found(&self, now: u64, destination: Address, mtu: u16) {
        if !destination.is_v4() {
            self.v6.path_mtu_found(now, destination, mtu);
        }
    }

    /// The identifier of our interface behind a prefix (RFC 2464, section 4).
    fn with_identifier(&self, prefix: Address) -> Address {
        let [a, b, c, d, e, f] = self.mac;
        let mut octets = prefix.octets();
        octets[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        Address::from_octets(octets)
    }

    fn add_address(
        &self,
        now: u64,
        address: Address,
        prefix_len: u8,
        preferred_until: u64,
        valid_until: u64,
    ) {
        let probe = Probe::Until(now + PROBE_TIME);
        let added = self.v6.0.write().add(Own {
            address,
            prefix_len,
            probe,
            preferred_until,
            valid_until,
            deprecated: false,
        });
        if added {
            // So that switches which look at reports pass the questions for the address on (RFC 4862, section 5.4.2).
            self.group_joined(solicited_node(address));
            self.probe_address(address);
        }
    }

    /// Does what is due: addresses that no other host has claimed become usable, what was advertised ends, and routers are
    /// asked.
    pub(crate) fn ipv6_due(&self, now: u64) {
        let mut state = self.v6.0.write();
        state.own.retain(|own| own.valid_until > now);
        for own in &mut state.own {
            if matches!(own.probe, Probe::Until(time) if time <= now) {
                own.probe = Probe::Unique;
            }
            own.deprecated = own.preferred_until <= now;
        }
        state.on_link.retain(|one| one.until > now);
        state.routers.retain(|one| one.until > now);
        state.servers.retain(|one| one.until > now);
        let ask = state.solicit_at <= now;
        if ask {
            state.solicitations += 1;
            let last = state.solicitations >= SOLICITATIONS;
            state.solicit_at = if last { NEVER } else { now + SOLICITATION_INTERVAL };
        }
        let next = state.deadline();
        drop(state);
        self.timers.set(self.chores.ipv6, next);
        if ask {
            self.solicit_routers();
        }
    }

    /// Takes the advertisement of a router (RFC 4861, section 6.3.4). Its Ethernet address is learnt like that of any neighbour.
    #[inline(never)]
    pub(crate) fn router_advertised(&self, now: u64, info: &IpInfo, bytes: &[u8]) {
        /// The message up to its options.
        const HEADER_LEN: usize = 16;
        let Some((head, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else { return };
        let Some(options) = discovery::options(rest) else { return };
        if !info.source.is_link_local() {
            return;
        }
        let lifetime = u16::from_be_bytes([head[6], head[7]]);
        let mut state = self.v6.0.write();
        if head[4] != 0 {
            state.hop_limit = head[4];
        }
        keep(&mut state.routers, info.source, now, lifetime.into());
        state.solicit_at = NEVER;
        drop(state);
        for (kind, option) in options {
            match kind {
                option::SOURCE_LINK_ADDRESS => {
                    if let Some(mac) = option[2..].first_chunk::<6>()
                        && mac[0] & 1 == 0
                    {
                        let waiting = self.learn(now, info.source, *mac, true, false);
                        self.transmit_waiting(waiting, *mac);
                    }
                }
                option::PREFIX => self.prefix_advertised(now, option),
                option::MTU => {
                    let mtu = word(option, 4).min(u16::MAX.into()) as u16;
                    if mtu >= LEAST_MTU {
                        self.v6.0.write().mtu = mtu;
                    }
                }
                option::DNS_SERVERS => {
                    let seconds = word(option, 4);
                    let mut state = self.v6.0.write();
                    for server in option[8..].as_chunks::<16>().0 {
                        keep(&mut state.servers, Address::from_octets(*server), now, seconds);
                    }
                }
                _ => {}
            }
        }
        self.ipv6_due(now);
    }

    /// Takes a prefix (RFC 4861, section 6.3.4; RFC 4862, section 5.5.3).
    fn prefix_advertised(&self, now: u64, option: &[u8]) {
        /// Length of the option, and the flags in it: hosts with the prefix are on the link; it is for addresses.
        const LEN: usize = 32;
        const ON_LINK: u8 = 0x80;
        const AUTONOMOUS: u8 = 0x40;
        let Some(fields) = option.first_chunk::<LEN>() else { return };
        let prefix = Address::from_octets(core::array::from_fn(|i| fields[16 + i]));
        let (len, flags, valid, preferred) = (fields[2], fields[3], word(option, 4), word(option, 8));
        if len > 128 || prefix.is_link_local() || prefix.is_multicast() || preferred > valid {
            return;
        }
        let mut state = self.v6.0.write();
        if flags & ON_LINK != 0 {
            keep(&mut state.on_link, (prefix, len), now, valid);
        }
        if flags & AUTONOMOUS == 0 || len != IDENTIFIER_BITS {
            return;
        }
        let address = self.with_identifier(prefix);
        let (preferred_until, valid_until) = (end(now, preferred), end(now, valid));
        if let Some(own) = state.own.iter_mut().find(|own| own.address == address) {
            if own.valid_until != NEVER || valid == FOREVER {
                own.preferred_until = preferred_until;
                // A forged advertisement can't end an address at once.
                let least = own.valid_until.min(end(now, LEAST_LIFETIME));
                own.valid_until = valid_until.max(least);
            }
            return;
        }
        drop(state);
        if valid > 0 {
            self.add_address(now, address, IDENTIFIER_BITS, preferred_until, valid_until);
        }
    }
}

/// The 32-bit number at `at` of an option; 0 if it is not there.
fn word(option: &[u8], at: usize) -> u32 {
    option.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_be_bytes)
}
