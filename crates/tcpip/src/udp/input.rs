//! Datagrams that arrive, and what comes back for those that were sent.

use super::CHECKSUM_FIELD;
use super::socket::Trouble;
use crate::address::Link;
use crate::checksum::Sum;
use crate::counters::Count;
use crate::coverage;
use crate::datagram::TRANSPORT_LEN;
use crate::device::{Chunk, Device, RxChecksum};
use crate::error::Error;
use crate::events::{Ends, Events, Readiness};
use crate::ip::Endpoint;
use crate::packet::{IpInfo, protocol};
use crate::payload::Payload;
use crate::reports::{REPORTS_MAX, Report, Unsent};
use crate::stack::{Stack, Udp};
use crate::tcp::Tuple;
use coracle_fallible::prelude::*;

impl<D: Device, E: Events> Stack<D, E> {
    /// Whether a datagram of UDP-Lite is whole, as far as its checksum covers it, and how much that is; `None`: all. A checksum is
    /// required (RFC 3828, section 3.1).
    #[cold]
    #[inline(never)]
    fn check_lite(
        &self,
        info: &IpInfo,
        head: &[u8; TRANSPORT_LEN],
        payload: &Payload<D::Buf>,
    ) -> Option<Option<u16>> {
        let total = payload.len() as usize;
        let field = u16::from_be_bytes([head[4], head[5]]);
        let covered = coverage::of_received(field, total)?;
        let start = Sum::default().pseudo_header(info.source, info.destination, info.protocol, total);
        let is_right = info.checksum != RxChecksum::Unknown
            || (head[CHECKSUM_FIELD..] != [0, 0]
                && start.first_of(payload.chunks().map(Chunk::bytes), covered).is_valid());
        is_right.then_some((covered < total).then_some(field))
    }

    /// Takes a datagram of UDP or UDP-Lite.
    pub(crate) fn udp_input(&self, now: u64, info: &IpInfo, mut payload: Payload<D::Buf>) {
        let Some(head) = payload.head().first_chunk::<TRANSPORT_LEN>().copied() else { return };
        let is_lite = info.protocol == protocol::UDP_LITE;
        let mut covered = None;
        if is_lite {
            let Some(checked) = self.check_lite(info, &head, &payload) else {
                self.drop_packet(Ends::of(info.source), Count::DatagramErrors);
                return;
            };
            covered = checked;
        } else {
            let len = usize::from(u16::from_be_bytes([head[4], head[5]]));
            if len < TRANSPORT_LEN || len > payload.len() as usize {
                self.drop_packet(Ends::of(info.source), Count::DatagramErrors);
                return;
            }
            payload.truncate(len as u32);
            let has_checksum = head[CHECKSUM_FIELD..] != [0, 0];
            // Over IPv6 a checksum is required (RFC 8200, section 8.1).
            let must_check = has_checksum || !info.source.is_v4();
            if must_check
                && info.checksum == RxChecksum::Unknown
                && (!has_checksum || !info.checksum_ok(&payload))
            {
                self.drop_packet(Ends::of(info.source), Count::DatagramErrors);
                return;
            }
        }
        payload.skip(TRANSPORT_LEN as u32);
        let tuple = Tuple {
            local: info.destination,
            remote: info.source,
            local_port: u16::from_be_bytes([head[2], head[3]]),
            remote_port: u16::from_be_bytes([head[0], head[1]]),
        };
        // A datagram with our own address comes from a local program, not from a server.
        if info.link == Link::Wire
            && !is_lite
            && tuple.local_port == crate::dhcp::CLIENT_PORT
            && tuple.local.is_v4()
            && !self.is_local(info.source)
            && self.dhcp_input(now, &tuple, &payload)
        {
            return;
        }
        let (table, _) = self.udp_space(is_lite);
        if info.broadcast {
            // To several: the last gets the buffers, the others a copy each.
            let Ok(mut sockets) = table.all(&tuple, info.link) else { return };
            sockets.retain(|socket| socket.state.lock().wants(info));
            let last = sockets.pop();
            for socket in sockets {
                // A copy that there is no memory for is lost.
                if let Ok(copy) = payload.try_clone() {
                    self.udp_deliver(&socket, now, info, &tuple, covered, copy);
                }
            }
            if let Some(socket) = last {
                self.udp_deliver(&socket, now, info, &tuple, covered, payload);
            }
            return;
        }
        match table.find(&tuple, Some(info.link), || tuple.spread(self.keys.demux)) {
            Some(socket) => self.udp_deliver(&socket, now, info, &tuple, covered, payload),
            None => {
                self.drop_packet(tuple.ends(), Count::NoPorts);
                if info.source.is_v4() {
                    self.port_unreachable(now, info, &payload);
                } else {
                    self.port_unreachable_v6(now, info, &payload);
                }
            }
        }
    }

    fn udp_deliver(
        &self,
        socket: &Udp<D, E>,
        now: u64,
        info: &IpInfo,
        tuple: &Tuple,
        covered: Option<u16>,
        payload: Payload<D::Buf>,
    ) {
        let is_taken = socket.take(now, info, tuple, covered, payload);
        if is_taken {
            self.counters.add(Count::DatagramsIn);
        } else {
            self.drop_packet(tuple.ends(), Count::BufferErrors);
        }
    }

    /// A datagram of ours could not be delivered.
    pub(crate) fn udp_error(&self, now: u64, tuple: &Tuple, unsent: &Unsent<'_>, mtu: Option<u16>) {
        let (table, _) = self.udp_space(unsent.protocol == protocol::UDP_LITE);
        let Some(socket) = table.find(tuple, None, || tuple.spread(self.keys.demux)) else { return };
        if let Some(mtu) = mtu {
            self.path_mtu_found(now, tuple.remote, mtu);
        }
        let mut state = socket.state.lock();
        let error = unsent.blame.error;
        if state.options.reports {
            let payload = unsent.rest.get(TRANSPORT_LEN..).unwrap_or(&[]);
            // What there is no memory for is lost.
            if state.reports.len() < REPORTS_MAX
                && let Ok(report) = Report::new(now, unsent, tuple.remote_port, payload)
            {
                let _ = state.reports.try_push_back(report);
            }
        } else if !unsent.blame.is_hard
            || error == Error::MessageTooLong
            || state.peer != Some(Endpoint::new(tuple.remote, tuple.remote_port))
        {
            // Of a hard error only a connected socket hears that has not asked for all (udp(7)).
            return;
        }
        state.error = Some(Trouble::Error(error));
        socket.settle(state, Readiness::ERROR | Readiness::READABLE);
    }

    /// Takes the report that waits first (`MSG_ERRQUEUE`). A pending error is that of the next, if there is one.
    pub fn udp_report(&self, socket: &Udp<D, E>) -> Option<Report> {
        let mut state = socket.state.lock();
        let report = state.reports.pop_front()?;
        state.error = state.reports.front().map(|next| Trouble::Error(next.blame.error));
        socket.settle(state, Readiness::EMPTY);
        Some(report)
    }
}
