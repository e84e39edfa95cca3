//! An answer that is being sent.
use alloc::vec::Vec;
use coracle_control::{HEADER_BYTES, LONGEST_FROM_GUEST, Message, PIECE_BYTES};
use coracle_core::errno::Errno;
use coracle_core::task::long_call;
use coracle_fallible::filled;
use coracle_hal::records::{Piece, ROOM_BEFORE, Taking};
use coracle_linux::trace::Sink;
use coracle_system::drivers::console::Channel;

/// Collects an answer, and sends it piece by piece.
pub struct Answer<'a> {
    channel: &'a Channel,
    id: u32,
    piece: Vec<u8>,
    len: usize,
    message: Vec<u8>,
}

impl Answer<'_> {
    /// The answer to request `id`. ENOMEM.
    pub fn new(channel: &Channel, id: u32) -> Result<Answer<'_>, Errno> {
        let piece = filled(0, PIECE_BYTES)?;
        Ok(Answer { channel, id, piece, len: 0, message: filled(0, HEADER_BYTES + LONGEST_FROM_GUEST)? })
    }

    /// Appends bytes. EPIPE and other errors of the channel.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let done = self.fill(bytes.len(), |place| {
                place.copy_from_slice(&bytes[..place.len()]);
                Ok(place.len())
            })?;
            bytes = &bytes[done..];
        }
        Ok(())
    }

    /// Has `write` write up to `most` bytes to the end of the answer, at least one of which has room; it returns how many it wrote, as
    /// does this. Errors of `write`, and those of [`Answer::push`].
    pub fn fill(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        if self.len == PIECE_BYTES {
            self.flush()?;
        }
        let end = self.len.saturating_add(most).min(PIECE_BYTES);
        let done = write(&mut self.piece[self.len..end])?;
        self.len += done;
        Ok(done)
    }

    /// Sends what was collected.
    pub fn flush(&mut self) -> Result<(), Errno> {
        let piece = Message::Piece { id: self.id, bytes: &self.piece[..self.len] };
        self.len = 0;
        let message = piece.encode(&mut self.message).ok_or(Errno::INVAL)?;
        self.channel.send(message)?;
        // An answer may be long.
        long_call::pause();
        Ok(())
    }
}

impl Sink for Answer<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.push(bytes)
    }

    /// Sends the buffers with records as they are: each becomes a message.
    fn send(&mut self, taking: &mut Taking) -> Result<(), Errno> {
        if self.len > 0 {
            self.flush()?;
        }
        let id = self.id;
        self.channel.send_buffers(&mut || {
            let Piece { mut buffer, end } = taking.next()?;
            let before = Message::before_piece(id, end - ROOM_BEFORE);
            buffer.as_mut_slice()[..ROOM_BEFORE].copy_from_slice(&before);
            Some((buffer, end))
        })?;
        long_call::pause();
        Ok(())
    }
}

/// Ends the answer to request `id`.
pub fn end(channel: &Channel, id: u32, result: Result<(), Errno>) {
    let error = result.map_or_else(|error| error.number(), |()| 0);
    let mut buffer = [0; 16];
    if let Some(end) = (Message::End { id, error }).encode(&mut buffer) {
        // Without another side there is no one to answer.
        let _ = channel.send(end);
    }
}
