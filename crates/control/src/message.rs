//! The messages.

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;
/// Bytes before the contents of a message: its kind and their length.
pub(crate) const HEADER_BYTES: usize = 4;
/// Bytes of the longest contents.
pub(crate) const LONGEST: usize = 8;

/// The size of a terminal, as `struct winsize` has it (ioctl_tty(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Lines of text.
    pub rows: u16,
    /// Characters in each.
    pub columns: u16,
    /// Width in pixels; 0 if unknown.
    pub width: u16,
    /// Height in pixels; 0 if unknown.
    pub height: u16,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message in each direction: the version of the protocol that the sender uses. The guest sends it when its
    /// program has started.
    Hello(u16),
    /// To the guest: a signal for its first process, by Linux's number (signal(7)).
    Signal(u16),
    /// To the guest: the size of the terminal, at the start and whenever it changes.
    Window(Window),
}

/// A message as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    bytes: [u8; HEADER_BYTES + LONGEST],
    len: usize,
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Message {
    /// The message as it is sent.
    pub fn encode(&self) -> Encoded {
        let (kind, words, count) = match *self {
            Message::Hello(version) => (1, [version, 0, 0, 0], 1),
            Message::Signal(number) => (2, [number, 0, 0, 0], 1),
            Message::Window(Window { rows, columns, width, height }) => {
                (3, [rows, columns, width, height], 4)
            }
        };
        let mut bytes = [0; HEADER_BYTES + LONGEST];
        let all = [kind, 2 * count as u16].into_iter().chain(words);
        for (place, word) in bytes.chunks_exact_mut(2).zip(all) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Encoded { bytes, len: HEADER_BYTES + 2 * count }
    }

    /// The message of this kind and these contents, of which bytes beyond [`LONGEST`] may be missing. `None` if the kind
    /// is unknown, or the contents are too short for it.
    pub(crate) fn decode(kind: u16, contents: &[u8]) -> Option<Message> {
        let word =
            |index: usize| contents.get(2 * index..2 * index + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        Some(match kind {
            1 => Message::Hello(word(0)?),
            2 => Message::Signal(word(0)?),
            3 => Message::Window(Window {
                rows: word(0)?,
                columns: word(1)?,
                width: word(2)?,
                height: word(3)?,
            }),
            _ => return None,
        })
    }
}
