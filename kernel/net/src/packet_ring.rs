//! Rings in memory that a program shares, in which it finds packets (packet(7), Linux's Documentation/networking/packet_mmap.rst).
//!
//! A ring of version 3 has blocks with as many packets as fit. A block is handed over when it is full, and also when the program asks whether
//! there is anything: so no timer is needed, and nothing waits longer than the program does.
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::net::socket::{LinkAddress, SocketAddress};
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};

/// Bytes of a ring, at most.
const RING_MAX: usize = 64 << 20;
/// What headers are aligned to (TPACKET_ALIGNMENT), and packets of a block.
const ALIGN: usize = 16;
const BLOCK_ALIGN: usize = 8;
/// Bytes of the headers of versions 2 and 3, without the address behind them, which is one of so many.
const HEADER_BYTES: [usize; 2] = [32, 48];
const ADDRESS_BYTES: usize = 20;
/// TPACKET_V3.
const VERSION_3: u32 = 2;
/// Bytes of the header of a block (`struct tpacket_block_desc`), and places in it.
const BLOCK_HEADER_BYTES: usize = 48;
const BLOCK_STATUS_AT: usize = 8;
/// The longest header of a link that has room before the network's.
const LINK_ROOM: usize = 16;

/// TP_STATUS_USER, TP_STATUS_LOSING, TP_STATUS_CSUMNOTREADY.
pub const STATUS_USER: u32 = 1;
/// See [`STATUS_USER`].
pub const STATUS_LOSING: u32 = 4;
/// See [`STATUS_USER`].
pub const STATUS_NO_CHECKSUM: u32 = 8;

/// `struct tpacket_req3`; its first four words are `struct tpacket_req`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    block_bytes: usize,
    blocks: usize,
    frame_bytes: usize,
    frames: usize,
    private_bytes: usize,
}

impl Request {
    /// From the program's bytes, of a ring of this version. EINVAL.
    pub fn decode(value: &[u8], version: u32) -> Result<Request, Errno> {
        let words = if version == 3 { 7 } else { 4 };
        let mut all = [0; 7];
        let given = value.as_chunks::<4>().0;
        if given.len() < words {
            return Err(Errno::INVAL);
        }
        for (word, bytes) in all.iter_mut().zip(&given[..words]) {
            *word = u32::from_le_bytes(*bytes) as usize;
        }
        let [block_bytes, blocks, frame_bytes, frames, _, private_bytes, _] = all;
        Ok(Request { block_bytes, blocks, frame_bytes, frames, private_bytes })
    }
    /// Whether it takes the ring away.
    pub fn is_none(&self) -> bool {
        self.blocks == 0
    }
}

/// A packet for a ring.
pub struct Entry<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its length before it was cut.
    pub len: usize,
    /// Bytes of the link's header in it, which a socket of SOCK_DGRAM does not have.
    pub link_bytes: usize,
    /// Sender and kind.
    pub from: LinkAddress,
    /// TP_STATUS_* beside STATUS_USER.
    pub status: u32,
    /// When it came, in ns since 1970.
    pub at_ns: u64,
}

/// A ring.
pub struct Ring {
    version: u32,
    request: Request,
    memory: Vec<Frame>,
    /// Bytes that the program wants free before each packet (PACKET_RESERVE).
    reserve: usize,
    /// The frame or block that is filled next.
    next: usize,
    /// Of a block that is being filled: packets, the end of the last, and where the last begins.
    open: Option<(u32, usize, usize)>,
    sequence: u64,
}

/// Bytes of a version's header (PACKET_HDRLEN). EINVAL.
pub fn header_bytes(version: u32) -> Result<usize, Errno> {
    match version {
        1 => Ok(HEADER_BYTES[0]),
        2 | 3 => Ok(HEADER_BYTES[version as usize - 2]),
        _ => Err(Errno::INVAL),
    }
}

impl Ring {
    /// Linux's `packet_set_ring`. EINVAL, ENOMEM.
    pub fn new(request: Request, version: u32, reserve: usize) -> Result<Ring, Errno> {
        // Of the first version, whose words depend on the machine, there are no rings here.
        if version == 1 {
            return Err(Errno::INVAL);
        }
        let head = header_bytes(version)? + ADDRESS_BYTES;
        let Request { block_bytes, blocks, frame_bytes, frames, private_bytes } = request;
        let least_block =
            if version == 3 { BLOCK_HEADER_BYTES + private_bytes.next_multiple_of(BLOCK_ALIGN) } else { 0 };
        let per_block = block_bytes.checked_div(frame_bytes).unwrap_or(0);
        let is_valid = block_bytes > 0
            && block_bytes.is_multiple_of(FRAME_SIZE)
            && block_bytes > least_block + if version == 3 { head + reserve } else { 0 }
            && frame_bytes >= head + reserve
            && frame_bytes.is_multiple_of(ALIGN)
            && per_block > 0
            && per_block.checked_mul(blocks) == Some(frames);
        if !is_valid {
            return Err(Errno::INVAL);
        }
        let bytes = block_bytes.checked_mul(blocks).filter(|bytes| *bytes <= RING_MAX).ok_or(Errno::NOMEM)?;
        let mut memory = Vec::new();
        memory.make_room(bytes / FRAME_SIZE)?;
        for _ in 0..bytes / FRAME_SIZE {
            memory.push_reserved(Frame::alloc_zeroed().ok_or(Errno::NOMEM)?);
        }
        Ok(Ring { version, request, memory, reserve, next: 0, open: None, sequence: 0 })
    }

    /// The page that mmap(2) finds. ENXIO past the end.
    pub fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.memory.get(index as usize).cloned().ok_or(Errno::NXIO)
    }

    fn word(&self, at: usize) -> u32 {
        self.memory[at / FRAME_SIZE].load_u32(at % FRAME_SIZE)
    }

    fn set_word(&self, at: usize, value: u32) {
        self.memory[at / FRAME_SIZE].store_u32(at % FRAME_SIZE, value);
    }

    fn write(&self, mut at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (here, rest) = bytes.split_at(bytes.len().min(FRAME_SIZE - at % FRAME_SIZE));
            self.memory[at / FRAME_SIZE].write(at % FRAME_SIZE, here);
            at += here.len();
            bytes = rest;
        }
    }

    fn frame_at(&self, number: usize) -> usize {
        let Request { block_bytes, frame_bytes, .. } = self.request;
        let per_block = block_bytes / frame_bytes;
        number / per_block * block_bytes + number % per_block * frame_bytes
    }

    /// Whether the program has something to read. An open block is handed over.
    pub fn has_packets(&mut self) -> bool {
        if self.version == 3 {
            self.close_block(0);
            // What was handed over last is not taken yet.
            let before = self.next.checked_sub(1).unwrap_or(self.request.blocks - 1);
            return self.word(before * self.request.block_bytes + BLOCK_STATUS_AT) & STATUS_USER != 0;
        }
        let before = self.next.checked_sub(1).unwrap_or(self.request.frames - 1);
        self.word(self.frame_at(before)) & STATUS_USER != 0
    }

    /// Puts a packet into the ring. False: there is no room.
    pub fn put(&mut self, entry: &Entry<'_>) -> bool {
        let head = HEADER_BYTES[self.version as usize - 2];
        // A datagram has the same room, without a header in it.
        let link = if entry.link_bytes == 0 { LINK_ROOM } else { entry.link_bytes.max(LINK_ROOM) };
        let net = match entry.link_bytes {
            0 => (head + ADDRESS_BYTES).next_multiple_of(ALIGN) + LINK_ROOM + self.reserve,
            _ => (head + ADDRESS_BYTES + link).next_multiple_of(ALIGN) + self.reserve,
        };
        let mac = net - entry.link_bytes;
        if self.version == 3 { self.put_in_block(entry, mac, net) } else { self.put_frame(entry, mac, net) }
    }

    fn put_frame(&mut self, entry: &Entry<'_>, mac: usize, net: usize) -> bool {
        let at = self.frame_at(self.next);
        if self.word(at) != 0 || mac > self.request.frame_bytes {
            return false;
        }
        let kept = entry.bytes.len().min(self.request.frame_bytes - mac);
        self.write(at + mac, &entry.bytes[..kept]);
        let time = [(entry.at_ns / 1_000_000_000) as u32, (entry.at_ns % 1_000_000_000) as u32];
        let sizes = u32::from(mac as u16) | u32::from(net as u16) << 16;
        let words = [entry.len as u32, kept as u32, sizes, time[0], time[1], 0, 0].map(u32::to_le_bytes);
        self.write(at + 4, words.as_flattened());
        self.write(at + HEADER_BYTES[0], &SocketAddress::Packet(entry.from).encode());
        self.set_word(at, STATUS_USER | entry.status);
        self.next = (self.next + 1) % self.request.frames;
        true
    }

    fn put_in_block(&mut self, entry: &Entry<'_>, mac: usize, net: usize) -> bool {
        let Request { block_bytes, private_bytes, .. } = self.request;
        let first = BLOCK_HEADER_BYTES + private_bytes.next_multiple_of(BLOCK_ALIGN);
        let kept = entry.bytes.len().min(block_bytes - first - mac.min(block_bytes - first));
        let whole = (mac + kept).next_multiple_of(BLOCK_ALIGN);
        if self.open.is_some_and(|(_, end, _)| end + whole > block_bytes) {
            self.close_block(0);
        }
        let base = self.next * block_bytes;
        let time = [(entry.at_ns / 1_000_000_000) as u32, (entry.at_ns % 1_000_000_000) as u32];
        let (count, at) = match self.open {
            Some((count, end, last)) => {
                // The one before tells where this one is.
                self.set_word(base + last, (end - last) as u32);
                (count, end)
            }
            None if self.word(base + BLOCK_STATUS_AT) != 0 || first + whole > block_bytes => return false,
            None => {
                self.sequence += 1;
                let [low, high] = [self.sequence as u32, (self.sequence >> 32) as u32];
                let words = [0, 0, first as u32, first as u32, low, high, time[0], time[1], time[0], time[1]];
                // The version and the place of what is the program's own, then what changes.
                self.write(base, [VERSION_3, BLOCK_HEADER_BYTES as u32].map(u32::to_le_bytes).as_flattened());
                self.write(base + BLOCK_STATUS_AT, words.map(u32::to_le_bytes).as_flattened());
                (0, first)
            }
        };
        let status = STATUS_USER | entry.status;
        let sizes = u32::from(mac as u16) | u32::from(net as u16) << 16;
        let words = [0, time[0], time[1], kept as u32, entry.len as u32, status, sizes, 0, 0, 0, 0, 0];
        self.write(base + at, words.map(u32::to_le_bytes).as_flattened());
        self.write(base + at + HEADER_BYTES[1], &SocketAddress::Packet(entry.from).encode());
        self.write(base + at + mac, &entry.bytes[..kept]);
        self.open = Some((count + 1, at + whole, at));
        // Packets, the first one, bytes; then the time of the last.
        let words = [count + 1, first as u32, (at + whole) as u32].map(u32::to_le_bytes);
        self.write(base + BLOCK_STATUS_AT + 4, words.as_flattened());
        self.write(base + BLOCK_HEADER_BYTES - 8, time.map(u32::to_le_bytes).as_flattened());
        true
    }

    /// Hands the open block over, if there is one.
    fn close_block(&mut self, status: u32) {
        if self.open.take().is_some() {
            self.set_word(self.next * self.request.block_bytes + BLOCK_STATUS_AT, STATUS_USER | status);
            self.next = (self.next + 1) % self.request.blocks;
        }
    }
}
