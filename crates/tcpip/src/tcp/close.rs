//! The end of a connection on the program's request: shutdown, close, disconnect.

use super::settings::{Shutdown, State};
use super::tcb::{Clock, Context, Tcb};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::events::{Events, Readiness};
use crate::stack::{Stack, Tcp};
use spin::MutexGuard;

impl<D: Device, E: Events> Stack<D, E> {
    /// Shuts a direction down, and wakes those that wait. Without a connection the error is `NotConnected`, but the direction
    /// is shut down as well, also of a connection made later (Linux's `inet_shutdown`). A listener stops to listen, and an
    /// attempt to connect ends as by [`tcp_disconnect`](Self::tcp_disconnect). shutdown(2).
    pub fn tcp_shutdown(&self, socket: &Tcp<D, E>, now: u64, how: Shutdown) -> Result<()> {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        match tcb.state {
            State::Listen if how == Shutdown::Write => return Ok(()),
            State::Listen | State::SynSent | State::SynReceived => {
                drop(tcb);
                self.tcp_disconnect(socket, now);
                return Ok(());
            }
            _ => {}
        }
        let connected = tcb.state != State::Closed;
        tcb.receive_shut |= how != Shutdown::Write;
        tcb.fresh |= Readiness::ALL;
        if how != Shutdown::Read {
            tcb.send_shut = true;
            tcb.queue_fin(&cx);
        }
        socket.finish(&cx, tcb);
        self.loopback_run(now);
        if connected { Ok(()) } else { Err(Error::NotConnected) }
    }

    /// The program has closed the socket: the engine ends the connection by itself. With data unread, or `SO_LINGER`
    /// of no time, it is reset (RFC 2525, 2.17). close(2).
    pub fn tcp_close(&self, socket: &Tcp<D, E>, now: u64) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
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

    /// Back to a socket without a connection, and without what of its address the program has not chosen: connect(2) to
    /// `AF_UNSPEC`. A connection or an attempt that this ends leaves `ConnectionReset` behind (Linux's `tcp_disconnect`).
    pub fn tcp_disconnect(&self, socket: &Tcp<D, E>, now: u64) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        match tcb.state {
            State::Closed | State::TimeWait => {}
            State::Listen => {
                self.stop_listening(&cx, tcb);
                tcb = socket.lock();
            }
            State::SynSent => {
                tcb.error = Some(Error::ConnectionReset);
                tcb.finish_connection(&cx);
            }
            state => {
                if !matches!(state, State::Closing | State::LastAck) || tcb.has_unsent() {
                    tcb.error = Some(Error::ConnectionReset);
                }
                tcb.send_reset(&cx);
                tcb.finish_connection(&cx);
            }
        }
        let mut fresh = self.renewed(&mut tcb);
        fresh.error = tcb.error;
        fresh.fresh = Readiness::ALL;
        if !fresh.chosen.address {
            fresh.tuple.local = fresh.options.family.any();
        }
        if !fresh.chosen.port {
            fresh.unclaim(&cx);
            fresh.tuple.local_port = 0;
        }
        let old = core::mem::replace(&mut *tcb, fresh);
        socket.publish(tcb);
        drop(old);
        self.loopback_run(now);
    }

    fn stop_listening(&self, cx: &Context<'_, D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) {
        self.listeners.remove(tcb.tuple.local_port, cx.socket);
        self.tcp_ports.stop_listening(tcb.tuple.local_port, cx.socket.id());
        let listen = tcb.listen.take();
        tcb.enter(State::Closed);
        cx.socket.finish(cx, tcb);
        // Connections that were not accepted are reset; half-open ones find no listener any more.
        for child in listen.into_iter().flat_map(|listen| listen.queue) {
            self.reset_now(cx.now, &child);
        }
        self.loopback_run(cx.now);
    }

    fn reset_now(&self, now: u64, socket: &Tcp<D, E>) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        tcb.orphan = true;
        if tcb.is_synchronized() {
            tcb.send_reset(&cx);
            tcb.finish_connection(&cx);
        }
        socket.finish(&cx, tcb);
    }
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// The program will send no more: FIN is queued behind the data.
    pub fn queue_fin(&mut self, cx: &Context<'_, D, E>) {
        match self.state {
            State::Established => self.enter(State::FinWait1),
            State::CloseWait => self.enter(State::LastAck),
            _ => return,
        }
        self.fin_queued = true;
        self.send_shut = true;
        self.more = false;
        self.fresh |= Readiness::WRITABLE;
        self.output(cx);
    }
}
