//! What has come for a socket: bytes in the buffers that they came in, and where messages end.
use alloc::collections::VecDeque;
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_hal::io::dma::PacketBuffer;
use coracle_virtio::device::vsock::{HEADER_BYTES, message};

/// A part of a buffer.
struct Chunk {
    buffer: PacketBuffer,
    start: usize,
    end: usize,
}

/// A message of a SOCK_SEQPACKET: its bytes, and whether it is marked as the end of a record.
#[derive(Clone, Copy)]
pub struct Message {
    pub len: usize,
    pub is_record: bool,
}

/// The queue. Of two chunks that follow each other, the bytes are too many for one buffer: so memory is in proportion to bytes.
#[derive(Default)]
pub struct Inbox {
    chunks: VecDeque<Chunk>,
    /// Those that are whole. None is empty, so that there are no more than the credit allows bytes.
    messages: VecDeque<Message>,
    /// Bytes of the one that is not.
    partial: usize,
}

impl Inbox {
    /// Appends the `len` bytes behind the header in a buffer, and puts another buffer in its place if it keeps that.
    pub fn push(&mut self, buffer: &mut PacketBuffer, len: usize) -> Result<(), NoMemory> {
        let end = HEADER_BYTES + len;
        if let Some(last) = self.chunks.back_mut()
            && let Some(room) = last.buffer.as_mut_slice().get_mut(last.end..last.end + len)
        {
            room.copy_from_slice(&buffer.as_slice()[HEADER_BYTES..end]);
            last.end += len;
            return Ok(());
        }
        if len > 0 {
            self.chunks.make_room_for(self.chunks.len() + 1)?;
            let kept = core::mem::replace(buffer, PacketBuffer::alloc().ok_or(NoMemory)?);
            self.chunks.push_back_reserved(Chunk { buffer: kept, start: HEADER_BYTES, end });
        }
        Ok(())
    }

    /// The bytes that were appended last are `len` ones of a message, whose flags these are.
    pub fn mark(&mut self, len: usize, flags: u32) -> Result<(), NoMemory> {
        self.partial += len;
        if flags & message::END == 0 || self.partial == 0 {
            return Ok(());
        }
        let whole = Message { len: self.partial, is_record: flags & message::RECORD != 0 };
        self.messages.try_push_back(whole)?;
        self.partial = 0;
        Ok(())
    }

    /// The first message that is whole.
    pub fn message(&self) -> Option<Message> {
        self.messages.front().copied()
    }

    /// Takes it out.
    pub fn take_message(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.take(message.len);
        }
    }

    /// Copies up to `want` bytes to the program, from the one at `skip`. Returns how many; fewer if a page of the program is not there.
    pub fn copy(&self, mut skip: usize, want: usize, dst: &mut UserBuf) -> usize {
        let mut done = 0;
        for chunk in &self.chunks {
            let bytes = &chunk.buffer.as_slice()[chunk.start..chunk.end];
            let bytes = &bytes[skip.min(bytes.len())..];
            skip = skip.saturating_sub(chunk.end - chunk.start);
            let bytes = &bytes[..bytes.len().min(want - done)];
            let copied = dst.put_nofault(bytes);
            done += copied;
            if copied < bytes.len() || done == want {
                break;
            }
        }
        done
    }

    /// Takes the first bytes out.
    pub fn take(&mut self, mut len: usize) {
        while let Some(first) = self.chunks.front_mut() {
            let part = len.min(first.end - first.start);
            first.start += part;
            len -= part;
            if first.start < first.end {
                break;
            }
            self.chunks.pop_front();
        }
    }
}
