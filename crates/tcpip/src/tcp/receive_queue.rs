//! Bytes that have arrived: in order for the program, and out of order until the missing bytes arrive.
//!
//! The queue holds the packet buffers themselves. Small payloads are copied into the free room of the buffer before them, so that
//! many small segments do not pin many buffers. The number of ranges out of order is bounded.

use super::seq::Seq;
use crate::device::{Buffer, Chunk};
use crate::few::Few;
use crate::payload::Payload;
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

/// Payloads up to this length are copied into the free room of the buffer before them, so that many small segments do
/// not pin many buffers.
const COPY_BREAK: usize = 512;
/// How many separate ranges may wait out of order.
const MAX_RUNS: usize = 128;

/// Chunks in the order of the stream.
pub struct ReceiveQueue<B> {
    chunks: Few<Chunk<B>>,
    len: usize,
}

impl<B: Buffer> ReceiveQueue<B> {
    /// An empty queue. Allocates nothing.
    pub fn new() -> Self {
        ReceiveQueue { chunks: Few::new(), len: 0 }
    }

    /// Bytes held.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// [`NoMemory`]; the chunk is dropped.
    #[inline(always)]
    pub fn push(&mut self, chunk: Chunk<B>) -> Result<(), NoMemory> {
        let len = chunk.len as usize;
        if len == 0 {
            return Ok(());
        }
        if self.chunks.front().is_none() {
            self.chunks.begin(chunk);
        } else {
            self.push_behind(chunk)?;
        }
        self.len += len;
        Ok(())
    }

    #[inline(never)]
    fn push_behind(&mut self, chunk: Chunk<B>) -> Result<(), NoMemory> {
        if let Some(last) = self.chunks.back_mut()
            && join(last, &chunk)
        {
            return Ok(());
        }
        self.chunks.make_room(1)?;
        self.chunks.push_back(chunk);
        Ok(())
    }

    /// Moves a payload to the end.
    ///
    /// # Errors
    /// [`NoMemory`]; nothing of it is taken.
    #[inline(always)]
    pub fn push_payload(&mut self, payload: &mut Payload<B>) -> Result<(), NoMemory> {
        if payload.has_rest() {
            return self.push_all(payload);
        }
        payload.take_head().map_or(Ok(()), |head| self.push(head))
    }

    #[inline(never)]
    fn push_all(&mut self, payload: &mut Payload<B>) -> Result<(), NoMemory> {
        self.chunks.make_room(payload.chunks().count())?;
        let (head, rest) = (payload.take_head(), payload.take_rest());
        head.into_iter().chain(rest).try_for_each(|chunk| self.push(chunk))
    }

    /// Moves all of `other` to the end.
    ///
    /// # Errors
    /// [`NoMemory`]; `other` is dropped.
    fn append(&mut self, other: ReceiveQueue<B>) -> Result<(), NoMemory> {
        self.chunks.make_room(other.chunks.len())?;
        other.chunks.into_elements().try_for_each(|chunk| self.push(chunk))
    }

    /// Passes up to `len` bytes to `sink`, piece by piece, until it takes less than it was passed.
    /// Takes them off the queue unless `peek`. Returns how many bytes were taken.
    #[inline(always)]
    pub fn read(&mut self, len: usize, peek: bool, mut sink: impl FnMut(&[u8]) -> usize) -> usize {
        if peek {
            return self.peek(0, len, &mut sink);
        }
        let (mut done, all) = self.read_chunk(len, &mut sink);
        if all && done < len && self.len > 0 {
            done += self.read_more(len - done, &mut sink);
        }
        done
    }

    /// Passes up to `len` bytes of the first chunk to `sink` and removes them; returns their number, and whether it took
    /// all that it was passed.
    #[inline(always)]
    fn read_chunk(&mut self, len: usize, mut sink: impl FnMut(&[u8]) -> usize) -> (usize, bool) {
        let Some(chunk) = self.chunks.front_mut() else { return (0, false) };
        let bytes = chunk.bytes();
        let give = &bytes[..bytes.len().min(len)];
        let (given, took) = (give.len(), sink(give).min(give.len()));
        if took == chunk.len as usize {
            self.chunks.pop_front();
        } else {
            chunk.skip(took);
        }
        self.len -= took;
        (took, took == given)
    }

    #[inline(never)]
    fn read_more(&mut self, len: usize, sink: &mut dyn FnMut(&[u8]) -> usize) -> usize {
        let mut done = 0;
        while done < len {
            let (took, all) = self.read_chunk(len - done, &mut *sink);
            done += took;
            if !all {
                break;
            }
        }
        done
    }

    /// Hands up to `len` bytes behind the first `skip` to `sink`, as [`read`](Self::read), and leaves them in place.
    #[cold]
    pub fn peek(&self, mut skip: usize, len: usize, sink: &mut dyn FnMut(&[u8]) -> usize) -> usize {
        let mut done = 0;
        for chunk in self.chunks.iter_from(0) {
            let skipped = skip.min(chunk.len as usize);
            skip -= skipped;
            let bytes = &chunk.bytes()[skipped..];
            let give = &bytes[..bytes.len().min(len - done)];
            let took = sink(give).min(give.len());
            done += took;
            if took < bytes.len() {
                break;
            }
        }
        done
    }

    /// The byte at an offset, if there is one.
    pub fn byte(&self, mut offset: usize) -> Option<u8> {
        for chunk in self.chunks.iter_from(0) {
            let bytes = chunk.bytes();
            match bytes.get(offset) {
                Some(byte) => return Some(*byte),
                None => offset -= bytes.len(),
            }
        }
        None
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }
}

/// Copies a small chunk behind `last`, if `last` has room and no other owner.
fn join<B: Buffer>(last: &mut Chunk<B>, chunk: &Chunk<B>) -> bool {
    if chunk.len as usize > COPY_BREAK {
        return false;
    }
    let (used, len) = ((last.start + last.len) as usize, chunk.len as usize);
    match last.buffer.as_mut_slice().and_then(|all| all.get_mut(used..used + len)) {
        Some(room) => {
            room.copy_from_slice(chunk.bytes());
            last.len += chunk.len;
            true
        }
        None => false,
    }
}

struct Run<B> {
    start: Seq,
    end: Seq,
    queue: ReceiveQueue<B>,
    /// Larger for what arrived later: SACK reports the latest first (RFC 2018, 4).
    stamp: u32,
}

/// Segments that arrived before their turn: disjoint ranges in order of sequence, none touching another.
pub struct OutOfOrder<B> {
    runs: Vec<Run<B>>,
    stamp: u32,
}

impl<B: Buffer> OutOfOrder<B> {
    /// Nothing.
    pub fn new() -> Self {
        OutOfOrder { runs: Vec::new(), stamp: 0 }
    }

    /// Whether nothing waits.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.queue.len()).sum()
    }

    /// Takes a payload that starts at `seq`, after the next byte expected. Drops what is there already.
    pub fn insert(&mut self, mut seq: Seq, mut payload: Payload<B>) {
        self.stamp = self.stamp.wrapping_add(1);
        // The first run that ends at or after `seq`; searched from the end, where most arrive.
        let mut at = self.runs.len();
        while at > 0 && !self.runs[at - 1].end.before(seq) {
            at -= 1;
        }
        if let Some(run) = self.runs.get_mut(at)
            && !run.start.after(seq)
        {
            let known = run.end - seq;
            run.stamp = self.stamp;
            if known >= payload.len() {
                return;
            }
            payload.skip(known);
            seq = run.end;
        }
        let end = seq + payload.len();
        // Runs that lie inside the new data are superseded; one that overlaps its end cuts it.
        let mut behind = at;
        if self.runs.get(at).is_some_and(|run| run.end == seq) {
            behind += 1;
        }
        while self.runs.get(behind).is_some_and(|run| !run.end.after(end)) {
            self.runs.remove(behind);
        }
        if let Some(next) = self.runs.get(behind)
            && next.start.before(end)
        {
            payload.truncate(next.start - seq);
        }
        let end = seq + payload.len();
        if behind > at {
            let run = &mut self.runs[at];
            // Without memory the segment is lost: its sender will repeat it.
            if run.queue.push_payload(&mut payload).is_err() {
                return;
            }
            run.end = end;
        } else {
            if self.runs.len() >= MAX_RUNS {
                return;
            }
            let mut queue = ReceiveQueue::new();
            // As above.
            if queue.push_payload(&mut payload).is_err()
                || self.runs.try_insert(at, Run { start: seq, end, queue, stamp: self.stamp }).is_err()
            {
                return;
            }
            behind = at + 1;
        }
        if self.runs.get(behind).is_some_and(|next| next.start == end) {
            let next = self.runs.remove(behind);
            let run = &mut self.runs[behind - 1];
            // Without memory what was reported as received is lost after all, which its sender must bear (RFC 2018, 8).
            if run.queue.append(next.queue).is_ok() {
                run.end = next.end;
                run.stamp = self.stamp;
            }
        }
    }

    /// Moves what is in order now to `queue`; returns the next byte expected.
    pub fn take(&mut self, mut next: Seq, queue: &mut ReceiveQueue<B>) -> Seq {
        while self.runs.first().is_some_and(|run| !run.start.after(next)) {
            let mut run = self.runs.remove(0);
            if run.end.after(next) {
                let known = (next - run.start) as usize;
                run.queue.read(known, false, |bytes| bytes.len());
                // As in `insert`.
                if queue.append(run.queue).is_ok() {
                    next = run.end;
                }
            }
        }
        next
    }

    /// The ranges to report, the most recent first.
    pub fn blocks(&self, limit: usize) -> heapless::Vec<(Seq, Seq), 4> {
        let mut blocks: heapless::Vec<(Seq, Seq), 4> = heapless::Vec::new();
        let mut below = u32::MAX;
        while blocks.len() < limit.min(4) {
            // Ages rather than stamps are compared, so that the counter may wrap.
            let best = self
                .runs
                .iter()
                .filter(|run| run.stamp_key(self.stamp) < below)
                .max_by_key(|r| r.stamp_key(self.stamp));
            let Some(run) = best else { break };
            below = run.stamp_key(self.stamp);
            let _ = blocks.push((run.start, run.end));
        }
        blocks
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.runs.clear();
    }
}

impl<B> Run<B> {
    fn stamp_key(&self, now: u32) -> u32 {
        u32::MAX - 1 - now.wrapping_sub(self.stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestBuffer;
    use proptest::prelude::*;

    fn payload(offset: usize, len: usize, cut: usize) -> Payload<TestBuffer> {
        let byte = |i: usize| (i * 7 + i / 256) as u8;
        let chunk = |from: usize, to: usize| {
            let bytes: Vec<u8> = (from..to).map(byte).collect();
            TestBuffer::chunk(&bytes, 600, 10)
        };
        let cut = offset + cut % (len + 1);
        Payload::new(chunk(offset, cut), alloc::vec![chunk(cut, offset + len)], len as u32)
    }

    proptest! {
        /// Segments in any order, cut and repeated in any way, give the stream back.
        #[test]
        fn any_order_gives_the_stream(parts in proptest::collection::vec((0usize..2000, 1usize..400, 0usize..400), 1..80), base: u32) {
            let mut ooo = OutOfOrder::new();
            let mut queue = ReceiveQueue::new();
            let mut have = alloc::vec![false; 2400];
            let mut next = Seq(base);
            let mut read = Vec::new();
            for (offset, len, cut) in parts {
                let seq = Seq(base) + offset as u32;
                let mut payload = payload(offset, len, cut);
                have[offset..offset + len].fill(true);
                if seq.after(next) {
                    ooo.insert(seq, payload);
                } else if (seq + len as u32).after(next) {
                    payload.skip(next - seq);
                    next += payload.len();
                    queue.push_payload(&mut payload).unwrap();
                    next = ooo.take(next, &mut queue);
                }
                let expected = have.iter().position(|h| !h).unwrap();
                prop_assert_eq!(next - Seq(base), expected as u32);
                let waiting = have[expected..].iter().filter(|h| **h).count();
                prop_assert_eq!(ooo.len(), waiting);
                for pair in ooo.runs.windows(2) {
                    prop_assert!(pair[0].end.before(pair[1].start));
                }
                let blocks = ooo.blocks(3);
                prop_assert_eq!(blocks.len(), ooo.runs.len().min(3));
                if seq.after(next) {
                    prop_assert!(!blocks[0].0.after(seq) && !blocks[0].1.before(seq + len as u32));
                }
                queue.read(100, false, |bytes| { read.extend_from_slice(bytes); bytes.len() });
            }
            queue.read(usize::MAX, false, |bytes| { read.extend_from_slice(bytes); bytes.len() });
            for (i, byte) in read.iter().enumerate() {
                prop_assert_eq!(*byte, (i * 7 + i / 256) as u8);
            }
            prop_assert_eq!(read.len() as u32, next - Seq(base));
        }
    }

    #[test]
    fn small_segments_share_a_buffer() {
        let mut queue = ReceiveQueue::new();
        for i in 0..100u8 {
            queue.push(TestBuffer::chunk(&[i], 2048, 66)).unwrap();
        }
        assert_eq!((queue.len(), queue.chunks.len()), (100, 1));
        let mut seen = Vec::new();
        assert_eq!(
            queue.read(7, true, |b| {
                seen.extend_from_slice(b);
                b.len()
            }),
            7
        );
        assert_eq!(queue.read(60, false, |b| b.len().min(50)), 50);
        assert_eq!(queue.len(), 50);
    }
}
