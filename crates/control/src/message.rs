//! The messages.
use crate::request::Request;

/// The version of the protocol that this crate speaks. From version 2 on the guest answers requests.
pub const VERSION: u16 = 2;
/// The first version whose guests answer requests.
pub const REQUESTS_SINCE: u16 = 2;
/// Bytes before the contents of a message: its kind and their length.
pub const HEADER_BYTES: usize = 4;
/// Bytes of a request's or an answer's number.
const ID_BYTES: usize = 4;
/// Bytes of the longest contents of a message to the guest.
pub const LONGEST_TO_GUEST: usize = 4096;
/// Bytes of an answer that one message carries at most.
pub const PIECE_BYTES: usize = 2000;
/// Bytes of the longest contents of a message from the guest.
pub const LONGEST_FROM_GUEST: usize = ID_BYTES + PIECE_BYTES;

/// Bytes of a message to /dev/log that one message carries at most: what is left beside its numbers.
pub const LOG_BYTES: usize = LONGEST_FROM_GUEST - 10;

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
pub enum Message<'a> {
    /// The first message in each direction: the version of the protocol that the sender uses. The guest sends it when its
    /// program has started.
    Hello(u16),
    /// To the guest: a signal for its first process, by Linux's number (signal(7)).
    Signal(u16),
    /// To the guest: the size of the terminal, at the start and whenever it changes.
    Window(Window),
    /// To the guest: the program that served the shared directory with this mount tag has ended.
    ShareGone(&'a [u8]),
    /// To the guest: a request. `id` is chosen by the sender, and is not that of a request without its [`Message::End`].
    Request {
        /// The number that the answer has.
        id: u32,
        /// What is asked.
        request: Request<'a>,
    },
    /// From the guest: the next bytes of the answer to request `id`.
    Piece {
        /// The request's number.
        id: u32,
        /// At most [`PIECE_BYTES`].
        bytes: &'a [u8],
    },
    /// From the guest: the end of the answer to request `id`.
    End {
        /// The request's number.
        id: u32,
        /// 0, or the error that ended it (errno(3)).
        error: u16,
    },
    /// From the guest, unasked: a message that a program sent to /dev/log (syslog(3)), or a piece of one.
    Log {
        /// Names the message: its pieces come in order, but those of others may come between.
        id: u32,
        /// The process that sent it.
        pid: u32,
        /// Another piece follows.
        has_more: bool,
        /// At most [`LOG_BYTES`].
        bytes: &'a [u8],
    },
}

/// Numbers of the kinds.
mod kind {
    pub const HELLO: u16 = 1;
    pub const SIGNAL: u16 = 2;
    pub const WINDOW: u16 = 3;
    pub const REQUEST: u16 = 4;
    pub const PIECE: u16 = 5;
    pub const END: u16 = 6;
    pub const SHARE_GONE: u16 = 7;
    /// The first of those that are reserved for logs.
    pub const LOG: u16 = 56;
}

/// Appends to a buffer; what does not fit is lost, and noticed.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    is_cut: bool,
}

impl Writer<'_> {
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.is_cut = true,
        }
    }

    pub fn half(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn word(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub fn long(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
}

/// Takes fields off the front of a message's contents.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn half(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Message<'a> {
    /// Writes the message as it is sent to the front of `buffer`, and returns it there. `None`: it does not fit, or is longer
    /// than a receiver takes.
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut out = Writer { buffer, len: 0, is_cut: false };
        // The header follows when the length is known.
        out.bytes(&[0; HEADER_BYTES]);
        let (kind, longest) = match *self {
            Message::Hello(version) => {
                out.half(version);
                (kind::HELLO, LONGEST_TO_GUEST)
            }
            Message::Signal(number) => {
                out.half(number);
                (kind::SIGNAL, LONGEST_TO_GUEST)
            }
            Message::Window(Window { rows, columns, width, height }) => {
                [rows, columns, width, height].into_iter().for_each(|word| out.half(word));
                (kind::WINDOW, LONGEST_TO_GUEST)
            }
            Message::ShareGone(tag) => {
                out.bytes(tag);
                (kind::SHARE_GONE, LONGEST_TO_GUEST)
            }
            Message::Request { id, request } => {
                out.word(id);
                request.write(&mut out);
                (kind::REQUEST, LONGEST_TO_GUEST)
            }
            Message::Piece { id, bytes } => {
                out.word(id);
                out.bytes(bytes);
                (kind::PIECE, LONGEST_FROM_GUEST)
            }
            Message::End { id, error } => {
                out.word(id);
                out.half(error);
                (kind::END, LONGEST_FROM_GUEST)
            }
            Message::Log { id, pid, has_more, bytes } => {
                out.word(id);
                out.word(pid);
                out.half(has_more.into());
                out.bytes(bytes);
                (kind::LOG, LONGEST_FROM_GUEST)
            }
        };
        let Writer { buffer, len, is_cut } = out;
        let contents = len.checked_sub(HEADER_BYTES).filter(|&contents| !is_cut && contents <= longest)?;
        buffer[..2].copy_from_slice(&kind.to_le_bytes());
        buffer[2..HEADER_BYTES].copy_from_slice(&(contents as u16).to_le_bytes());
        Some(&buffer[..len])
    }

    /// What stands before the bytes of a [`Message::Piece`] with `len` of them, [`PIECE_BYTES`] at most.
    pub fn before_piece(id: u32, len: usize) -> [u8; HEADER_BYTES + ID_BYTES] {
        let ([a, b], [c, d]) = (kind::PIECE.to_le_bytes(), ((ID_BYTES + len) as u16).to_le_bytes());
        let [e, f, g, h] = id.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// The message that `bytes` begin with, which is whole. `None` if it is not, or of an unknown kind.
    pub fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let mut fields = Fields(bytes);
        let (kind, len) = (fields.half()?, fields.half()?);
        Self::decode(kind, fields.rest().get(..len.into())?)
    }

    /// The message of this kind and these contents. `None` if the kind is unknown, or the contents are too short or too long for it.
    pub(crate) fn decode(kind: u16, contents: &'a [u8]) -> Option<Message<'a>> {
        let mut fields = Fields(contents);
        if matches!(kind, kind::PIECE | kind::LOG) && contents.len() > LONGEST_FROM_GUEST {
            return None;
        }
        Some(match kind {
            kind::HELLO => Message::Hello(fields.half()?),
            kind::SIGNAL => Message::Signal(fields.half()?),
            kind::WINDOW => Message::Window(Window {
                rows: fields.half()?,
                columns: fields.half()?,
                width: fields.half()?,
                height: fields.half()?,
            }),
            kind::SHARE_GONE => Message::ShareGone(fields.rest()),
            kind::REQUEST => Message::Request { id: fields.word()?, request: Request::read(fields)? },
            kind::PIECE => Message::Piece { id: fields.word()?, bytes: fields.rest() },
            kind::END => Message::End { id: fields.word()?, error: fields.half()? },
            kind::LOG => Message::Log {
                id: fields.word()?,
                pid: fields.word()?,
                has_more: fields.half()? & 1 != 0,
                bytes: fields.rest(),
            },
            _ => return None,
        })
    }
}
