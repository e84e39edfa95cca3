//! The ends of connections as a program makes them: shutdown, close, disconnect.

use super::settings::{Shutdown, State};
use super::tcb::{Clock, Context, Tcb};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::events::{Events, Readiness};
use crate::stack::{Stack, Tcp};
use spin::MutexGuard;

impl<D: Device, E: Events> Stack<D, E> {
    /// Shuts a direction down. shutdown(2).
    pub fn tcp_shutdown(&self, socket: &Tcp<D, E>, now: u64, how: Shutdown) -> Result<()> {
        let (cx, mut tcb) = Context::lock(self, socket, now);
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

    /// Back to a socket without a connection: connect(2) to `AF_UNSPEC`.
    pub fn tcp_disconnect(&self, socket: &Tcp<D, E>, now: u64) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
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
}
