//! The bytes of a received packet in one or several chunks; headers are cut off without copying.

use crate::device::{Buffer, Chunk};
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

/// A payload in one or several chunks.
#[derive(Debug)]
pub struct Payload<B> {
    /// None once it was taken.
    head: Option<Chunk<B>>,
    rest: Vec<Chunk<B>>,
    len: u32,
}

impl<B: Buffer> Payload<B> {
    /// What these chunks hold, cut to `len` bytes.
    #[inline(always)]
    pub fn new(head: Chunk<B>, rest: Vec<Chunk<B>>, len: u32) -> Self {
        let mut held = head.len;
        for chunk in &rest {
            held += chunk.len;
        }
        let mut payload = Payload { head: Some(head), rest, len: held };
        payload.truncate(len);
        payload
    }

    /// Its length in bytes.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether it holds no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of the first chunk, where the headers are.
    #[inline(always)]
    pub fn head(&self) -> &[u8] {
        self.head.as_ref().map_or(&[], Chunk::bytes)
    }

    /// The `count` bytes that were dropped last from the front of the first chunk; `None` if they were not all in it.
    pub fn dropped(&self, count: usize) -> Option<&[u8]> {
        let head = self.head.as_ref()?;
        let start = head.start as usize;
        head.buffer.as_slice().get(start.checked_sub(count)?..start)
    }

    /// Its chunks.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk<B>> {
        self.head.iter().chain(&self.rest)
    }

    /// Another holder of the same chunks.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn try_clone(&self) -> Result<Self, NoMemory> {
        Ok(Payload { head: self.head.clone(), rest: self.rest.try_to_vec()?, len: self.len })
    }

    /// Takes everything; what stays is empty.
    pub fn take(&mut self) -> Self {
        Payload { head: self.head.take(), rest: self.take_rest(), len: core::mem::take(&mut self.len) }
    }

    /// Takes the first chunk.
    #[inline(always)]
    pub fn take_head(&mut self) -> Option<Chunk<B>> {
        self.head.take()
    }

    /// Takes the chunks after the first.
    #[inline(always)]
    pub fn take_rest(&mut self) -> Vec<Chunk<B>> {
        core::mem::take(&mut self.rest)
    }

    /// Whether there is more than one chunk.
    #[inline(always)]
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Drops bytes from the front.
    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        let count = count.min(self.len);
        self.len -= count;
        let mut here = 0;
        if let Some(head) = &mut self.head {
            here = count.min(head.len);
            head.start += here;
            head.len -= here;
        }
        if here < count {
            self.skip_rest(count - here);
        }
    }

    fn skip_rest(&mut self, mut count: u32) {
        for chunk in &mut self.rest {
            let here = count.min(chunk.len);
            chunk.skip(here as usize);
            count -= here;
        }
    }

    /// Drops bytes from the end so that `len` stay.
    #[inline(always)]
    pub fn truncate(&mut self, len: u32) {
        if len < self.len {
            self.len = len;
            let mut left = len;
            for chunk in self.head.iter_mut().chain(&mut self.rest) {
                chunk.len = chunk.len.min(left);
                left -= chunk.len;
            }
        }
    }

    /// Hands `len` bytes from the front to `sink`, piece by piece, until it takes less than it was given.
    pub fn read(&self, mut len: usize, mut sink: impl FnMut(&[u8]) -> usize) -> usize {
        let mut done = 0;
        for chunk in self.chunks() {
            let bytes = chunk.bytes();
            let give = &bytes[..bytes.len().min(len)];
            let took = if give.is_empty() { 0 } else { sink(give).min(give.len()) };
            done += took;
            len -= took;
            if took < give.len() {
                break;
            }
        }
        done
    }

    /// Copies bytes from `offset` on to `out`; returns how many.
    pub fn copy_out(&self, mut offset: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        for chunk in self.chunks() {
            let Some(bytes) = chunk.bytes().get(offset..) else {
                offset -= chunk.len as usize;
                continue;
            };
            let take = bytes.len().min(out.len() - done);
            out[done..done + take].copy_from_slice(&bytes[..take]);
            done += take;
            offset = 0;
        }
        done
    }
}
