//! A UDP socket: the part that the stack and the program share.

use super::settings::{UdpListed, UdpOptions};
use crate::address::Link;
use crate::device::Device;
use crate::error::Error;
use crate::events::{Events, Readiness};
use crate::groups::Joined;
use crate::ip::{Address, Endpoint, Family};
use crate::packet::IpInfo;
use crate::payload::Payload;
use crate::ports::Chosen;
use crate::reports::Report;
use crate::tcp::Tuple;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use core::sync::atomic::{AtomicU32, Ordering};
use spin::{Mutex, MutexGuard};

/// What a waiting datagram counts besides its payload.
pub(super) const OVERHEAD: usize = 256;

/// A datagram that waits.
pub(super) struct Waiting<B> {
    pub from: Endpoint,
    pub to: Address,
    pub link: Link,
    pub arrived: u64,
    /// Datagrams that there was no room for before it.
    pub lost: u32,
    pub payload: Payload<B>,
}

/// Why poll(2) reports an error. One value, so that a datagram meets one test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// An error waits for the next call.
    Error(Error),
    /// Nothing but reports wait.
    Reports,
}

/// What a socket's lock guards.
pub struct State<B> {
    pub(super) local: Endpoint,
    pub(super) peer: Option<Endpoint>,
    /// The port is claimed in the table of ports.
    pub(super) claimed: bool,
    pub(super) chosen: Chosen,
    pub(crate) options: UdpOptions,
    /// The groups that the socket has joined.
    pub(crate) groups: Vec<Joined>,
    pub(super) queue: VecDeque<Waiting<B>>,
    pub(super) held: usize,
    /// Datagrams that there was no room for.
    pub(super) dropped: u32,
    pub(super) error: Option<Trouble>,
    /// Errors of datagrams, for `MSG_ERRQUEUE`.
    pub(super) reports: VecDeque<Report>,
    pub(super) receive_shut: bool,
    pub(super) send_shut: bool,
}

/// A UDP socket. The program's calls go through [`Stack`](crate::Stack).
pub struct UdpSocket<D: Device, E: Events> {
    pub(super) ready: AtomicU32,
    /// It speaks UDP-Lite.
    pub(super) is_lite: bool,
    pub(super) events: E,
    pub(super) state: Mutex<State<D::Buf>>,
}

impl<D: Device, E: Events> UdpSocket<D, E> {
    /// Names the socket in the table of ports.
    pub(super) fn id(&self) -> usize {
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

    /// Publishes what is possible now, and reports what of `fresh` is.
    pub(super) fn settle(&self, state: MutexGuard<'_, State<D::Buf>>, fresh: Readiness) {
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
    pub(super) fn take_error(&mut self) -> Option<Error> {
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

    pub(super) fn readiness(&self) -> Readiness {
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
    pub(super) fn take(
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
        let (to, link, lost) = (info.destination, info.link, state.dropped);
        let waiting = Waiting { from, to, link, arrived: now, lost, payload };
        if state.queue.try_push_back(waiting).is_err() {
            return false;
        }
        state.held += cost;
        self.settle(state, Readiness::READABLE);
        true
    }
}
