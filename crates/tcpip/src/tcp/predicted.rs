//! Header prediction (Van Jacobson, 1990): what nearly every segment of a busy connection looks like, found with a few
//! comparisons, and handed to the same steps that the general path takes.
//!
//! A connection is *calm* while nothing is lost, reordered, closing or held back. The general path works that out when
//! it is done with a connection; whatever is not exactly as expected goes the general way from the start.

use super::demux::Tuple;
use super::header::{TIMESTAMP_PREFIX, flags};
use super::rtt::RTO_MIN;
use super::seq::Seq;
use super::settings::State;
use super::tcb::{Clock, Context, Recovery, Tcb};
use crate::checksum::Sum;
use crate::device::{Chunk, Device, RxChecksum, RxFrame};
use crate::events::{Events, Readiness};
use crate::stack::Stack;
use crate::timers::NEVER;

/// Ethernet, IPv4 and TCP header, the latter with timestamps alone.
pub const PREDICTED_LEN: usize = 14 + 20 + 32;
/// Length of the IPv4 and TCP headers therein.
const IP_AND_TCP_LEN: u16 = 52;

/// What the header of a segment says that looks as expected.
pub struct Predicted {
    pub tuple: Tuple,
    seq: Seq,
    ack: Seq,
    window: u16,
    timestamp: u32,
    pub len: u32,
}

impl Predicted {
    /// Reads the headers of a frame, if they are those of an ordinary segment to `own`: Ethernet for `mac`, IPv4 without
    /// options or fragmentation, TCP with no flags but ACK and PSH and no options but timestamps, in one buffer, with a
    /// checksum that the device vouches for.
    #[inline(always)]
    pub fn read<B: crate::Buffer>(frame: &RxFrame<B>, mac: &[u8; 6], own: Option<u32>) -> Option<Predicted> {
        let h: &[u8; PREDICTED_LEN] = frame.head.bytes().first_chunk()?;
        let long = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
        let short = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
        let total = short(16);
        let expected = long(12) >> 8 == 0x0008_0045
            && short(20) & 0x3fff == 0
            && h[23] == crate::ipv4::protocol::TCP
            && short(46) & !u16::from(flags::PSH) == 0x8000 | u16::from(flags::ACK)
            && h[54..58] == TIMESTAMP_PREFIX
            && h[..6] == *mac
            && Some(long(30)) == own
            && total >= IP_AND_TCP_LEN
            && u32::from(total) + 14 <= frame.head.len
            && frame.rest.is_empty()
            && frame.checksum != RxChecksum::Unknown;
        if !expected {
            return None;
        }
        let ip: &[u8; 20] = h[14..34].try_into().ok()?;
        if !Sum::EMPTY.header(ip).is_valid() {
            return None;
        }
        Some(Predicted {
            tuple: Tuple { local: long(30), remote: long(26), local_port: short(36), remote_port: short(34) },
            seq: Seq(long(38)),
            ack: Seq(long(42)),
            window: short(48),
            timestamp: long(58),
            len: u32::from(total - IP_AND_TCP_LEN),
        })
    }
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// Whether nothing is lost, reordered, closing or held back.
    pub fn is_calm(&self) -> bool {
        self.state == State::Established
            && self.error.is_none()
            && self.recovery == Recovery::Open
            && self.snd_nxt == self.snd_max
            && self.dup_acks == 0
            && self.scoreboard.is_empty()
            && self.out_of_order.is_empty()
            && self.fin_at.is_none()
            && self.ts_ok
            && self.clock(Clock::Persist) == NEVER
            && !(self.receive_shut || self.orphan || self.blocked || self.more || self.options.cork)
    }

    /// Whether a segment is the next one: in order, in the window, with data or a new acknowledgement.
    #[inline(always)]
    pub fn expects(&self, segment: &Predicted) -> bool {
        let acked = segment.ack - self.snd_una;
        self.calm
            && segment.seq == self.rcv_nxt
            && acked <= self.snd_max - self.snd_una
            && segment.len + acked > 0
            && segment.len <= self.rcv_adv - self.rcv_nxt
            && segment.timestamp.wrapping_sub(self.ts_recent) as i32 >= 0
    }

    /// Takes a segment that was expected; `data` is its payload.
    #[inline(always)]
    pub fn take_expected(
        &mut self,
        cx: &Context<'_, D, E>,
        segment: &Predicted,
        data: Chunk<D::Buf>,
        segment_size: u16,
    ) {
        self.last_received = cx.now;
        self.probes = 0;
        if segment.seq == self.last_ack_sent {
            self.ts_recent = segment.timestamp;
            self.ts_recent_at = cx.now;
        }
        if segment.ack != self.snd_una {
            self.advance(cx, segment.ack, None);
        }
        self.snd_wnd = u32::from(segment.window) << self.snd_scale;
        self.max_snd_wnd = self.max_snd_wnd.max(self.snd_wnd);
        self.snd_wl1 = segment.seq;
        self.snd_wl2 = segment.ack;
        if segment.len > 0 {
            self.receive.push(data);
            self.rcv_nxt += segment.len;
            self.fresh |= Readiness::READABLE;
            self.schedule_ack(cx, segment.len, segment_size);
        }
        if self.has_output() {
            self.output(cx);
            self.calm = self.is_calm();
        }
    }

    /// Sends the `len` bytes that were just queued, if they are all that waits, fit one segment and every window, and
    /// nothing asks for more thought. Gives whether it did.
    #[inline(always)]
    pub fn send_expected(&mut self, cx: &Context<'_, D, E>, len: u32) -> bool {
        let offset = self.snd_nxt - self.snd_una;
        let window = self.cubic.window();
        let expected = self.calm
            && len <= self.mss
            && len > 0
            && offset + len == self.send.len()
            && offset + len <= self.snd_wnd
            && offset + len <= window
            && cx.now - self.last_sent <= RTO_MIN
            && (self.options.no_delay || !self.small_end.after(self.snd_una));
        if !expected {
            return false;
        }
        match self.send_segment(cx, offset, len) {
            Ok(_) => {
                let room = window - offset - len;
                self.window_limited = room < self.mss || self.half_used();
            }
            Err(crate::Full) => {
                self.calm = false;
                self.wait_for_room(cx);
            }
        }
        true
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a frame from the device.
    #[inline]
    pub fn receive(&self, now: u64, mut frame: RxFrame<D::Buf>) {
        if let Some(segment) = Predicted::read(&frame, &self.mac, self.addresses.own())
            && let Some(socket) = self.demux.connection(&segment.tuple)
        {
            let (cx, mut tcb) = Context::lock(self, &socket, now);
            if tcb.expects(&segment) {
                frame.head.start += PREDICTED_LEN as u32;
                frame.head.len = segment.len;
                tcb.take_expected(&cx, &segment, frame.head, frame.segment_size);
                return socket.finish_calm(&cx, tcb);
            }
        }
        self.receive_any(now, frame);
    }
}
