//! Socket device (virtio 1.2, section 5.10): features, queues, the header of packets, and the credit of a connection.

/// Feature bits (section 5.10.3).
#[allow(missing_docs)]
pub mod features {
    pub const STREAM: u64 = 1 << 0;
    pub const SEQPACKET: u64 = 1 << 1;
}

/// Offsets in the configuration space (section 5.10.4).
#[allow(missing_docs)]
pub mod config {
    pub const GUEST_CID: usize = 0;
}

/// Queue numbers (section 5.10.2).
#[allow(missing_docs)]
pub mod queue {
    pub const RECEIVE: u16 = 0;
    pub const TRANSMIT: u16 = 1;
    pub const EVENT: u16 = 2;
}

/// Bytes of a packet's header (`struct virtio_vsock_hdr`, section 5.10.6).
pub const HEADER_BYTES: usize = 44;
/// Bytes of an event (section 5.10.6.7).
pub const EVENT_BYTES: usize = 4;

/// Types of sockets (section 5.10.6).
#[allow(missing_docs)]
pub mod kind {
    pub const STREAM: u16 = 1;
    pub const SEQPACKET: u16 = 2;
}

/// What a packet is for (section 5.10.6).
#[allow(missing_docs)]
pub mod operation {
    pub const REQUEST: u16 = 1;
    pub const RESPONSE: u16 = 2;
    pub const RST: u16 = 3;
    pub const SHUTDOWN: u16 = 4;
    pub const RW: u16 = 5;
    pub const CREDIT_UPDATE: u16 = 6;
    pub const CREDIT_REQUEST: u16 = 7;
}

/// Flags of SHUTDOWN: what its sender does no more (section 5.10.6.6.1).
#[allow(missing_docs)]
pub mod shutdown {
    pub const RECEIVE: u32 = 1;
    pub const SEND: u32 = 2;
    pub const BOTH: u32 = RECEIVE | SEND;
}

/// Flags of RW between sockets of packets: the message ends, and its sender marked the end of a record (section 5.10.6.4.1).
#[allow(missing_docs)]
pub mod message {
    pub const END: u32 = 1;
    pub const RECORD: u32 = 2;
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Address {
    pub cid: u32,
    pub port: u32,
}

/// The header of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Its sender.
    pub source: Address,
    /// Its receiver.
    pub destination: Address,
    /// Bytes behind the header.
    pub len: u32,
    /// See [`kind`].
    pub kind: u16,
    /// See [`operation`].
    pub operation: u16,
    /// They depend on the operation.
    pub flags: u32,
    /// Bytes that the sender of the packet keeps at most.
    pub buf_alloc: u32,
    /// Bytes that its program has taken so far, modulo 2^32.
    pub fwd_cnt: u32,
}

impl Header {
    /// From the bytes. `None` if an address has one of the upper bits of a CID, which are reserved.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_le_bytes(words[at]);
        let [kind, operation] = [word(7) as u16, (word(7) >> u16::BITS) as u16];
        let header = Header {
            source: Address { cid: word(0), port: word(4) },
            destination: Address { cid: word(2), port: word(5) },
            len: word(6),
            kind,
            operation,
            flags: word(8),
            buf_alloc: word(9),
            fwd_cnt: word(10),
        };
        (word(1) | word(3) == 0).then_some(header)
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let words = [
            self.source.cid,
            0,
            self.destination.cid,
            0,
            self.source.port,
            self.destination.port,
            self.len,
            u32::from(self.kind) | u32::from(self.operation) << u16::BITS,
            self.flags,
            self.buf_alloc,
            self.fwd_cnt,
        ];
        let mut bytes = [0; HEADER_BYTES];
        bytes.as_chunks_mut::<4>().0.iter_mut().zip(words).for_each(|(at, word)| *at = word.to_le_bytes());
        bytes
    }
}

/// The credit of a connection, both ways (section 5.10.6.3). All counts are modulo 2^32, and what the peer says of its own is believed only as
/// far as it does no harm.
#[derive(Clone, Debug)]
pub struct Credit {
    /// Bytes that are kept here at most.
    capacity: u32,
    /// Bytes received, and those of them that the program has taken.
    received: u32,
    taken: u32,
    /// What of `taken` the peer knows.
    told: u32,
    /// The count of bytes up to which the peer was allowed to send. It does not go back if the capacity does.
    allowed: u32,
    /// Bytes sent.
    sent: u32,
    peer_capacity: u32,
    peer_taken: u32,
}

/// Bytes of room below which a peer that sends all the time would have to wait.
const SCARCE: u32 = 64 << 10;

impl Credit {
    /// The greatest capacity: half of what a count can tell.
    pub const CAPACITY_MAX: u32 = i32::MAX as u32;

    /// Of a new connection, which keeps up to `capacity` bytes.
    pub fn new(capacity: u32) -> Credit {
        let capacity = capacity.min(Self::CAPACITY_MAX);
        Credit {
            capacity,
            received: 0,
            taken: 0,
            told: 0,
            allowed: 0,
            sent: 0,
            peer_capacity: 0,
            peer_taken: 0,
        }
    }

    /// Changes the capacity.
    pub fn set_capacity(&mut self, capacity: u32) {
        self.capacity = capacity.min(Self::CAPACITY_MAX);
    }

    /// Writes what the peer is to know into a packet that is sent now.
    pub fn stamp(&mut self, header: &mut Header) {
        (header.buf_alloc, header.fwd_cnt) = (self.capacity, self.taken);
        self.told = self.taken;
        let allowed = self.taken.wrapping_add(self.capacity);
        if (allowed.wrapping_sub(self.allowed) as i32) > 0 {
            self.allowed = allowed;
        }
    }

    /// The peer has said how much it takes.
    pub fn hear(&mut self, header: &Header) {
        (self.peer_capacity, self.peer_taken) = (header.buf_alloc, header.fwd_cnt);
    }

    /// Bytes of the longest message that may be sent: the peer must be able to keep it, and it should be no longer than what is kept here,
    /// where it waits for the device.
    pub fn longest_message(&self) -> u32 {
        self.peer_capacity.min(self.capacity)
    }

    /// Bytes that may be sent now.
    pub fn room(&self) -> u32 {
        self.peer_capacity.saturating_sub(self.sent.wrapping_sub(self.peer_taken))
    }

    /// So many are sent: no more than there is room for.
    pub fn send(&mut self, len: u32) {
        self.sent = self.sent.wrapping_add(len);
    }

    /// So many of these are not sent after all.
    pub fn take_back(&mut self, len: u32) {
        self.sent = self.sent.wrapping_sub(len);
    }

    /// So many have come. False: the peer was not allowed to send them.
    #[must_use]
    pub fn receive(&mut self, len: u32) -> bool {
        if self.allowed.wrapping_sub(self.received) < len {
            return false;
        }
        self.received = self.received.wrapping_add(len);
        true
    }

    /// The program has taken so many of what has come.
    pub fn take(&mut self, len: u32) {
        self.taken = self.taken.wrapping_add(len);
    }

    /// Bytes that wait for the program.
    pub fn waiting(&self) -> u32 {
        self.received.wrapping_sub(self.taken)
    }

    /// Whether the peer must be told what was taken, lest it wait: it may need all of the capacity for a message if it `sends_whole` ones.
    pub fn must_tell(&self, sends_whole: bool) -> bool {
        let untold = self.taken.wrapping_sub(self.told);
        let room = self.allowed.wrapping_sub(self.received);
        untold > 0 && (room < SCARCE.min(self.capacity / 2 + 1) || (sends_whole && self.waiting() == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> impl Strategy<Value = Address> {
        (any::<u32>(), any::<u32>()).prop_map(|(cid, port)| Address { cid, port })
    }

    proptest! {
        #[test]
        fn headers_are_read_as_written(
            (source, destination) in (address(), address()),
            (len, flags, buf_alloc, fwd_cnt) in any::<(u32, u32, u32, u32)>(),
            (kind, operation) in any::<(u16, u16)>(),
        ) {
            let header = Header { source, destination, len, kind, operation, flags, buf_alloc, fwd_cnt };
            prop_assert_eq!(Header::decode(&header.encode()), Some(header));
        }

        #[test]
        fn any_bytes_are_a_header_or_none(bytes in any::<[u8; HEADER_BYTES]>()) {
            let wide = bytes[4..8].iter().chain(&bytes[12..16]).any(|byte| *byte != 0);
            prop_assert_eq!(Header::decode(&bytes).map(|header| header.encode()), (!wide).then_some(bytes));
        }

        /// What a peer sends and says, whatever it is, has no more kept than was ever allowed, and no more sent than it takes.
        #[test]
        fn a_peer_is_kept_within_its_credit(
            capacity in 0..200_000_u32,
            steps in prop::collection::vec((0..6_u8, any::<u32>(), 0..100_000_u32), 1..200),
        ) {
            let mut credit = Credit::new(capacity);
            let mut most = 0_u64;
            for (step, wild, tame) in steps {
                match step {
                    0 => credit.hear(&Header { buf_alloc: wild, fwd_cnt: tame, ..Header::default() }),
                    1 => credit.hear(&Header { buf_alloc: tame, fwd_cnt: wild, ..Header::default() }),
                    2 => {
                        let mut header = Header::default();
                        credit.stamp(&mut header);
                        most = most.max(u64::from(header.buf_alloc));
                    }
                    3 => {
                        let before = credit.waiting();
                        let is_taken = credit.receive(if wild % 8 == 0 { wild } else { tame });
                        prop_assert!(is_taken || credit.waiting() == before);
                    }
                    4 => credit.take(tame.min(credit.waiting())),
                    _ => {
                        let before = credit.room();
                        credit.send(before.min(tame));
                        prop_assert!(credit.room() == before - before.min(tame));
                    }
                }
                prop_assert!(u64::from(credit.waiting()) <= most);
            }
        }

        /// Two ends that follow the rules move all bytes, whatever their capacities and however little the reader takes at a time.
        #[test]
        fn ends_that_follow_the_rules_do_not_stall(
            (here, there) in (1..100_000_u32, 1..100_000_u32),
            bite in 1..50_000_u32,
            sends_whole in any::<bool>(),
        ) {
            let (mut sender, mut reader) = (Credit::new(here), Credit::new(there));
            let tell = |from: &mut Credit, to: &mut Credit| {
                let mut header = Header::default();
                from.stamp(&mut header);
                to.hear(&header);
            };
            tell(&mut reader, &mut sender);
            tell(&mut sender, &mut reader);
            let piece = if sends_whole { sender.longest_message() } else { 1 };
            let mut left = 10 * u64::from(there);
            while left > 0 {
                while sender.room() >= piece {
                    let len = sender.room().max(piece);
                    sender.send(len);
                    prop_assert!(reader.receive(len));
                    left = left.saturating_sub(u64::from(len));
                }
                prop_assert!(reader.waiting() > 0);
                while sender.room() < piece && reader.waiting() > 0 {
                    reader.take(bite.min(reader.waiting()));
                    if reader.must_tell(sends_whole) {
                        tell(&mut reader, &mut sender);
                    }
                }
                prop_assert!(sender.room() >= piece, "the sender waits for ever");
            }
        }
    }

    #[test]
    fn a_capacity_that_shrinks_takes_nothing_back() {
        let mut credit = Credit::new(1000);
        credit.stamp(&mut Header::default());
        credit.set_capacity(10);
        credit.stamp(&mut Header::default());
        assert!(credit.receive(1000) && !credit.receive(1));
    }
}
