//! A TCP socket: the part of a connection that the stack and the program share.

use super::fast_open::SynData;
use super::settings::{State, TcpInfo, TcpOptions};
use super::tcb::{Context, Tcb};
use crate::config::Limits;
use crate::device::Device;
use crate::error::Error;
use crate::events::{Events, Readiness};
use crate::ip::Endpoint;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use spin::{Mutex, MutexGuard, Once};

/// A TCP socket. The stack and the program share it; the program's calls go through [`Stack`](crate::Stack).
pub struct TcpSocket<D: Device, E: Events> {
    ready: AtomicU32,
    pub(super) events: Once<E>,
    tcb: Mutex<Tcb<D, E>>,
}

impl<D: Device, E: Events> TcpSocket<D, E> {
    pub(crate) fn new(limits: &Limits, events: Option<E>) -> Self {
        let tcb = Tcb::new(limits);
        let ready = AtomicU32::new(tcb.readiness().bits());
        TcpSocket { ready, events: events.map_or_else(Once::new, Once::initialized), tcb: Mutex::new(tcb) }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tcb<D, E>> {
        self.tcb.lock()
    }

    /// Names the socket in the table of ports.
    pub(crate) fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// What is possible now. One atomic load.
    #[inline(always)]
    pub fn readiness(&self) -> Readiness {
        Readiness::from_bits(self.ready.load(Ordering::Acquire))
    }

    /// The user's data (none on a connection that was not accepted yet).
    pub fn events(&self) -> Option<&E> {
        self.events.get()
    }

    /// Our end.
    pub fn local(&self) -> Endpoint {
        let tuple = self.lock().tuple;
        Endpoint::new(tuple.local, tuple.local_port)
    }

    /// The peer's end, if there is or was a connection.
    pub fn peer(&self) -> Option<Endpoint> {
        let tuple = self.lock().tuple;
        (tuple.remote_port != 0).then(|| Endpoint::new(tuple.remote, tuple.remote_port))
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

    /// The headers of the SYN that began the connection, if its listener had them saved ([`TcpOptions::save_syn`]), and it did
    /// not come back as a cookie. They stay until [`Self::forget_saved_syn`].
    pub fn saved_syn(&self) -> Option<Arc<Vec<u8>>> {
        self.lock().saved_syn.clone()
    }

    /// The program has read [`Self::saved_syn`].
    pub fn forget_saved_syn(&self) {
        let saved = self.lock().saved_syn.take();
        drop(saved);
    }

    /// Whether the SYN of its connection waits for data of the program (`TCP_FASTOPEN_CONNECT`).
    pub fn holds_syn(&self) -> bool {
        let tcb = self.lock();
        tcb.state == State::SynSent && tcb.syn_data == SynData::Held
    }

    /// What `TCP_INFO`, `SIOCOUTQ`, `FIONREAD` and similar requests report.
    pub fn info(&self) -> TcpInfo {
        self.lock().info()
    }

    /// Ends work on a connection: sets its timers, publishes what is possible, and, with the lock released, reports
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

    /// Publishes what is possible now, and reports what is new.
    #[inline(never)]
    pub(crate) fn publish(&self, mut tcb: MutexGuard<'_, Tcb<D, E>>) {
        let ready = tcb.readiness();
        let before = self.ready.swap(ready.bits(), Ordering::AcqRel);
        let new = Readiness::from_bits(ready.bits() & !before) | (core::mem::take(&mut tcb.fresh) & ready);
        drop(tcb);
        self.tell(new);
    }

    /// Ends work on a connection that can only have made more possible, as an expected segment does: reports what is new.
    #[inline(always)]
    pub(crate) fn finish_expected(&self, cx: &Context<'_, D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) {
        if !tcb.calm {
            return self.finish(cx, tcb);
        }
        tcb.arm(cx);
        // It changes with the lock held only.
        let before = self.readiness();
        let mut new = core::mem::take(&mut tcb.fresh);
        if !before.contains(Readiness::WRITABLE) && tcb.is_writable() {
            new |= Readiness::WRITABLE;
        }
        self.ready.store((before | new).bits(), Ordering::Release);
        debug_assert!(tcb.readiness() == self.readiness());
        drop(tcb);
        self.tell(new);
    }

    #[inline(always)]
    fn tell(&self, new: Readiness) {
        if !new.is_empty()
            && let Some(events) = self.events.get()
        {
            events.notify(new);
        }
    }

    /// Ends work on an established connection that can only have used up what made `what` possible; `gone`: it has.
    #[inline(always)]
    pub(crate) fn withdraw(&self, tcb: MutexGuard<'_, Tcb<D, E>>, what: Readiness, gone: bool) {
        if gone {
            self.ready.fetch_and(!what.bits(), Ordering::AcqRel);
        }
        debug_assert!(tcb.fresh.is_empty() && tcb.readiness() == self.readiness());
    }

    /// Publishes readiness after a change made without a context, and reports `fresh`.
    pub(crate) fn settle(&self, fresh: Readiness) {
        let mut tcb = self.lock();
        tcb.fresh |= fresh;
        self.publish(tcb);
    }
}
