//! Listening: SYNs, half-open connections, SYN cookies, the accept queue (RFC 9293, 3.10.7.2; RFC 4987).
//!
//! A half-open connection is a record in the table of connections, not a socket. Its number is bounded for each listener;
//! beyond that SYNs are answered with cookies. The lock of a listener and that of a connection are never held together.

use super::control::{Control, timestamp_clock};
use super::cookie::{self, CookieOptions};
use super::demux::{Entry, Tuple};
use super::fast_open::{self, Cookie, Verdict};
use super::header::{DEFAULT_MSS, OPTIONS_MAX, Segment, SynOptions, Timestamps, flags, write_syn_options};
use super::path::Path;
use super::seq::Seq;
use super::settings::{State, TcpOptions};
use super::socket::TcpSocket;
use super::tcb::{Context, MAX_UNSCALED, Tcb};
use crate::address::{Link, Route};
use crate::counters::Count;
use crate::device::{Buffer, Device};
use crate::events::{Events, Readiness};
use crate::ipv4::ETHERTYPE_IPV4;
use crate::ipv6::ETHERTYPE_IPV6;
use crate::neighbor::ETHERNET_LEN;
use crate::packet::{IpInfo, ip_len};
use crate::payload::Payload;
use crate::stack::Stack;
use crate::timers::{Timer, TimerHandle};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_arc, try_box};

/// First wait for the answer to a SYN-ACK, ns; it doubles (RFC 6298).
const FIRST_WAIT: u64 = 1_000_000_000;
/// Retransmissions of a SYN-ACK (Linux: `tcp_synack_retries`).
pub const RETRIES: u8 = 5;
/// After the last cookie was sent, one may be returned for so long, ns.
const COOKIE_LIFE: u64 = 140_000_000_000;
/// `TcpOptions::save_syn` for all headers.
const SAVE_FROM_ETHERNET: u8 = 2;

/// What a listening socket has besides its control block.
pub struct Listen<D: Device, E: Events> {
    /// Connections that were not accepted yet.
    pub queue: VecDeque<Arc<TcpSocket<D, E>>>,
    /// How many may wait.
    pub backlog: usize,
    /// Half-open connections.
    pub half_open: usize,
    /// When the last cookie was sent, 0 for never.
    pub cookie_sent: u64,
    /// It accepts data with SYNs.
    pub fast_open: Option<Arc<fast_open::Queue>>,
}

/// A half-open connection: a SYN was answered.
pub struct Request<D: Device, E: Events> {
    listener: Weak<TcpSocket<D, E>>,
    iss: Seq,
    irs: Seq,
    syn: SynOptions,
    ts_recent: Option<u32>,
    ts_offset: u32,
    retries: u8,
    sent: u64,
    /// None for one that came back in a cookie.
    timer: Option<TimerHandle>,
    /// Its headers, if the listener saves them.
    saved_syn: Option<Arc<Vec<u8>>>,
}

/// The headers of a SYN that lie before `payload`, as `TcpOptions::save_syn` requests them. `None`: there is no memory, or
/// they are not in one piece.
fn save_syn<B: Buffer>(
    kind: u8,
    info: &IpInfo,
    segment: &Segment,
    payload: &Payload<B>,
) -> Option<Arc<Vec<u8>>> {
    /// The type field of Ethernet's header.
    const ETHERTYPE_AT: usize = 12;
    let headers = payload.dropped(usize::from(info.header_len) + segment.header_len)?;
    let mut saved = Vec::new();
    if kind == SAVE_FROM_ETHERNET {
        // A packet that never was on a link has addresses of zero there.
        let mut ethernet = [0; ETHERNET_LEN];
        let kind = if info.source.is_v4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        ethernet[ETHERTYPE_AT..].copy_from_slice(&kind.to_be_bytes());
        if info.link == Link::Wire {
            let whole = payload.dropped(ETHERNET_LEN + headers.len())?;
            ethernet.copy_from_slice(&whole[..ETHERNET_LEN]);
        }
        saved.try_extend_from_slice(&ethernet).ok()?;
    }
    saved.try_extend_from_slice(headers).ok()?;
    try_arc(saved).ok()
}

impl<D: Device, E: Events> Request<D, E> {
    /// Its timer, which has its tuple.
    pub fn timer(&self) -> Option<TimerHandle> {
        self.timer
    }

    /// How often the answer was sent again.
    pub fn retries(&self) -> u8 {
        self.retries
    }
}

impl<D: Device, E: Events> Clone for Request<D, E> {
    fn clone(&self) -> Self {
        Request { listener: self.listener.clone(), saved_syn: self.saved_syn.clone(), ..*self }
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a segment for which there is no connection.
    pub(crate) fn segment_without_connection(
        &self,
        now: u64,
        info: &IpInfo,
        tuple: Tuple,
        segment: Segment,
        payload: &mut Payload<D::Buf>,
        iss: Option<Seq>,
    ) {
        let Some(listener) = self.listeners.find(&tuple, info.link, self.keys.demux) else {
            return self.send_reset_for(now, &tuple, &segment, payload.len());
        };
        if segment.has(flags::RST) {
            return;
        }
        if segment.has(flags::ACK) {
            return self.cookie_returns(now, &listener, tuple, segment, payload);
        }
        if segment.has(flags::SYN) {
            self.syn_arrives(now, &listener, tuple, info, &segment, payload, iss);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one step")]
    fn syn_arrives(
        &self,
        now: u64,
        listener: &Arc<TcpSocket<D, E>>,
        tuple: Tuple,
        info: &IpInfo,
        segment: &Segment,
        payload: &mut Payload<D::Buf>,
        iss: Option<Seq>,
    ) {
        let mut tcb = listener.lock();
        let options = tcb.options;
        let Some(listen) = tcb.listen.as_mut() else { return };
        if listen.queue.len() > listen.backlog {
            self.drop_packet(tuple.ends(), Count::ListenOverflows);
            return; // the peer tries again; by then a connection may have been accepted
        }
        let flooded = listen.half_open >= self.config.limits.syn_backlog;
        let mut verdict = Verdict::Handshake(None);
        if flooded {
            listen.cookie_sent = now.max(1);
            self.counters.add(Count::CookiesSent);
        } else {
            verdict = self.syn_verdict(listen, &tuple, &options, segment, payload);
            listen.half_open += usize::from(matches!(verdict, Verdict::Handshake(_)));
        }
        drop(tcb);
        let ts_offset = self.timestamp_offset(&tuple);
        let ts_recent = segment.timestamps.map(|ts| ts.value);
        if flooded {
            let mss = segment.syn.mss.unwrap_or(DEFAULT_MSS);
            let iss = cookie::make(self.keys.cookie, &tuple, segment.seq, mss, now);
            // Without timestamps there is no room for the other options.
            let (scale, sack) =
                if ts_recent.is_some() { (segment.syn.scale, segment.syn.sack) } else { (None, false) };
            let clock =
                cookie::hide(timestamp_clock(now).wrapping_add(ts_offset), CookieOptions { scale, sack });
            let syn = SynOptions { scale, sack, ..segment.syn };
            let ts = ts_recent.map(|echo| Timestamps { value: clock, echo });
            return self.send_syn_ack(now, &tuple, &options, iss, segment.seq, syn, ts, None);
        }
        let iss = iss.unwrap_or_else(|| self.initial_sequence(now, &tuple));
        let mut request = Request {
            listener: Arc::downgrade(listener),
            iss,
            irs: segment.seq,
            syn: segment.syn,
            ts_recent,
            ts_offset,
            retries: 0,
            sent: now,
            timer: None,
            saved_syn: match options.save_syn {
                0 => None,
                kind => save_syn(kind, info, segment, payload),
            },
        };
        // What there is no memory for is as if the SYN had been lost.
        let cookie = match verdict {
            Verdict::Handshake(cookie) => cookie,
            Verdict::Open(pending, cookie) => {
                let Ok(child) = self.child(now, &tuple, &options, &request, segment, None) else { return };
                child.lock().early = Some(pending);
                if self.open(listener, tuple, &child, None) {
                    let (cx, mut tcb) = Context::lock(self, &child, now);
                    tcb.open_early(&cx, segment, payload, cookie);
                    child.finish(&cx, tcb);
                    listener.settle(Readiness::ACCEPTABLE);
                }
                return;
            }
        };
        let timer = self.timers.insert(u64::from(tuple.remote_port), Timer::Tuple(tuple)).ok();
        request.timer = timer;
        let entered =
            try_box(request.clone()).and_then(|entry| self.demux.insert(tuple, Entry::Request(entry)));
        let (Some(timer), Ok(true)) = (timer, entered) else {
            // Or another CPU was faster with the same SYN.
            if entered == Ok(true) {
                drop(self.demux.remove(&tuple, |entry| matches!(entry, Entry::Request(_))));
            }
            if let Some(timer) = timer {
                self.timers.remove(timer);
            }
            return self.request_gone(&request);
        };
        self.timers.set(timer, now + FIRST_WAIT);
        self.answer(now, &tuple, &options, &request, cookie);
    }

    /// Sends the SYN-ACK of a half-open connection.
    fn answer(
        &self,
        now: u64,
        tuple: &Tuple,
        options: &TcpOptions,
        request: &Request<D, E>,
        cookie: Option<Cookie>,
    ) {
        let ts = request
            .ts_recent
            .map(|echo| Timestamps { value: timestamp_clock(now).wrapping_add(request.ts_offset), echo });
        self.send_syn_ack(now, tuple, options, request.iss, request.irs, request.syn, ts, cookie);
    }

    #[allow(clippy::too_many_arguments, reason = "each is a field of the segment")]
    fn send_syn_ack(
        &self,
        now: u64,
        tuple: &Tuple,
        options: &TcpOptions,
        iss: Seq,
        irs: Seq,
        syn: SynOptions,
        ts: Option<Timestamps>,
        cookie: Option<Cookie>,
    ) {
        let Some(path) = self.path(tuple, options) else { return };
        let mut mss = (path.mtu(self) - ip_len(tuple.remote) - super::header::HEADER_LEN).min(65535) as u16;
        if options.max_segment != 0 {
            mss = mss.min(options.max_segment.max(64));
        }
        let scale = syn.scale.map(|_| self.receive_scale(options));
        let mut bytes = [0; OPTIONS_MAX];
        let mut len = write_syn_options(&mut bytes, mss, scale, syn.sack, ts);
        if let Some(cookie) = cookie {
            len += cookie.write(&mut bytes[len..]);
        }
        let control = Control {
            seq: iss,
            ack: irs + 1,
            flags: flags::SYN | flags::ACK,
            window: self.first_window(options) as u16,
            options: &bytes[..len],
        };
        self.send_control(now, tuple, control);
    }

    /// The window of a SYN: not scaled.
    fn first_window(&self, options: &TcpOptions) -> u32 {
        (options.receive_buffer.unwrap_or(self.config.limits.receive_default) as u32).min(MAX_UNSCALED)
    }

    /// The scale of our window.
    pub(crate) fn receive_scale(&self, options: &TcpOptions) -> u8 {
        Tcb::<D, E>::choose_scale(options.receive_buffer.unwrap_or(self.config.limits.receive_max))
    }

    /// Takes a segment for a half-open connection.
    pub(crate) fn request_segment(
        &self,
        now: u64,
        tuple: Tuple,
        request: Request<D, E>,
        segment: Segment,
        payload: &mut Payload<D::Buf>,
    ) {
        let Some(listener) = request.listener.upgrade() else {
            self.drop_request(&tuple);
            return self.send_reset_for(now, &tuple, &segment, payload.len());
        };
        if segment.has(flags::RST) {
            if segment.seq == request.irs + 1 {
                self.drop_request(&tuple);
            }
            return;
        }
        let options = listener.lock().options;
        if segment.has(flags::SYN) {
            // The SYN came again: so does the answer. Anything else is answered with an acknowledgement (RFC 5961).
            if segment.seq == request.irs && !segment.has(flags::ACK) {
                self.answer(now, &tuple, &options, &request, None);
            }
            return;
        }
        if !segment.has(flags::ACK) {
            return;
        }
        if segment.ack != request.iss + 1 {
            return self.send_reset_for(now, &tuple, &segment, payload.len());
        }
        let window = self.first_window(&options);
        if segment.seq - (request.irs + 1) > window {
            return self.answer(now, &tuple, &options, &request, None);
        }
        if options.defer_accept > 0 && payload.is_empty() && !segment.has(flags::FIN) {
            // TCP_DEFER_ACCEPT: wait for data, but not for ever.
            let over = u64::from(options.defer_accept) * 1_000_000_000;
            if now < request.sent + over {
                return;
            }
        }
        let rtt = (request.retries == 0).then(|| now.saturating_sub(request.sent));
        let Ok(child) = self.child(now, &tuple, &options, &request, &segment, rtt) else { return };
        if self.open(&listener, tuple, &child, Some(request)) {
            self.deliver(now, &child, &segment, payload, 0);
            listener.settle(Readiness::ACCEPTABLE);
        }
    }

    /// An acknowledgement may return a SYN cookie.
    fn cookie_returns(
        &self,
        now: u64,
        listener: &Arc<TcpSocket<D, E>>,
        tuple: Tuple,
        segment: Segment,
        payload: &mut Payload<D::Buf>,
    ) {
        let tcb = listener.lock();
        let options = tcb.options;
        let sent = tcb.listen.as_ref().map_or(0, |listen| listen.cookie_sent);
        drop(tcb);
        let irs = segment.seq - 1;
        let expected = sent != 0 && now < sent + COOKIE_LIFE && !segment.has(flags::SYN);
        let mss =
            if expected { cookie::check(self.keys.cookie, &tuple, irs, segment.ack - 1, now) } else { None };
        if expected {
            self.counters.add(if mss.is_some() { Count::CookiesReceived } else { Count::CookiesFailed });
        }
        let Some(mss) = mss else {
            return self.send_reset_for(now, &tuple, &segment, payload.len());
        };
        let told = segment.timestamps.map(|ts| cookie::find(ts.echo));
        let request = Request {
            listener: Arc::downgrade(listener),
            iss: segment.ack - 1,
            irs,
            syn: SynOptions {
                mss: Some(mss),
                scale: told.and_then(|t| t.scale),
                sack: told.is_some_and(|t| t.sack),
            },
            ts_recent: segment.timestamps.map(|ts| ts.value),
            ts_offset: self.timestamp_offset(&tuple),
            retries: 0,
            sent: now,
            timer: None,
            saved_syn: None,
        };
        let Ok(child) = self.child(now, &tuple, &options, &request, &segment, None) else { return };
        if self.open(listener, tuple, &child, None) {
            self.deliver(now, &child, &segment, payload, 0);
            listener.settle(Readiness::ACCEPTABLE);
        }
    }

    /// The socket of a connection whose handshake is complete. Without memory, it is as if the acknowledgement had been
    /// lost.
    fn child(
        &self,
        now: u64,
        tuple: &Tuple,
        options: &TcpOptions,
        request: &Request<D, E>,
        segment: &Segment,
        rtt: Option<u64>,
    ) -> Result<Arc<TcpSocket<D, E>>, NoMemory> {
        let child = try_arc(TcpSocket::new(&self.config.limits, None))?;
        // The other end of the handshake may have been another CPU's, whose clock had been read later.
        let (cx, mut tcb) = Context::lock(self, &child, now.max(request.sent));
        tcb.tuple = *tuple;
        tcb.options = *options;
        tcb.apply_buffers(&self.config.limits);
        tcb.path = self.path(tuple, options).unwrap_or_default();
        tcb.ts_offset = request.ts_offset;
        tcb.saved_syn = request.saved_syn.clone();
        tcb.snd_una = request.iss + 1;
        tcb.snd_nxt = tcb.snd_una;
        tcb.snd_max = tcb.snd_una;
        tcb.small_end = tcb.snd_una;
        tcb.high_rxt = tcb.snd_una;
        tcb.rcv_nxt = request.irs + 1;
        tcb.last_ack_sent = tcb.rcv_nxt;
        tcb.rcv_adv = tcb.rcv_nxt + self.first_window(options);
        tcb.rcv_scale = self.receive_scale(options);
        let mut syn = segment.clone();
        syn.syn = request.syn;
        syn.timestamps = request.ts_recent.map(|value| Timestamps { value, echo: 0 });
        tcb.peer_options(&cx, &syn, true);
        tcb.snd_wl1 = segment.seq;
        tcb.snd_wl2 = tcb.snd_una;
        // The window of a SYN is never scaled.
        let scale = if segment.has(flags::SYN) { 0 } else { tcb.snd_scale };
        tcb.snd_wnd = u32::from(segment.window) << scale;
        tcb.max_snd_wnd = tcb.snd_wnd;
        if let Some(rtt) = rtt {
            tcb.rtt.measure(rtt);
        }
        tcb.enter(State::Established);
        tcb.start(&cx);
        drop(tcb);
        Ok(child)
    }

    /// Enters a new connection into the table and its listener's queue. Returns whether it could: the segment that completed it is
    /// to be delivered then.
    fn open(
        &self,
        listener: &Arc<TcpSocket<D, E>>,
        tuple: Tuple,
        child: &Arc<TcpSocket<D, E>>,
        request: Option<Request<D, E>>,
    ) -> bool {
        let timer =
            self.timers.insert(u64::from(tuple.remote_port), Timer::Connection(Arc::downgrade(child)));
        let Ok(timer) = timer else { return false };
        let mut tcb = child.lock();
        tcb.timer = Some(timer);
        // Before the table names it: from then on another CPU may end it.
        tcb.hold_port(self);
        drop(tcb);
        let entered = match &request {
            Some(_) => self
                .demux
                .replace(&tuple, Entry::Connection(child.clone()), |entry| matches!(entry, Entry::Request(_)))
                .is_ok(),
            None => self.demux.insert(tuple, Entry::Connection(child.clone())).unwrap_or(false),
        };
        if !entered {
            // Another CPU was faster with the same acknowledgement, or there is no memory.
            child.lock().let_go_of_port(self);
            self.timers.remove(timer);
            return false;
        }
        let mut tcb = listener.lock();
        let queued = match tcb.listen.as_mut() {
            Some(listen) if listen.queue.len() <= listen.backlog => {
                let queued = listen.queue.try_push_back(child.clone()).is_ok();
                if queued {
                    listen.half_open -= usize::from(request.is_some()).min(listen.half_open);
                }
                queued
            }
            _ => false,
        };
        drop(tcb);
        if queued {
            self.counters.add(Count::PassiveOpens);
            if let Some(timer) = request.and_then(|request| request.timer) {
                self.timers.remove(timer);
            }
            return true;
        }
        // The queue is full: as if the acknowledgement had been lost. The peer or our timer will try again.
        let ours = |entry: &Entry<D, E>| matches!(entry, Entry::Connection(s) if Arc::ptr_eq(s, child));
        match request {
            Some(request) => match try_box(request) {
                Ok(request) => drop(self.demux.replace(&tuple, Entry::Request(request), ours)),
                Err(_) => drop(self.demux.remove(&tuple, ours)),
            },
            None => drop(self.demux.remove(&tuple, ours)),
        }
        child.lock().let_go_of_port(self);
        self.timers.remove(timer);
        false
    }

    /// A half-open connection's timer: answers again, or gives up.
    pub(crate) fn request_due(&self, now: u64, tuple: &Tuple) {
        let again = self.demux.change(tuple, |entry| match entry {
            Entry::Request(request) if request.retries < RETRIES => {
                request.retries += 1;
                Some(Request::clone(request))
            }
            _ => None,
        });
        match again.flatten() {
            Some(request) => {
                let Some(listener) = request.listener.upgrade() else { return self.drop_request(tuple) };
                let options = listener.lock().options;
                if let Some(timer) = request.timer {
                    self.timers.set(timer, now + (FIRST_WAIT << request.retries));
                }
                self.answer(now, tuple, &options, &request, None);
            }
            None => self.drop_request(tuple),
        }
    }

    fn drop_request(&self, tuple: &Tuple) {
        if let Some(Entry::Request(request)) =
            self.demux.remove(tuple, |entry| matches!(entry, Entry::Request(_)))
        {
            if let Some(timer) = request.timer {
                self.timers.remove(timer);
            }
            self.request_gone(&request);
        }
    }

    fn request_gone(&self, request: &Request<D, E>) {
        if let Some(listener) = request.listener.upgrade()
            && let Some(listen) = listener.lock().listen.as_mut()
        {
            listen.half_open = listen.half_open.saturating_sub(1);
        }
    }

    /// The route to a peer, if there is one.
    pub(crate) fn path(&self, tuple: &Tuple, options: &TcpOptions) -> Option<Path> {
        Some(self.path_by(self.route(tuple.remote)?, tuple, options))
    }

    /// The path of a connection by `route`.
    pub(crate) fn path_by(&self, route: Route, tuple: &Tuple, options: &TcpOptions) -> Path {
        let (ttl, tos) = match tuple.remote.is_v4() {
            true => (options.ttl, options.tos),
            false => (options.hops.unwrap_or(self.hop_limit()), options.traffic_class),
        };
        let mut path = Path::new(route, tuple, self.mac, ttl, tos);
        let mtu = self.mtu_of(&route, tuple.remote);
        if mtu < self.mtu {
            path.reduce_mtu(mtu as u16);
        }
        path
    }
}
