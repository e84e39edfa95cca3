//! A TCP socket, and what a program does with it: bind, listen, accept, connect, send, receive, shut down, close.

use super::demux::{Entry, Found, Tuple};
use super::header::Segment;
use super::listen::Listen;
use super::settings::{Shutdown, State, TcpInfo, TcpOptions};
use super::tcb::{Clock, Context, Recovery, Tcb};
use crate::config::Limits;
use crate::device::{Device, RxChecksum};
use crate::error::{Error, Result};
use crate::events::{Events, Readiness};
use crate::ipv4::Ipv4Info;
use crate::payload::Payload;
use crate::ports::Claim;
use crate::stack::{Stack, Tcp};
use crate::timers::Timer;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::sync::atomic::{AtomicU32, Ordering};
use spin::{Mutex, MutexGuard, Once};

/// A TCP socket. The stack and the program share it; the program's calls go through [`Stack`].
pub struct TcpSocket<D: Device, E: Events> {
    ready: AtomicU32,
    events: Once<E>,
    tcb: Mutex<Tcb<D, E>>,
}

impl<D: Device, E: Events> TcpSocket<D, E> {
    pub(crate) fn new(limits: &Limits, events: Option<E>) -> Self {
        let tcb = Tcb::new(limits);
        let ready = AtomicU32::new(tcb.readiness().bits());
        TcpSocket { ready, events: events.map_or_else(Once::new, Once::initialized), tcb: Mutex::new(tcb) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Tcb<D, E>> {
        self.tcb.lock()
    }

    /// Names the socket in the table of ports.
    pub(crate) fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// What is possible now. One atomic load.
    #[inline]
    pub fn readiness(&self) -> Readiness {
        Readiness::from_bits(self.ready.load(Ordering::Acquire))
    }

    /// The user's data (none on a connection that was not accepted yet).
    pub fn events(&self) -> Option<&E> {
        self.events.get()
    }

    /// Our end.
    pub fn local(&self) -> SocketAddrV4 {
        let tuple = self.lock().tuple;
        SocketAddrV4::new(Ipv4Addr::from(tuple.local), tuple.local_port)
    }

    /// The peer's end, if there is or was a connection.
    pub fn peer(&self) -> Option<SocketAddrV4> {
        let tuple = self.lock().tuple;
        (tuple.remote_port != 0).then(|| SocketAddrV4::new(Ipv4Addr::from(tuple.remote), tuple.remote_port))
    }

    /// The options in force.
    pub fn options(&self) -> TcpOptions {
        self.lock().options
    }

    /// Takes the pending error (`SO_ERROR`).
    pub fn take_error(&self) -> Option<Error> {
        let mut tcb = self.lock();
        let error = tcb.error.take();
        self.ready.store(tcb.readiness().bits(), Ordering::Release);
        error
    }

    /// What `TCP_INFO`, `SIOCOUTQ`, `FIONREAD` and their like tell.
    pub fn info(&self) -> TcpInfo {
        let tcb = self.lock();
        let micros = |ns: u64| (ns / 1000) as u32;
        TcpInfo {
            state: tcb.state,
            retransmits: tcb.retransmits,
            rto: micros(tcb.rtt.timeout()),
            rtt: micros(tcb.rtt.smoothed()),
            rtt_var: micros(tcb.rtt.deviation()),
            send_mss: tcb.mss,
            receive_mss: tcb.rcv_mss,
            congestion_window: tcb.cubic.window() / tcb.mss,
            slow_start_threshold: tcb.cubic.threshold() / tcb.mss,
            unacked: (tcb.snd_max - tcb.snd_una).div_ceil(tcb.mss),
            total_retransmits: tcb.total_retransmits,
            window_scale: (tcb.snd_scale, tcb.rcv_scale),
            timestamps: tcb.ts_ok,
            sack: tcb.sack_ok,
            receive_space: tcb.receive_buffer as u32,
            unacknowledged_bytes: tcb.send.len(),
            unsent_bytes: tcb.send.len().saturating_sub(tcb.snd_max - tcb.snd_una),
            readable_bytes: tcb.receive.len() as u32,
        }
    }

    /// Ends work on a connection: sets its timers, publishes what is possible, and, with the lock released, tells of
    /// what is new.
    #[inline(never)]
    pub(crate) fn finish(&self, cx: &Context<'_, D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) {
        tcb.calm = tcb.is_calm();
        tcb.arm(cx);
        self.publish(tcb);
    }

    /// The same after work that does not change whether the connection is calm.
    #[inline(always)]
    pub(crate) fn finish_calm(&self, cx: &Context<'_, D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) {
        tcb.arm(cx);
        self.publish(tcb);
    }

    #[inline(always)]
    fn publish(&self, mut tcb: MutexGuard<'_, Tcb<D, E>>) {
        let ready = tcb.readiness();
        let before = self.ready.swap(ready.bits(), Ordering::AcqRel);
        let new = Readiness::from_bits(ready.bits() & !before) | (core::mem::take(&mut tcb.fresh) & ready);
        drop(tcb);
        if !new.is_empty()
            && let Some(events) = self.events.get()
        {
            events.notify(new);
        }
    }

    /// Publishes readiness after a change made without a context, and tells of `fresh`.
    pub(crate) fn settle(&self, fresh: Readiness) {
        let mut tcb = self.lock();
        tcb.fresh |= fresh;
        self.publish(tcb);
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a TCP segment.
    #[inline(never)]
    pub(crate) fn tcp_input(&self, now: u64, info: &Ipv4Info, payload: &mut Payload<D::Buf>) {
        let Some((header, options)) = Segment::split(payload.head()) else { return };
        let segment = Segment::read(header, options);
        if segment.header_len > payload.len() as usize
            || (info.checksum == RxChecksum::Unknown && !info.checksum_ok(payload))
        {
            return;
        }
        payload.skip(segment.header_len as u32);
        let tuple = Tuple {
            local: info.destination,
            remote: info.source,
            local_port: segment.destination,
            remote_port: segment.source,
        };
        match self.demux.find(&tuple) {
            Found::Connection(socket) => self.deliver(now, &socket, &segment, payload, info.segment_size),
            Found::Request(request) => self.request_segment(now, tuple, *request, segment, payload),
            Found::TimeWait(end) => {
                if let Some(iss) = self.time_wait_segment(now, &tuple, &end, &segment, payload.len()) {
                    self.segment_without_connection(now, tuple, segment, payload, Some(iss));
                }
            }
            Found::Nothing if info.is_martian() => {}
            Found::Nothing => self.segment_without_connection(now, tuple, segment, payload, None),
        }
    }

    /// Gives a segment to its connection.
    #[inline(never)]
    pub(crate) fn deliver(
        &self,
        now: u64,
        socket: &Tcp<D, E>,
        segment: &Segment,
        payload: &mut Payload<D::Buf>,
        segment_size: u16,
    ) {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        tcb.segment_arrives(&cx, segment, payload, segment_size);
        socket.finish(&cx, tcb);
    }

    /// Makes a socket.
    pub fn tcp_socket(&self, events: E) -> Tcp<D, E> {
        Arc::new(TcpSocket::new(&self.config.limits, Some(events)))
    }

    /// Binds a socket to a local address (0.0.0.0: all) and port (0: chosen). bind(2).
    pub fn tcp_bind(&self, socket: &Tcp<D, E>, local: SocketAddrV4) -> Result<()> {
        let address = u32::from(*local.ip());
        let mut tcb = socket.lock();
        if tcb.state != State::Closed || tcb.claimed {
            return Err(Error::Invalid);
        }
        if address != 0 && !self.addresses.is_local(address) {
            return Err(Error::AddressNotAvailable);
        }
        let claim = claim(socket, &tcb, address, false);
        let random = self.keys.demux.hash(u64::from(address), 0);
        tcb.tuple = Tuple {
            local: address,
            local_port: self.tcp_ports.bind(local.port(), claim, random)?,
            ..Tuple::default()
        };
        tcb.claimed = true;
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
        tcb.listen = Some(Box::new(Listen { queue: VecDeque::new(), backlog, half_open: 0, cookie_sent: 0 }));
        tcb.state = State::Listen;
        self.listeners.insert(tcb.tuple.local_port, tcb.tuple.local, socket.clone());
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

    /// Begins a connection; never waits. `Err(InProgress)`, and later `WRITABLE` (ask `take_error`), unless the peer is
    /// ourselves and has answered already. connect(2).
    pub fn tcp_connect(&self, socket: &Tcp<D, E>, now: u64, peer: SocketAddrV4) -> Result<()> {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        match tcb.state {
            State::Closed => {}
            State::Listen => return Err(Error::IsConnected),
            State::SynSent | State::SynReceived => return Err(Error::AlreadyInProgress),
            _ => return Err(Error::IsConnected),
        }
        if let Some(error) = tcb.error.take() {
            socket.publish(tcb);
            return Err(error);
        }
        // To 0.0.0.0 means to ourselves, as on Linux.
        let remote =
            if peer.ip().is_unspecified() { crate::address::LOCALHOST } else { u32::from(*peer.ip()) };
        if peer.port() == 0 {
            return Err(Error::ConnectionRefused);
        }
        if crate::address::is_multicast(remote) || self.addresses.is_broadcast(remote) {
            return Err(Error::NetworkUnreachable);
        }
        let route = self.addresses.route(remote).ok_or(Error::NetworkUnreachable)?;
        let old = tcb.tuple;
        if tcb.claimed {
            *tcb = self.renewed(&mut tcb);
        } else if old.remote_port != 0 {
            *tcb = self.renewed(&mut tcb);
            tcb.tuple = Tuple::default();
        }
        let local = if tcb.claimed && old.local != 0 { old.local } else { route.source };
        let mut tuple = Tuple {
            local,
            remote,
            local_port: if tcb.claimed { old.local_port } else { 0 },
            remote_port: peer.port(),
        };
        if tcb.claimed {
            if !self.enter(tuple, socket) {
                return Err(Error::AddressNotAvailable);
            }
        } else {
            // RFC 6056, 3.3.3: from a place that depends on the destination.
            let random = tuple.hash(self.keys.sequence);
            let free = self.tcp_ports.candidates(random).find(|port| {
                tuple.local_port = *port;
                !self.tcp_ports.is_claimed(*port) && self.enter(tuple, socket)
            });
            tuple.local_port = free.ok_or(Error::AddressNotAvailable)?;
        }
        let options = tcb.options;
        tcb.tuple = tuple;
        tcb.path = super::path::Path::new(route, &tuple, self.mac, options.ttl, options.tos);
        tcb.ts_offset = self.timestamp_offset(&tuple);
        tcb.rcv_scale = self.receive_scale(&options);
        tcb.apply_buffers(&self.config.limits);
        tcb.timer =
            Some(self.timers.insert(u64::from(tuple.local_port), Timer::Connection(Arc::downgrade(socket))));
        let iss = self.initial_sequence(now, &tuple);
        tcb.snd_una = iss;
        tcb.state = State::SynSent;
        tcb.send_syn(&cx);
        tcb.timing = Some((iss + 1, now));
        tcb.stalled_since = now;
        socket.finish(&cx, tcb);
        self.loopback_run(now);
        let mut tcb = socket.lock();
        match tcb.state {
            State::SynSent | State::SynReceived => Err(Error::InProgress),
            State::Closed => {
                let error = tcb.error.take();
                socket.publish(tcb);
                error.map_or(Ok(()), Err)
            }
            _ => Ok(()),
        }
    }

    fn enter(&self, tuple: Tuple, socket: &Tcp<D, E>) -> bool {
        self.demux.insert(tuple, Entry::Connection(socket.clone()))
    }

    /// A control block as new, with the options and the port of the old one.
    fn renewed(&self, old: &mut Tcb<D, E>) -> Tcb<D, E> {
        let mut tcb = Tcb::new(&self.config.limits);
        tcb.options = old.options;
        tcb.claimed = old.claimed;
        tcb.tuple = Tuple { local: old.tuple.local, local_port: old.tuple.local_port, ..Tuple::default() };
        tcb
    }

    /// Queues up to `len` bytes and sends what may go. `fill` is called with pieces of packet memory, one after the
    /// other, and says how many bytes it wrote; fewer than asked ends the call. `more` is `MSG_MORE`.
    ///
    /// Gives the number of bytes queued. `WouldBlock` if there is no room (or no packet memory). `fill` runs with the
    /// connection locked: it must not call the engine, nor wait.
    pub fn tcp_send(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        len: usize,
        more: bool,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        match tcb.state {
            State::Established | State::CloseWait if !tcb.fin_queued => {}
            _ => return self.cannot_send(socket, tcb),
        }
        let room = tcb.send_room();
        if room == 0 && len > 0 {
            return Err(Error::WouldBlock);
        }
        let mut short = false;
        let done = tcb.send.append(
            len.min(room),
            || {
                let buffer = self.device.alloc();
                short |= buffer.is_none();
                buffer
            },
            fill,
        );
        if !more && tcb.send_expected(&cx, done as u32) {
            socket.finish_calm(&cx, tcb);
        } else {
            tcb.more = more;
            tcb.output(&cx);
            socket.finish(&cx, tcb);
        }
        self.loopback_run(now);
        if done == 0 && short { Err(Error::WouldBlock) } else { Ok(done) }
    }

    #[cold]
    fn cannot_send(&self, socket: &Tcp<D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) -> Result<usize> {
        let error = match (tcb.error.take(), tcb.state) {
            (Some(error), _) => error,
            (None, State::SynSent | State::SynReceived) => Error::WouldBlock,
            (None, _) => Error::BrokenPipe,
        };
        socket.publish(tcb);
        Err(error)
    }

    /// Hands up to `len` received bytes to `sink`, piece by piece; it says how many it took, and fewer than it was
    /// given ends the call. Leaves them in place if `peek`.
    ///
    /// Gives the number of bytes taken; `Ok(0)` without a call of `sink` is the end of the stream. `WouldBlock` if
    /// nothing has arrived. `sink` runs with the connection locked: it must not call the engine, nor wait.
    pub fn tcp_recv(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        len: usize,
        peek: bool,
        sink: impl FnMut(&[u8]) -> usize,
    ) -> Result<usize> {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        if tcb.receive.len() == 0 {
            return if len == 0 && tcb.error.is_none() { Ok(0) } else { self.nothing_received(socket, tcb) };
        }
        let done = tcb.receive.read(len, peek, sink);
        if !peek && done > 0 {
            tcb.after_read(&cx, done);
            socket.finish_calm(&cx, tcb);
            self.loopback_run(now);
        }
        Ok(done)
    }

    #[cold]
    fn nothing_received(&self, socket: &Tcp<D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) -> Result<usize> {
        if tcb.fin_received || tcb.receive_shut {
            return Ok(0);
        }
        if let Some(error) = tcb.error.take() {
            socket.publish(tcb);
            return Err(error);
        }
        match tcb.state {
            // After a reset was told once, the stream is at its end; a socket that never was connected says so.
            State::Closed if tcb.tuple.remote_port != 0 => Ok(0),
            State::Closed | State::Listen => Err(Error::NotConnected),
            _ => Err(Error::WouldBlock),
        }
    }

    /// Shuts a direction down. shutdown(2).
    pub fn tcp_shutdown(&self, socket: &Tcp<D, E>, now: u64, how: Shutdown) -> Result<()> {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        match tcb.state {
            State::Closed => return Err(Error::NotConnected),
            State::Listen => {
                if how != Shutdown::Write {
                    self.stop_listening(&cx, tcb);
                }
                return Ok(());
            }
            State::SynSent | State::SynReceived => {
                tcb.fail(&cx, Error::ConnectionReset);
                tcb.error = None;
            }
            _ => {
                if how != Shutdown::Write {
                    tcb.receive_shut = true;
                    tcb.fresh |= Readiness::READABLE | Readiness::READ_HANGUP;
                }
                if how != Shutdown::Read {
                    tcb.queue_fin(&cx);
                }
            }
        }
        socket.finish(&cx, tcb);
        self.loopback_run(now);
        Ok(())
    }

    /// The program has let go of the socket: the engine ends the connection by itself. With data unread, or `SO_LINGER`
    /// of no time, it is reset (RFC 2525, 2.17). close(2).
    pub fn tcp_close(&self, socket: &Tcp<D, E>, now: u64) {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        tcb.orphan = true;
        match tcb.state {
            State::Closed | State::TimeWait => {
                tcb.receive.clear();
                tcb.unclaim(&cx);
                return;
            }
            State::Listen => {
                self.stop_listening(&cx, tcb);
                socket.lock().unclaim(&cx);
                return;
            }
            State::SynSent => tcb.finish_connection(&cx),
            _ if tcb.receive.len() > 0 || tcb.options.linger == Some(0) => {
                tcb.send_reset(&cx);
                tcb.finish_connection(&cx);
            }
            State::SynReceived => {
                tcb.send_reset(&cx);
                tcb.finish_connection(&cx);
            }
            State::FinWait2 => tcb.set_clock(Clock::Patience, now + super::input::FIN_TIMEOUT),
            _ => tcb.queue_fin(&cx),
        }
        tcb.receive.clear();
        tcb.out_of_order.clear();
        socket.finish(&cx, tcb);
        self.loopback_run(now);
    }

    /// Back to a socket without a connection: connect(2) to `AF_UNSPEC`.
    pub fn tcp_disconnect(&self, socket: &Tcp<D, E>, now: u64) {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        match tcb.state {
            State::Closed | State::TimeWait => {}
            State::Listen => {
                self.stop_listening(&cx, tcb);
                tcb = socket.lock();
            }
            State::SynSent => tcb.finish_connection(&cx),
            _ => {
                tcb.send_reset(&cx);
                tcb.finish_connection(&cx);
            }
        }
        let fresh = self.renewed(&mut tcb);
        let old = core::mem::replace(&mut *tcb, fresh);
        socket.publish(tcb);
        drop(old);
        self.loopback_run(now);
    }

    /// Changes options; they take effect at once.
    pub fn tcp_set_options(&self, socket: &Tcp<D, E>, now: u64, change: impl FnOnce(&mut TcpOptions)) {
        let mut tcb = socket.lock();
        let before = tcb.options;
        change(&mut tcb.options);
        let cx = Context { stack: self, socket, now };
        self.options_changed(&cx, tcb, before);
    }

    /// Apart from its generic caller, so that it is compiled once.
    #[inline(never)]
    fn options_changed(
        &self,
        cx: &Context<'_, D, E>,
        mut tcb: MutexGuard<'_, Tcb<D, E>>,
        before: TcpOptions,
    ) {
        let after = tcb.options;
        tcb.apply_buffers(&self.config.limits);
        if tcb.is_synchronized() {
            if (before.ttl, before.tos) != (after.ttl, after.tos)
                && let Some(path) = self.path(&tcb.tuple, &after)
            {
                tcb.path = path;
            }
            if before.max_segment != after.max_segment {
                tcb.update_mss(cx);
            }
            if after.keep_alive {
                let from = tcb.last_received;
                tcb.set_clock(Clock::KeepAlive, from + u64::from(after.keep_idle) * 1_000_000_000);
            } else {
                tcb.set_clock(Clock::KeepAlive, crate::timers::NEVER);
            }
            if after.quick_ack && tcb.unacked > 0 {
                let _ = tcb.send_ack(cx);
            }
            tcb.more = false;
            tcb.output(cx); // TCP_NODELAY set or TCP_CORK cleared lets waiting data go
        }
        cx.socket.finish(cx, tcb);
        self.loopback_run(cx.now);
    }

    fn stop_listening(&self, cx: &Context<'_, D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) {
        self.listeners.remove(tcb.tuple.local_port, cx.socket);
        let listen = tcb.listen.take();
        tcb.state = State::Closed;
        cx.socket.finish(cx, tcb);
        // Connections that nobody accepted are reset; half-open ones find no listener any more.
        for child in listen.into_iter().flat_map(|listen| listen.queue) {
            self.reset_now(cx.now, &child);
        }
        self.loopback_run(cx.now);
    }

    fn reset_now(&self, now: u64, socket: &Tcp<D, E>) {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        tcb.orphan = true;
        if tcb.is_synchronized() {
            tcb.send_reset(&cx);
            tcb.finish_connection(&cx);
        }
        socket.finish(&cx, tcb);
    }

    /// Comes back to a connection at the end of a batch: no segment has carried the acknowledgement.
    pub(crate) fn resume(&self, now: u64, socket: &Tcp<D, E>) {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        tcb.deferred = false;
        if tcb.ack_due && tcb.state != State::Closed {
            tcb.ack_now = true;
            tcb.output(&cx);
            socket.finish(&cx, tcb);
        }
    }

    /// Comes back to a connection that found the device full.
    pub(crate) fn unblock(&self, now: u64, socket: &Tcp<D, E>) {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        tcb.blocked = false;
        if tcb.state != State::Closed {
            tcb.output(&cx);
            socket.finish(&cx, tcb);
        }
    }

    /// A connection's timer.
    pub(crate) fn connection_due(&self, now: u64, socket: &Tcp<D, E>) {
        let cx = Context { stack: self, socket, now };
        let mut tcb = socket.lock();
        tcb.timers_due(&cx);
        socket.finish(&cx, tcb);
    }

    /// ICMP, or ARP, says that a segment of ours could not be delivered (RFC 5461; RFC 5927 for the check of `seq`).
    pub(crate) fn tcp_error(
        &self,
        now: u64,
        tuple: &Tuple,
        seq: super::seq::Seq,
        error: Error,
        mtu: Option<u16>,
    ) {
        let Found::Connection(socket) = self.demux.find(tuple) else { return };
        let cx = Context { stack: self, socket: &socket, now };
        let mut tcb = socket.lock();
        if seq.before(tcb.snd_una) || seq.after(tcb.snd_max) {
            return;
        }
        if let Some(mtu) = mtu {
            tcb.path.reduce_mtu(mtu);
            tcb.update_mss(&cx);
            tcb.snd_nxt = tcb.snd_una;
            tcb.timing = None;
            tcb.recovery = Recovery::Open;
            tcb.output(&cx);
        } else if matches!(tcb.state, State::SynSent | State::SynReceived) {
            tcb.fail(&cx, error);
        } else {
            tcb.soft_error = Some(error);
        }
        socket.finish(&cx, tcb);
    }
}

fn claim<D: Device, E: Events>(socket: &Tcp<D, E>, tcb: &Tcb<D, E>, address: u32, listening: bool) -> Claim {
    Claim {
        owner: socket.id(),
        address,
        reuse_address: tcb.options.reuse_address,
        reuse_port: tcb.options.reuse_port,
        listening,
    }
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// Sizes of buffers that the program fixed.
    pub fn apply_buffers(&mut self, limits: &Limits) {
        const LEAST: usize = 2048;
        if let Some(size) = self.options.send_buffer {
            self.send_buffer = size.clamp(LEAST, limits.send_max);
        }
        if let Some(size) = self.options.receive_buffer {
            self.receive_buffer = size.clamp(LEAST, limits.receive_max);
        }
    }

    /// The program will send no more: FIN goes behind what is queued.
    pub fn queue_fin(&mut self, cx: &Context<'_, D, E>) {
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => return,
        }
        self.fin_queued = true;
        self.more = false;
        self.fresh |= Readiness::WRITABLE;
        self.output(cx);
    }

    /// The program has read `done` bytes: the window may open, the buffer may grow.
    #[inline(always)]
    pub fn after_read(&mut self, cx: &Context<'_, D, E>, done: usize) {
        self.read_bytes += done;
        if self.read_bytes > self.receive_buffer / 2 {
            self.tune_buffer(cx);
        }
        // The peer hears of the window with the next acknowledgement; only a window that was mostly used up is worth
        // one of its own (RFC 9293, 3.8.6.2.2).
        let seen = self.rcv_adv - self.rcv_nxt;
        if (seen as usize) < self.receive_buffer / 4
            && !self.fin_received
            && self.is_synchronized()
            && self.window_edge() - self.rcv_adv >= self.receive_buffer as u32 / 4
        {
            let _ = self.send_ack(cx);
        } else if self.unacked > 0 && !self.interactive && !self.ack_due && self.receive.len() == 0 {
            // The program has taken all and is not known to reply: a peer with Nagle's algorithm may wait for us.
            self.ack_soon(cx);
        }
    }

    /// More than half a buffer was read: if that took about a round trip, the buffer is what holds the peer back.
    fn tune_buffer(&mut self, cx: &Context<'_, D, E>) {
        /// Assumed if no round trip was measured, ns.
        const USUAL_ROUND_TRIP: u64 = 10_000_000;
        let round_trip = self.rtt.smoothed().max(USUAL_ROUND_TRIP);
        if cx.now - self.measured_at < 2 * round_trip && self.options.receive_buffer.is_none() {
            self.receive_buffer = (self.receive_buffer * 2).min(cx.stack.config.limits.receive_max);
        }
        self.read_bytes = 0;
        self.measured_at = cx.now;
    }
}
