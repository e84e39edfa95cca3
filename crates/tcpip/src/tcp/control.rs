//! Segments without data that belong to no full connection: SYN-ACKs, resets, acknowledgements from TIME_WAIT.

use super::demux::Tuple;
use super::header::{HEADER_LEN, Segment, TIMESTAMP_LEN, TIMESTAMP_PREFIX, Timestamps, flags};
use super::seq::Seq;
use crate::checksum::Sum;
use crate::counters::Count;
use crate::device::{Device, Fragment};
use crate::events::Events;
use crate::neighbor::FrameRest;
use crate::packet::{IpHeader, TRANSPORT_AT, protocol};
use crate::stack::Stack;

/// Where the TCP header is in the headers of a segment to send.
pub const TCP_AT: usize = TRANSPORT_AT;
/// Where the checksum is in a TCP header.
pub const CHECKSUM_FIELD: usize = 16;
/// All headers with the longest options.
pub const MAX_HEADERS: usize = TCP_AT + 60;
const DEFAULT_TTL: u8 = 64;

/// A segment without data.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgement number, if the ACK bit is set.
    pub ack: Seq,
    /// Control bits.
    pub flags: u8,
    /// Window field.
    pub window: u16,
    /// Options, a multiple of four bytes.
    pub options: &'a [u8],
}

/// The timestamps option with its padding.
pub fn timestamp_option(ts: Timestamps) -> [u8; TIMESTAMP_LEN] {
    let mut option = [0; TIMESTAMP_LEN];
    option[..4].copy_from_slice(&TIMESTAMP_PREFIX);
    option[4..8].copy_from_slice(&ts.value.to_be_bytes());
    option[8..].copy_from_slice(&ts.echo.to_be_bytes());
    option
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Sends a segment without data.
    pub(crate) fn send_control(&self, now: u64, tuple: &Tuple, control: Control<'_>) {
        self.send_control_with(now, tuple, control, &[]);
    }

    /// The same with data behind it.
    pub(super) fn send_control_with(
        &self,
        now: u64,
        tuple: &Tuple,
        control: Control<'_>,
        payload: &[Fragment<'_, D::Buf>],
    ) {
        let Some(route) = self.route(tuple.remote) else { return };
        let len = HEADER_LEN + control.options.len();
        let mut headers = [0; MAX_HEADERS];
        let Some((link, tcp)) = headers.split_first_chunk_mut::<TRANSPORT_AT>() else { return };
        let Some(tcp) = tcp.get_mut(..len) else { return };
        let ip = IpHeader {
            source: tuple.local,
            destination: tuple.remote,
            protocol: protocol::TCP,
            ttl: DEFAULT_TTL,
            tos: 0,
            ident: None,
            greatest: None,
        };
        let whole = len + payload.iter().map(|fragment| fragment.len as usize).sum::<usize>();
        let start = ip.write(self.mac, link, whole);
        tcp[0..2].copy_from_slice(&tuple.local_port.to_be_bytes());
        tcp[2..4].copy_from_slice(&tuple.remote_port.to_be_bytes());
        tcp[4..8].copy_from_slice(&control.seq.0.to_be_bytes());
        tcp[8..12].copy_from_slice(&control.ack.0.to_be_bytes());
        tcp[12] = (len as u8 / 4) << 4;
        tcp[13] = control.flags;
        tcp[14..16].copy_from_slice(&control.window.to_be_bytes());
        tcp[HEADER_LEN..].copy_from_slice(control.options);
        let pseudo = Sum::default().pseudo_header(tuple.local, tuple.remote, protocol::TCP, whole);
        let headers = &mut headers[start..TCP_AT + len];
        let checksum =
            self.fill_checksum(route.hop, pseudo, headers, TCP_AT - start, CHECKSUM_FIELD, payload);
        // A control segment that is lost here is repeated by the side that waits for it.
        let _ = self.ip_transmit(now, route, headers, FrameRest { payload, checksum, segment_size: None });
    }

    /// Answers a segment that belongs to no connection with a reset (RFC 9293, 3.10.7.1).
    pub(crate) fn send_reset_for(&self, now: u64, tuple: &Tuple, segment: &Segment, len: u32) {
        if segment.has(flags::RST) {
            return;
        }
        self.drop_packet(tuple.ends(), Count::OutResets);
        let control = if segment.has(flags::ACK) {
            Control { seq: segment.ack, ack: Seq(0), flags: flags::RST, window: 0, options: &[] }
        } else {
            let len = len + u32::from(segment.has(flags::SYN)) + u32::from(segment.has(flags::FIN));
            Control {
                seq: Seq(0),
                ack: segment.seq + len,
                flags: flags::RST | flags::ACK,
                window: 0,
                options: &[],
            }
        };
        self.send_control(now, tuple, control);
    }

    /// The initial sequence number of a connection (RFC 6528): a keyed hash plus a clock of 4 µs.
    pub(crate) fn initial_sequence(&self, now: u64, tuple: &Tuple) -> Seq {
        Seq((tuple.hash(self.keys.sequence) as u32).wrapping_add((now >> 12) as u32))
    }

    /// What is added to the clock for timestamps of a connection, so that they do not reveal our uptime.
    pub(crate) fn timestamp_offset(&self, tuple: &Tuple) -> u32 {
        (tuple.hash(self.keys.sequence) >> 32) as u32
    }
}

/// The clock of timestamps: a tick is 2^20 ns, within the 1 ms to 1 s that RFC 7323, 5.4 requires.
#[inline]
pub fn timestamp_clock(now: u64) -> u32 {
    (now >> 20) as u32
}
