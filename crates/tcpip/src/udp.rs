//! UDP (RFC 768) and UDP-Lite (RFC 3828).

use crate::address::{Hop, Link, Route};
use crate::checksum::Sum;
use crate::counters::Count;
use crate::coverage::{self, Coverage};
use crate::datagram::{ChecksumField, TRANSPORT_LEN, max_payload};
use crate::device::{Chunk, Device, RxChecksum};
use crate::error::{Error, Result};
use crate::events::{Ends, Events, Readiness};
use crate::groups::Membership;
use crate::ip::{Address, Bound, Endpoint, Family};
use crate::ipv4::IPV4_LEN;
use crate::packet::{IPV6_LEN, IpHeader, IpInfo, protocol};
use crate::payload::Payload;
use crate::ports::{Chosen, Claim, Ports};
use crate::reports::{REPORTS_MAX, Report, Unsent};
use crate::stack::{Stack, Udp};
use crate::tcp::{Shutdown, Tuple};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_sorted_map::SortedMap;
use core::sync::atomic::{AtomicU32, Ordering};
use spin::{Mutex, MutexGuard, RwLock};

const CHECKSUM_FIELD: usize = 6;
/// What a waiting datagram counts besides its payload.
const OVERHEAD: usize = 256;

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_RCVBUF`, bytes (not doubled).
    pub receive_buffer: usize,
    /// `IP_TTL`.
    pub ttl: u8,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IP_MULTICAST_TTL`; 0 keeps datagrams to groups on this host.
    pub multicast_ttl: u8,
    /// `IP_MULTICAST_LOOP`: this host receives a copy of datagrams sent over the link to a group that it is a member of.
    pub multicast_loop: bool,
    /// `IP_MULTICAST_ALL`: datagrams to groups that other sockets have joined are received as well.
    pub multicast_all: bool,
    /// `IP_MULTICAST_IF`: the link to groups.
    pub multicast_link: Option<Link>,
    /// Its address: the source of datagrams to groups, if the socket has none.
    pub multicast_source: Address,
    /// The addresses that the socket may have. It is fixed once the socket is bound.
    pub family: Family,
    /// `IPV6_UNICAST_HOPS`; `None`: as the routers of the link advise.
    pub hops: Option<u8>,
    /// `IPV6_MULTICAST_HOPS`.
    pub multicast_hops: u8,
    /// `IPV6_TCLASS`.
    pub traffic_class: u8,
    /// `IP_RECVERR`, `IPV6_RECVERR`: what comes back for a datagram is kept.
    pub reports: bool,
    /// What the checksums of UDP-Lite cover.
    pub coverage: Coverage,
    /// `IPV6_MTU`: the greatest packet of IPv6, if datagrams are to be cut into smaller ones than the route takes.
    pub greatest_v6: Option<u16>,
}

/// The route that a datagram is to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Its destination, instead of the socket's peer.
    pub to: Option<Endpoint>,
    /// The sender's address, one of ours, instead of the socket's.
    pub from: Option<Address>,
    /// The link to a group, instead of the socket's.
    pub link: Option<Link>,
    /// The time to live or hop limit, instead of the socket's.
    pub ttl: Option<u8>,
    /// The type of service or traffic class, instead of the socket's.
    pub tos: Option<u8>,
}

/// A datagram that `udp_recv` took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its sender.
    pub from: Endpoint,
    /// The address it was sent to.
    pub to: Address,
    /// What it came over.
    pub link: Link,
    /// When it came, in the nanoseconds of the engine's clock.
    pub arrived: u64,
    /// Its whole length.
    pub len: usize,
    /// Bytes that the sink took.
    pub copied: usize,
}

/// What the headers before a datagram's payload say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeaders {
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// The port it was sent to.
    pub port: u16,
}

impl UdpHeaders {
    /// Those before a payload. `None` if they are no longer there, or of an unusual length.
    pub fn before<B: crate::Buffer>(payload: &Payload<B>) -> Option<UdpHeaders> {
        /// An IPv4 header without options begins so.
        const PLAIN_V4: u8 = 0x45;
        let port = |udp: &[u8]| u16::from_be_bytes([udp[2], udp[3]]);
        let v4 = payload.dropped(IPV4_LEN + TRANSPORT_LEN);
        if let Some(ip) = v4
            && ip[0] == PLAIN_V4
            && matches!(ip[9], protocol::UDP | protocol::UDP_LITE)
        {
            return Some(UdpHeaders { ttl: ip[8], tos: ip[1], port: port(&ip[IPV4_LEN..]) });
        }
        let ip = payload.dropped(IPV6_LEN + TRANSPORT_LEN).filter(|ip| ip[0] >> 4 == 6)?;
        Some(UdpHeaders { ttl: ip[7], tos: ip[0] << 4 | ip[1] >> 4, port: port(&ip[IPV6_LEN..]) })
    }
}

/// A UDP socket as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpListed {
    /// Our end.
    pub local: Endpoint,
    /// The peer's, if the socket is connected.
    pub remote: Option<Endpoint>,
    /// It was made for the addresses of IPv6.
    pub is_v6: bool,
    /// What the datagrams that wait count for, in bytes.
    pub to_read: u32,
    /// Datagrams that wait.
    pub waiting: u32,
    /// Datagrams that its buffer had no room for.
    pub dropped: u32,
    /// When the datagram came that waits first, in ns.
    pub oldest: Option<u64>,
}

struct Waiting<B> {
    from: Endpoint,
    to: Address,
    link: Link,
    arrived: u64,
    payload: Payload<B>,
}

/// Why poll(2) reports an error. One value, so that a datagram meets one test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// An error waits for the next call.
    Error(Error),
    /// Nothing but reports wait.
    Reports,
}

/// What a socket's lock guards.
pub struct State<B> {
    local: Endpoint,
    peer: Option<Endpoint>,
    /// The port is claimed in the table of ports.
    claimed: bool,
    chosen: Chosen,
    pub(crate) options: UdpOptions,
    /// The groups that the socket has joined.
    pub(crate) groups: Vec<Membership>,
    queue: VecDeque<Waiting<B>>,
    held: usize,
    /// Datagrams that there was no room for.
    dropped: u32,
    error: Option<Trouble>,
    /// Errors of datagrams, for `MSG_ERRQUEUE`.
    reports: VecDeque<Report>,
    receive_shut: bool,
    send_shut: bool,
}

/// A UDP socket. The program's calls go through [`Stack`].
pub struct UdpSocket<D: Device, E: Events> {
    ready: AtomicU32,
    /// It speaks UDP-Lite.
    is_lite: bool,
    events: E,
    state: Mutex<State<D::Buf>>,
}

impl<D: Device, E: Events> UdpSocket<D, E> {
    fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// What its lock guards.
    pub(crate) fn state(&self) -> MutexGuard<'_, State<D::Buf>> {
        self.state.lock()
    }

    /// What is possible now. One atomic load.
    pub fn readiness(&self) -> Readiness {
        Readiness::from_bits(self.ready.load(Ordering::Acquire))
    }

    /// Whether it speaks UDP-Lite.
    pub fn is_lite(&self) -> bool {
        self.is_lite
    }

    /// The user's data.
    pub fn events(&self) -> &E {
        &self.events
    }

    /// Our end.
    pub fn local(&self) -> Endpoint {
        let state = self.state.lock();
        if state.claimed || state.chosen.address {
            return state.local;
        }
        Endpoint::new(state.options.family.any(), 0)
    }

    /// The peer that the socket is connected to.
    pub fn peer(&self) -> Option<Endpoint> {
        self.state.lock().peer
    }

    /// The options in force.
    pub fn options(&self) -> UdpOptions {
        self.state.lock().options
    }

    /// Changes options; returns what `change` does.
    pub fn set_options<R>(&self, change: impl FnOnce(&mut UdpOptions) -> R) -> R {
        change(&mut self.state.lock().options)
    }

    /// Takes the pending error (`SO_ERROR`).
    pub fn take_error(&self) -> Option<Error> {
        let mut state = self.state.lock();
        let error = state.take_error();
        self.ready.store(state.readiness().bits(), Ordering::Release);
        error
    }

    /// Length of the datagram that waits first (`FIONREAD`).
    pub fn next_len(&self) -> usize {
        self.state.lock().queue.front().map_or(0, |waiting| waiting.payload.len() as usize)
    }

    fn settle(&self, state: MutexGuard<'_, State<D::Buf>>, fresh: Readiness) {
        let ready = state.readiness();
        self.ready.store(ready.bits(), Ordering::Release);
        drop(state);
        if !fresh.is_empty() {
            self.events.notify(fresh & ready);
        }
    }
}

impl<B> State<B> {
    /// Takes the error that waits.
    #[inline]
    fn take_error(&mut self) -> Option<Error> {
        let trouble = self.error?;
        self.take_trouble(trouble)
    }

    #[cold]
    fn take_trouble(&mut self, trouble: Trouble) -> Option<Error> {
        self.error = (!self.reports.is_empty()).then_some(Trouble::Reports);
        match trouble {
            Trouble::Error(error) => Some(error),
            Trouble::Reports => None,
        }
    }

    fn readiness(&self) -> Readiness {
        let mut ready = Readiness::WRITABLE;
        if !self.queue.is_empty() || self.receive_shut {
            ready |= Readiness::READABLE;
        }
        if self.error.is_some() {
            ready |= Readiness::ERROR;
        }
        if self.receive_shut {
            ready |= Readiness::READ_HANGUP;
        }
        if self.receive_shut && self.send_shut {
            ready |= Readiness::HANGUP;
        }
        ready
    }
}

struct Entry<D: Device, E: Events> {
    bound: Bound,
    peer: Option<Endpoint>,
    socket: Udp<D, E>,
}

/// A port, and its sockets.
type OnPort<D, E> = (u16, Vec<Udp<D, E>>);

/// Sockets by local port.
pub struct UdpTable<D: Device, E: Events> {
    ports: RwLock<SortedMap<u16, Vec<Entry<D, E>>>>,
}

impl<D: Device, E: Events> UdpTable<D, E> {
    /// No sockets.
    pub fn new() -> Self {
        UdpTable { ports: RwLock::new(SortedMap::default()) }
    }

    /// The sockets that want a datagram: the best match, of equals (`SO_REUSEPORT`) the one the hash chooses.
    fn find(&self, tuple: &Tuple, spread: impl FnOnce() -> u64) -> Option<Udp<D, E>> {
        let ports = self.ports.read();
        let there = ports.get(&tuple.local_port)?;
        let remote = Endpoint::new(tuple.remote, tuple.remote_port);
        let score = |entry: &Entry<D, E>| {
            /// More than any address counts.
            const PEER: u8 = 4;
            match (entry.bound.meets(tuple.local), entry.peer) {
                (0, _) => 0,
                (address, None) => address,
                (address, Some(peer)) if peer == remote => address + PEER,
                _ => 0,
            }
        };
        if let [only] = &there[..] {
            return (score(only) > 0).then(|| only.socket.clone());
        }
        let best = there.iter().map(score).max().filter(|best| *best > 0)?;
        let count = there.iter().filter(|entry| score(entry) == best).count();
        let choice = if count > 1 { spread() as usize % count } else { 0 };
        there.iter().filter(|entry| score(entry) == best).nth(choice).map(|entry| entry.socket.clone())
    }

    /// All sockets that a broadcast or multicast datagram is for.
    fn all(&self, tuple: &Tuple) -> Result<Vec<Udp<D, E>>> {
        let ports = self.ports.read();
        let remote = Endpoint::new(tuple.remote, tuple.remote_port);
        let wants =
            |b: &&Entry<D, E>| b.bound.meets(tuple.local) > 0 && b.peer.is_none_or(|peer| peer == remote);
        let there = ports.get(&tuple.local_port).map_or(&[][..], |there| there);
        Ok(there.iter().filter(wants).map(|b| b.socket.clone()).try_collect_vec()?)
    }

    /// The sockets of the first port from `port` on that has any.
    fn next(&self, port: u64) -> Result<Option<OnPort<D, E>>> {
        let Ok(from) = u16::try_from(port) else { return Ok(None) };
        let ports = self.ports.read();
        let Some((port, there)) = ports.iter_from(&from).next() else { return Ok(None) };
        Ok(Some((*port, there.iter().map(|entry| entry.socket.clone()).try_collect_vec()?)))
    }

    fn insert(&self, port: u16, bound: Bound, socket: Udp<D, E>) -> Result<()> {
        let entry = Entry { bound, peer: None, socket };
        Ok(self.ports.write().get_or_insert_with(port, Vec::new)?.try_push(entry)?)
    }

    fn change(&self, port: u16, socket: &Udp<D, E>, change: impl FnOnce(&mut Entry<D, E>)) {
        if let Some(there) = self.ports.write().get_mut(&port)
            && let Some(entry) = there.iter_mut().find(|entry| Arc::ptr_eq(&entry.socket, socket))
        {
            change(entry);
        }
    }

    fn remove(&self, port: u16, socket: &Udp<D, E>) {
        let mut ports = self.ports.write();
        let mut gone = None;
        if let Some(there) = ports.get_mut(&port) {
            let index = there.iter().position(|entry| Arc::ptr_eq(&entry.socket, socket));
            gone = index.map(|index| there.remove(index));
            if there.is_empty() {
                ports.remove(&port);
            }
        }
        drop(ports);
        drop(gone);
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// The sockets and ports of UDP, or of UDP-Lite.
    #[inline]
    fn udp_space(&self, is_lite: bool) -> (&UdpTable<D, E>, &Ports) {
        if is_lite { (&self.udp_lite, &self.udp_lite_ports) } else { (&self.udp, &self.udp_ports) }
    }

    /// Whether a datagram of UDP-Lite is whole, as far as its checksum covers it, and how much that is; `None`: all. A checksum is
    /// required (RFC 3828, section 3.1).
    #[cold]
    #[inline(never)]
    fn check_lite(
        &self,
        info: &IpInfo,
        head: &[u8; TRANSPORT_LEN],
        payload: &Payload<D::Buf>,
    ) -> Option<Option<u16>> {
        let total = payload.len() as usize;
        let field = u16::from_be_bytes([head[4], head[5]]);
        let covered = coverage::of_received(field, total)?;
        let start = Sum::default().pseudo_header(info.source, info.destination, info.protocol, total);
        let is_right = info.checksum != RxChecksum::Unknown
            || (head[CHECKSUM_FIELD..] != [0, 0]
                && start.first_of(payload.chunks().map(Chunk::bytes), covered).is_valid());
        is_right.then_some((covered < total).then_some(field))
    }

    /// Takes a datagram of UDP or UDP-Lite.
    pub(crate) fn udp_input(&self, now: u64, info: &IpInfo, mut payload: Payload<D::Buf>) {
        let Some(head) = payload.head().first_chunk::<TRANSPORT_LEN>().copied() else { return };
        let is_lite = info.protocol == protocol::UDP_LITE;
        let mut covered = None;
        if is_lite {
            let Some(checked) = self.check_lite(info, &head, &payload) else {
                self.drop_packet(Ends::of(info.source), Count::DatagramErrors);
                return;
            };
            covered = checked;
        } else {
            let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
            if len < TRANSPORT_LEN || len > payload.len() as usize {
                self.drop_packet(Ends::of(info.source), Count::DatagramErrors);
                return;
            }
            payload.truncate(len as u32);
            let has_checksum = head[CHECKSUM_FIELD..] != [0, 0];
            // Over IPv6 a checksum is required (RFC 8200, section 8.1).
            let must_check = has_checksum || !info.source.is_v4();
            if must_check
                && info.checksum == RxChecksum::Unknown
                && (!has_checksum || !info.checksum_ok(&payload))
            {
                self.drop_packet(Ends::of(info.source), Count::DatagramErrors);
                return;
            }
        }
        payload.skip(TRANSPORT_LEN as u32);
        let tuple = Tuple {
            local: info.destination,
            remote: info.source,
            local_port: u16::from_be_bytes([head[2], head[3]]),
            remote_port: u16::from_be_bytes([head[0], head[1]]),
        };
        // A datagram with our own address comes from a local program, not from a server.
        if info.link == Link::Wire
            && !is_lite
            && tuple.local_port == crate::dhcp::CLIENT_PORT
            && tuple.local.is_v4()
            && !self.is_local(info.source)
            && self.dhcp_input(now, &tuple, &payload)
        {
            return;
        }
        let (table, _) = self.udp_space(is_lite);
        if info.broadcast {
            // To several: the last gets the buffers, the others a copy each.
            let Ok(mut sockets) = table.all(&tuple) else { return };
            sockets.retain(|socket| socket.state.lock().wants(info));
            let last = sockets.pop();
            for socket in sockets {
                // A copy that there is no memory for is lost.
                if let Ok(copy) = payload.try_clone() {
                    self.udp_deliver(&socket, now, info, &tuple, covered, copy);
                }
            }
            if let Some(socket) = last {
                self.udp_deliver(&socket, now, info, &tuple, covered, payload);
            }
            return;
        }
        match table.find(&tuple, || tuple.spread(self.keys.demux)) {
            Some(socket) => self.udp_deliver(&socket, now, info, &tuple, covered, payload),
            None => {
                self.drop_packet(tuple.ends(), Count::NoPorts);
                if info.source.is_v4() {
                    self.port_unreachable(now, info, &payload);
                } else {
                    self.port_unreachable_v6(now, info, &payload);
                }
            }
        }
    }

    fn udp_deliver(
        &self,
        socket: &Udp<D, E>,
        now: u64,
        info: &IpInfo,
        tuple: &Tuple,
        covered: Option<u16>,
        payload: Payload<D::Buf>,
    ) {
        let is_taken = socket.take(now, info, tuple, covered, payload);
        if is_taken {
            self.counters.add(Count::DatagramsIn);
        } else {
            self.drop_packet(tuple.ends(), Count::BufferErrors);
        }
    }

    /// A datagram of ours could not be delivered.
    pub(crate) fn udp_error(&self, now: u64, tuple: &Tuple, unsent: &Unsent<'_>, mtu: Option<u16>) {
        let (table, _) = self.udp_space(unsent.protocol == protocol::UDP_LITE);
        let Some(socket) = table.find(tuple, || tuple.spread(self.keys.demux)) else { return };
        if let Some(mtu) = mtu {
            self.path_mtu_found(now, tuple.remote, mtu);
        }
        let mut state = socket.state.lock();
        let error = unsent.blame.error;
        if state.options.reports {
            let payload = unsent.rest.get(TRANSPORT_LEN..).unwrap_or(&[]);
            // What there is no memory for is lost.
            if state.reports.len() < REPORTS_MAX
                && let Ok(report) = Report::new(now, unsent, tuple.remote_port, payload)
            {
                let _ = state.reports.try_push_back(report);
            }
        } else if !unsent.blame.is_hard
            || error == Error::MessageTooLong
            || state.peer != Some(Endpoint::new(tuple.remote, tuple.remote_port))
        {
            // Of a hard error only a connected socket hears that has not asked for all (udp(7)).
            return;
        }
        state.error = Some(Trouble::Error(error));
        socket.settle(state, Readiness::ERROR | Readiness::READABLE);
    }

    /// Takes the report that waits first (`MSG_ERRQUEUE`). A pending error is that of the next, if there is one.
    pub fn udp_report(&self, socket: &Udp<D, E>) -> Option<Report> {
        let mut state = socket.state.lock();
        let report = state.reports.pop_front()?;
        state.error = state.reports.front().map(|next| Trouble::Error(next.blame.error));
        socket.settle(state, Readiness::EMPTY);
        Some(report)
    }

    /// Lists the sockets of UDP, or of UDP-Lite, that have a port, from a position on: 0, or one that was returned. Returns where the next piece begins;
    /// `None` at the end.
    ///
    /// # Errors
    /// [`Error::NoBuffers`].
    pub fn udp_list(
        &self,
        is_lite: bool,
        from: u64,
        each: &mut dyn FnMut(&UdpListed, &E),
    ) -> Result<Option<u64>> {
        let Some((port, sockets)) = self.udp_space(is_lite).0.next(from)? else { return Ok(None) };
        sockets.iter().for_each(|socket| each(&socket.listed(), socket.events()));
        Ok(Some(u64::from(port) + 1))
    }

    /// Makes a socket of UDP, or of UDP-Lite.
    ///
    /// # Errors
    /// [`Error::NoBuffers`].
    pub fn udp_socket(&self, is_lite: bool, events: E) -> Result<Udp<D, E>> {
        let options = UdpOptions {
            broadcast: false,
            reuse_address: false,
            reuse_port: false,
            receive_buffer: self.config.limits.udp_receive,
            ttl: 64,
            tos: 0,
            multicast_ttl: 1,
            multicast_loop: true,
            multicast_all: true,
            multicast_link: None,
            multicast_source: Address::default(),
            family: Family::V4,
            hops: None,
            multicast_hops: 1,
            traffic_class: 0,
            reports: false,
            coverage: Coverage::default(),
            greatest_v6: None,
        };
        let state = State {
            local: Endpoint::default(),
            peer: None,
            claimed: false,
            chosen: Chosen::default(),
            options,
            groups: Vec::new(),
            queue: VecDeque::new(),
            held: 0,
            dropped: 0,
            error: None,
            reports: VecDeque::new(),
            receive_shut: false,
            send_shut: false,
        };
        let ready = AtomicU32::new(state.readiness().bits());
        Ok(try_arc(UdpSocket { ready, is_lite, events, state: Mutex::new(state) })?)
    }

    /// Binds a socket to a local address (0.0.0.0, `::`: all) and port (0: chosen). bind(2).
    pub fn udp_bind(&self, socket: &Udp<D, E>, local: impl Into<Endpoint>) -> Result<()> {
        let local = local.into();
        let address = local.address;
        let mut state = socket.state.lock();
        if state.claimed {
            return Err(Error::Invalid);
        }
        if !self.can_be_bound(address) {
            return Err(Error::AddressNotAvailable);
        }
        self.udp_claim(socket, &mut state, address, local.port)?;
        state.chosen = Chosen::of(local);
        Ok(())
    }

    fn udp_claim(
        &self,
        socket: &Udp<D, E>,
        state: &mut State<D::Buf>,
        address: Address,
        port: u16,
    ) -> Result<()> {
        let bound = Bound::new(address, state.options.family);
        let claim = Claim {
            owner: socket.id(),
            bound,
            reuse_address: state.options.reuse_address,
            reuse_port: state.options.reuse_port,
            listening: false,
        };
        // Nobody should foresee the port of a query (RFC 6056): the counter of the table is keyed and salted.
        let random = self.keys.cookie.hash(address.words().1, socket.id() as u64);
        let (table, ports) = self.udp_space(socket.is_lite);
        let port = ports.bind(port, claim, random)?;
        table.insert(port, bound, socket.clone()).inspect_err(|_| ports.release(port, socket.id()))?;
        state.claimed = true;
        state.local = Endpoint { address, port };
        Ok(())
    }

    /// Forgets the peer, and what of the local address the program has not chosen. What was shut down remains so. connect(2) to
    /// AF_UNSPEC.
    pub fn udp_disconnect(&self, socket: &Udp<D, E>) {
        let mut state = socket.state.lock();
        let (table, ports) = self.udp_space(socket.is_lite);
        let port = state.local.port;
        state.peer = None;
        if !state.chosen.address {
            state.local.address = state.options.family.any();
        }
        if state.chosen.port {
            let address = state.local.address;
            table.change(port, socket, |entry| {
                entry.peer = None;
                entry.bound.address = address;
            });
        } else if state.claimed {
            state.claimed = false;
            state.local.port = 0;
            table.remove(port, socket);
            ports.release(port, socket.id());
        }
    }

    /// Fixes the peer. connect(2).
    pub fn udp_connect(&self, socket: &Udp<D, E>, peer: impl Into<Endpoint>) -> Result<()> {
        let peer = peer.into();
        let mut state = socket.state.lock();
        let there = Endpoint::new(peer.address.or_localhost(), peer.port);
        let (route, _) = self.udp_route(&state, there.address, &Way::default())?;
        self.udp_claim_any(socket, &mut state)?;
        if state.local.address.is_unspecified() {
            state.local.address = route.source;
        }
        let here = state.local;
        state.peer = Some(there);
        self.udp_space(socket.is_lite).0.change(here.port, socket, |entry| {
            entry.peer = Some(there);
            entry.bound.address = here.address;
        });
        Ok(())
    }

    /// A socket without a port gets one.
    fn udp_claim_any(&self, socket: &Udp<D, E>, state: &mut State<D::Buf>) -> Result<()> {
        if state.claimed {
            return Ok(());
        }
        let address = if state.chosen.address { state.local.address } else { state.options.family.any() };
        self.udp_claim(socket, state, address, 0)
    }

    /// The route of a datagram to `remote`, and its sender's address. The source of the route is that address, too, unless the
    /// socket or `way` names one of ours.
    fn udp_route(&self, state: &State<D::Buf>, remote: Address, way: &Way) -> Result<(Route, Address)> {
        let mut local = state.local.address;
        if let Some(from) = way.from {
            local = from;
            if !self.is_local(local) {
                return Err(Error::NetworkUnreachable);
            }
        } else if self.is_broadcast(local) || !self.is_local(local) {
            local = Address::default();
        }
        // What is bound to an address of one family reaches no other.
        if !local.is_unspecified() && local.is_v4() != remote.is_v4() {
            return Err(Error::NetworkUnreachable);
        }
        let route = if remote.is_multicast() {
            if local.is_unspecified() {
                local = state.options.multicast_source;
            }
            self.group_route(remote, way.link.or(state.options.multicast_link), local)
        } else {
            self.route(remote)
        };
        let route = route.ok_or(Error::NetworkUnreachable)?;
        if self.is_broadcast(remote) && !state.options.broadcast {
            return Err(Error::AccessDenied);
        }
        if local.is_loopback() && matches!(route.hop, Hop::Group(_)) {
            return Err(Error::Invalid);
        }
        Ok((route, if local.is_unspecified() { route.source } else { local }))
    }

    /// Sends a datagram of `len` bytes that `fill` writes, piece by piece, to the peer or as `way` requests. If `fill` writes
    /// fewer, nothing is sent and their number is given. sendto(2).
    pub fn udp_send(
        &self,
        socket: &Udp<D, E>,
        now: u64,
        way: Way,
        len: usize,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        let mut state = socket.state.lock();
        let Endpoint { address: remote, port: remote_port } = match way.to {
            Some(to) if to.port == 0 => return Err(Error::Invalid),
            Some(to) => Endpoint::new(to.address.or_localhost(), to.port),
            None => state.peer.ok_or(Error::DestinationRequired)?,
        };
        if len > max_payload(remote) {
            return Err(Error::MessageTooLong);
        }
        let (route, source) = self.udp_route(&state, remote, &way)?;
        // An error of the call comes before one of an earlier datagram, as on Linux.
        if let Some(error) = state.take_error() {
            socket.settle(state, Readiness::EMPTY);
            return Err(error);
        }
        if state.send_shut {
            return Err(Error::BrokenPipe);
        }
        self.udp_claim_any(socket, &mut state)?;
        let local_port = state.local.port;
        let options = state.options;
        drop(state);

        let pieces = self.collect(len, fill)?;
        if pieces.len() < len {
            return Ok(pieces.len());
        }
        let total = TRANSPORT_LEN + len;
        let mut head = [0; TRANSPORT_LEN];
        head[0..2].copy_from_slice(&local_port.to_be_bytes());
        head[2..4].copy_from_slice(&remote_port.to_be_bytes());
        head[4..6].copy_from_slice(&(total as u16).to_be_bytes());
        let (ttl, tos) = match (remote.is_v4(), remote.is_multicast()) {
            (true, false) => (options.ttl, options.tos),
            (true, true) => (options.multicast_ttl, options.tos),
            (false, false) => (options.hops.unwrap_or(self.hop_limit()), options.traffic_class),
            (false, true) => (options.multicast_hops, options.traffic_class),
        };
        let protocol = if socket.is_lite { protocol::UDP_LITE } else { protocol::UDP };
        let ip = IpHeader {
            source,
            destination: remote,
            protocol,
            ttl: way.ttl.unwrap_or(ttl),
            tos: way.tos.unwrap_or(tos),
            ident: Some(self.next_ident()),
            greatest: options.greatest_v6.filter(|_| !remote.is_v4()),
        };
        let start = Sum::default().pseudo_header(source, remote, protocol, total);
        let mut sum = ChecksumField { field: CHECKSUM_FIELD, start, device: true, covered: None };
        if socket.is_lite {
            let (field, covered) = options.coverage.of_sent(total);
            head[4..6].copy_from_slice(&field.to_be_bytes());
            // Devices sum whole packets, and know UDP and TCP.
            sum = ChecksumField { device: false, covered: Some(covered), ..sum };
        }
        // Linux loops a datagram to several back to its own members (`ip_mc_output()`).
        let looped = match route.hop {
            Hop::Broadcast => true,
            Hop::Group(group) => options.multicast_loop && self.is_member(group, Link::Wire),
            _ => false,
        };
        if looped {
            // The loopback is never full.
            let _ = self.send_datagram(now, Route { hop: Hop::Looped, ..route }, ip, &head, &pieces, sum);
        }
        let leaves = ip.ttl > 0 || !matches!(route.hop, Hop::Group(_));
        let sent = if leaves { self.send_datagram(now, route, ip, &head, &pieces, sum) } else { Ok(()) };
        drop(pieces);
        self.loopback_run(now);
        match sent {
            Ok(()) => {
                self.counters.add(Count::DatagramsOut);
                Ok(len)
            }
            Err(crate::Full) => Err(Error::NoBuffers),
        }
    }

    /// Takes the next datagram (leaves it if `peek`); what `sink` does not take of it is lost. If none waits, `WouldBlock`, or
    /// `None` if receiving is shut down: a call that can wait returns then. recvfrom(2).
    #[inline]
    pub fn udp_recv(
        &self,
        socket: &Udp<D, E>,
        peek: bool,
        sink: impl FnMut(&[u8]) -> usize,
    ) -> Result<Option<Datagram>> {
        self.udp_recv_noting(socket, peek, |_| {}, sink)
    }

    /// The same; `note` is shown the datagram's payload, before which its headers may still be ([`UdpHeaders`]).
    #[inline]
    pub fn udp_recv_noting(
        &self,
        socket: &Udp<D, E>,
        peek: bool,
        note: impl FnOnce(&Payload<D::Buf>),
        sink: impl FnMut(&[u8]) -> usize,
    ) -> Result<Option<Datagram>> {
        let mut state = socket.state.lock();
        if let Some(error) = state.take_error() {
            socket.settle(state, Readiness::EMPTY);
            return Err(error);
        }
        let Some(waiting) = state.queue.front() else {
            return if state.receive_shut { Ok(None) } else { Err(Error::WouldBlock) };
        };
        let len = waiting.payload.len() as usize;
        note(&waiting.payload);
        let datagram = Datagram {
            from: waiting.from,
            to: waiting.to,
            link: waiting.link,
            arrived: waiting.arrived,
            len,
            copied: waiting.payload.read(len, sink),
        };
        if !peek {
            state.held -= len + OVERHEAD;
            let done = state.queue.pop_front();
            socket.settle(state, Readiness::EMPTY);
            drop(done);
        }
        Ok(Some(datagram))
    }

    /// Shuts a direction down for good, and wakes waiters. Datagrams that arrive later are received all the same by calls
    /// that find them there. Without a peer the error is `NotConnected`, but the direction is shut down as well: programs end
    /// their receiving thread so (Linux's `inet_shutdown`). shutdown(2).
    pub fn udp_shutdown(&self, socket: &Udp<D, E>, how: Shutdown) -> Result<()> {
        let mut state = socket.state.lock();
        state.receive_shut |= how != Shutdown::Write;
        state.send_shut |= how != Shutdown::Read;
        let connected = state.peer.is_some();
        socket.settle(state, Readiness::ALL);
        if connected { Ok(()) } else { Err(Error::NotConnected) }
    }

    /// The program has closed the socket. close(2).
    pub fn udp_close(&self, socket: &Udp<D, E>) {
        let mut state = socket.state.lock();
        let port = state.claimed.then_some(state.local.port);
        state.claimed = false;
        let queue = core::mem::take(&mut state.queue);
        let groups = core::mem::take(&mut state.groups);
        state.held = 0;
        drop(state);
        self.leave_all(groups);
        drop(queue);
        if let Some(port) = port {
            let (table, ports) = self.udp_space(socket.is_lite);
            table.remove(port, socket);
            ports.release(port, socket.id());
        }
    }
}

impl<D: Device, E: Events> UdpSocket<D, E> {
    /// What a list shows of the socket.
    pub fn listed(&self) -> UdpListed {
        let state = self.state.lock();
        UdpListed {
            local: state.local,
            remote: state.peer,
            is_v6: state.options.family != Family::V4,
            to_read: state.held as u32,
            waiting: state.queue.len() as u32,
            dropped: state.dropped,
            oldest: state.queue.front().map(|waiting| waiting.arrived),
        }
    }

    /// Whether there was room for a datagram.
    fn take(
        &self,
        now: u64,
        info: &IpInfo,
        tuple: &Tuple,
        covered: Option<u16>,
        payload: Payload<D::Buf>,
    ) -> bool {
        let mut state = self.state.lock();
        let cost = payload.len() as usize + OVERHEAD;
        if !state.claimed || !state.options.coverage.takes(covered) {
            return false;
        }
        if state.held + cost > state.options.receive_buffer {
            state.dropped = state.dropped.saturating_add(1);
            return false;
        }
        let from = Endpoint::new(tuple.remote, tuple.remote_port);
        let waiting = Waiting { from, to: info.destination, link: info.link, arrived: now, payload };
        if state.queue.try_push_back(waiting).is_err() {
            return false;
        }
        state.held += cost;
        self.settle(state, Readiness::READABLE);
        true
    }
}
