//! A queue of packets to send: headers in memory of the queue's own, payload in shared buffers.
use super::queue::{Queue, piece};
use crate::io::dma::{PacketBuffer, SharedBuffer};
use alloc::boxed::Box;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_box;
use coracle_virtio::queue::Piece;

/// A packet can't be sent now: there is no descriptor or no memory for it. Or it never can: its headers are too long, or a
/// fragment leaves its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A part of a buffer, which it lies in.
struct Fragment {
    buffer: SharedBuffer,
    start: u32,
    len: u32,
}

/// The payload of a packet in several fragments; boxed, because such packets are rare and their record should be as small as
/// that of others.
pub(super) struct Several {
    headers: [Piece; 2],
    /// Pieces that these are: one or two.
    lead: usize,
    fragments: Vec<Fragment>,
}

impl Several {
    /// A piece of the chain.
    #[inline(always)]
    fn piece(&self, number: usize) -> Piece {
        match self.fragments.get(number.wrapping_sub(self.lead)) {
            Some(Fragment { buffer, start, len }) => {
                Piece { address: buffer.phys() + u64::from(*start), len: *len, writable: false }
            }
            None => self.headers[number & 1],
        }
    }
}

/// Buffers that a packet on its way out holds.
pub(super) enum Held {
    None,
    One { _buffer: SharedBuffer },
    Many(Box<Several>),
}

/// Bytes of a slot's header area: a virtio header and the longest Ethernet, IPv4 and TCP headers (14 + 60 + 60).
const SLOT_BYTES: usize = 256;
/// Slots in a packet buffer.
const SLOTS_PER_BUFFER: usize = PacketBuffer::SIZE / SLOT_BYTES;

/// The queue. Completions raise no interrupt: they are looked for when room is needed.
pub struct Packets {
    queue: Queue<Held>,
}

impl Packets {
    pub(super) fn new(queue: Queue<Held>) -> Packets {
        Packets { queue }
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// Packets that the device has.
    #[inline(always)]
    pub fn outstanding(&self) -> u16 {
        self.queue.outstanding()
    }

    /// Descriptors free now.
    pub fn room(&self) -> u16 {
        self.queue.room()
    }

    /// Whether a packet of `pieces` pieces fits now.
    #[inline(always)]
    pub fn fits(&self, pieces: usize) -> bool {
        self.queue.fits(pieces)
    }

    /// Queues a packet that is all headers: `lead`, for the device, and `headers`. The device sees it after
    /// [`Packets::publish`]. A device that broke the rules swallows packets.
    #[inline(always)]
    pub fn send<const N: usize>(&mut self, lead: &[u8; N], headers: &[u8]) -> Result<(), Refused> {
        let first = self.put_headers(lead, headers)?;
        let _ = self.queue.reached().split.add_one(first, Held::None);
        Ok(())
    }

    /// The same with `len` bytes from `start` of a buffer behind the headers.
    #[inline(always)]
    pub fn send_with<const N: usize>(
        &mut self,
        lead: &[u8; N],
        headers: &[u8],
        (buffer, start, len): (&SharedBuffer, u32, u32),
    ) -> Result<(), Refused> {
        let first = self.put_headers(lead, headers)?;
        let second = fragment_piece(buffer, start, len).ok_or(Refused)?;
        let _ = self.queue.reached().split.add_two(first, second, Held::One { _buffer: buffer.clone() });
        Ok(())
    }

    /// The same with any number of fragments. `apart`: bytes of `lead` that get a piece of their own, which is right for all
    /// legacy devices (virtio 1.2, section 2.7.4.4 asks for it without VIRTIO_F_ANY_LAYOUT); 0: one piece has all headers.
    pub fn send_many<const N: usize>(
        &mut self,
        lead: &[u8; N],
        headers: &[u8],
        apart: usize,
        fragments: impl ExactSizeIterator<Item = (SharedBuffer, u32, u32)>,
    ) -> Result<(), Refused> {
        let all = self.put_headers(lead, headers)?;
        let others = Piece { address: all.address + N as u64, len: all.len - N as u32, writable: false };
        let (headers, lead) = match apart {
            0 => ([all; 2], 1),
            // A piece must not be empty: the other headers may be in front of the payload.
            _ => ([Piece { len: apart.min(N) as u32, ..all }, others], if others.len > 0 { 2 } else { 1 }),
        };
        let mut inside = true;
        let fragments = fragments.map(|(buffer, start, len)| {
            inside &= fragment_piece(&buffer, start, len).is_some();
            Fragment { buffer, start, len }
        });
        let fragments = fragments.try_collect_exact().map_err(|_| Refused)?;
        if !inside {
            return Err(Refused);
        }
        let count = lead + fragments.len();
        let several = try_box(Several { headers, lead, fragments }).map_err(|_| Refused)?;
        let piece = |held: &Held, number| match held {
            Held::Many(several) => several.piece(number),
            Held::None | Held::One { .. } => all,
        };
        // More pieces than the queue takes are an error of the caller's; the packet never goes.
        let _ = self.queue.reached().split.add_of(count, Held::Many(several), piece);
        Ok(())
    }

    /// Queues a packet that lies in one buffer, `lead` included: `len` bytes from `start`.
    #[inline(always)]
    pub fn send_in_place(&mut self, buffer: &SharedBuffer, start: u32, len: u32) -> Result<(), Refused> {
        let piece = fragment_piece(buffer, start, len).ok_or(Refused)?;
        if let Err(refused) = self.queue.reached().split.add_one(piece, Held::One { _buffer: buffer.clone() })
        {
            drop(refused);
        }
        Ok(())
    }

    /// Writes headers into the memory of the next slot; gives the piece that they are.
    #[inline(always)]
    fn put_headers<const N: usize>(&mut self, lead: &[u8; N], headers: &[u8]) -> Result<Piece, Refused> {
        const { assert!(N <= SLOT_BYTES) };
        let reached = self.queue.reached();
        let slot = reached.split.next_slot().ok_or(Refused)? as usize;
        let (index, offset) = (slot / SLOTS_PER_BUFFER, slot % SLOTS_PER_BUFFER * SLOT_BYTES);
        if index >= reached.slots.len() {
            grow(&mut reached.slots, index)?;
        }
        let buffer = reached.slots.get_mut(index).ok_or(Refused)?;
        let area = &mut buffer.as_mut_slice()[offset..offset + SLOT_BYTES];
        area[..N].copy_from_slice(lead);
        let len = N + headers.len();
        area.get_mut(N..len).ok_or(Refused)?.copy_from_slice(headers);
        piece(buffer, offset..offset + len, false).ok_or(Refused)
    }

    /// Shows the device the packets queued since the last time. True if its doorbell must be rung.
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Frees what the device has sent.
    pub fn reclaim(&mut self) {
        while let Ok(Some(_)) = self.queue.pop() {}
    }

    /// Asks for an interrupt when the device has sent the next packet. True if it has sent some already.
    pub fn request_interrupt(&self) -> bool {
        self.queue.request_interrupt()
    }
}

#[inline(always)]
fn fragment_piece(buffer: &SharedBuffer, start: u32, len: u32) -> Option<Piece> {
    piece(buffer, start as usize..start as usize + len as usize, false)
}

/// Makes memory for the slots of buffer `index`.
#[cold]
#[inline(never)]
fn grow(slots: &mut Vec<PacketBuffer>, index: usize) -> Result<(), Refused> {
    while slots.len() <= index {
        slots.try_push(PacketBuffer::alloc().ok_or(Refused)?).map_err(|_| Refused)?;
    }
    Ok(())
}
