//! A queue of bytes that grows as it is used, up to a capacity. Room can be reserved for bytes that are still being read
//! elsewhere, or for bytes that were taken out and may have to be put back.
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

/// Bytes that the ring starts with when it is first written to.
const FIRST_SIZE: usize = 4096;

/// The queue.
#[derive(Debug)]
pub struct Ring {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
    /// Bytes of room that are kept.
    kept: usize,
    capacity: usize,
}

impl Ring {
    /// An empty ring that will hold up to `capacity` bytes.
    pub const fn new(capacity: usize) -> Self {
        Ring { bytes: Vec::new(), start: 0, len: 0, kept: 0, capacity }
    }
    /// Bytes held.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Bytes that still fit, without the room that is kept.
    pub fn free(&self) -> usize {
        self.capacity - self.len - self.kept
    }
    /// Bytes that still fit if it gets no more memory than it has, or than `size` bytes.
    pub fn free_within(&self, size: usize) -> usize {
        self.bytes.len().max(size.min(self.capacity)).saturating_sub(self.len + self.kept).min(self.free())
    }
    /// Bytes of memory that it has.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }
    /// Releases its memory, if nothing is held or kept.
    pub fn shrink(&mut self) {
        if self.len + self.kept == 0 {
            self.bytes = Vec::new();
            self.start = 0;
        }
    }
    /// Bytes that fit at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
    /// Changes the capacity; false if more is held or kept.
    pub fn set_capacity(&mut self, capacity: usize) -> bool {
        if capacity < self.len + self.kept {
            return false;
        }
        self.capacity = capacity;
        if self.bytes.len() > capacity {
            // Without the memory to move to, the bytes stay where they are: in more room than they will need.
            let _ = self.resize(capacity);
        }
        true
    }
    fn resize(&mut self, size: usize) -> Result<(), NoMemory> {
        let mut bytes = Vec::new();
        bytes.make_room(size)?;
        let (a, b) = self.peek();
        bytes.try_extend_from_slice(a)?;
        bytes.try_extend_from_slice(b)?;
        bytes.try_resize(size, 0)?;
        self.bytes = bytes;
        self.start = 0;
        Ok(())
    }
    /// The bytes held, oldest first, in at most two pieces.
    pub fn peek(&self) -> (&[u8], &[u8]) {
        let first = self.len.min(self.bytes.len() - self.start);
        (&self.bytes[self.start..self.start + first], &self.bytes[..self.len - first])
    }
    /// Forgets the `n` oldest bytes.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        self.len -= n;
        self.start = if self.len == 0 { 0 } else { (self.start + n) % self.bytes.len() };
    }
    /// One piece of free room, of at least one byte and at most `want`, unless the ring is full. Follow by
    /// [`Ring::commit`].
    ///
    /// # Errors
    /// [`NoMemory`] if there would be room, but no memory to have it in.
    pub fn room(&mut self, want: usize) -> Result<&mut [u8], NoMemory> {
        let mut want = want.min(self.free());
        if let Err(error) = self.have_memory(want) {
            // What room there is will do.
            want = self.bytes.len() - self.len - self.kept;
            if want == 0 {
                return Err(error);
            }
        }
        if self.bytes.is_empty() {
            return Ok(&mut []);
        }
        let size = self.bytes.len();
        let at = self.start + self.len;
        let range = if at < size { at..size } else { at - size..self.start };
        let piece = &mut self.bytes[range];
        let piece_len = piece.len().min(want);
        Ok(&mut piece[..piece_len])
    }
    /// The first `n` bytes of the last [`Ring::room`] are filled.
    pub fn commit(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= self.bytes.len());
    }
    /// Has memory for `n` more bytes.
    #[inline(always)]
    fn have_memory(&mut self, n: usize) -> Result<(), NoMemory> {
        let needed = self.len + self.kept + n;
        if needed <= self.bytes.len() { Ok(()) } else { self.grow(needed) }
    }
    #[cold]
    #[inline(never)]
    fn grow(&mut self, needed: usize) -> Result<(), NoMemory> {
        let doubled = (self.bytes.len() * 2).max(FIRST_SIZE).max(needed.next_power_of_two());
        self.resize(doubled.min(self.capacity))
    }
    /// Keeps room for `n` more bytes, or as many as fit, and returns how many. The caller releases each by
    /// [`Ring::push_kept`] or [`Ring::give_up`].
    ///
    /// # Errors
    /// [`NoMemory`]; nothing is kept.
    pub fn keep(&mut self, n: usize) -> Result<usize, NoMemory> {
        let n = n.min(self.free());
        self.have_memory(n)?;
        self.kept += n;
        Ok(n)
    }
    /// Appends bytes for which room is kept.
    pub fn push_kept(&mut self, src: &[u8]) {
        self.kept -= src.len();
        // There is memory for what is kept.
        let pushed = self.push(src);
        debug_assert_eq!(pushed, Ok(src.len()));
    }
    /// No longer keeps room for `n` bytes.
    pub fn give_up(&mut self, n: usize) {
        self.kept -= n;
    }
    /// [`Ring::pop`], but the room of what was removed is kept, for [`Ring::put_back`].
    pub fn lend(&mut self, dst: &mut [u8]) -> usize {
        let n = self.pop(dst);
        self.kept += n;
        n
    }
    /// Puts bytes for which room is kept in front of those held: the last of what [`Ring::lend`] removed, when nothing was
    /// removed since.
    pub fn put_back(&mut self, src: &[u8]) {
        if src.is_empty() {
            return;
        }
        let size = self.bytes.len();
        self.start = (self.start + size - src.len()) % size;
        let (to_end, from_start) = src.split_at(src.len().min(size - self.start));
        self.bytes[self.start..self.start + to_end.len()].copy_from_slice(to_end);
        self.bytes[..from_start.len()].copy_from_slice(from_start);
        self.kept -= src.len();
        self.len += src.len();
    }
    /// Appends as much of `src` as fits.
    ///
    /// # Errors
    /// [`NoMemory`] if nothing was appended for lack of memory.
    pub fn push(&mut self, src: &[u8]) -> Result<usize, NoMemory> {
        let mut done = 0;
        while done < src.len() {
            let room = match self.room(src.len() - done) {
                Ok([]) => break,
                Ok(room) => room,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            let n = room.len();
            room.copy_from_slice(&src[done..done + n]);
            self.commit(n);
            done += n;
        }
        Ok(done)
    }
    /// Removes bytes into `dst`, as many as there are.
    pub fn pop(&mut self, dst: &mut [u8]) -> usize {
        let (a, b) = self.peek();
        let from_a = a.len().min(dst.len());
        dst[..from_a].copy_from_slice(&a[..from_a]);
        let from_b = b.len().min(dst.len() - from_a);
        dst[from_a..from_a + from_b].copy_from_slice(&b[..from_b]);
        self.consume(from_a + from_b);
        from_a + from_b
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Ring;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn is_a_bounded_queue(capacity in 1usize..20_000, steps in prop::collection::vec((0u8..4, 0usize..9000), 1..60)) {
            let mut ring = Ring::new(capacity);
            let mut model: VecDeque<u8> = VecDeque::new();
            let mut next = 0u8;
            let mut fill = move |n| -> Vec<u8> { (0..n).map(|_| { next = next.wrapping_add(7); next }).collect() };
            for (what, n) in steps {
                match what {
                    0 => {
                        let data = fill(n);
                        let done = ring.push(&data).unwrap();
                        prop_assert_eq!(done, n.min(capacity - model.len()));
                        model.extend(&data[..done]);
                    }
                    1 => {
                        let mut out = vec![0; n];
                        let done = ring.pop(&mut out);
                        let want: Vec<u8> = model.drain(..n.min(model.len())).collect();
                        prop_assert_eq!(&out[..done], &want[..]);
                    }
                    2 => {
                        // Others fill the ring meanwhile.
                        let kept = ring.keep(n).unwrap();
                        prop_assert_eq!(kept, n.min(capacity - model.len()));
                        let data = fill(capacity);
                        let others = ring.push(&data).unwrap();
                        model.extend(&data[..others]);
                        prop_assert_eq!(model.len() + kept, capacity);
                        ring.push_kept(&data[..kept / 2]);
                        model.extend(&data[..kept / 2]);
                        ring.give_up(kept - kept / 2);
                    }
                    _ => {
                        let mut out = vec![0; n];
                        let lent = ring.lend(&mut out);
                        let taken: Vec<u8> = model.drain(..lent).collect();
                        prop_assert_eq!(&out[..lent], &taken[..]);
                        let data = fill(capacity);
                        let others = ring.push(&data).unwrap();
                        model.extend(&data[..others]);
                        prop_assert_eq!(model.len() + lent, capacity);
                        ring.put_back(&out[lent / 2..lent]);
                        ring.give_up(lent / 2);
                        out[lent / 2..lent].iter().rev().for_each(|&byte| model.push_front(byte));
                    }
                }
                prop_assert_eq!(ring.len(), model.len());
            }
            let want: Vec<u8> = model.iter().copied().collect();
            if ring.set_capacity(want.len() + 1) {
                let (a, b) = ring.peek();
                prop_assert_eq!([a, b].concat(), want);
            }
        }
    }
}
