//! Packets, and reports of packets, that sockets take.
use super::socket::{
    COUNT, ECHO_REQUEST, ECHO_REQUEST_V6, IDENT_AT, OVERHEAD, RawFile, SOCKETS, SOL_ICMPV6, State, Waiting,
};
use crate::ancillary::Arrived;
use crate::common::errno;
use alloc::vec::Vec;
use coracle_core::ipc::poll::Events;
use coracle_devices::buffer::NetBuffer;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering;
use coracle_tcpip::{RawPacket, Report, Unsent, protocol};

/// Types of echo requests and replies.
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;
/// Reports that wait, at most.
const REPORTS_MAX: usize = 64;
/// Where an IPv4 header has its length, flags and checksum, and its length without options.
const LENGTH_AT: usize = 2;
const FRAGMENT_AT: usize = 6;
const HEADER_CHECKSUM_AT: usize = 10;
const IPV4_BYTES: usize = 20;

impl RawFile {
    /// Takes a copy of a packet, if it is one for this socket. Whether it is.
    fn offer(&self, now: u64, packet: &RawPacket<'_, NetBuffer>) -> bool {
        let info = packet.info;
        if i32::from(info.protocol) != self.protocol || info.source.is_v4() != self.is_v4() {
            return false;
        }
        if self.common.device().is_some_and(|device| device != info.link) {
            return false;
        }
        let head = packet.payload.head();
        let mut state = self.state.lock();
        if !(state.local.is_unspecified() || state.local == info.destination || info.broadcast) {
            return false;
        }
        let kind = head.first().copied().unwrap_or(0);
        if self.is_ping() {
            let reply = if self.is_v4() { ECHO_REPLY } else { ECHO_REPLY_V6 };
            let ident = head.get(IDENT_AT..).and_then(|rest| rest.first_chunk::<2>());
            if kind != reply || ident.is_none_or(|ident| u16::from_be_bytes(*ident) != state.ident) {
                return false;
            }
        } else if state.peer.is_some_and(|peer| peer != info.source) || self.refuses(&state, kind) {
            return false;
        }
        // A checksum that this socket writes it also wants to be right; that of ICMPv6 has been looked at.
        let checks = state.checksum_at.is_some() && info.protocol != protocol::ICMPV6 && !self.is_v4();
        if (checks && !info.checksum_ok(packet.payload)) || state.receive_shut {
            return true;
        }
        match self.copy_of(&state, packet) {
            Some(bytes) if state.held + bytes.len() + OVERHEAD <= state.receive_buffer => {
                let header = packet.header();
                let tos = match header {
                    [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
                    [_, tos, ..] => *tos,
                    _ => 0,
                };
                let about = Arrived {
                    to: info.destination,
                    port: 0,
                    link: info.link,
                    at: now,
                    ttl: info.ttl,
                    tos,
                    lost: state.lost,
                };
                let cost = bytes.len() + OVERHEAD;
                if state.queue.try_push_back(Waiting { bytes, from: info.source, about }).is_ok() {
                    state.held += cost;
                } else {
                    state.lost = state.lost.saturating_add(1);
                }
            }
            Some(_) => state.lost = state.lost.saturating_add(1),
            None => {}
        }
        drop(state);
        self.watch.source.notify(Events::IN | Events::RDNORM);
        true
    }

    fn refuses(&self, state: &State, kind: u8) -> bool {
        let word = state.refused[usize::from(kind) / 32];
        let is_filtered = match self.protocol {
            SOL_ICMPV6 => !self.is_v4(),
            protocol => protocol == i32::from(protocol::ICMP) && kind < 32 && self.is_v4(),
        };
        is_filtered && word >> (kind % 32) & 1 != 0
    }

    /// What the program is to have of a packet; `None` if its filter takes nothing of it, or if there is no memory.
    fn copy_of(&self, state: &State, packet: &RawPacket<'_, NetBuffer>) -> Option<Vec<u8>> {
        let has_header = self.is_v4() && !self.is_ping();
        let header = if has_header { packet.header() } else { &[] };
        let len = packet.payload.len() as usize;
        let mut bytes = filled(0, header.len() + len).ok()?;
        bytes[..header.len()].copy_from_slice(header);
        packet.payload.copy_out(0, &mut bytes[header.len()..]);
        if header.len() >= IPV4_BYTES {
            complete(&mut bytes, header.len());
        }
        if let Some(program) = &state.program {
            match program.run(&bytes[..]) {
                0 => return None,
                take => bytes.truncate(take as usize),
            }
        }
        Some(bytes)
    }

    /// Takes the report of a packet of this socket that could not be delivered.
    fn report(&self, now: u64, unsent: &Unsent<'_>) {
        if i32::from(unsent.protocol) != self.protocol || unsent.source.is_v4() != self.is_v4() {
            return;
        }
        let mut state = self.state.lock();
        if self.is_ping() {
            let request = if self.is_v4() { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
            let ident = unsent.rest.get(IDENT_AT..).and_then(|rest| rest.first_chunk::<2>());
            let is_ours = unsent.rest.first() == Some(&request)
                && ident.is_some_and(|ident| u16::from_be_bytes(*ident) == state.ident);
            if !is_ours {
                return;
            }
        } else if !(state.local.is_unspecified() || state.local == unsent.source)
            || state.peer.is_some_and(|peer| peer != unsent.destination)
        {
            return;
        }
        if state.wants_reports {
            if state.reports.len() < REPORTS_MAX
                && let Ok(report) = Report::new(now, unsent, 0, unsent.rest)
            {
                let _ = state.reports.try_push_back(report);
            }
        } else if state.peer.is_none() || !unsent.blame.is_hard {
            return;
        }
        state.error = Some(errno(unsent.blame.error));
        drop(state);
        self.watch.source.notify(Events::ERR | Events::IN);
    }
}

/// Makes the header of a packet whose fragments were joined that of the whole.
fn complete(bytes: &mut [u8], header_len: usize) {
    const DONT_FRAGMENT: u8 = 0x40;
    let len = bytes.len() as u16;
    let header = &mut bytes[..header_len];
    let is_fragment = header[FRAGMENT_AT] & !DONT_FRAGMENT != 0 || header[FRAGMENT_AT + 1] != 0;
    if !is_fragment {
        return;
    }
    header[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&len.to_be_bytes());
    header[FRAGMENT_AT..FRAGMENT_AT + 2].fill(0);
    header[HEADER_CHECKSUM_AT..HEADER_CHECKSUM_AT + 2].fill(0);
    let sum = coracle_tcpip::internet_checksum(header);
    header[HEADER_CHECKSUM_AT..HEADER_CHECKSUM_AT + 2].copy_from_slice(&sum);
}

/// Shows a packet to all sockets of this kind in a network namespace. Whether one of them is for its protocol.
pub fn input(space: u32, now: u64, packet: &RawPacket<'_, NetBuffer>) -> bool {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return false;
    }
    // A reply is for one socket of ping: of several with its identifier, the last.
    let (mut is_raw, mut is_answered) = (false, false);
    for socket in SOCKETS.lock().iter().rev().filter(|socket| socket.is_in(space)) {
        match socket.is_ping() {
            true if !is_answered => is_answered = socket.offer(now, packet),
            true => {}
            false => is_raw |= socket.offer(now, packet),
        }
    }
    is_raw
}

/// Tells the sockets of this kind in a network namespace of a packet that could not be delivered.
pub fn unsent(space: u32, now: u64, unsent: &Unsent<'_>) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        let sockets = SOCKETS.lock();
        sockets.iter().filter(|socket| socket.is_in(space)).for_each(|socket| socket.report(now, unsent));
    }
}
