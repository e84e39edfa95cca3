//! How a program gets a connection: socket, bind, listen, accept, connect.

use super::demux::{Entry, Tuple};
use super::fast_open::SynData;
use super::listen::Listen;
use super::settings::State;
use super::socket::TcpSocket;
use super::tcb::{Context, Tcb};
use crate::counters::Count;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::ip::{Address, Bound, Endpoint};
use crate::ports::{Chosen, Claim};
use crate::stack::{Stack, Tcp};
use crate::timers::Timer;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_fallible::{try_arc, try_box};

impl<D: Device, E: Events> Stack<D, E> {
    /// Makes a socket.
    ///
    /// # Errors
    /// [`Error::NoBuffers`].
    pub fn tcp_socket(&self, events: E) -> Result<Tcp<D, E>> {
        Ok(try_arc(TcpSocket::new(&self.config.limits, Some(events)))?)
    }

    /// Binds a socket to a local address (0.0.0.0, `::`: all) and port (0: chosen). bind(2).
    pub fn tcp_bind(&self, socket: &Tcp<D, E>, local: impl Into<Endpoint>) -> Result<()> {
        let local = local.into();
        let address = local.address;
        let mut tcb = socket.lock();
        if tcb.state != State::Closed || tcb.claimed {
            return Err(Error::Invalid);
        }
        if !self.can_be_bound(address) {
            return Err(Error::AddressNotAvailable);
        }
        let claim = claim(socket, &tcb, address, false);
        let random = self.keys.demux.hash(address.words().0, address.words().1);
        tcb.tuple = Tuple {
            local: address,
            local_port: self.tcp_ports.bind(local.port, claim, random)?,
            ..Tuple::default()
        };
        tcb.claimed = true;
        tcb.chosen = Chosen::of(local);
        Ok(())
    }

    /// Starts to listen, or changes the backlog. listen(2).
    pub fn tcp_listen(&self, socket: &Tcp<D, E>, _now: u64, backlog: usize) -> Result<()> {
        let backlog = backlog.min(self.config.limits.backlog_max);
        let mut tcb = socket.lock();
        if let Some(listen) = tcb.listen.as_mut() {
            listen.backlog = backlog;
            return Ok(());
        }
        if tcb.state != State::Closed || tcb.tuple.remote_port != 0 {
            return Err(Error::Invalid);
        }
        if !tcb.claimed {
            tcb.tuple.local_port = self.tcp_ports.bind(0, claim(socket, &tcb, tcb.tuple.local, true), 0)?;
            tcb.claimed = true;
        } else {
            self.tcp_ports.listen(tcb.tuple.local_port, claim(socket, &tcb, tcb.tuple.local, true))?;
        }
        let listen = try_box(Listen {
            queue: VecDeque::new(),
            backlog,
            half_open: 0,
            cookie_sent: 0,
            fast_open: None,
        })?;
        let bound = Bound::new(tcb.tuple.local, tcb.options.family, tcb.options.device);
        self.listeners.insert(tcb.tuple.local_port, bound, socket.clone())?;
        tcb.listen = Some(listen);
        tcb.enter(State::Listen);
        socket.publish(tcb);
        Ok(())
    }

    /// Takes an established connection; `events` makes its user data. `WouldBlock` if none waits. accept(2).
    pub fn tcp_accept(
        &self,
        listener: &Tcp<D, E>,
        _now: u64,
        events: impl FnOnce() -> E,
    ) -> Result<Tcp<D, E>> {
        let mut tcb = listener.lock();
        let child = match tcb.listen.as_mut() {
            Some(listen) => listen.queue.pop_front(),
            None => return Err(Error::Invalid),
        };
        listener.publish(tcb);
        let child = child.ok_or(Error::WouldBlock)?;
        child.events.call_once(events);
        Ok(child)
    }

    /// Begins a connection; never waits. When the socket is `WRITABLE` (at once, if the peer is this host), `take_error`
    /// returns how the attempt has ended. connect(2).
    ///
    /// With [`TcpOptions::fast_open_connect`](crate::TcpOptions) and a cookie of the peer, the SYN waits for
    /// [`tcp_connect_with_data`](Self::tcp_connect_with_data).
    pub fn tcp_connect(&self, socket: &Tcp<D, E>, now: u64, peer: impl Into<Endpoint>) -> Result<()> {
        self.tcp_begin(socket, now, peer.into(), false)
    }

    /// The same; `hold`: the SYN waits whatever the options are.
    pub(super) fn tcp_begin(&self, socket: &Tcp<D, E>, now: u64, peer: Endpoint, hold: bool) -> Result<()> {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        match tcb.state {
            State::Closed => {}
            State::Listen => return Err(Error::IsConnected),
            State::SynSent | State::SynReceived => return Err(Error::AlreadyInProgress),
            _ => return Err(Error::IsConnected),
        }
        let remote = peer.address.or_localhost();
        if peer.port == 0 {
            return Err(Error::ConnectionRefused);
        }
        if remote.is_multicast() || self.is_broadcast(remote) {
            return Err(Error::NetworkUnreachable);
        }
        let route = self.route(remote).ok_or(Error::NetworkUnreachable)?;
        if route.leaves(tcb.options.device, remote) {
            return Err(Error::NetworkUnreachable);
        }
        let old = tcb.tuple;
        // The remains of an earlier connection are dropped, an error included (Linux's `tcp_connect_init`).
        tcb.error = None;
        if old.remote_port != 0 {
            *tcb = self.renewed(&mut tcb);
        }
        // A multicast or broadcast address is no source.
        let own = tcb.chosen.address && !self.is_broadcast(old.local) && !old.local.is_multicast();
        // What is bound to an address of one family reaches no other.
        if own && old.local.is_v4() != remote.is_v4() {
            return Err(Error::NetworkUnreachable);
        }
        let local = if own { old.local } else { route.source };
        let mut tuple = Tuple {
            local,
            remote,
            local_port: if tcb.claimed { old.local_port } else { 0 },
            remote_port: peer.port,
        };
        if tcb.claimed {
            if !self.enter(tuple, socket)? {
                return Err(Error::AddressNotAvailable);
            }
        } else {
            // RFC 6056, 3.3.3: from a place that depends on the destination.
            let random = tuple.hash(self.keys.sequence);
            let mut candidates = self.tcp_ports.candidates(random);
            loop {
                tuple.local_port = candidates.next().ok_or(Error::AddressNotAvailable)?;
                if !self.tcp_ports.is_claimed(tuple.local_port) && self.enter(tuple, socket)? {
                    break;
                }
            }
        }
        let timer = self
            .timers
            .insert(u64::from(tuple.local_port), Timer::Connection(Arc::downgrade(socket)))
            .inspect_err(|_| drop(self.demux.remove(&tuple, |_| true)))?;
        let options = tcb.options;
        self.counters.add(Count::ActiveOpens);
        tcb.tuple = tuple;
        tcb.hold_port(self);
        tcb.path = self.path_by(route, &tuple, &options);
        tcb.ts_offset = self.timestamp_offset(&tuple);
        tcb.rcv_scale = self.receive_scale(&options);
        tcb.apply_buffers(&self.config.limits);
        tcb.timer = Some(timer);
        let iss = self.initial_sequence(now, &tuple);
        tcb.snd_una = iss;
        tcb.snd_max = iss;
        tcb.enter(State::SynSent);
        if hold || (options.fast_open_connect && tcb.may_hold_syn(&cx)) {
            tcb.syn_data = SynData::Held;
        } else if options.fast_open_connect {
            tcb.ask_for_cookie(&cx);
        } else {
            tcb.send_syn(&cx);
            tcb.timing = Some((iss + 1, now));
            tcb.stalled_since = now;
        }
        socket.finish(&cx, tcb);
        self.loopback_run(now);
        Ok(())
    }

    fn enter(&self, tuple: Tuple, socket: &Tcp<D, E>) -> Result<bool> {
        Ok(self.demux.insert(tuple, Entry::Connection(socket.clone()))?)
    }

    /// A control block as new, with the options and the port of the old one.
    pub(crate) fn renewed(&self, old: &mut Tcb<D, E>) -> Tcb<D, E> {
        let mut tcb = Tcb::new(&self.config.limits);
        tcb.options = old.options;
        tcb.claimed = old.claimed;
        tcb.chosen = old.chosen;
        tcb.tuple = Tuple { local: old.tuple.local, local_port: old.tuple.local_port, ..Tuple::default() };
        tcb
    }
}

fn claim<D: Device, E: Events>(
    socket: &Tcp<D, E>,
    tcb: &Tcb<D, E>,
    address: Address,
    listening: bool,
) -> Claim {
    Claim {
        owner: socket.id(),
        bound: Bound::new(address, tcb.options.family, tcb.options.device),
        reuse_address: tcb.options.reuse_address,
        reuse_port: tcb.options.reuse_port,
        listening,
    }
}
