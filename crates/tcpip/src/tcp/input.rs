//! Incoming segments of a connection (RFC 9293, 3.10.7; RFC 5961; RFC 7323).
//!
//! The general path, in the order of the RFC's steps. [`super::predicted`] handles the segments of a busy connection before.

use super::fast_open::SynData;
use super::header::{Segment, flags};
use super::seq::Seq;
use super::settings::State;
use super::tcb::{Clock, Context, Tcb};
use crate::counters::Count;
use crate::device::Device;
use crate::error::Error;
use crate::events::{Events, Readiness};
use crate::payload::Payload;
use crate::timers::NEVER;

/// A delayed acknowledgement waits so long, ns (Linux: `TCP_DELACK_MIN`; RFC 1122 allows 500 ms).
pub const DELAYED_ACK: u64 = 40_000_000;
/// Time between two challenge ACKs of a connection, ns (RFC 5961, section 10; Linux: `tcp_invalid_ratelimit`).
const CHALLENGE_INTERVAL: u64 = 500_000_000;
/// A timestamp older than this proves nothing (RFC 7323, 5.5): 24 days.
const PAWS_EXPIRY: u64 = 24 * 86400 * 1_000_000_000;
/// How long a closed socket waits in FIN_WAIT_2, ns (Linux: `tcp_fin_timeout`).
pub const FIN_TIMEOUT: u64 = 60_000_000_000;

impl<D: Device, E: Events> Tcb<D, E> {
    /// Takes a segment. `segment_size` is not 0 if the device joined several.
    #[inline]
    pub fn segment_arrives(
        &mut self,
        cx: &Context<'_, D, E>,
        segment: &Segment,
        payload: &mut Payload<D::Buf>,
        segment_size: u16,
    ) {
        match self.state {
            State::SynSent => return self.segment_in_syn_sent(cx, segment, payload),
            State::Closed | State::Listen | State::TimeWait => {
                return cx.stack.send_reset_for(cx.now, &self.tuple, segment, payload.len());
            }
            _ => {}
        }
        self.last_received = cx.now;
        self.probes = 0;
        let mut seq = segment.seq;
        let mut bits = segment.flags;
        if self.state == State::SynReceived && bits & flags::SYN != 0 && seq + 1 == self.rcv_nxt {
            // The second half of a simultaneous open.
            bits &= !flags::SYN;
            seq += 1;
        }
        let end = seq + payload.len() + u32::from(bits & flags::FIN);

        // First, timestamps (RFC 7323, 5.3) and sequence number (RFC 9293, 3.10.7.4).
        if let Some(ts) = segment.timestamps
            && self.ts_ok
        {
            if (ts.value.wrapping_sub(self.ts_recent) as i32) < 0
                && bits & flags::RST == 0
                && cx.now - self.ts_recent_at < PAWS_EXPIRY
            {
                return self.challenge(cx);
            }
            if !seq.after(self.last_ack_sent) && !end.before(self.last_ack_sent) {
                self.ts_recent = ts.value;
                self.ts_recent_at = cx.now;
            }
        }
        if end.before(self.last_ack_sent) || seq.after(self.rcv_adv) {
            if bits & flags::RST != 0 {
                return;
            }
            // A segment that came twice is acknowledged at once; what has no data may be part of a loop or an attack.
            if self.early.is_some() && bits & flags::SYN != 0 {
                self.send_syn(cx);
            } else if !payload.is_empty() {
                let _ = self.send_ack(cx);
            } else {
                self.challenge(cx);
            }
            return;
        }
        // Second, RST (RFC 5961, 3).
        if bits & flags::RST != 0 {
            if seq == self.rcv_nxt {
                return self.reset(cx);
            }
            return self.challenge(cx);
        }
        // Fourth, SYN (RFC 5961, 4).
        if bits & flags::SYN != 0 {
            return self.challenge(cx);
        }
        // Fifth, ACK.
        if bits & flags::ACK == 0 {
            return;
        }
        if self.state == State::SynReceived {
            if !segment.ack.after(self.snd_una) || segment.ack.after(self.snd_max) {
                return cx.stack.send_reset_for(cx.now, &self.tuple, segment, payload.len());
            }
            self.establish(cx, segment);
        }
        if self.early.is_some() && !self.early_acknowledged(cx, segment, payload.len()) {
            return;
        }
        if !self.acknowledgement(cx, segment, payload.len()) {
            return;
        }
        // Sixth, URG.
        if bits & flags::URG != 0 {
            self.urgent_arrives(segment);
        }
        // Seventh and eighth, data and FIN.
        if end != seq {
            self.receive_data(cx, seq, payload, bits & flags::FIN != 0, segment_size);
        } else if seq.before(self.rcv_nxt) {
            // A keep-alive or window probe.
            let _ = self.send_ack(cx);
        }
        if self.has_output() {
            self.output(cx);
        }
    }

    /// The answer to our SYN (RFC 9293, 3.10.7.3).
    fn segment_in_syn_sent(&mut self, cx: &Context<'_, D, E>, segment: &Segment, payload: &Payload<D::Buf>) {
        let acked = segment.has(flags::ACK);
        if acked && (!segment.ack.after(self.snd_una) || segment.ack.after(self.snd_max)) {
            return cx.stack.send_reset_for(cx.now, &self.tuple, segment, payload.len());
        }
        if segment.has(flags::RST) {
            if acked {
                self.fail(cx, Error::ConnectionRefused);
            }
            return;
        }
        if !segment.has(flags::SYN) {
            return;
        }
        self.rcv_nxt = segment.seq + 1;
        self.rcv_adv = self.rcv_nxt + (self.rcv_adv - Seq(0)).min(super::tcb::MAX_UNSCALED);
        self.last_ack_sent = self.rcv_nxt;
        self.peer_options(cx, segment, true);
        if acked {
            if let Some((_, sent)) = self.timing.take() {
                self.rtt.measure(cx.now - sent);
            }
            self.establish(cx, segment);
            if self.syn_data == SynData::Offered {
                self.syn_data_answered(cx, segment, payload);
            }
            let _ = self.send_ack(cx);
            self.output(cx);
        } else {
            // Simultaneous open (3.5, figure 7).
            self.enter(State::SynReceived);
            self.send_syn(cx);
        }
    }

    /// Applies the options of the peer's SYN. `offered`: we sent all options ourselves.
    pub fn peer_options(&mut self, cx: &Context<'_, D, E>, segment: &Segment, offered: bool) {
        let options = segment.syn;
        self.peer_mss = options.mss.unwrap_or(super::header::DEFAULT_MSS);
        self.sack_ok = offered && options.sack;
        match options.scale {
            Some(scale) if offered => self.snd_scale = scale,
            _ => {
                self.snd_scale = 0;
                self.rcv_scale = 0;
            }
        }
        if let Some(ts) = segment.timestamps
            && offered
        {
            self.ts_ok = true;
            self.ts_recent = ts.value;
            self.ts_recent_at = cx.now;
        }
        self.update_mss(cx);
    }

    /// Our SYN was acknowledged.
    fn establish(&mut self, cx: &Context<'_, D, E>, segment: &Segment) {
        self.enter(State::Established);
        self.snd_una += 1;
        self.small_end = self.snd_una;
        self.high_rxt = self.snd_una;
        self.retransmits = 0;
        self.rtt.reset_backoff();
        self.timing = None;
        self.set_clock(Clock::Retransmit, NEVER);
        let scale = if segment.has(flags::SYN) { 0 } else { self.snd_scale };
        self.snd_wnd = u32::from(segment.window) << scale;
        self.max_snd_wnd = self.snd_wnd;
        self.snd_wl1 = segment.seq;
        self.snd_wl2 = segment.ack;
        self.start(cx);
    }

    /// Data may flow.
    pub fn start(&mut self, cx: &Context<'_, D, E>) {
        self.last_received = cx.now;
        self.measured_at = cx.now;
        self.rcv_mss = self.mss.min(super::header::DEFAULT_MSS.into());
        self.fresh |= Readiness::WRITABLE;
        if self.options.keep_alive {
            self.set_clock(Clock::KeepAlive, cx.now + u64::from(self.options.keep_idle) * 1_000_000_000);
        }
    }

    fn reset(&mut self, cx: &Context<'_, D, E>) {
        let error = match self.state {
            State::SynReceived => Error::ConnectionRefused,
            State::CloseWait => Error::BrokenPipe,
            _ => Error::ConnectionReset,
        };
        self.fail(cx, error);
    }

    /// Answers what is not acceptable with an acknowledgement, not too often.
    pub fn challenge(&mut self, cx: &Context<'_, D, E>) {
        if cx.now >= self.challenged + CHALLENGE_INTERVAL || self.challenged == 0 {
            self.challenged = cx.now.max(1);
            let _ = self.send_ack(cx);
        }
    }

    /// Whether data that begins at `seq` can't be kept. While packet memory is nearly used up, a connection that the program
    /// has much to read of gets no more of it.
    #[inline(always)]
    fn has_no_memory(&self, cx: &Context<'_, D, E>, seq: Seq) -> bool {
        /// Each connection gets so many bytes all the same (the least of Linux's tcp_rmem).
        const LEAST: u32 = 4096;
        let device = &cx.stack.device;
        device.is_short()
            || (device.is_pressed() && (seq != self.rcv_nxt || self.receive.len() as u32 > LEAST))
    }

    /// Takes the text of a segment: what is in the window and not known yet (RFC 9293, 3.10.7.4, seventh).
    #[inline]
    pub(super) fn receive_data(
        &mut self,
        cx: &Context<'_, D, E>,
        mut seq: Seq,
        payload: &mut Payload<D::Buf>,
        mut fin: bool,
        segment_size: u16,
    ) {
        if self.fin_received {
            // Nothing comes after FIN: an old segment. Our acknowledgement of it was lost.
            return self.ack_soon(cx);
        }
        if seq.before(self.rcv_nxt) {
            let known = self.rcv_nxt - seq;
            payload.skip(known);
            seq = self.rcv_nxt;
            self.ack_now = true;
            if payload.is_empty() && !fin {
                return;
            }
        }
        let room = self.rcv_adv - seq;
        if payload.len() > room {
            payload.truncate(room);
            fin = false;
            self.ack_now = true;
        }
        let len = payload.len();
        if len > 0 && self.has_no_memory(cx, seq) {
            // It will be retransmitted. What it acknowledged has freed memory, so that it may be kept then.
            return cx.stack.drop_packet(self.tuple.ends(), Count::DataUnkept);
        }
        if self.orphan && len > 0 {
            // Nobody will read it (RFC 2525, 2.17; RFC 1122, 4.2.2.13).
            self.send_reset(cx);
            return self.finish_connection(cx);
        }
        if self.receive_shut && len > 0 && matches!(self.state, State::FinWait1 | State::FinWait2) {
            // Both directions are shut down, though the socket is still there: as if it were closed (RFC 1122, 4.2.2.13).
            self.send_reset(cx);
            return self.fail(cx, Error::ConnectionReset);
        }
        if fin {
            self.fin_at = Some(seq + len);
        }
        if seq != self.rcv_nxt {
            if len > 0 {
                self.out_of_order.insert(seq, payload.take());
            }
            // Each such segment is acknowledged at once: the peer counts (RFC 5681, 3.2).
            let _ = self.send_ack(cx);
            return;
        }
        if len > 0 {
            if self.receive.push_payload(payload).is_err() {
                // As if it had been lost.
                return;
            }
            self.rcv_nxt += len;
            self.fresh |= Readiness::READABLE;
            self.schedule_ack(cx, len, segment_size);
            if !self.out_of_order.is_empty() {
                self.rcv_nxt = self.out_of_order.take(self.rcv_nxt, &mut self.receive);
                self.ack_now = true;
            }
        }
        if self.fin_at == Some(self.rcv_nxt) {
            self.fin_arrives(cx);
        }
    }

    /// Data was taken in order: when is it acknowledged? (RFC 5681, 4.2)
    #[inline(always)]
    pub fn schedule_ack(&mut self, cx: &Context<'_, D, E>, len: u32, segment_size: u16) {
        let largest = if segment_size == 0 { len } else { u32::from(segment_size) };
        if largest > self.rcv_mss {
            self.rcv_mss = largest.min(self.mss.max(super::header::DEFAULT_MSS.into()));
        }
        self.unacked += len;
        self.data_at = cx.now;
        let full = len >= self.rcv_mss && self.rcv_mss > super::header::DEFAULT_MSS.into();
        // With no room left for another full segment, the one that would require an acknowledgement will not arrive.
        let last = self.rcv_adv - self.rcv_nxt < self.mss;
        if self.unacked >= 2 * self.rcv_mss || last || self.options.quick_ack || (full && self.quick_acks > 0)
        {
            self.quick_acks = self.quick_acks.saturating_sub(1);
            self.ack_soon(cx);
        } else if self.clock(Clock::DelayedAck) == NEVER {
            self.set_clock(Clock::DelayedAck, cx.now + DELAYED_ACK);
        }
    }

    /// The peer's stream ends here (RFC 9293, 3.10.7.4, eighth).
    fn fin_arrives(&mut self, cx: &Context<'_, D, E>) {
        self.rcv_nxt += 1;
        self.fin_received = true;
        self.fresh |= Readiness::READABLE | Readiness::READ_HANGUP;
        self.ack_soon(cx);
        match self.state {
            State::Established => self.enter(State::CloseWait),
            State::FinWait1 => self.enter(State::Closing),
            State::FinWait2 => {
                let _ = self.send_ack(cx);
                self.time_wait(cx);
            }
            _ => {}
        }
    }

    /// Our FIN was acknowledged.
    pub fn fin_acknowledged(&mut self, cx: &Context<'_, D, E>) {
        self.fin_acked = true;
        match self.state {
            State::FinWait1 => {
                self.enter(State::FinWait2);
                // A close that lingers waits for this.
                self.fresh |= Readiness::WRITABLE;
                if self.orphan {
                    self.set_clock(Clock::Patience, cx.now + FIN_TIMEOUT);
                }
            }
            State::Closing => self.time_wait(cx),
            State::LastAck => self.finish_connection(cx),
            _ => {}
        }
    }
}
