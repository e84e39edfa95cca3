//! Sending and receiving by a program, and how the buffers of a connection grow.

use super::send_queue::SendQueue;
use super::settings::State;
use super::tcb::{Context, Tcb};
use crate::device::{Chunk, Device};
use crate::error::{Error, Result};
use crate::events::{Events, Readiness};
use crate::stack::{Stack, Tcp};
use spin::MutexGuard;

/// What [`Stack::queue`] did.
pub(super) struct Queued<'s, D: Device, E: Events> {
    pub cx: Context<'s, D, E>,
    pub tcb: MutexGuard<'s, Tcb<D, E>>,
    /// Bytes queued.
    pub done: usize,
    /// Packet memory was missing.
    pub short: bool,
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Queues up to `len` bytes and sends what may go. `fill` is called with pieces of packet memory, one after the
    /// other, and returns how many bytes it wrote; fewer than requested ends the call. `more` is `MSG_MORE`.
    ///
    /// Returns the number of bytes queued. `WouldBlock` if there is no room (or no packet memory). `fill` runs with the
    /// connection locked: it must not call the engine, nor wait.
    #[inline]
    pub fn tcp_send(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        len: usize,
        more: bool,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        let Queued { cx, mut tcb, done, short } = self.queue(socket, now, len, fill)?;
        tcb.more = more;
        let held = more || tcb.options.cork;
        if if held { tcb.hold_expected(&cx) } else { tcb.send_expected(&cx, self) } {
            tcb.arm(&cx);
            let full = !tcb.is_writable();
            socket.withdraw(tcb, Readiness::WRITABLE, full);
        } else {
            tcb.output(&cx);
            socket.finish(&cx, tcb);
        }
        self.sent(now, done, short)
    }

    /// Queues the first bytes of `chunk`, as many as there is room for, and sends what may go. They are sent from where they lie, and must
    /// not change. Returns how many; errors as those of [`tcp_send`](Self::tcp_send).
    #[inline(never)]
    pub fn tcp_send_chunk(&self, socket: &Tcp<D, E>, now: u64, chunk: Chunk<D::Buf>) -> Result<usize> {
        let Queued { cx, mut tcb, done, short } =
            self.queue_by(socket, now, chunk.len as usize, |queue, room, short| {
                let done = queue.append_chunk(chunk, room);
                *short = done == 0;
                done
            })?;
        tcb.more = false;
        tcb.output(&cx);
        socket.finish(&cx, tcb);
        self.sent(now, done, short)
    }

    /// [`tcp_send`](Self::tcp_send) in less code, for where no segment is expected: on a stack that has the loopback alone.
    pub fn tcp_send_plainly(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        len: usize,
        more: bool,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        let Queued { cx, mut tcb, done, short } = self.queue(socket, now, len, fill)?;
        tcb.more = more;
        tcb.output(&cx);
        socket.finish(&cx, tcb);
        self.sent(now, done, short)
    }

    #[inline(always)]
    fn sent(&self, now: u64, done: usize, short: bool) -> Result<usize> {
        self.loopback_run(now);
        if done == 0 && short { Err(Error::WouldBlock) } else { Ok(done) }
    }

    /// Queues up to `len` bytes, and leaves the connection locked. Errors as those of [`tcp_send`](Self::tcp_send), but for
    /// missing packet memory.
    #[inline(always)]
    pub(super) fn queue<'s>(
        &'s self,
        socket: &'s Tcp<D, E>,
        now: u64,
        len: usize,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<Queued<'s, D, E>> {
        self.queue_by(socket, now, len, |queue, room, short| {
            let alloc = || {
                let buffer = self.device.alloc();
                *short |= buffer.is_none();
                buffer
            };
            queue.append(room, alloc, fill)
        })
    }

    /// The same by `append`, which is given the queue and how many bytes there is room for, says whether memory was missing, and returns
    /// how many it appended.
    #[inline(always)]
    fn queue_by<'s>(
        &'s self,
        socket: &'s Tcp<D, E>,
        now: u64,
        len: usize,
        append: impl FnOnce(&mut SendQueue<D::Buf>, usize, &mut bool) -> usize,
    ) -> Result<Queued<'s, D, E>> {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        match tcb.state {
            State::Established | State::CloseWait if !tcb.send_shut => {}
            _ => return Err(self.cannot_send(socket, tcb)),
        }
        if self.device.is_pressed() {
            tcb.moderate();
        }
        let room = tcb.send_room();
        if room == 0 && len > 0 {
            // Its readiness may have changed with the buffer's size.
            socket.publish(tcb);
            return Err(Error::WouldBlock);
        }
        let mut short = false;
        let done = append(&mut tcb.send, len.min(room), &mut short);
        Ok(Queued { cx, tcb, done, short })
    }

    #[cold]
    fn cannot_send(&self, socket: &Tcp<D, E>, mut tcb: MutexGuard<'_, Tcb<D, E>>) -> Error {
        let error = match (tcb.error.take(), tcb.state) {
            (Some(error), _) => error,
            (None, State::SynSent | State::SynReceived) => Error::WouldBlock,
            (None, _) => Error::BrokenPipe,
        };
        socket.publish(tcb);
        error
    }

    /// Passes up to `len` received bytes to `sink`, piece by piece; it returns how many it took, and fewer than it was
    /// given ends the call. Leaves them in place if `peek`.
    ///
    /// `now` is the clock, which is rarely looked at: most reads cause nothing that has a time.
    ///
    /// Returns the number of bytes taken; `Ok(0)` without a call of `sink` is the end of the stream. `WouldBlock` if
    /// nothing has arrived. `sink` runs with the connection locked: it must not call the engine, nor wait.
    #[inline]
    pub fn tcp_recv(
        &self,
        socket: &Tcp<D, E>,
        now: impl Fn() -> u64,
        len: usize,
        peek: bool,
        sink: impl FnMut(&[u8]) -> usize,
    ) -> Result<usize> {
        let mut tcb = socket.lock();
        if tcb.receive.len() == 0 {
            return if len == 0 && tcb.error.is_none() { Ok(0) } else { self.nothing_received(socket, tcb) };
        }
        if tcb.urgent.is_some() {
            return self.recv_around_urgent(socket, tcb, now(), len, peek, sink);
        }
        let done = tcb.receive.read(len, peek, sink);
        if !peek && done > 0 {
            if tcb.is_noteworthy(done) || !tcb.calm {
                let cx = Context::locked(self, socket, &mut tcb, now());
                tcb.after_read(&cx);
                socket.finish_calm(&cx, tcb);
            } else {
                let empty = tcb.receive.len() == 0;
                socket.withdraw(tcb, Readiness::READABLE, empty);
            }
            if self.loopback.is_pending() {
                self.loopback_run(now());
            }
        }
        Ok(done)
    }

    #[cold]
    pub(super) fn nothing_received(
        &self,
        socket: &Tcp<D, E>,
        mut tcb: MutexGuard<'_, Tcb<D, E>>,
    ) -> Result<usize> {
        if tcb.fin_received {
            return Ok(0);
        }
        if let Some(error) = tcb.error.take() {
            socket.publish(tcb);
            return Err(error);
        }
        if tcb.receive_shut {
            return Ok(0);
        }
        match tcb.state {
            // After a reset was reported once, the stream is at its end; a socket that was never connected reports that.
            State::Closed if tcb.tuple.remote_port != 0 => Ok(0),
            State::Closed | State::Listen => Err(Error::NotConnected),
            _ => Err(Error::WouldBlock),
        }
    }
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// The program has read `done` bytes: whether that may open the window, make the buffer grow, or call for an
    /// acknowledgement.
    #[inline(always)]
    pub fn is_noteworthy(&mut self, done: usize) -> bool {
        self.read_bytes += done;
        self.read_bytes > self.receive_buffer / 2
            || ((self.rcv_adv - self.rcv_nxt) as usize) < self.receive_buffer / 4
            || (self.unacked > 0 && !self.interactive)
    }

    /// What follows from it.
    #[inline(never)]
    pub fn after_read(&mut self, cx: &Context<'_, D, E>) {
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

    /// Packet memory is short: the buffer shrinks to half of what is in it, until the peer takes some. Each connection gets
    /// a little all the same (Linux's `sk_stream_moderate_sndbuf`, and the least of its tcp_wmem).
    #[cold]
    fn moderate(&mut self) {
        const LEAST: usize = 4096;
        self.send_buffer = self.send_buffer.min((self.send_held() / 2).max(LEAST));
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
