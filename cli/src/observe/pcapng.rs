//! Writes captured packets as pcapng (draft-ietf-opsawg-pcapng).

use coracle_control::{PacketRecord, packet};

/// Types of blocks.
mod block {
    pub const SECTION: u32 = 0x0a0d_0d0a;
    pub const INTERFACE: u32 = 1;
    pub const STATISTICS: u32 = 5;
    pub const PACKET: u32 = 6;
}
/// By which a reader knows the order of bytes.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// The link type of Ethernet (LINKTYPE_ETHERNET).
const ETHERNET: u16 = 1;
/// Times are in nanoseconds: 10 to the minus ninth.
const NANOSECONDS: u8 = 9;
/// Options.
mod option {
    pub const END: u16 = 0;
    pub const USER_APPLICATION: u16 = 4;
    pub const INTERFACE_NAME: u16 = 2;
    pub const INTERFACE_RESOLUTION: u16 = 9;
    pub const PACKET_FLAGS: u16 = 2;
    pub const DROPPED: u16 = 5;
}
/// Directions in the flags of a packet.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Names of the interfaces, in the order of their numbers.
const INTERFACES: [&str; 2] = ["eth0", "lo"];

/// The contents of a block.
struct Block {
    kind: u32,
    bytes: Vec<u8>,
}

impl Block {
    fn new(kind: u32) -> Block {
        Block { kind, bytes: Vec::new() }
    }

    fn half(mut self, value: u16) -> Block {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn word(mut self, value: u32) -> Block {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// A time: its higher half comes first.
    fn time(self, ns: u64) -> Block {
        self.word((ns >> 32) as u32).word(ns as u32)
    }

    fn padded(mut self, bytes: &[u8]) -> Block {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn option(self, number: u16, value: &[u8]) -> Block {
        self.half(number).half(value.len() as u16).padded(value)
    }

    /// The whole block; its length comes before and after its contents.
    fn end(self) -> Vec<u8> {
        let len = (12 + self.bytes.len()) as u32;
        [&self.kind.to_le_bytes()[..], &len.to_le_bytes(), &self.bytes, &len.to_le_bytes()].concat()
    }
}

/// The beginning of a file.
pub fn header(snap_len: u32) -> Vec<u8> {
    let program = concat!("coracle ", env!("CARGO_PKG_VERSION"));
    let unknown_length = [0xff; 8];
    let section = Block::new(block::SECTION).word(BYTE_ORDER).half(1).half(0).padded(&unknown_length);
    let mut all = section.option(option::USER_APPLICATION, program.as_bytes()).option(option::END, &[]).end();
    for name in INTERFACES {
        let own = Block::new(block::INTERFACE).half(ETHERNET).half(0).word(snap_len);
        let own = own.option(option::INTERFACE_NAME, name.as_bytes());
        all.extend(own.option(option::INTERFACE_RESOLUTION, &[NANOSECONDS]).option(option::END, &[]).end());
    }
    all
}

/// A packet.
pub fn packet(record: &PacketRecord, bytes: &[u8]) -> Vec<u8> {
    let (interface, direction) = match record.kind {
        packet::RECEIVED => (0, INBOUND),
        packet::SENT => (0, OUTBOUND),
        _ => (1, 0),
    };
    let own = Block::new(block::PACKET).word(interface).time(record.time_ns);
    let own = own.word(record.captured).word(record.len).padded(bytes);
    own.option(option::PACKET_FLAGS, &u32::to_le_bytes(direction)).option(option::END, &[]).end()
}

/// At the end: how many packets were lost.
pub fn lost(time_ns: u64, packets: u64) -> Vec<u8> {
    let own = Block::new(block::STATISTICS).word(0).time(time_ns);
    own.option(option::DROPPED, &packets.to_le_bytes()).option(option::END, &[]).end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_length_at_both_ends() {
        let record = PacketRecord { captured: 3, len: 60, kind: packet::SENT, reserved: 0, time_ns: 1 << 33 };
        let all = [header(96), packet(&record, b"abc"), lost(7, 9)].concat();
        let (mut rest, mut kinds) = (&all[..], Vec::new());
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let len = word(4) as usize;
            assert_eq!((len % 4, word(len - 4) as usize), (0, len));
            kinds.push(word(0));
            if word(0) == block::PACKET {
                assert_eq!((word(8), word(12), word(16), word(20), word(24)), (0, 2, 0, 3, 60));
                assert_eq!(&rest[28..32], b"abc\0");
            }
            rest = &rest[len..];
        }
        assert_eq!(kinds, [block::SECTION, 1, 1, block::PACKET, block::STATISTICS]);
    }
}
