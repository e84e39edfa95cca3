//! From a stream of bytes to messages.
use crate::message::{HEADER_BYTES, LONGEST_FROM_GUEST, LONGEST_TO_GUEST, Message};

/// Puts messages together, however the stream is cut. Holds no more than one message, of up to `HELD` bytes with its header.
#[derive(Debug)]
pub struct Reader<const HELD: usize> {
    /// The beginning of the next message.
    held: [u8; HELD],
    len: usize,
    /// Bytes of the message before that are still to be skipped.
    skip: usize,
}

/// Reads what a guest is sent.
pub type ToGuest = Reader<{ HEADER_BYTES + LONGEST_TO_GUEST }>;
/// Reads what a guest sends.
pub type FromGuest = Reader<{ HEADER_BYTES + LONGEST_FROM_GUEST }>;

impl<const HELD: usize> Default for Reader<HELD> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const HELD: usize> Reader<HELD> {
    /// Bytes of contents that are held: the first ones.
    const CONTENTS: usize = HELD - HEADER_BYTES;

    /// At the start of a stream.
    pub const fn new() -> Self {
        Reader { held: [0; HELD], len: 0, skip: 0 }
    }

    /// Takes the next bytes of the stream, and calls `each` for every message that they complete.
    pub fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Message<'_>)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (self.wanted() - self.len).min(bytes.len());
            self.held[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
            self.len += taken;
            bytes = &bytes[taken..];
            if self.len < HEADER_BYTES || self.len < self.wanted() {
                if bytes.is_empty() {
                    return;
                }
                continue;
            }
            let kind = u16::from_le_bytes([self.held[0], self.held[1]]);
            if let Some(message) = Message::decode(kind, &self.held[HEADER_BYTES..self.len]) {
                each(message);
            }
            self.skip = self.contents().saturating_sub(Self::CONTENTS);
            self.len = 0;
        }
    }

    /// Bytes to be held before more can be said of the message.
    fn wanted(&self) -> usize {
        match self.len {
            0..HEADER_BYTES => HEADER_BYTES,
            _ => HEADER_BYTES + self.contents().min(Self::CONTENTS),
        }
    }

    /// Bytes of contents that the header speaks of.
    fn contents(&self) -> usize {
        usize::from(u16::from_le_bytes([self.held[2], self.held[3]]))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{LifeRequest, Request, Window};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// A message as it is sent.
    fn sent(message: Message<'_>) -> Vec<u8> {
        let mut buffer = [0; HEADER_BYTES + LONGEST_FROM_GUEST];
        message.encode(&mut buffer).expect("it fits").to_vec()
    }

    /// The messages in a stream that is cut so, each as it is sent.
    fn read(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut reader, mut all) = (FromGuest::new(), Vec::new());
        pieces.iter().for_each(|piece| reader.take(piece, |message| all.push(sent(message))));
        all
    }

    #[test]
    fn what_is_longer_than_a_guest_may_send_is_skipped() {
        let mut bytes = Vec::new();
        for kind in [5u16, 56] {
            bytes.extend(kind.to_le_bytes());
            bytes.extend((LONGEST_TO_GUEST as u16).to_le_bytes());
            bytes.extend([0; LONGEST_TO_GUEST]);
        }
        let mut count = 0;
        ToGuest::new().take(&bytes, |_| count += 1);
        assert_eq!(count, 0);
    }

    #[test]
    fn what_is_unknown_is_skipped() {
        let mut bytes = std::vec![99, 0, 100, 0];
        bytes.extend([7; 100]);
        bytes.extend(sent(Message::Signal(15)));
        // A newer sender may append to a known kind; a message that is too short is skipped.
        bytes.extend([2, 0, 10, 0, 2, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
        bytes.extend([3, 0, 2, 0, 5, 5]);
        bytes.extend([2, 0, 0, 0]);
        // A request that is too short, and one of another version.
        bytes.extend([4, 0, 7, 0, 1, 0, 0, 0, 4, 0, 1]);
        bytes.extend([4, 0, 7, 0, 1, 0, 0, 0, 0xff, 0, 1]);
        // One with a session's number that is too short for any, or that this version does not know.
        bytes.extend([4, 0, 6, 0, 1, 0, 0, 0, 90, 0]);
        bytes.extend([4, 0, 10, 0, 1, 0, 0, 0, 90, 0, 7, 0, 0, 0]);
        bytes.extend(sent(Message::Hello(3)));
        let unknown = |number| Message::Request { id: 1, request: Request::Unknown(number) };
        let [other, session] = [unknown(0xff), unknown(90)];
        let all = [Message::Signal(15), Message::Signal(2), other, session, session, Message::Hello(3)];
        assert_eq!(read(&[&bytes]), all.map(sent));
    }

    #[test]
    fn what_is_too_long_is_not_sent() {
        let mut buffer = [0; 2 * LONGEST_TO_GUEST];
        let piece = |len| Message::Piece { id: 1, bytes: &[0; 4096][..len] };
        assert!(piece(crate::PIECE_BYTES).encode(&mut buffer).is_some());
        assert!(piece(crate::PIECE_BYTES + 1).encode(&mut buffer).is_none());
        assert!(piece(100).encode(&mut [0; 100]).is_none());
        let path = [b'/'; LONGEST_TO_GUEST];
        let request = |len| Message::Request { id: 1, request: Request::Read(&path[..len]) };
        assert!(request(LONGEST_TO_GUEST - 6).encode(&mut buffer).is_some());
        assert!(request(LONGEST_TO_GUEST - 5).encode(&mut buffer).is_none());
    }

    #[derive(Clone, Debug)]
    enum Owned {
        Plain(Message<'static>),
        Path(u32, u8, Vec<u8>),
        Piece(u32, Vec<u8>),
        Log(u32, u32, bool, Vec<u8>),
    }

    impl Owned {
        fn message(&self) -> Message<'_> {
            match self {
                Owned::Plain(message) => *message,
                Owned::Path(id, 0, path) => Message::Request { id: *id, request: Request::Read(path) },
                Owned::Path(id, 1, path) => Message::Request { id: *id, request: Request::List(path) },
                Owned::Path(id, 2, filter) => Message::Request {
                    id: *id,
                    request: Request::CaptureStart { links: *id, snap_len: !id, filter },
                },
                Owned::Path(id, 3, path) => Message::Request { id: *id, request: Request::Link(path) },
                Owned::Path(id, port, path) => {
                    let request = LifeRequest::Probe { port: u16::from(*port), path };
                    Message::Request { id: *id, request: Request::Life(request) }
                }
                Owned::Piece(id, bytes) => Message::Piece { id: *id, bytes },
                Owned::Log(id, pid, has_more, bytes) => {
                    Message::Log { id: *id, pid: *pid, has_more: *has_more, bytes }
                }
            }
        }
    }

    fn any_message() -> impl Strategy<Value = Owned> {
        let plain = prop_oneof![
            any::<u16>().prop_map(Message::Hello),
            any::<u16>().prop_map(Message::Signal),
            any::<[u16; 4]>().prop_map(|[rows, columns, width, height]| {
                Message::Window(Window { rows, columns, width, height })
            }),
            any::<(u32, u16)>().prop_map(|(id, error)| Message::End { id, error }),
            any::<u32>().prop_map(|id| Message::Request { id, request: Request::Threads }),
            any::<(u32, u32, u64, u32)>().prop_map(|(id, pid, address, len)| Message::Request {
                id,
                request: Request::Memory { pid, address, len }
            }),
            any::<(u32, u64, u64, u32)>().prop_map(|(id, root, address, len)| Message::Request {
                id,
                request: Request::MachineMemory { root, address, len }
            }),
            any::<(u32, u32)>()
                .prop_map(|(id, kinds)| Message::Request { id, request: Request::EventsStart(kinds) }),
            any::<(u32, u32)>()
                .prop_map(|(id, is)| Message::Request { id, request: Request::MachineDebugged(is) }),
            any::<(u32, u64)>()
                .prop_map(|(id, period)| Message::Request { id, request: Request::MachineSampling(period) }),
            (any::<u32>(), 0usize..7).prop_map(|(id, which)| {
                let all = [
                    Request::EventsFetch,
                    Request::EventsStop,
                    Request::MachinePause,
                    Request::MachineResume,
                    Request::MachineCpus,
                    Request::MachineSample,
                    Request::Crash,
                ];
                Message::Request { id, request: all[which] }
            }),
        ];
        let plain = prop_oneof![
            6 => plain,
            1 => (any::<u32>(), 0usize..3).prop_map(|(id, which)| {
                let request = [Request::Sockets, Request::CaptureFetch, Request::CaptureStop][which];
                Message::Request { id, request }
            }),
        ];
        let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
        prop_oneof![
            4 => plain.prop_map(Owned::Plain),
            1 => any::<(u32, bool)>().prop_map(|(id, cron)| {
                let request = if cron { LifeRequest::Cron } else { LifeRequest::ProbeResult };
                Owned::Plain(Message::Request { id, request: Request::Life(request) })
            }),
            1 => (any::<u32>(), 0u8..7, bytes(200)).prop_map(|(id, kind, path)| Owned::Path(id, kind, path)),
            1 => (any::<u32>(), bytes(2000)).prop_map(|(id, bytes)| Owned::Piece(id, bytes)),
            1 => (any::<(u32, u32, bool)>(), bytes(crate::LOG_BYTES + 1))
                .prop_map(|((id, pid, more), bytes)| Owned::Log(id, pid, more, bytes)),
        ]
    }

    proptest! {
        #[test]
        fn messages_arrive_however_they_are_cut(messages in prop::collection::vec(any_message(), 0..20), size in 1usize..30) {
            let all: Vec<Vec<u8>> = messages.iter().map(|message| sent(message.message())).collect();
            let bytes = all.concat();
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(read(&pieces), all);
        }

        #[test]
        fn any_bytes_give_the_same_in_any_pieces(bytes: Vec<u8>, size in 1usize..30) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(read(&pieces), read(&[&bytes]));
        }

        #[test]
        fn a_guest_reads_the_beginning_of_what_is_too_long(id: u32, bytes in prop::collection::vec(any::<u8>(), 1000..2000)) {
            let mut stream = sent(Message::Piece { id, bytes: &bytes });
            stream.extend(sent(Message::Signal(9)));
            let (mut reader, mut all) = (ToGuest::new(), Vec::new());
            reader.take(&stream, |message| all.push(sent(message)));
            let held = LONGEST_TO_GUEST - 4;
            let piece = sent(Message::Piece { id, bytes: &bytes[..held.min(bytes.len())] });
            prop_assert_eq!(all, [piece, sent(Message::Signal(9))]);
        }

        #[test]
        fn records_are_read_as_they_were_written(words: [u64; crate::ThreadRecord::BYTES / 8]) {
            let bytes = words.map(u64::to_le_bytes).concat();
            let (record, rest) = crate::ThreadRecord::decode(&bytes).expect("as many as it has");
            prop_assert!(rest.is_empty());
            prop_assert_eq!(&record.encode()[..], bytes);
        }
    }
}
