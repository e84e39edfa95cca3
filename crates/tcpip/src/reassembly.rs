//! Reassembly of fragments (RFC 791, 3.2; RFC 8200, 4.5; RFC 5722's rule on overlaps), bounded in memory and time.
//!
//! A packet with overlapping fragments is dropped. Of all incomplete packets only a few are kept, for 30 seconds.

use crate::device::{Buffer, Chunk, Device};
use crate::events::Events;
use crate::ip::Address;
use crate::packet::IpInfo;
use crate::payload::Payload;
use crate::stack::Stack;
use crate::timers::NEVER;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;

/// How long fragments wait for the rest, ns (Linux: `ipfrag_time`).
const TIMEOUT: u64 = 30_000_000_000;
/// Incomplete packets at a time.
const MAX_PACKETS: usize = 16;
/// Fragments of a packet: 64 KiB in pieces of 576 bytes and some.
const MAX_FRAGMENTS: usize = 128;
/// Greatest packet.
const MAX_LEN: u32 = 65535;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    source: Address,
    destination: Address,
    ident: u32,
    protocol: u8,
}

struct Partial<B> {
    key: Key,
    deadline: u64,
    /// Fragments in order of their offsets.
    pieces: Vec<(u32, Payload<B>)>,
    held: u32,
    /// Length of the whole, once the last fragment is here.
    len: Option<u32>,
}

/// Packets of which a part has arrived.
pub struct Reassembly<B> {
    packets: Vec<Partial<B>>,
}

impl<B> Default for Reassembly<B> {
    fn default() -> Self {
        Reassembly { packets: Vec::new() }
    }
}

impl<B: Buffer> Reassembly<B> {
    /// Takes a fragment; returns the whole packet if it is the last one missing.
    fn add(
        &mut self,
        now: u64,
        key: Key,
        offset: u32,
        more: bool,
        payload: Payload<B>,
    ) -> Option<Payload<B>> {
        let end = offset + payload.len();
        // A fragment that others follow is a multiple of eight bytes long.
        if payload.is_empty() || end > MAX_LEN || (more && !payload.len().is_multiple_of(8)) {
            return None;
        }
        let at = match self.packets.iter().position(|p| p.key == key) {
            Some(at) => at,
            None => {
                if self.packets.len() >= MAX_PACKETS {
                    self.packets.remove(0); // the oldest
                }
                let deadline = now + TIMEOUT;
                let packet = Partial { key, deadline, pieces: Vec::new(), held: 0, len: None };
                self.packets.try_push(packet).ok()?;
                self.packets.len() - 1
            }
        };
        let packet = &mut self.packets[at];
        let place = packet.pieces.partition_point(|p| p.0 < offset);
        if let Some(same) = packet.pieces.get(place)
            && same.0 == offset
            && same.1.len() == payload.len()
        {
            return None; // repeated
        }
        let after_previous = place == 0 || {
            let previous = &packet.pieces[place - 1];
            previous.0 + previous.1.len() <= offset
        };
        let before_next = packet.pieces.get(place).is_none_or(|next| end <= next.0);
        let len_agrees = match packet.len {
            Some(len) => end <= len && (more || end == len),
            None => more || packet.pieces.last().is_none_or(|last| last.0 + last.1.len() <= end),
        };
        if !after_previous || !before_next || !len_agrees || packet.pieces.len() >= MAX_FRAGMENTS {
            // Overlaps are attacks: the packet is dropped.
            self.packets.remove(at);
            return None;
        }
        if !more {
            packet.len = Some(end);
        }
        let len = payload.len();
        packet.pieces.try_insert(place, (offset, payload)).ok()?;
        packet.held += len;
        if packet.len != Some(packet.held) {
            return None;
        }
        let packet = self.packets.remove(at);
        let len = packet.held;
        let mut chunks = packet
            .pieces
            .into_iter()
            .flat_map(|(_, mut piece)| piece.take_head().into_iter().chain(piece.take_rest()));
        let head = chunks.next()?;
        let rest: Vec<Chunk<B>> = chunks.try_collect_vec().ok()?;
        Some(Payload::new(head, rest, len))
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Takes a fragment; returns the whole packet if it is the last one missing.
    pub(crate) fn reassemble(
        &self,
        now: u64,
        info: &IpInfo,
        ident: u32,
        offset: u32,
        more: bool,
        payload: Payload<D::Buf>,
    ) -> Option<Payload<D::Buf>> {
        let key = Key { source: info.source, destination: info.destination, ident, protocol: info.protocol };
        let mut reassembly = self.reassembly.lock();
        let first = reassembly.packets.is_empty();
        let whole = reassembly.add(now, key, offset, more, payload);
        if first && !reassembly.packets.is_empty() {
            self.timers.set(self.chores.reassembly, now + TIMEOUT);
        }
        whole
    }

    /// Drops fragments whose rest did not arrive.
    pub(crate) fn reassembly_due(&self, now: u64) {
        let mut reassembly = self.reassembly.lock();
        reassembly.packets.retain(|p| p.deadline > now);
        let next = reassembly.packets.iter().map(|p| p.deadline).min().unwrap_or(NEVER);
        self.timers.set(self.chores.reassembly, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestBuffer;
    use proptest::prelude::*;

    const KEY: Key = Key { source: Address::v4(1), destination: Address::v4(2), ident: 3, protocol: 17 };

    proptest! {
        #[test]
        fn any_order_gives_the_packet(len in 1usize..4000, unit in 1usize..60, keys in proptest::collection::vec(any::<u32>(), 500), repeat: bool) {
            let data: Vec<u8> = (0..len).map(|i| (i * 31) as u8).collect();
            let mut fragments: Vec<(usize, &[u8])> = data.chunks(unit * 8).enumerate().map(|(i, c)| (i * unit * 8, c)).collect();
            if fragments.len() > MAX_FRAGMENTS {
                return Ok(());
            }
            let count = fragments.len();
            fragments.sort_by_key(|f| keys[f.0 / (unit * 8)]);
            let mut reassembly = Reassembly::<TestBuffer>::default();
            for (i, (offset, bytes)) in fragments.iter().enumerate() {
                let more = offset + bytes.len() < len;
                let add = |r: &mut Reassembly<_>| {
                    let payload = Payload::new(TestBuffer::chunk(bytes, 1500, 34), Vec::new(), bytes.len() as u32);
                    r.add(0, KEY, *offset as u32, more, payload)
                };
                if repeat && i + 1 < count {
                    prop_assert!(add(&mut reassembly).is_none());
                }
                let whole = add(&mut reassembly);
                prop_assert_eq!(whole.is_some(), i + 1 == count);
                if let Some(whole) = whole {
                    let bytes: Vec<u8> = whole.chunks().flat_map(|c| c.bytes().iter().copied()).collect();
                    prop_assert_eq!(&bytes, &data);
                }
            }
            prop_assert!(reassembly.packets.is_empty());
        }
    }

    #[test]
    fn overlaps_drop_the_packet() {
        let mut reassembly = Reassembly::<TestBuffer>::default();
        let piece =
            |n: usize| Payload::new(TestBuffer::chunk(&alloc::vec![0; n], 1500, 0), Vec::new(), n as u32);
        assert!(reassembly.add(0, KEY, 0, true, piece(16)).is_none());
        assert!(reassembly.add(0, KEY, 8, false, piece(16)).is_none());
        assert!(reassembly.packets.is_empty());
    }
}
