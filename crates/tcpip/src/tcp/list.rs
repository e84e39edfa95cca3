//! Lists of sockets, for /proc/net and for a look from outside. A list is made in pieces, with no lock held between them; what comes or
//! goes meanwhile may be missing.

use super::demux::{Entry, Tuple};
use super::fast_open::SynData;
use super::settings::{State, TcpInfo};
use super::socket::TcpSocket;
use super::tcb::{Clock, Recovery, Tcb};
use crate::device::Device;
use crate::events::Events;
use crate::ip::{Endpoint, Family};
use crate::stack::{Stack, Tcp};
use crate::timers::{NEVER, Timer, TimerHandle};
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

/// What a connection's next timer is for. The numbers are Linux's in /proc/net/tcp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Pending {
    /// None is set.
    #[default]
    Nothing = 0,
    /// A segment is sent again.
    Retransmission = 1,
    /// Keep-alive, a delayed acknowledgement, or the end of a connection whose peer is silent.
    Other = 2,
    /// The end of TIME_WAIT.
    TimeWait = 3,
    /// A closed window is probed.
    Probe = 4,
}

/// A socket, or what is left of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpListed {
    /// Our end.
    pub local: Endpoint,
    /// The peer's; port 0 of a listener.
    pub remote: Endpoint,
    /// It was made for the addresses of IPv6.
    pub is_v6: bool,
    /// The program has closed it.
    pub is_orphan: bool,
    /// Its state.
    pub state: State,
    /// Bytes that the peer has not acknowledged; of a listener: how many connections may wait.
    pub to_send: u32,
    /// Bytes that the program has not read; of a listener: connections that were not accepted.
    pub to_read: u32,
    /// The timer that is due first.
    pub pending: Pending,
    /// When that is, in ns; `u64::MAX`: never.
    pub deadline: u64,
    /// Transmissions in a row without an answer.
    pub retransmits: u32,
    /// Probes in a row without an answer.
    pub probes: u32,
    /// The rest, of a connection.
    pub flow: Option<Flow>,
}

/// How data flows over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What TCP_INFO says.
    pub info: TcpInfo,
    /// Bytes that the peer's window has room for, from the first that it has not acknowledged.
    pub send_window: u32,
    /// Bytes that our window has room for.
    pub receive_window: u32,
    /// Bytes that our buffer for sending takes.
    pub send_buffer: u32,
    /// When a segment with data was sent last, in ns; 0: never.
    pub last_sent: u64,
    /// When a segment came last, in ns.
    pub last_received: u64,
    /// Whether segments are missing, and others came after them.
    pub has_gap: bool,
    /// Segments were lost, and are sent again.
    pub is_recovering: bool,
    /// The device had no room for a segment.
    pub is_blocked: bool,
    /// The peer sends no more.
    pub peer_finished: bool,
    /// When the peer closed its window, or the first unanswered transmission was made, in ns.
    pub stalled_since: u64,
    /// The program replies to what it reads.
    pub is_interactive: bool,
}

/// Bits of a position in the list.
const SLOT_BITS: u32 = 32;
/// Listeners lie below, by port; connections from here on, by part of the table and place therein.
const CONNECTIONS: u64 = 1 << 36;
/// Places of the table that are looked at with its lock held.
const AT_ONCE: usize = 64;

/// An entry, without the lock of the table.
enum Found<D: Device, E: Events> {
    Connection(Tcp<D, E>),
    Record { timer: Option<TimerHandle>, pending: Pending, is_v6: bool, retries: u8 },
}

impl<D: Device, E: Events> Tcb<D, E> {
    fn listed(&self) -> TcpListed {
        let Tuple { local, local_port, remote, remote_port } = self.tuple;
        let clocks = [
            (Clock::Retransmit, Pending::Retransmission),
            (Clock::Persist, Pending::Probe),
            (Clock::KeepAlive, Pending::Other),
            (Clock::Patience, Pending::Other),
        ];
        let first =
            clocks.into_iter().map(|(clock, what)| (self.clock(clock), what)).min_by_key(|(at, _)| *at);
        let (deadline, pending) = first.filter(|(at, _)| *at != NEVER).unwrap_or((NEVER, Pending::Nothing));
        let mut listed = TcpListed {
            local: Endpoint::new(local, local_port),
            remote: Endpoint::new(remote, remote_port),
            is_v6: self.options.family != Family::V4,
            is_orphan: self.orphan,
            state: self.state,
            to_send: self.send.len(),
            to_read: self.receive.len() as u32,
            pending,
            deadline,
            retransmits: self.retransmits,
            probes: self.probes,
            flow: None,
        };
        match &self.listen {
            Some(listen) => {
                listed.to_read = listen.queue.len() as u32;
                listed.to_send = listen.backlog as u32;
            }
            None => listed.flow = Some(self.flow()),
        }
        listed
    }

    /// What `TCP_INFO` reports.
    pub(super) fn info(&self) -> TcpInfo {
        let micros = |ns: u64| (ns / 1000) as u32;
        TcpInfo {
            // Linux shows that the handshake is not complete.
            state: match self.state {
                State::Established if self.early.is_some() => State::SynReceived,
                state => state,
            },
            retransmits: self.retransmits,
            rto: micros(self.rtt.timeout()),
            rtt: micros(self.rtt.smoothed()),
            rtt_var: micros(self.rtt.deviation()),
            send_mss: self.mss,
            receive_mss: self.rcv_mss,
            congestion_window: self.cubic.window() / self.mss,
            slow_start_threshold: self.cubic.threshold() / self.mss,
            unacked: (self.snd_max - self.snd_una).div_ceil(self.mss),
            total_retransmits: self.total_retransmits,
            window_scale: (self.snd_scale, self.rcv_scale),
            timestamps: self.ts_ok,
            sack: self.sack_ok,
            syn_data: self.syn_data == SynData::Taken,
            receive_space: self.receive_buffer as u32,
            unacknowledged_bytes: self.send.len(),
            unsent_bytes: self.send.len().saturating_sub(self.snd_max - self.snd_una),
            readable_bytes: self.readable_bytes(),
            at_mark: self.before_mark() == Some(0),
        }
    }

    fn flow(&self) -> Flow {
        Flow {
            info: self.info(),
            send_window: self.snd_wnd,
            receive_window: self.window_edge() - self.rcv_nxt,
            send_buffer: self.send_buffer as u32,
            last_sent: self.last_sent,
            last_received: self.last_received,
            has_gap: !self.out_of_order.is_empty(),
            is_recovering: self.recovery != Recovery::Open,
            is_blocked: self.blocked,
            peer_finished: self.fin_received,
            stalled_since: self.stalled_since,
            is_interactive: self.interactive,
        }
    }
}

impl<D: Device, E: Events> TcpSocket<D, E> {
    /// What a list shows of the socket.
    pub fn listed(&self) -> TcpListed {
        self.lock().listed()
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Lists listeners, connections and what is left of them, from a position on: 0, or one that was returned. `each` gets those of a
    /// piece, with the user's data where a program has accepted or made them. Returns where the next piece begins; `None` at the end.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn tcp_list(
        &self,
        from: u64,
        each: &mut dyn FnMut(&TcpListed, Option<&E>),
    ) -> Result<Option<u64>, NoMemory> {
        let Some(place) = from.checked_sub(CONNECTIONS) else {
            let Some((port, sockets)) = self.listeners.next(from)? else { return Ok(Some(CONNECTIONS)) };
            sockets.iter().for_each(|socket| each(&socket.listed(), socket.events()));
            return Ok(Some(u64::from(port) + 1));
        };
        let (shard, slot) = ((place >> SLOT_BITS) as usize, place as u32 as usize);
        let mut found: Vec<(Option<Tuple>, Found<D, E>)> = Vec::new();
        found.try_reserve(AT_ONCE).map_err(|_| NoMemory)?;
        let Some(is_over) = self.demux.look(shard, slot, AT_ONCE, |tuple, entry| {
            let entry = match entry {
                Entry::Connection(socket) => Found::Connection(socket.clone()),
                Entry::Request(request) => Found::Record {
                    timer: request.timer(),
                    pending: Pending::Retransmission,
                    // A listener's lock is not taken here.
                    is_v6: false,
                    retries: request.retries(),
                },
                Entry::TimeWait(end) => Found::Record {
                    timer: end.timer,
                    pending: Pending::TimeWait,
                    is_v6: end.hold.as_ref().is_some_and(|hold| hold.is_v6()),
                    retries: 0,
                },
            };
            // There is room.
            let _ = found.try_push((tuple, entry));
        }) else {
            return Ok(None);
        };
        for (tuple, entry) in found {
            match entry {
                Found::Connection(socket) => each(&socket.listed(), socket.events()),
                Found::Record { timer, pending, is_v6, retries } => {
                    // The timer knows the whole tuple, and when the record ends.
                    let timer = timer.and_then(|timer| self.timers.look(timer));
                    let (tuple, deadline) = match (timer, tuple) {
                        (Some((Timer::Tuple(tuple), deadline)), _) => (tuple, deadline),
                        (_, Some(tuple)) => (tuple, NEVER),
                        _ => continue,
                    };
                    let state =
                        if pending == Pending::TimeWait { State::TimeWait } else { State::SynReceived };
                    let listed = TcpListed {
                        local: Endpoint::new(tuple.local, tuple.local_port),
                        remote: Endpoint::new(tuple.remote, tuple.remote_port),
                        is_v6: is_v6 || !tuple.local.is_v4(),
                        is_orphan: true,
                        state,
                        to_send: 0,
                        to_read: 0,
                        pending,
                        deadline,
                        retransmits: retries.into(),
                        probes: 0,
                        flow: None,
                    };
                    each(&listed, None);
                }
            }
        }
        let next = if is_over { (shard as u64 + 1) << SLOT_BITS } else { place + AT_ONCE as u64 };
        Ok(Some(CONNECTIONS + next))
    }
}
