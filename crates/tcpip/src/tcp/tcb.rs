//! The transmission control block: the state of a connection (RFC 9293, 3.3.1), and what is derived from it.
//!
//! One lock guards it. [`Context`] is a connection that is locked, with the time. Work ends by `TcpSocket::finish` and its
//! relatives, which set the timers, release the lock and then report what is new.

use super::congestion::Cubic;
use super::demux::{Entry, Tuple};
use super::fast_open::{Pending, SynData};
use super::header::{DEFAULT_MSS, HEADER_LEN, TIMESTAMP_LEN};
use super::listen::Listen;
use super::path::Path;
use super::receive_queue::{OutOfOrder, ReceiveQueue};
use super::rtt::Rtt;
use super::scoreboard::Scoreboard;
use super::send_queue::SendQueue;
use super::seq::Seq;
use super::settings::{State, TcpOptions};
use super::socket::TcpSocket;
use super::time_wait::TimeWait;
use super::urgent::Urgent;
use crate::config::Limits;
use crate::counters::Count;
use crate::device::Device;
use crate::error::Error;
use crate::events::{Events, Observation, Readiness};
use crate::ip::Bound;
use crate::packet::ip_len;
use crate::ports::{Chosen, Hold};
use crate::stack::Stack;
use crate::timers::{NEVER, TimerHandle};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::MutexGuard;

/// The greatest window without scaling.
pub const MAX_UNSCALED: u32 = 65535;

/// Why we retransmit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// No loss is known.
    Open,
    /// Fast recovery (RFC 6675; RFC 6582 without SACK).
    Fast,
    /// After a time-out: everything is sent again from SND.UNA.
    Loss,
}

/// The timers of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Retransmission.
    Retransmit,
    /// Probe of a closed window.
    Persist,
    /// Delayed acknowledgement.
    DelayedAck,
    /// Keep-alive.
    KeepAlive,
    /// End of FIN_WAIT_2 of a closed socket, or of the patience for `TCP_CORK`.
    Patience,
}

/// Number of timers.
pub const CLOCKS: usize = 5;

/// A connection that is being worked on, and the time.
pub struct Context<'a, D: Device, E: Events> {
    /// The stack.
    pub stack: &'a Stack<D, E>,
    /// The connection's socket.
    pub socket: &'a Arc<TcpSocket<D, E>>,
    /// The time, ns; it never runs backwards within a connection.
    pub now: u64,
}

impl<'a, D: Device, E: Events> Context<'a, D, E> {
    /// Locks a connection for work that began at `now`.
    ///
    /// CPUs read the clock before they wait for the lock, so the one that gets it second may have read an earlier time.
    /// Left as it is, a round trip would be measured as less than nothing, and a timestamp would be older than that of the
    /// segment before: the peer must drop such a segment (RFC 7323, 5.3).
    #[inline(always)]
    pub fn lock(
        stack: &'a Stack<D, E>,
        socket: &'a Arc<TcpSocket<D, E>>,
        now: u64,
    ) -> (Self, MutexGuard<'a, Tcb<D, E>>) {
        let mut tcb = socket.lock();
        (Self::locked(stack, socket, &mut tcb, now), tcb)
    }

    /// The same for a connection that is locked already.
    #[inline(always)]
    pub fn locked(
        stack: &'a Stack<D, E>,
        socket: &'a Arc<TcpSocket<D, E>>,
        tcb: &mut Tcb<D, E>,
        now: u64,
    ) -> Self {
        tcb.clock = tcb.clock.max(now);
        Context { stack, socket, now: tcb.clock }
    }
}

/// The transmission control block.
pub struct Tcb<D: Device, E: Events> {
    pub state: State,
    /// The latest time that a CPU has passed, ns.
    pub clock: u64,
    pub options: TcpOptions,
    pub tuple: Tuple,
    /// The port is claimed in the table of ports.
    pub claimed: bool,
    pub chosen: Chosen,
    /// What the connection holds of the port.
    pub hold: Option<Hold>,
    pub listen: Option<Box<Listen<D, E>>>,
    pub error: Option<Error>,
    /// What ICMP reported, in case the connection times out.
    pub soft_error: Option<Error>,
    /// The program has closed the socket.
    pub orphan: bool,
    /// The connection is open by data in the peer's SYN, and the handshake is not complete (RFC 7413).
    pub early: Option<Pending>,
    pub syn_data: SynData,
    /// `shutdown(SHUT_RD)`, on a socket without a connection, too: a later one has it.
    pub receive_shut: bool,
    /// The same of `shutdown(SHUT_WR)`.
    pub send_shut: bool,
    /// Reported to the program when the lock is released.
    pub fresh: Readiness,

    // Sending.
    pub send: SendQueue<D::Buf>,
    pub send_buffer: usize,
    pub snd_una: Seq,
    pub snd_nxt: Seq,
    /// The highest SND.NXT so far.
    pub snd_max: Seq,
    pub snd_wnd: u32,
    pub max_snd_wnd: u32,
    pub snd_wl1: Seq,
    pub snd_wl2: Seq,
    pub snd_scale: u8,
    /// Payload of a full segment.
    pub mss: u32,
    /// What the peer announced or path MTU discovery left, options not deducted.
    pub peer_mss: u16,
    /// Greatest payload passed to the device at once; a multiple of `mss`.
    pub burst: u32,
    /// End of the last segment that was not full (Minshall's variant of Nagle's algorithm).
    pub small_end: Seq,
    pub fin_queued: bool,
    /// An acknowledgement went beyond the last byte of data: it is that of FIN.
    pub fin_covered: bool,
    pub fin_acked: bool,
    /// The end of urgent data that the peer may not have heard of.
    pub urgent_end: Option<Seq>,
    /// `MSG_MORE` on the last send.
    pub more: bool,
    pub cubic: Cubic,
    pub window_limited: bool,
    pub rtt: Rtt,
    /// End and time of the segment being timed.
    pub timing: Option<(Seq, u64)>,
    pub recovery: Recovery,
    /// SND.MAX when recovery began.
    pub recover: Seq,
    /// Everything below was retransmitted in this recovery.
    pub high_rxt: Seq,
    pub dup_acks: u32,
    pub scoreboard: Scoreboard,
    pub retransmits: u32,
    pub total_retransmits: u32,
    /// When the first of the unanswered transmissions was, or when the peer closed its window, for time-outs.
    pub stalled_since: u64,
    pub probes: u32,
    pub last_sent: u64,
    /// The device had no room: the connection is in the stack's list of those that wait for it.
    pub blocked: bool,

    // Options in use.
    pub sack_ok: bool,
    pub ts_ok: bool,
    pub ts_recent: u32,
    pub ts_recent_at: u64,
    pub ts_offset: u32,
    /// The headers of the peer's SYN (`TCP_SAVED_SYN`).
    pub saved_syn: Option<Arc<Vec<u8>>>,

    // Receiving.
    pub receive: ReceiveQueue<D::Buf>,
    pub out_of_order: OutOfOrder<D::Buf>,
    pub receive_buffer: usize,
    pub rcv_nxt: Seq,
    /// Right edge of the window we announced.
    pub rcv_adv: Seq,
    pub rcv_scale: u8,
    pub last_ack_sent: Seq,
    /// Where the peer's stream ends.
    pub fin_at: Option<Seq>,
    pub fin_received: bool,
    /// The latest urgent byte, until the program has read past it.
    pub urgent: Option<Urgent>,
    /// Payload of the largest segment seen.
    pub rcv_mss: u32,
    /// Bytes received and not acknowledged.
    pub unacked: u32,
    /// Acknowledge when this segment is done with.
    pub ack_now: bool,
    /// Acknowledge at the end of the batch.
    pub ack_due: bool,
    /// The program replies to what it reads: the reply carries the acknowledgement.
    pub interactive: bool,
    /// Full segments still acknowledged at once, at the start of a connection.
    pub quick_acks: u8,
    pub last_received: u64,
    /// When data in order last came, ns; 0: they never did.
    pub data_at: u64,
    pub challenged: u64,
    /// Bytes the program has read since `measured_at` (receive buffer autotuning).
    pub read_bytes: usize,
    pub measured_at: u64,

    // Timers and route.
    pub deadlines: [u64; CLOCKS],
    pub timer: Option<TimerHandle>,
    /// Nothing is lost, reordered, closing or held back (see `predicted`).
    pub calm: bool,
    /// When the wheel calls.
    pub armed_at: u64,
    /// Not later than the first of `deadlines`.
    pub wanted_at: u64,
    /// It is in the stack's list of deferred work.
    pub deferred: bool,
    pub path: Path,
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// A socket that was just made.
    #[inline(never)]
    pub fn new(limits: &Limits) -> Self {
        let mss = u32::from(DEFAULT_MSS);
        let zero = Seq(0);
        Tcb {
            state: State::Closed,
            clock: 0,
            options: TcpOptions::default(),
            tuple: Tuple::default(),
            claimed: false,
            chosen: Chosen::default(),
            hold: None,
            listen: None,
            error: None,
            soft_error: None,
            orphan: false,
            early: None,
            syn_data: SynData::None,
            receive_shut: false,
            send_shut: false,
            fresh: Readiness::EMPTY,
            send: SendQueue::new(),
            send_buffer: limits.send_default,
            snd_una: zero,
            snd_nxt: zero,
            snd_max: zero,
            snd_wnd: 0,
            max_snd_wnd: 0,
            snd_wl1: zero,
            snd_wl2: zero,
            snd_scale: 0,
            mss,
            peer_mss: DEFAULT_MSS,
            burst: mss,
            small_end: zero,
            fin_queued: false,
            fin_covered: false,
            fin_acked: false,
            urgent_end: None,
            more: false,
            cubic: Cubic::new(mss),
            window_limited: false,
            rtt: Rtt::default(),
            timing: None,
            recovery: Recovery::Open,
            recover: zero,
            high_rxt: zero,
            dup_acks: 0,
            scoreboard: Scoreboard::default(),
            retransmits: 0,
            total_retransmits: 0,
            stalled_since: 0,
            probes: 0,
            last_sent: 0,
            blocked: false,
            sack_ok: false,
            ts_ok: false,
            ts_recent: 0,
            ts_recent_at: 0,
            ts_offset: 0,
            saved_syn: None,
            receive: ReceiveQueue::new(),
            out_of_order: OutOfOrder::new(),
            receive_buffer: limits.receive_default,
            rcv_nxt: zero,
            rcv_adv: zero,
            rcv_scale: 0,
            last_ack_sent: zero,
            fin_at: None,
            fin_received: false,
            urgent: None,
            rcv_mss: mss,
            unacked: 0,
            ack_now: false,
            ack_due: false,
            interactive: false,
            quick_acks: QUICK_ACKS,
            last_received: 0,
            data_at: 0,
            challenged: 0,
            read_bytes: 0,
            measured_at: 0,
            deadlines: [NEVER; CLOCKS],
            timer: None,
            calm: false,
            armed_at: NEVER,
            wanted_at: NEVER,
            deferred: false,
            path: Path::default(),
        }
    }

    /// Whether a connection exists on which data may flow (SYNs are exchanged).
    #[inline]
    pub fn is_synchronized(&self) -> bool {
        !matches!(
            self.state,
            State::Closed | State::Listen | State::SynSent | State::SynReceived | State::TimeWait
        )
    }

    /// What the program may do now.
    #[inline(always)]
    pub fn readiness(&self) -> Readiness {
        if self.calm { self.readiness_amid() } else { self.readiness_at_the_ends() }
    }

    /// The same of an established connection without errors.
    #[inline(always)]
    fn readiness_amid(&self) -> Readiness {
        let mut ready = Readiness::EMPTY;
        if self.receive.len() > 0 {
            ready |= Readiness::READABLE;
        }
        if self.is_writable() {
            ready |= Readiness::WRITABLE;
        }
        ready
    }

    /// Whether a third of the send buffer is free, so that a program is not woken for every little room.
    #[inline(always)]
    pub(super) fn is_writable(&self) -> bool {
        3 * self.send_held() <= 2 * self.send_buffer
    }

    #[inline(never)]
    fn readiness_at_the_ends(&self) -> Readiness {
        let is_amid = self.state == State::Established && self.error.is_none() && !self.receive_shut;
        if is_amid && self.urgent.is_none() {
            return self.readiness_amid();
        }
        let mut ready = if self.error.is_some() { Readiness::ERROR } else { Readiness::EMPTY };
        match self.state {
            State::Listen => {
                if self.listen.as_ref().is_some_and(|listen| !listen.queue.is_empty()) {
                    ready |= Readiness::ACCEPTABLE;
                }
                return ready;
            }
            // The program may begin: its data go with the SYN.
            State::SynSent if self.syn_data == SynData::Held => return ready | Readiness::WRITABLE,
            State::SynSent | State::SynReceived => return ready,
            _ => {}
        }
        // Nothing more will arrive; also after an error (Linux shuts both directions of such a socket down).
        let over = matches!(self.state, State::Closed | State::TimeWait);
        let ended = self.fin_received || self.receive_shut || (over && self.tuple.remote_port != 0);
        if let Some(urgent) = self.urgent {
            ready |= self.readiness_around_urgent(urgent);
        } else if self.receive.len() > 0 {
            ready |= Readiness::READABLE;
        }
        if ended {
            ready |= Readiness::READABLE;
        }
        if ended {
            ready |= Readiness::READ_HANGUP;
        }
        if over || (ended && self.send_shut) {
            ready |= Readiness::HANGUP;
        }
        if self.send_shut || over || self.is_writable() {
            ready |= Readiness::WRITABLE;
        }
        ready
    }

    /// How many bytes the send buffer takes now.
    #[inline(always)]
    pub fn send_room(&self) -> usize {
        self.send_buffer.saturating_sub(self.send_held())
    }

    /// What the bytes to be sent count for. Each buffer behind the first counts at least so much that a stream of tiny
    /// writes cannot hold memory without bound.
    #[inline(always)]
    pub(super) fn send_held(&self) -> usize {
        const LEAST_PER_BUFFER: usize = 256;
        (self.send.len() as usize).max(self.send.more_buffers() * LEAST_PER_BUFFER)
    }

    #[inline(always)]
    pub fn set_clock(&mut self, clock: Clock, deadline: u64) {
        self.deadlines[clock as usize] = deadline;
        if deadline < self.wanted_at {
            self.wanted_at = deadline;
        }
    }

    #[inline(always)]
    pub fn clock(&self, clock: Clock) -> u64 {
        self.deadlines[clock as usize]
    }

    /// Sets the wheel if something is due before it would call.
    #[inline(always)]
    pub fn arm(&mut self, cx: &Context<'_, D, E>) {
        if self.wanted_at < self.armed_at {
            self.arm_earlier(cx);
        }
    }

    #[inline(never)]
    fn arm_earlier(&mut self, cx: &Context<'_, D, E>) {
        // What was wanted may have been cancelled since.
        let [a, b, c, d, e] = self.deadlines;
        self.wanted_at = a.min(b).min(c).min(d).min(e);
        if self.wanted_at < self.armed_at
            && let Some(timer) = self.timer
        {
            self.armed_at = self.wanted_at;
            cx.stack.timers.set(timer, self.wanted_at);
        }
    }

    /// Sets the segment size from what the peer, the path and the program allow.
    pub fn update_mss(&mut self, cx: &Context<'_, D, E>) {
        let headers = ip_len(self.tuple.remote) + HEADER_LEN;
        let mut mss =
            (self.path.mtu(cx.stack).max(headers + 64) - headers).min(usize::from(self.peer_mss).max(64));
        if self.options.max_segment != 0 {
            mss = mss.min(usize::from(self.options.max_segment).max(64));
        }
        if self.ts_ok {
            mss -= TIMESTAMP_LEN;
        }
        self.mss = mss as u32;
        self.cubic.set_mss(self.mss);
        let tso = cx.stack.capabilities.tso4_max.min(65535);
        self.burst = self.mss;
        if self.path.is_on_wire() && self.tuple.remote.is_v4() && tso > 0 && cx.stack.capabilities.tx_checksum
        {
            let room = (tso.saturating_sub(headers + TIMESTAMP_LEN)) as u32;
            self.burst = (room / self.mss).max(1) * self.mss;
        }
    }

    /// The segment size to announce.
    pub fn announced_mss(&self, cx: &Context<'_, D, E>) -> u16 {
        let mss = (self.path.mtu(cx.stack) - ip_len(self.tuple.remote) - HEADER_LEN).min(65535) as u16;
        if self.options.max_segment != 0 { mss.min(self.options.max_segment.max(64)) } else { mss }
    }

    /// The right edge of the window that we may announce now. It never moves back, nor forward by little
    /// (RFC 9293, 3.8.6.2.2).
    #[inline(always)]
    pub fn window_edge(&self) -> Seq {
        let free = self.receive_buffer.saturating_sub(self.receive.len()) as u32;
        let edge = self.rcv_nxt + free.min(MAX_UNSCALED << self.rcv_scale);
        let step = self.rcv_mss.min(self.receive_buffer as u32 / 2);
        if edge.before(self.rcv_adv + step) { self.rcv_adv } else { edge }
    }

    /// The window field for a segment sent now, and the right edge that it announces.
    #[inline(always)]
    pub fn window_field(&self) -> (u16, Seq) {
        let window = self.window_edge() - self.rcv_nxt;
        // Rounded up: a right edge that was announced is never taken back.
        let field = ((window + (1 << self.rcv_scale) - 1) >> self.rcv_scale).min(MAX_UNSCALED);
        (field as u16, self.rcv_nxt + (field << self.rcv_scale))
    }

    /// All up to RCV.NXT has been acknowledged, and `edge` announced.
    #[inline(always)]
    pub fn announced(&mut self, edge: Seq) {
        self.rcv_adv = edge;
        self.last_ack_sent = self.rcv_nxt;
    }

    /// The window field for a segment sent now; remembers what it announces.
    pub fn announce_window(&mut self) -> u16 {
        let (field, edge) = self.window_field();
        self.announced(edge);
        field
    }

    /// Chooses the scale of our window for buffers of at most `max` bytes.
    pub fn choose_scale(max: usize) -> u8 {
        (0..super::header::MAX_SCALE)
            .find(|scale| (MAX_UNSCALED as usize) << scale >= max)
            .unwrap_or(super::header::MAX_SCALE)
    }

    /// Asks for an acknowledgement at the end of the batch, unless a segment carries it before.
    pub fn ack_soon(&mut self, cx: &Context<'_, D, E>) {
        self.ack_due = true;
        self.defer(cx);
    }

    /// Makes the stack return to this connection at the end of the batch.
    pub fn defer(&mut self, cx: &Context<'_, D, E>) {
        if !self.deferred {
            self.deferred = true;
            cx.stack.defer(cx.socket.clone());
        }
    }

    /// The device had no room: makes the stack return when it may have.
    pub fn wait_for_room(&mut self, cx: &Context<'_, D, E>) {
        if !self.blocked {
            self.blocked = true;
            cx.stack.wait_for_room(cx.socket.clone());
        }
    }

    /// The connection has failed.
    pub fn fail(&mut self, cx: &Context<'_, D, E>, error: Error) {
        let is_early = matches!(self.state, State::SynSent | State::SynReceived);
        cx.stack.counters.add(if is_early { Count::AttemptFails } else { Count::EstabResets });
        self.error = Some(error);
        self.fresh |= Readiness::ERROR | Readiness::HANGUP | Readiness::READABLE | Readiness::WRITABLE;
        self.finish_connection(cx);
    }

    /// The connection is over: releases all that it holds, except what the program has not read.
    pub fn finish_connection(&mut self, cx: &Context<'_, D, E>) {
        let this = Arc::as_ptr(cx.socket);
        let old = cx
            .stack
            .demux
            .remove(&self.tuple, |entry| matches!(entry, Entry::Connection(s) if Arc::as_ptr(s) == this));
        drop(old);
        self.release(cx);
    }

    /// The peer's and our FIN are through, ours came first.
    pub fn time_wait(&mut self, cx: &Context<'_, D, E>) {
        let window = (self.window_edge() - self.rcv_nxt) >> self.rcv_scale;
        let end = TimeWait {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            window: window.min(MAX_UNSCALED) as u16,
            ts_recent: self.ts_ok.then_some(self.ts_recent),
            ts_offset: self.ts_offset,
            timer: None,
            hold: self.hold.take(),
            answered: 0,
        };
        cx.stack.enter_time_wait(cx.now, self.tuple, end);
        self.release(cx);
    }

    /// The connection keeps others from binding its port.
    pub fn hold_port(&mut self, stack: &Stack<D, E>) {
        let Tuple { local, local_port, .. } = self.tuple;
        let bound = Bound::new(local, self.options.family, self.options.device);
        self.hold =
            stack.tcp_ports.hold(local_port, bound, self.options.reuse_address, self.options.reuse_port);
    }

    /// The connection is over, or was never made.
    pub fn let_go_of_port(&mut self, stack: &Stack<D, E>) {
        if let Some(hold) = self.hold.take() {
            stack.tcp_ports.let_go(hold);
        }
    }

    /// Goes to another state.
    pub fn enter(&mut self, state: State) {
        if state != self.state {
            E::observe(&Observation::State(self.tuple.ends(), self.state, state));
            self.state = state;
        }
    }

    fn release(&mut self, cx: &Context<'_, D, E>) {
        self.let_go_of_port(cx.stack);
        self.early = None;
        self.enter(State::Closed);
        self.fresh |= Readiness::HANGUP | Readiness::READABLE | Readiness::WRITABLE;
        self.send.clear();
        self.out_of_order.clear();
        self.deadlines = [NEVER; CLOCKS];
        self.armed_at = NEVER;
        self.wanted_at = NEVER;
        self.ack_now = false;
        self.ack_due = false;
        if let Some(timer) = self.timer.take() {
            cx.stack.timers.remove(timer);
        }
        if self.orphan {
            self.unclaim(cx);
        }
    }

    /// Releases the port.
    pub fn unclaim(&mut self, cx: &Context<'_, D, E>) {
        if self.claimed {
            self.claimed = false;
            cx.stack.tcp_ports.release(self.tuple.local_port, cx.socket.id());
        }
    }
}

/// Full segments acknowledged at once at the start of a connection, so that the peer's slow start is quick (Linux:
/// `TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u8 = 16;
