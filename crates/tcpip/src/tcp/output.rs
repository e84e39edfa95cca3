//! Outgoing segments: what may be sent now, and the segments themselves (RFC 9293, 3.8.6; RFC 6675 in recovery).

use super::control::{Control, TCP_AT, timestamp_clock};
use super::fast_open::Cookie;
use super::header::{
    HEADER_LEN, OPTIONS_MAX, TIMESTAMP_LEN, Timestamps, flags, write_sack_option, write_syn_options,
};
use super::input::DELAYED_ACK;
use super::rtt::RTO_MIN;
use super::send_queue::{Fragments, MAX_FRAGMENTS};
use super::seq::Seq;
use super::settings::State;
use super::tcb::{Clock, Context, MAX_UNSCALED, Recovery, Tcb};
use crate::counters::Count;
use crate::device::{Device, Full};
use crate::events::{Events, Observation};
use crate::timers::NEVER;
use core::ops::Range;

/// Offset of the control bits in a TCP header.
const FLAGS_AT: usize = 13;
/// Where the urgent pointer is in the template.
const URGENT_POINTER: Range<usize> = TCP_AT + 18..TCP_AT + 20;
/// How long `TCP_CORK` holds a small segment back, ns (tcp(7)).
const CORK_PATIENCE: u64 = 200_000_000;

impl<D: Device, E: Events> Tcb<D, E> {
    /// Sends all that may be sent now: what was lost, new data, FIN, an acknowledgement that is due.
    #[inline(never)]
    pub fn output(&mut self, cx: &Context<'_, D, E>) {
        let sent = if self.is_synchronized() { self.send_data(cx) } else { Ok(()) };
        if sent.is_err() || (self.ack_now && self.send_ack(cx).is_err()) {
            self.wait_for_room(cx);
        }
    }

    /// Whether `output` may have anything to do.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.ack_now || self.recovery == Recovery::Fast || self.has_unsent()
    }

    /// Whether bytes or FIN are queued that were never sent.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.snd_nxt - self.snd_una < self.send.len() + u32::from(self.fin_queued)
    }

    #[inline]
    fn send_data(&mut self, cx: &Context<'_, D, E>) -> Result<(), Full> {
        if self.recovery == Recovery::Fast {
            self.retransmit_lost(cx)?;
        }
        let mut room: Option<u32> = None;
        loop {
            let offset = self.snd_nxt - self.snd_una;
            let queued = self.send.len();
            let fin_due = self.fin_queued && !self.fin_acked && offset <= queued;
            let unsent = queued.saturating_sub(offset);
            if unsent == 0 && !fin_due {
                return Ok(());
            }
            let again = self.snd_nxt.before(self.snd_max);
            // After a time-out, what the peer holds is not sent again.
            let mut limit = unsent;
            if again && !self.scoreboard.is_empty() {
                match self.scoreboard.hole(self.snd_nxt, self.snd_max) {
                    Some((start, end)) => {
                        self.snd_nxt = start;
                        let offset = start - self.snd_una;
                        if offset > queued {
                            continue;
                        }
                        limit = (queued - offset).min(end - start);
                    }
                    None => {
                        self.snd_nxt = self.snd_max;
                        continue;
                    }
                }
            }
            let offset = self.snd_nxt - self.snd_una;
            let unsent = queued.saturating_sub(offset);
            let room = match &mut room {
                Some(room) => room,
                none => {
                    if self.snd_una == self.snd_max
                        && cx.now - self.last_sent > RTO_MIN
                        && self.was_idle(cx.now)
                    {
                        self.cubic.restart();
                    }
                    none.insert(self.cubic.window().saturating_sub(self.pipe()))
                }
            };
            let window = self.snd_wnd.saturating_sub(offset);
            let len = limit.min(window).min(*room).min(self.burst);
            let Some(len) = self.choose_len(len, limit, unsent, again) else {
                self.window_limited |= *room < self.mss && window >= self.mss;
                self.hold_back(cx, unsent, fin_due);
                return Ok(());
            };
            let sent = self.send_segment(cx, offset, len)?;
            if sent == unsent && !fin_due && self.scoreboard.is_empty() {
                // The usual end: everything is out, and less than the window.
                self.window_limited = *room - sent < self.mss || self.half_used();
                return Ok(());
            }
            *room = room.saturating_sub(sent.max(1));
            self.window_limited = *room < self.mss || self.half_used();
        }
    }

    /// Whether nothing was sent for longer than the time-out.
    #[cold]
    fn was_idle(&self, now: u64) -> bool {
        self.last_sent != 0 && now - self.last_sent > self.rtt.timeout()
    }

    /// In slow start the window counts as used when half of it is (as in Linux).
    #[inline(always)]
    pub fn half_used(&self) -> bool {
        let window = self.cubic.window();
        window < self.cubic.threshold() && self.snd_nxt - self.snd_una >= window / 2
    }

    /// How much of what windows allow (`len`) is sent: full segments, or the rest if nothing speaks against it.
    #[inline]
    fn choose_len(&self, len: u32, limit: u32, unsent: u32, again: bool) -> Option<u32> {
        let last = len == unsent;
        if last && self.may_send_small(len, again) {
            return Some(len);
        }
        if len >= self.mss {
            return Some(if len == self.mss { len } else { len - len % self.mss });
        }
        // A hole before what the peer holds; or half of the greatest window it ever offered (RFC 9293, 3.8.6.2.1).
        ((again && len == limit && len > 0)
            || (len > 0 && !last && len >= self.max_snd_wnd / 2 && self.snd_wnd <= len))
            .then_some(len)
    }

    /// Whether the end of the queue may go although it does not fill a segment.
    #[inline]
    fn may_send_small(&self, len: u32, again: bool) -> bool {
        if again || self.fin_queued {
            return true;
        }
        if self.options.cork || self.more {
            return len.is_multiple_of(self.mss) && len > 0;
        }
        // Nagle's algorithm (RFC 896) as changed by Minshall: one small segment in flight at a time.
        self.options.no_delay
            || !self.small_end.after(self.snd_una)
            || len.is_multiple_of(self.mss)
            || self.urgent_end.is_some()
    }

    /// Data waits and cannot go: makes sure that something will move it.
    #[inline(never)]
    pub fn hold_back(&mut self, cx: &Context<'_, D, E>, unsent: u32, fin_due: bool) {
        if self.snd_una != self.snd_max || (unsent == 0 && !fin_due) {
            return; // an acknowledgement will come
        }
        let window = self.snd_wnd.saturating_sub(self.snd_nxt - self.snd_una);
        if window < unsent.min(self.mss) {
            if self.clock(Clock::Persist) == NEVER {
                self.stalled_since = cx.now;
                E::observe(&Observation::ZeroWindow(self.tuple.ends()));
                self.set_clock(Clock::Persist, cx.now + self.rtt.timeout());
            }
        } else if (self.options.cork || self.more) && self.clock(Clock::Patience) == NEVER {
            self.set_clock(Clock::Patience, cx.now + CORK_PATIENCE);
        }
    }

    /// Bytes estimated to be in the network (RFC 6675, `SetPipe`).
    #[inline]
    fn pipe(&self) -> u32 {
        match self.recovery {
            Recovery::Open if self.scoreboard.is_empty() && self.dup_acks == 0 => self.snd_nxt - self.snd_una,
            Recovery::Loss => (self.snd_nxt - self.snd_una).saturating_sub(self.scoreboard.bytes()),
            _ if self.sack_ok => {
                let edge = self.scoreboard.lost_edge(self.snd_una, self.mss);
                let again =
                    if self.recovery == Recovery::Fast { self.high_rxt.min(edge) } else { self.snd_una };
                self.scoreboard.missing(edge, self.snd_max) + self.scoreboard.missing(self.snd_una, again)
            }
            _ => (self.snd_max - self.snd_una).saturating_sub(self.dup_acks * self.mss),
        }
    }

    /// Sends what is known to be lost (RFC 6675, section 5, step C; RFC 6582 without SACK).
    fn retransmit_lost(&mut self, cx: &Context<'_, D, E>) -> Result<(), Full> {
        loop {
            let edge = if self.sack_ok {
                // The first segment is lost even if only duplicate acknowledgements say so.
                self.scoreboard
                    .lost_edge(self.snd_una, self.mss)
                    .max((self.snd_una + self.mss).min(self.snd_max))
            } else {
                (self.snd_una + self.mss).min(self.snd_max)
            };
            let from = self.high_rxt.max(self.snd_una);
            let Some((start, end)) = self.scoreboard.hole(from, edge) else { return Ok(()) };
            let first = start == self.snd_una;
            let room = self.cubic.window().saturating_sub(self.pipe());
            if room < self.mss && !first {
                return Ok(());
            }
            let offset = start - self.snd_una;
            let len = (end - start).min(self.mss).min(self.send.len().saturating_sub(offset));
            let resume = self.snd_nxt;
            self.snd_nxt = start;
            let sent = self.send_segment(cx, offset, len);
            self.snd_nxt = resume;
            self.high_rxt = start + sent?.max(1);
        }
    }

    /// Sends `len` bytes from `offset` of the queue at SND.NXT, with FIN if it is due behind them.
    /// Returns how many bytes went.
    #[inline(never)]
    fn send_segment(&mut self, cx: &Context<'_, D, E>, offset: u32, len: u32) -> Result<u32, Full> {
        let seq = self.snd_nxt;
        let window = self.announce_window();
        let tcp_len = self.complete_headers(cx.now, seq, flags::ACK, window, false);
        let urgent = if self.urgent_end.is_some() { self.urgent_pointer(seq) } else { None };
        // A device that cuts a segment would put the pointer into each piece.
        let len = if urgent.is_some() { len.min(self.mss) } else { len };
        let mut fragments = Fragments::new();
        let mut sent = 0;
        if len > 0 {
            let limit = cx.stack.capabilities.max_fragments.min(MAX_FRAGMENTS);
            sent = self.send.gather(offset, len, limit, &mut fragments);
            if sent < len && sent > self.mss {
                sent -= sent % self.mss;
                fragments.clear();
                sent = self.send.gather(offset, sent, limit, &mut fragments);
            }
        }
        let end = offset + sent == self.send.len();
        let fin = end && self.fin_queued && !self.fin_acked;
        if end && sent > 0 {
            self.path.headers[TCP_AT + FLAGS_AT] |= flags::PSH;
        }
        if fin {
            self.path.headers[TCP_AT + FLAGS_AT] |= flags::FIN;
        }
        if let Some(pointer) = urgent {
            self.path.headers[TCP_AT + FLAGS_AT] |= flags::URG;
            self.path.headers[URGENT_POINTER].copy_from_slice(&pointer.to_be_bytes());
        }
        let transmitted = self.path.transmit(cx.stack, cx.now, tcp_len, &fragments, sent, self.mss);
        if urgent.is_some() {
            // The template of the next segments has none.
            self.path.headers[URGENT_POINTER].fill(0);
        }
        transmitted?;
        drop(fragments);
        self.has_sent(cx, seq, sent, seq + sent + u32::from(fin));
        Ok(sent)
    }

    /// A segment with `len` bytes of data from `seq` on is sent; `next` is what follows it.
    #[inline(always)]
    pub fn has_sent(&mut self, cx: &Context<'_, D, E>, seq: Seq, len: u32, next: Seq) {
        // A reply in time for the next acknowledgement to ride on, even if this one could not wait (Linux's `tcp_event_data_sent`).
        self.interactive |= len > 0 && cx.now.wrapping_sub(self.data_at) < DELAYED_ACK;
        self.acknowledged_peer();
        self.last_sent = cx.now;
        self.snd_nxt = next;
        if next.after(self.snd_max) {
            if seq.before(self.snd_max) {
                self.timing = None;
            } else if self.timing.is_none() {
                self.timing = Some((next, cx.now));
            }
            if len > 0 && (len < self.mss || !len.is_multiple_of(self.mss)) {
                self.small_end = next;
            }
            self.snd_max = next;
        } else {
            // Karn's algorithm: what was sent twice is not timed.
            self.timing = None;
            self.total_retransmits += 1;
            cx.stack.counters.add(Count::RetransSegs);
            E::observe(&Observation::Retransmission(self.tuple.ends()));
        }
        if self.clock(Clock::Retransmit) == NEVER {
            self.stalled_since = cx.now;
            self.set_clock(Clock::Retransmit, cx.now + self.rtt.timeout());
        }
        self.set_clock(Clock::Persist, NEVER);
        self.set_clock(Clock::Patience, NEVER);
    }

    /// Sends `len` bytes at SND.NXT whatever speaks against small segments.
    pub fn send_now(&mut self, cx: &Context<'_, D, E>, len: u32) -> Result<(), Full> {
        if len > 0 {
            self.send_segment(cx, self.snd_nxt - self.snd_una, len)?;
        }
        Ok(())
    }

    /// Sends an acknowledgement at once.
    pub fn send_ack(&mut self, cx: &Context<'_, D, E>) -> Result<(), Full> {
        self.send_empty(cx, self.snd_nxt.max(self.snd_max))
    }

    /// Sends an acknowledgement that makes the peer answer, by a sequence number it has seen already (Linux's window
    /// and keep-alive probes).
    pub fn send_probe(&mut self, cx: &Context<'_, D, E>) {
        let _ = self.send_empty(cx, self.snd_una - 1);
    }

    fn send_empty(&mut self, cx: &Context<'_, D, E>, seq: Seq) -> Result<(), Full> {
        let window = self.announce_window();
        let tcp_len = self.complete_headers(cx.now, seq, flags::ACK, window, true);
        self.path.transmit(cx.stack, cx.now, tcp_len, &[], 0, u32::MAX)?;
        self.acknowledged_peer();
        Ok(())
    }

    /// An acknowledgement has gone out.
    #[inline(always)]
    fn acknowledged_peer(&mut self) {
        self.ack_now = false;
        self.ack_due = false;
        self.unacked = 0;
        self.set_clock(Clock::DelayedAck, NEVER);
    }

    /// Completes the TCP header of a segment of a synchronized connection; returns its length. Only a segment without
    /// data has room for selective acknowledgements.
    #[inline(always)]
    pub fn complete_headers(&mut self, now: u64, seq: Seq, bits: u8, window: u16, sack: bool) -> usize {
        let tcp = &mut self.path.headers[TCP_AT..];
        tcp[4..8].copy_from_slice(&seq.0.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.rcv_nxt.0.to_be_bytes());
        tcp[FLAGS_AT] = bits;
        tcp[14..16].copy_from_slice(&window.to_be_bytes());
        let mut len = HEADER_LEN;
        if self.ts_ok {
            let clock = timestamp_clock(now).wrapping_add(self.ts_offset);
            tcp[HEADER_LEN + 4..HEADER_LEN + 8].copy_from_slice(&clock.to_be_bytes());
            tcp[HEADER_LEN + 8..HEADER_LEN + 12].copy_from_slice(&self.ts_recent.to_be_bytes());
            len += TIMESTAMP_LEN;
        }
        if sack && self.sack_ok && !self.out_of_order.is_empty() {
            let blocks = self.out_of_order.blocks(if self.ts_ok { 3 } else { 4 });
            len += write_sack_option(&mut tcp[len..], &blocks);
        }
        tcp[12] = (len as u8 / 4) << 4;
        len
    }

    /// Sends our SYN, or SYN and ACK if the peer's has arrived.
    pub fn send_syn(&mut self, cx: &Context<'_, D, E>) {
        self.send_syn_with(cx, None, false);
    }

    /// The same with the option of Fast Open (RFC 7413), and if `with_data` with what the first buffer holds.
    pub fn send_syn_with(&mut self, cx: &Context<'_, D, E>, cookie: Option<Cookie>, with_data: bool) {
        let early = self.early.is_some();
        let answer = self.state == State::SynReceived || early;
        let ts = (!answer || self.ts_ok).then(|| Timestamps {
            value: timestamp_clock(cx.now).wrapping_add(self.ts_offset),
            echo: if answer { self.ts_recent } else { 0 },
        });
        let mut options = [0; OPTIONS_MAX];
        let scale = (!answer || self.rcv_scale > 0 || self.snd_scale > 0).then_some(self.rcv_scale);
        let mut len =
            write_syn_options(&mut options, self.announced_mss(cx), scale, !answer || self.sack_ok, ts);
        if let Some(cookie) = cookie {
            len += cookie.write(&mut options[len..]);
        }
        // The window of a SYN is never scaled.
        let window = (self.receive_buffer as u32).min(MAX_UNSCALED);
        self.rcv_adv = self.rcv_nxt + window;
        let control = Control {
            // Of an open connection the SYN counts as acknowledged.
            seq: self.snd_una - u32::from(early),
            ack: self.rcv_nxt,
            flags: if answer { flags::SYN | flags::ACK } else { flags::SYN },
            window: window as u16,
            options: &options[..len],
        };
        let data = self.send.first().filter(|_| with_data);
        let len = data.as_ref().map_or(0, |fragment| fragment.len);
        cx.stack.send_control_with(cx.now, &self.tuple, control, data.as_slice());
        if early {
            self.last_ack_sent = self.rcv_nxt;
            self.acknowledged_peer();
        } else {
            self.snd_nxt = self.snd_una + 1 + len;
            self.snd_max = self.snd_max.max(self.snd_nxt);
        }
        self.last_sent = cx.now;
        self.set_clock(Clock::Retransmit, cx.now + self.rtt.timeout());
    }

    /// Tells the peer that the connection is gone.
    pub fn send_reset(&mut self, cx: &Context<'_, D, E>) {
        let control = Control {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: flags::RST | flags::ACK,
            window: 0,
            options: &[],
        };
        cx.stack.counters.add(Count::OutResets);
        cx.stack.send_control(cx.now, &self.tuple, control);
    }
}
