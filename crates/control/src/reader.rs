//! From a stream of bytes to messages.
use crate::message::{HEADER_BYTES, LONGEST, Message};

/// Puts messages together, however the stream is cut. Holds no more than one message that it knows.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of the next message.
    held: [u8; HEADER_BYTES + LONGEST],
    len: usize,
    /// Bytes of the message before that are still to be skipped.
    skip: usize,
}

impl Reader {
    /// Takes the next bytes of the stream, and calls `each` for every message that they complete.
    pub fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Message)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = if self.len < HEADER_BYTES {
                HEADER_BYTES
            } else {
                HEADER_BYTES + self.contents().min(LONGEST)
            };
            let taken = (wanted - self.len).min(bytes.len());
            self.held[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
            self.len += taken;
            bytes = &bytes[taken..];
            if self.len < HEADER_BYTES || self.len < HEADER_BYTES + self.contents().min(LONGEST) {
                if bytes.is_empty() {
                    return;
                }
                continue;
            }
            let kind = u16::from_le_bytes([self.held[0], self.held[1]]);
            if let Some(message) = Message::decode(kind, &self.held[HEADER_BYTES..self.len]) {
                each(message);
            }
            self.skip = self.contents().saturating_sub(LONGEST);
            self.len = 0;
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
    use crate::Window;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn read(pieces: &[&[u8]]) -> Vec<Message> {
        let (mut reader, mut all) = (Reader::default(), Vec::new());
        pieces.iter().for_each(|piece| reader.take(piece, |message| all.push(message)));
        all
    }

    #[test]
    fn what_is_unknown_is_skipped() {
        let mut bytes = std::vec![9, 0, 100, 0];
        bytes.extend([7; 100]);
        bytes.extend(Message::Signal(15).encode().as_ref());
        // A newer sender may append to a known kind; a message that is too short is skipped.
        bytes.extend([2, 0, 10, 0, 2, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
        bytes.extend([3, 0, 2, 0, 5, 5]);
        bytes.extend([2, 0, 0, 0]);
        bytes.extend(Message::Hello(3).encode().as_ref());
        assert_eq!(read(&[&bytes]), [Message::Signal(15), Message::Signal(2), Message::Hello(3)]);
    }

    fn any_message() -> impl Strategy<Value = Message> {
        prop_oneof![
            any::<u16>().prop_map(Message::Hello),
            any::<u16>().prop_map(Message::Signal),
            any::<[u16; 4]>().prop_map(|[rows, columns, width, height]| {
                Message::Window(Window { rows, columns, width, height })
            }),
        ]
    }

    proptest! {
        #[test]
        fn messages_arrive_however_they_are_cut(messages in prop::collection::vec(any_message(), 0..20), size in 1usize..30) {
            let bytes: Vec<u8> = messages.iter().flat_map(|message| message.encode().as_ref().to_vec()).collect();
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(read(&pieces), messages);
        }

        #[test]
        fn any_bytes_give_the_same_in_any_pieces(bytes: Vec<u8>, size in 1usize..30) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(read(&pieces), read(&[&bytes]));
        }
    }
}
