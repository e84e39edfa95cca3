//! How segments, timers, errors and deferred work reach their connection.

use super::demux::{Found, Tuple};
use super::header::Segment;
use super::settings::State;
use super::tcb::{Context, Recovery};
use crate::counters::Count;
use crate::device::{Device, RxChecksum};
use crate::error::Error;
use crate::events::{Ends, Events};
use crate::packet::IpInfo;
use crate::payload::Payload;
use crate::stack::{Stack, Tcp};

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a TCP segment.
    #[inline(never)]
    pub(crate) fn tcp_input(&self, now: u64, info: &IpInfo, payload: &mut Payload<D::Buf>) {
        self.counters.add(Count::SegmentsIn);
        let Some((header, options)) = Segment::split(payload.head()) else {
            return self.drop_packet(Ends::of(info.source), Count::InErrors);
        };
        let segment = Segment::read(header, options);
        if segment.header_len > payload.len() as usize
            || (info.checksum == RxChecksum::Unknown && !info.checksum_ok(payload))
        {
            return self.drop_packet(Ends::of(info.source), Count::InErrors);
        }
        payload.skip(segment.header_len as u32);
        let tuple = Tuple {
            local: info.destination,
            remote: info.source,
            local_port: segment.destination,
            remote_port: segment.source,
        };
        match self.demux.find(&tuple) {
            Found::Connection(socket) => self.deliver(now, &socket, &segment, payload, info.segment_size),
            Found::Request(request) => self.request_segment(now, tuple, request, segment, payload),
            Found::TimeWait(end) => {
                if let Some(iss) = self.time_wait_segment(now, &tuple, &end, &segment, payload.len()) {
                    self.segment_without_connection(now, info, tuple, segment, payload, Some(iss));
                }
            }
            Found::Nothing => self.segment_without_connection(now, info, tuple, segment, payload, None),
        }
    }

    /// Delivers a segment to its connection.
    #[inline(never)]
    pub(crate) fn deliver(
        &self,
        now: u64,
        socket: &Tcp<D, E>,
        segment: &Segment,
        payload: &mut Payload<D::Buf>,
        segment_size: u16,
    ) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        tcb.segment_arrives(&cx, segment, payload, segment_size);
        socket.finish(&cx, tcb);
    }

    /// Comes back to a connection at the end of a batch: no segment has carried the acknowledgement.
    pub(crate) fn resume(&self, now: u64, socket: &Tcp<D, E>) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        tcb.deferred = false;
        if tcb.ack_due && tcb.state != State::Closed {
            tcb.ack_now = true;
            tcb.output(&cx);
            socket.finish(&cx, tcb);
        }
    }

    /// Comes back to a connection that found the device full.
    pub(crate) fn unblock(&self, now: u64, socket: &Tcp<D, E>) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        tcb.blocked = false;
        if tcb.state != State::Closed {
            tcb.output(&cx);
            socket.finish(&cx, tcb);
        }
    }

    /// A connection's timer.
    pub(crate) fn connection_due(&self, now: u64, socket: &Tcp<D, E>) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        tcb.timers_due(&cx);
        socket.finish(&cx, tcb);
    }

    /// ICMP, or ARP, reports that a segment of ours could not be delivered (RFC 5461; RFC 5927 for the check of `seq`).
    pub(crate) fn tcp_error(
        &self,
        now: u64,
        tuple: &Tuple,
        seq: super::seq::Seq,
        error: Error,
        mtu: Option<u16>,
    ) {
        let Found::Connection(socket) = self.demux.find(tuple) else { return };
        let (cx, mut tcb) = Context::lock(self, &socket, now);
        if seq.before(tcb.snd_una) || seq.after(tcb.snd_max) {
            return;
        }
        if let Some(mtu) = mtu {
            self.path_mtu_found(now, tuple.remote, mtu);
            tcb.path.reduce_mtu(mtu);
            tcb.update_mss(&cx);
            tcb.snd_nxt = tcb.snd_una;
            tcb.timing = None;
            tcb.recovery = Recovery::Open;
            tcb.output(&cx);
        } else if matches!(tcb.state, State::SynSent | State::SynReceived) {
            tcb.fail(&cx, error);
        } else {
            tcb.soft_error = Some(error);
        }
        socket.finish(&cx, tcb);
    }
}
