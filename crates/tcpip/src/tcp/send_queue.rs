//! The bytes that a program has written and the peer has not acknowledged, in shared packet buffers.
//!
//! The bytes are copied once, from the program into a buffer that keeps room for headers at its front. A segment refers to
//! them; a retransmission sends the same buffers again.

use super::predicted::PREDICTED_LEN;
use crate::device::{Buffer, Chunk, DRIVER_ROOM, Fragment};
use crate::few::Few;

/// How many fragments one segment may have: enough for 64 KiB in buffers of 2 KiB.
pub const MAX_FRAGMENTS: usize = 36;
/// What is left free at the front of each buffer, so that a segment may be sent with its headers in place.
pub const HEADROOM: usize = DRIVER_ROOM + PREDICTED_LEN;

/// A segment's payload.
pub type Fragments<'a, B> = heapless::Vec<Fragment<'a, B>, MAX_FRAGMENTS>;

struct Piece<B> {
    /// Position of the first byte in the stream, modulo 2^32.
    start: u32,
    chunk: Chunk<B>,
}

/// A stream of chunks.
pub struct SendQueue<B> {
    pieces: Few<Piece<B>>,
    /// Position of the first byte held.
    head: u32,
    /// Position after the last byte held.
    tail: u32,
}

impl<B: Buffer> SendQueue<B> {
    /// An empty queue. Allocates nothing.
    pub fn new() -> Self {
        SendQueue { pieces: Few::new(), head: 0, tail: 0 }
    }

    /// Bytes held.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.tail.wrapping_sub(self.head)
    }

    /// Buffers held beside the first.
    #[inline(always)]
    pub fn more_buffers(&self) -> usize {
        self.pieces.behind_first()
    }

    /// Appends up to `len` bytes that `fill` writes, into the room of the last buffer if that has no other owner, then
    /// into new ones. Ends early when `fill` writes less than it could or `alloc` has nothing; returns the bytes written.
    #[inline(always)]
    pub fn append(
        &mut self,
        len: usize,
        mut alloc: impl FnMut() -> Option<B>,
        mut fill: impl FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let mut done = 0;
        if self.pieces.front().is_none() && len > 0 {
            // The usual case: nothing waits, and all of it fits one buffer.
            let Some((piece, full)) = self.filled(len, &mut alloc, &mut fill) else { return 0 };
            let wrote = piece.chunk.len as usize;
            self.tail = self.tail.wrapping_add(piece.chunk.len);
            self.pieces.begin(piece);
            if wrote == len || !full {
                return wrote;
            }
            done = wrote;
        }
        done + self.append_more(len - done, &mut alloc, &mut fill)
    }

    /// A new buffer with up to `len` bytes for the end of the queue, and whether all that fits was written; `None` if
    /// nothing was.
    #[inline(always)]
    fn filled(
        &self,
        len: usize,
        mut alloc: impl FnMut() -> Option<B>,
        mut fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Option<(Piece<B>, bool)> {
        let mut buffer = alloc()?;
        let room = buffer.as_mut_slice()?.get_mut(HEADROOM..)?;
        let want = room.len().min(len);
        let wrote = fill(&mut room[..want]).min(want);
        if wrote == 0 {
            return None;
        }
        let chunk = Chunk { buffer, start: HEADROOM as u32, len: wrote as u32 };
        Some((Piece { start: self.tail, chunk }, wrote == want))
    }

    #[inline(never)]
    fn append_more(
        &mut self,
        len: usize,
        alloc: &mut dyn FnMut() -> Option<B>,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let mut done = 0;
        if let Some(Piece { chunk, .. }) = self.pieces.back_mut() {
            let used = (chunk.start + chunk.len) as usize;
            if let Some(room) = chunk.buffer.as_mut_slice().and_then(|all| all.get_mut(used..))
                && !room.is_empty()
            {
                let want = room.len().min(len);
                let wrote = fill(&mut room[..want]).min(want);
                chunk.len += wrote as u32;
                self.tail = self.tail.wrapping_add(wrote as u32);
                done = wrote;
                if wrote < want {
                    return done;
                }
            }
        }
        while done < len {
            if self.pieces.make_room(1).is_err() {
                break;
            }
            let Some((piece, full)) = self.filled(len - done, &mut *alloc, &mut *fill) else { break };
            done += piece.chunk.len as usize;
            self.tail = self.tail.wrapping_add(piece.chunk.len);
            self.pieces.push_back(piece);
            if !full {
                break;
            }
        }
        done
    }

    /// Appends the first bytes of `chunk`, up to `most`, from where they lie; returns their number: 0 without memory.
    pub fn append_chunk(&mut self, mut chunk: Chunk<B>, most: usize) -> usize {
        chunk.len = chunk.len.min(most as u32);
        let len = chunk.len;
        if len == 0 || self.pieces.make_room(1).is_err() {
            return 0;
        }
        self.pieces.push_back(Piece { start: self.tail, chunk });
        self.tail = self.tail.wrapping_add(len);
        len as usize
    }

    /// Drops the first `count` bytes, which the peer has.
    #[inline(always)]
    pub fn acknowledge(&mut self, count: u32) {
        let mut count = count.min(self.len());
        self.head = self.head.wrapping_add(count);
        while count > 0 {
            let Some(first) = self.pieces.front_mut() else { return };
            if first.chunk.len > count {
                first.chunk.skip(count as usize);
                first.start = first.start.wrapping_add(count);
                return;
            }
            count -= first.chunk.len;
            self.pieces.pop_front();
        }
    }

    /// The buffer of the last `len` bytes, if it holds nothing else and nothing was dropped from its front: headers may be
    /// written into the room before them if the buffer has no other owner.
    #[inline(always)]
    pub fn tail_buffer(&mut self, len: u32) -> Option<&mut B> {
        let Chunk { buffer, start, len: held } = &mut self.pieces.back_mut()?.chunk;
        (*held == len && *start == HEADROOM as u32).then_some(buffer)
    }

    /// What the first buffer holds.
    pub fn first(&self) -> Option<Fragment<'_, B>> {
        let Chunk { buffer, start, len } = &self.pieces.front()?.chunk;
        Some(Fragment { buffer, start: *start, len: *len })
    }

    /// Collects references to at most `len` bytes from `offset` on, in at most `limit` fragments; returns their number.
    pub fn gather<'a>(&'a self, offset: u32, len: u32, limit: usize, out: &mut Fragments<'a, B>) -> u32 {
        let Some(first) = self.find(offset) else { return 0 };
        let Some(piece) = self.pieces.get(first) else { return 0 };
        let skip = self.head.wrapping_add(offset).wrapping_sub(piece.start);
        if len <= piece.chunk.len - skip {
            // The usual case: all of it is in one buffer.
            let start = piece.chunk.start + skip;
            return if out.push(Fragment { buffer: &piece.chunk.buffer, start, len }).is_ok() {
                len
            } else {
                0
            };
        }
        self.gather_pieces(first, skip, len, limit, out)
    }

    fn gather_pieces<'a>(
        &'a self,
        first: usize,
        mut skip: u32,
        len: u32,
        limit: usize,
        out: &mut Fragments<'a, B>,
    ) -> u32 {
        let mut done = 0;
        for piece in self.pieces.iter_from(first) {
            if done == len || out.len() >= limit {
                break;
            }
            let take = (piece.chunk.len - skip).min(len - done);
            let fragment =
                Fragment { buffer: &piece.chunk.buffer, start: piece.chunk.start + skip, len: take };
            if out.push(fragment).is_err() {
                break;
            }
            done += take;
            skip = 0;
        }
        done
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.head = self.tail;
    }

    /// The piece that holds the byte at `offset`: nearly always the first or the last.
    fn find(&self, offset: u32) -> Option<usize> {
        if offset >= self.len() {
            return None;
        }
        let position = |piece: &Piece<B>| piece.start.wrapping_sub(self.head);
        if self.pieces.back().is_some_and(|last| position(last) <= offset) {
            Some(self.pieces.len() - 1)
        } else if self.pieces.front().is_some_and(|first| offset < first.chunk.len) {
            Some(0)
        } else {
            Some(self.pieces.partition_point(|piece| position(piece) <= offset) - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestBuffer;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize, usize, bool),
        AppendChunk(usize, usize),
        Acknowledge(prop::sample::Index),
        Gather(prop::sample::Index, u32, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..3000, 0usize..3000, any::<bool>())
                .prop_map(|(n, stop, share)| Step::Append(n, stop, share)),
            (0usize..3000, 0usize..3000).prop_map(|(n, most)| Step::AppendChunk(n, most)),
            any::<prop::sample::Index>().prop_map(Step::Acknowledge),
            (any::<prop::sample::Index>(), 0u32..5000, 1usize..36)
                .prop_map(|(i, n, l)| Step::Gather(i, n, l)),
        ]
    }

    proptest! {
        /// The queue is a stream of bytes, whatever the pieces.
        #[test]
        fn is_a_stream(steps in proptest::collection::vec(step(), 1..60)) {
            let mut queue = SendQueue::<TestBuffer>::new();
            queue.head = u32::MAX - 2000;
            queue.tail = queue.head;
            let mut model: Vec<u8> = Vec::new();
            let mut next = 0u8;
            let mut held = Vec::new();
            for step in steps {
                match step {
                    Step::Append(len, stop, share) => {
                        let mut left = stop;
                        let wrote = queue.append(len, || Some(TestBuffer::new(512)), |room| {
                            let n = room.len().min(left);
                            left -= n;
                            for byte in &mut room[..n] {
                                next = next.wrapping_mul(5).wrapping_add(7);
                                *byte = next;
                                model.push(next);
                            }
                            n
                        });
                        prop_assert_eq!(wrote, len.min(stop));
                        if share {
                            held.extend(queue.pieces.back().map(|p| p.chunk.buffer.clone()));
                        }
                    }
                    Step::AppendChunk(len, most) => {
                        let bytes: Vec<u8> = (0..len).map(|index| (index * 7) as u8).collect();
                        let chunk = TestBuffer::chunk(&bytes, len + 9, 9);
                        prop_assert_eq!(queue.append_chunk(chunk, most), len.min(most));
                        model.extend(&bytes[..len.min(most)]);
                    }
                    Step::Acknowledge(i) => {
                        let count = i.index(model.len() + 1);
                        queue.acknowledge(count as u32);
                        model.drain(..count);
                    }
                    Step::Gather(i, len, limit) => {
                        let offset = i.index(model.len() + 1);
                        let mut out = Fragments::new();
                        let got = queue.gather(offset as u32, len, limit, &mut out) as usize;
                        let bytes: Vec<u8> = out.iter().flat_map(|f| f.bytes().iter().copied()).collect();
                        prop_assert_eq!(bytes.len(), got);
                        prop_assert_eq!(&bytes[..], &model[offset..offset + got]);
                        if out.len() < limit {
                            prop_assert_eq!(got, (len as usize).min(model.len() - offset));
                        }
                    }
                }
                prop_assert_eq!(queue.len() as usize, model.len());
            }
        }
    }
}
