//! Header prediction (Van Jacobson, 1990): the usual segment of a busy connection is recognised by a few
//! comparisons, and passed to the same steps that the general path takes.
//!
//! A connection is *calm* while nothing is lost, reordered, closing or waiting for room. The general path determines this
//! when it is done with a connection. Any segment that is not exactly as expected takes the general path from the start.
//!
//! What an expected segment costs: the comparison of its headers, one look-up ([`super::demux`]), one lock, and the steps for its
//! data and its acknowledgement.

use super::demux::Tuple;
use super::header::{HEADER_LEN, TIMESTAMP_LEN, TIMESTAMP_PREFIX, flags};
use super::rtt::RTO_MIN;
use super::seq::Seq;
use super::settings::State;
use super::tcb::{Clock, Context, Recovery, Tcb};
use crate::checksum::Sum;
use crate::device::{Chunk, Device, RxChecksum, RxFrame};
use crate::events::{Events, Readiness};
use crate::ip::Address;
use crate::ipv4::IPV4_LEN;
use crate::neighbor::ETHERNET_LEN;
use crate::stack::Stack;
use crate::timers::NEVER;

/// Where the TCP header is in a frame of IPv4.
const TCP_AT: usize = ETHERNET_LEN + IPV4_LEN;
/// Ethernet, IPv4 and TCP header, the latter with timestamps alone.
pub const PREDICTED_LEN: usize = TCP_AT + PREDICTED_TCP_LEN;
/// The TCP header therein.
pub const PREDICTED_TCP_LEN: usize = HEADER_LEN + TIMESTAMP_LEN;
/// The IPv4 and the TCP header therein.
const IP_AND_TCP_LEN: u16 = (IPV4_LEN + PREDICTED_TCP_LEN) as u16;
/// Type of IPv4, then version and header length without options; the type of service may be anything.
const IPV4_WITHOUT_OPTIONS: u32 = 0x0800_4500;
const TYPE_OF_SERVICE: u32 = 0xff;

/// Byte offsets of the fields that are compared, in a frame with these three headers (Ethernet II; RFC 791, 3.1; RFC 9293, 3.1).
mod at {
    use super::TCP_AT;
    use crate::ipv4::IPV4_LEN;
    use crate::neighbor::ETHERNET_LEN;
    use crate::tcp::header::{HEADER_LEN, TIMESTAMP_PREFIX};

    /// The type of the payload: the last two bytes of the Ethernet header.
    pub const ETHERTYPE: usize = ETHERNET_LEN - 2;
    pub const TOTAL_LENGTH: usize = ETHERNET_LEN + 2;
    /// Flags and fragment offset.
    pub const FRAGMENT: usize = ETHERNET_LEN + 6;
    pub const PROTOCOL: usize = ETHERNET_LEN + 9;
    #[cfg(test)]
    pub const IP_CHECKSUM: usize = ETHERNET_LEN + 10;
    pub const SOURCE: usize = ETHERNET_LEN + 12;
    pub const DESTINATION: usize = ETHERNET_LEN + 16;
    const _: () = assert!(DESTINATION + 4 == ETHERNET_LEN + IPV4_LEN);
    pub const SOURCE_PORT: usize = TCP_AT;
    pub const DESTINATION_PORT: usize = TCP_AT + 2;
    pub const SEQUENCE: usize = TCP_AT + 4;
    pub const ACKNOWLEDGMENT: usize = TCP_AT + 8;
    /// Header length, reserved bits and flags.
    pub const FLAGS: usize = TCP_AT + 12;
    pub const WINDOW: usize = TCP_AT + 14;
    pub const OPTIONS: usize = TCP_AT + HEADER_LEN;
    /// TSval.
    pub const TIMESTAMP: usize = OPTIONS + TIMESTAMP_PREFIX.len();
}
/// Bits of [`at::FRAGMENT`] that say that a packet is a fragment: "more fragments" and the offset.
const FRAGMENTED: u16 = 0x3fff;
/// [`at::FLAGS`] of a header of [`PREDICTED_TCP_LEN`] bytes, in words of 4, without flags.
const PREDICTED_DATA_OFFSET: u16 = (PREDICTED_TCP_LEN as u16 / 4) << 12;

/// First byte of the addresses that are no source on a link: with our own address, they belong to connections with ourselves.
const LOOPBACK_NET: u8 = 127;

/// The fields of a header that looks as expected.
pub struct Predicted {
    pub tuple: Tuple,
    seq: Seq,
    ack: Seq,
    window: u16,
    timestamp: u32,
    pub len: u32,
}

impl Predicted {
    /// Reads the headers of a frame in one buffer with a checksum that the device vouches for, if they are those of an
    /// ordinary segment to `own`: Ethernet for `mac`, IPv4 without options or fragmentation, TCP with no flags but ACK
    /// and PSH and no options but timestamps.
    #[inline(always)]
    pub fn read<B: crate::Buffer>(frame: &Chunk<B>, mac: &[u8; 6], own: Option<u32>) -> Option<Predicted> {
        let h: &[u8; PREDICTED_LEN] = frame.bytes().first_chunk()?;
        let long = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
        let short = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
        let total = short(at::TOTAL_LENGTH);
        let expected = (long(at::ETHERTYPE) | TYPE_OF_SERVICE) == (IPV4_WITHOUT_OPTIONS | TYPE_OF_SERVICE)
            && short(at::FRAGMENT) & FRAGMENTED == 0
            && h[at::PROTOCOL] == crate::packet::protocol::TCP
            && short(at::FLAGS) & !u16::from(flags::PSH) == PREDICTED_DATA_OFFSET | u16::from(flags::ACK)
            && h[at::OPTIONS..at::TIMESTAMP] == TIMESTAMP_PREFIX
            && h[..4] == mac[..4]
            && h[4..6] == mac[4..]
            && Some(long(at::DESTINATION)) == own
            && long(at::SOURCE) != long(at::DESTINATION)
            && h[at::SOURCE] != LOOPBACK_NET
            && total >= IP_AND_TCP_LEN
            && u32::from(total) + ETHERNET_LEN as u32 <= frame.len;
        if !expected {
            return None;
        }
        let ip: &[u8; IPV4_LEN] = h[ETHERNET_LEN..TCP_AT].try_into().ok()?;
        if !Sum::EMPTY.header(ip).is_valid() {
            return None;
        }
        Some(Predicted {
            tuple: Tuple {
                local: Address::v4(long(at::DESTINATION)),
                remote: Address::v4(long(at::SOURCE)),
                local_port: short(at::DESTINATION_PORT),
                remote_port: short(at::SOURCE_PORT),
            },
            seq: Seq(long(at::SEQUENCE)),
            ack: Seq(long(at::ACKNOWLEDGMENT)),
            window: short(at::WINDOW),
            timestamp: long(at::TIMESTAMP),
            len: u32::from(total - IP_AND_TCP_LEN),
        })
    }
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// Whether nothing is lost, reordered, closing or waiting for room.
    pub fn is_calm(&self) -> bool {
        self.state == State::Established
            && self.early.is_none()
            && self.error.is_none()
            && self.recovery == Recovery::Open
            && self.snd_nxt == self.snd_max
            && self.dup_acks == 0
            && self.scoreboard.is_empty()
            && self.out_of_order.is_empty()
            && self.fin_at.is_none()
            && self.urgent.is_none()
            && self.ts_ok
            && self.clock(Clock::Persist) == NEVER
            && !(self.receive_shut || self.orphan || self.blocked)
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
            self.advance::<true>(cx, segment.ack, None);
        }
        self.snd_wnd = u32::from(segment.window) << self.snd_scale;
        self.max_snd_wnd = self.max_snd_wnd.max(self.snd_wnd);
        self.snd_wl1 = segment.seq;
        self.snd_wl2 = segment.ack;
        // Without memory the data is treated as lost.
        if segment.len > 0 && self.receive.push(data).is_ok() {
            self.rcv_nxt += segment.len;
            self.fresh |= Readiness::READABLE;
            self.schedule_ack(cx, segment.len, segment_size);
        }
        if self.snd_nxt - self.snd_una < self.send.len() {
            self.output(cx);
            self.calm = self.is_calm();
        }
    }

    /// Sends what waits, if it fits one segment and every window, and no other condition needs the general path. Returns
    /// whether it did. `stack` is that of `cx`: where it is a static one, the compiler knows its address only by this argument.
    #[inline(always)]
    pub fn send_expected(&mut self, cx: &Context<'_, D, E>, stack: &Stack<D, E>) -> bool {
        let (seq, queued) = (self.snd_nxt, self.send.len());
        let len = queued.wrapping_sub(seq - self.snd_una);
        let window = self.cubic.window();
        let expected = self.calm
            && len <= self.mss
            && len > 0
            && queued <= self.snd_wnd
            && queued <= window
            && cx.now - self.last_sent <= RTO_MIN
            && (self.options.no_delay || !self.small_end.after(self.snd_una))
            && self.path.is_ready(stack, cx.now);
        if !expected {
            return false;
        }
        let (field, edge) = self.window_field();
        // A calm connection has timestamps, no FIN to send, and nothing to acknowledge selectively.
        let tcp_len = self.complete_headers(cx.now, seq, flags::ACK | flags::PSH, field, false);
        debug_assert!(tcp_len == PREDICTED_TCP_LEN && !self.fin_queued);
        let Some(buffer) = self.send.tail_buffer(len) else { return false };
        match self.path.transmit_ready(stack, buffer, len) {
            Some(Ok(())) => {
                self.announced(edge);
                self.has_sent(cx, seq, len, seq + len);
                self.window_limited = window - queued < self.mss || self.half_used();
            }
            Some(Err(crate::Full)) => {
                self.calm = false;
                self.wait_for_room(cx);
            }
            None => return false,
        }
        true
    }

    /// Holds back queued data, if it fills no segment, fits every window, and the program announced more
    /// (`TCP_CORK`, `MSG_MORE`). Returns whether it did.
    #[inline(always)]
    pub fn hold_expected(&mut self, cx: &Context<'_, D, E>) -> bool {
        let queued = self.send.len();
        let len = queued.wrapping_sub(self.snd_nxt - self.snd_una);
        let expected = self.calm
            && (self.options.cork || self.more)
            && len < self.mss
            && queued <= self.snd_wnd
            && queued <= self.cubic.window();
        if expected && len > 0 {
            self.hold_back(cx, len, false);
        }
        expected
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a frame from the device. A driver that knows whether a frame is in one buffer or in several calls
    /// [`receive_single`](Self::receive_single) or [`receive_merged`](Self::receive_merged).
    pub fn receive(&self, now: u64, frame: RxFrame<D::Buf>) {
        if frame.rest.is_empty() {
            self.receive_single(now, frame.head, frame.checksum, frame.segment_size);
        } else {
            self.receive_merged(now, frame);
        }
    }

    /// Takes a frame in several buffers.
    #[inline(never)]
    pub fn receive_merged(&self, now: u64, frame: RxFrame<D::Buf>) {
        self.receive_any(now, frame);
    }

    /// Takes a frame in one buffer; the other arguments are as in [`RxFrame`]. Meant for one place, a driver's loop: the
    /// whole path of an expected segment is inlined there.
    #[inline(always)]
    pub fn receive_single(&self, now: u64, mut head: Chunk<D::Buf>, checksum: RxChecksum, segment_size: u16) {
        if checksum != RxChecksum::Unknown
            && !(self.device.is_short() || self.device.is_pressed())
            && let Some(segment) = Predicted::read(&head, &self.mac, self.addresses.own())
            && let Some(socket) = self.demux.connection(&segment.tuple)
        {
            let (cx, mut tcb) = Context::lock(self, &socket, now);
            if tcb.expects(&segment) {
                head.start += PREDICTED_LEN as u32;
                head.len = segment.len;
                tcb.take_expected(&cx, &segment, head, segment_size);
                return socket.finish_expected(&cx, tcb);
            }
        }
        self.receive_unexpected(now, head, checksum, segment_size);
    }

    #[inline(never)]
    fn receive_unexpected(&self, now: u64, head: Chunk<D::Buf>, checksum: RxChecksum, segment_size: u16) {
        self.receive_any(now, RxFrame { segment_size, ..RxFrame::single(head, checksum) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Bytes([u8; PREDICTED_LEN]);

    impl crate::Buffer for Bytes {
        fn as_slice(&self) -> &[u8] {
            &self.0
        }
        fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
            Some(&mut self.0)
        }
    }

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OWN: [u8; 4] = [10, 0, 2, 15];

    /// Whether an acknowledgement from `source` is read as one that may be expected.
    fn is_read(source: [u8; 4]) -> bool {
        let mut frame = [0; PREDICTED_LEN];
        frame[..6].copy_from_slice(&MAC);
        frame[at::ETHERTYPE..at::TOTAL_LENGTH].copy_from_slice(&IPV4_WITHOUT_OPTIONS.to_be_bytes());
        frame[at::TOTAL_LENGTH..][..2].copy_from_slice(&IP_AND_TCP_LEN.to_be_bytes());
        frame[at::PROTOCOL] = crate::packet::protocol::TCP;
        frame[at::SOURCE..at::DESTINATION].copy_from_slice(&source);
        frame[at::DESTINATION..TCP_AT].copy_from_slice(&OWN);
        frame[at::FLAGS..at::WINDOW].copy_from_slice(&[0x80, flags::ACK]);
        frame[at::OPTIONS..at::TIMESTAMP].copy_from_slice(&TIMESTAMP_PREFIX);
        let sum = Sum::EMPTY.bytes(&frame[ETHERNET_LEN..TCP_AT]).finish();
        frame[at::IP_CHECKSUM..at::SOURCE].copy_from_slice(&sum);
        let chunk = Chunk::new(Bytes(frame), 0, PREDICTED_LEN).unwrap();
        Predicted::read(&chunk, &MAC, Some(u32::from_be_bytes(OWN))).is_some()
    }

    #[test]
    fn connections_with_ourselves_are_out_of_reach_of_the_link() {
        assert!(is_read([10, 0, 2, 2]));
        assert!(is_read([10, 0, 2, 255]));
        assert!(!is_read(OWN));
        assert!(!is_read([127, 0, 0, 1]));
    }
}
