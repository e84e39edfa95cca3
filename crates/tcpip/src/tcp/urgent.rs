//! Urgent data (RFC 9293, 3.8.5; RFC 6093), as on Linux (tcp(7)): the last byte before the position of the urgent pointer is
//! out of band. It is read separately from the stream, which stops before it, unless `oob_inline` leaves it in its place.

use super::header::Segment;
use super::seq::Seq;
use super::settings::State;
use super::tcb::{Context, Tcb};
use super::transfer::Queued;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::events::{Events, Readiness};
use crate::stack::{Stack, Tcp};
use spin::MutexGuard;

/// An urgent byte that the program has not read past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Urgent {
    /// Where it is in the stream. It may not have arrived yet.
    mark: Seq,
    /// The program has received it out of band.
    taken: bool,
}

/// The greatest distance that the urgent pointer can express.
const FARTHEST: u32 = u16::MAX as u32;

impl<D: Device, E: Events> Stack<D, E> {
    /// Queues up to `len` bytes, the last of which is urgent (`MSG_OOB`), and sends what may go. Otherwise as
    /// [`tcp_send`](Self::tcp_send).
    pub fn tcp_send_urgent(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        len: usize,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        let Queued { cx, mut tcb, done, short } = self.queue(socket, now, len, fill)?;
        if done > 0 {
            tcb.urgent_end = Some(tcb.snd_una + tcb.send.len());
        }
        tcb.more = false;
        tcb.output(&cx);
        socket.finish(&cx, tcb);
        self.loopback_run(now);
        if done == 0 && short { Err(Error::WouldBlock) } else { Ok(done) }
    }

    /// The urgent byte (`MSG_OOB` of recv(2)); it stays if `peek`. `None` at the end of the stream. `Invalid` if there is none,
    /// or it was taken, or it is left in the stream; `WouldBlock` if it is announced and has not arrived.
    pub fn tcp_recv_urgent(&self, socket: &Tcp<D, E>, peek: bool) -> Result<Option<u8>> {
        let mut tcb = socket.lock();
        let urgent = tcb.urgent.filter(|urgent| !urgent.taken && !tcb.options.oob_inline);
        let Some(urgent) = urgent else { return Err(Error::Invalid) };
        let Some(byte) = tcb.receive.byte((urgent.mark - tcb.read_to()) as usize) else {
            let over = tcb.state == State::Closed || tcb.receive_shut || tcb.fin_received;
            return if over { Ok(None) } else { Err(Error::WouldBlock) };
        };
        if !peek {
            tcb.urgent = Some(Urgent { taken: true, ..urgent });
            socket.publish(tcb);
        }
        Ok(Some(byte))
    }

    /// [`tcp_recv`](Self::tcp_recv) of a stream with an urgent byte ahead: up to it, or past it.
    #[cold]
    #[inline(never)]
    pub(super) fn recv_around_urgent(
        &self,
        socket: &Tcp<D, E>,
        mut tcb: MutexGuard<'_, Tcb<D, E>>,
        now: u64,
        len: usize,
        peek: bool,
        mut sink: impl FnMut(&[u8]) -> usize,
    ) -> Result<usize> {
        let cx = Context::locked(self, socket, &mut tcb, now);
        let before = tcb.before_mark().unwrap_or(u32::MAX) as usize;
        let skip = usize::from(before == 0 && !tcb.options.oob_inline);
        let len = if before == 0 { len } else { len.min(before) };
        let done = if peek {
            tcb.receive.peek(skip, len, &mut sink)
        } else {
            tcb.receive.read(skip, false, |piece| piece.len());
            if before == 0 && len > 0 {
                tcb.urgent = None;
            }
            let done = tcb.receive.read(len, false, sink);
            if tcb.is_noteworthy(done + skip) {
                tcb.after_read(&cx);
            }
            done
        };
        // Without any, the urgent byte was all there was.
        let others = tcb.receive.len() - if peek { skip } else { 0 };
        socket.finish(&cx, tcb);
        if done == 0 && len > 0 && others == 0 {
            return self.nothing_received(socket, socket.lock());
        }
        self.loopback_run(now);
        Ok(done)
    }
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// The sequence number of the next byte that the program reads.
    fn read_to(&self) -> Seq {
        self.rcv_nxt - (self.receive.len() as u32 + u32::from(self.fin_received))
    }

    /// Bytes that the program can read before the urgent one, if there is one.
    pub(super) fn before_mark(&self) -> Option<u32> {
        Some(self.urgent?.mark - self.read_to())
    }

    /// Bytes that can be read now; those up to the urgent one, if that is not left in the stream.
    pub(super) fn readable_bytes(&self) -> u32 {
        let len = self.receive.len() as u32;
        match self.before_mark() {
            Some(before) if !self.options.oob_inline => len.min(before),
            _ => len,
        }
    }

    /// What an urgent byte makes possible: reading it, and what else there is.
    #[cold]
    #[inline(never)]
    pub(super) fn readiness_around_urgent(&self, urgent: Urgent) -> Readiness {
        let mut ready = Readiness::EMPTY;
        if !urgent.taken && urgent.mark.before(self.rcv_nxt) {
            ready |= Readiness::URGENT;
        }
        let skipped = self.before_mark() == Some(0) && !self.options.oob_inline;
        if self.receive.len() > usize::from(skipped) {
            ready |= Readiness::READABLE;
        }
        ready
    }

    /// A segment with URG has arrived, whose data has not been taken yet (Linux's `tcp_check_urg`).
    #[cold]
    #[inline(never)]
    pub(super) fn urgent_arrives(&mut self, segment: &Segment) {
        let mark = segment.seq + u32::from(segment.urgent_pointer).saturating_sub(1);
        if mark.before(self.rcv_nxt)
            || self.fin_received
            || self.urgent.is_some_and(|known| !mark.after(known.mark))
        {
            return;
        }
        // The program has not read up to an older one, which is lost by that.
        if self.before_mark() == Some(0) && !self.options.oob_inline && self.receive.len() > 0 {
            self.receive.read(1, false, |piece| piece.len());
        }
        self.urgent = Some(Urgent { mark, taken: false });
        self.calm = false;
        self.fresh |= Readiness::URGENT;
    }

    /// The urgent pointer of a segment that starts at `seq`, if it is to have one.
    #[cold]
    #[inline(never)]
    pub(super) fn urgent_pointer(&mut self, seq: Seq) -> Option<u16> {
        let end = self.urgent_end?;
        if !end.after(self.snd_una) {
            self.urgent_end = None;
            return None;
        }
        // One that is too far away is announced by a later segment.
        (end.after(seq) && end - seq <= FARTHEST).then_some((end - seq) as u16)
    }
}
