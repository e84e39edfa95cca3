//! Sending and receiving by a program.

use super::CHECKSUM_FIELD;
use super::settings::{Datagram, Way};
use super::socket::{OVERHEAD, State};
use crate::address::{Hop, Link, Route};
use crate::checksum::Sum;
use crate::counters::Count;
use crate::datagram::{ChecksumField, TRANSPORT_LEN, max_payload};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::events::{Events, Readiness};
use crate::ip::{Address, Endpoint};
use crate::packet::{IpHeader, protocol};
use crate::payload::Payload;
use crate::stack::{Stack, Udp};

impl<D: Device, E: Events> Stack<D, E> {
    /// The route of a datagram to `remote`, and its sender's address. The source of the route is that address, too, unless the
    /// socket or `way` names one of ours.
    pub(super) fn udp_route(
        &self,
        state: &State<D::Buf>,
        remote: Address,
        way: &Way,
    ) -> Result<(Route, Address)> {
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
            self.group_route(
                remote,
                way.link.or(state.options.device).or(state.options.multicast_link),
                local,
            )
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
        // As on Linux it goes out of the device, where none takes it.
        let is_lost = !remote.is_multicast() && route.leaves(state.options.device, remote);
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
        if is_lost {
            self.counters.add(Count::OutDrops);
            return Ok(len);
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

    /// The same; `note` is shown the datagram's payload, before which its headers may still be ([`UdpHeaders`](super::UdpHeaders)).
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
            lost: waiting.lost,
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
}
