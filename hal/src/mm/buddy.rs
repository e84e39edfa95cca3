//! The buddy allocator of frames. Memory that was never used has no descriptors: each span of RAM has a watermark, and
//! a frame's state is first written when the watermark passes it.
//!
//! The caller serialises calls. Allocating or freeing a single frame takes constant time: freed frames are kept in a list, and
//! joined with their buddies only when a larger block is wanted and there is none.
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Blocks have 2^0 to 2^(ORDERS-1) frames: at most 64 MiB, for the largest tables that programs make the kernel keep.
pub const ORDERS: usize = 15;
/// Pieces of RAM that the allocator can manage.
pub const MAX_SPANS: usize = 16;
/// End of a free list.
const NONE: u32 = u32::MAX;
/// State of the first frame of a free block; the order is in the low bits. Used frames hold their reference count.
const FREE: u32 = 1 << 31;
/// State of the other frames of a free block.
const INTERIOR: u32 = 0;

/// How the allocator reaches the description of a frame, and the frame itself for its list links.
pub trait Memory {
    /// The state of `frame`.
    fn state(&self, frame: u32) -> &AtomicU32;
    /// The links (next, previous) kept in the free frame.
    fn links(&self, frame: u32) -> (u32, u32);
    /// Writes the links into the free frame.
    fn set_links(&self, frame: u32, links: (u32, u32));
}

/// A piece of RAM, in frame numbers.
#[derive(Clone, Copy, Default)]
pub struct Span {
    /// First frame that was never allocated.
    pub next: u32,
    /// First frame of the span.
    pub start: u32,
    /// First frame past it.
    pub end: u32,
}

/// The allocator.
pub struct Buddy<M> {
    memory: M,
    heads: [u32; ORDERS],
    /// Orders whose lists are not empty, one bit each.
    filled: u32,
    /// Single frames as they came back, not joined with their buddies yet: most are wanted again as they are.
    singles: u32,
    spans: [Span; MAX_SPANS],
    count: usize,
    free: usize,
    total: usize,
}

impl<M: Memory> Buddy<M> {
    /// An allocator of no memory.
    pub const fn new(memory: M) -> Self {
        let empty = Span { next: 0, start: 0, end: 0 };
        Buddy {
            memory,
            heads: [NONE; ORDERS],
            filled: 0,
            singles: NONE,
            spans: [empty; MAX_SPANS],
            count: 0,
            free: 0,
            total: 0,
        }
    }

    /// Adds the frames from `start` to `end`, none of which is in use. Spans beyond the last place are ignored.
    pub fn add_span(&mut self, start: u32, end: u32) {
        if start >= end || self.count == MAX_SPANS {
            return;
        }
        self.spans[self.count] = Span { next: start, start, end };
        self.count += 1;
        self.free += (end - start) as usize;
        self.total += (end - start) as usize;
    }

    /// Free frames and all frames.
    pub fn counts(&self) -> (usize, usize) {
        (self.free, self.total)
    }

    /// 2^order frames, aligned to as many; each gets the state "one reference".
    pub fn alloc(&mut self, order: usize) -> Option<u32> {
        if order == 0 && self.singles != NONE {
            let frame = self.singles;
            self.singles = self.memory.links(frame).0;
            self.free -= 1;
            self.memory.state(frame).store(1, Relaxed);
            return Some(frame);
        }
        let frame = self.take(order).or_else(|| self.advance(order)).or_else(|| {
            self.join_singles();
            self.take(order)
        })?;
        for i in 0..1 << order {
            self.memory.state(frame + i).store(1, Relaxed);
        }
        self.free -= 1 << order;
        Some(frame)
    }

    /// Fills `frames` with single frames, the same that [`Buddy::alloc`] of order 0 would return one after the other, and returns
    /// how many there were. They are taken in runs, which costs less than each by itself.
    pub fn alloc_singles(&mut self, frames: &mut [u32]) -> usize {
        let mut done = 0;
        while done < frames.len() {
            let wanted = (frames.len() - done) as u32;
            let (first, run) = if self.singles != NONE {
                let frame = self.singles;
                self.singles = self.memory.links(frame).0;
                (frame, 1)
            } else if self.filled != 0 {
                let order = self.filled.trailing_zeros().min(wanted.ilog2());
                let Some(frame) = self.take(order as usize) else { break };
                (frame, 1 << order)
            } else {
                let Some(run) = self.advance_singles(wanted) else { break };
                run
            };
            for (place, frame) in frames[done..].iter_mut().zip(first..first + run) {
                self.memory.state(frame).store(1, Relaxed);
                *place = frame;
            }
            done += run as usize;
        }
        self.free -= done;
        done
    }

    /// Joins the single frames with their buddies.
    #[cold]
    fn join_singles(&mut self) {
        while self.singles != NONE {
            let frame = self.singles;
            self.singles = self.memory.links(frame).0;
            self.insert(frame, 0);
        }
    }

    /// From the free lists.
    #[inline]
    fn take(&mut self, order: usize) -> Option<u32> {
        let large_enough = self.filled >> order;
        if large_enough == 0 {
            return None;
        }
        let mut found = order + large_enough.trailing_zeros() as usize;
        let frame = self.heads[found];
        self.unlink(frame, found);
        while found > order {
            found -= 1;
            self.link(frame + (1 << found), found);
        }
        Some(frame)
    }

    /// From memory never used before.
    fn advance(&mut self, order: usize) -> Option<u32> {
        let size = 1u32 << order;
        for index in 0..self.count {
            let Span { next, end, .. } = self.spans[index];
            let Some(aligned) = next.checked_next_multiple_of(size) else { continue };
            if aligned >= end || end - aligned < size {
                continue;
            }
            // First, so that the skipped frames count as described.
            self.spans[index].next = aligned + size;
            for i in 0..size {
                self.memory.state(aligned + i).store(INTERIOR, Relaxed);
            }
            for skipped in next..aligned {
                self.memory.state(skipped).store(INTERIOR, Relaxed);
            }
            // As blocks as large as their places allow: each is touched once.
            let mut skipped = next;
            while skipped < aligned {
                let fits = (aligned - skipped).ilog2().min(skipped.trailing_zeros()).min(ORDERS as u32 - 1);
                self.insert(skipped, fits as usize);
                skipped += 1 << fits;
            }
            return Some(aligned);
        }
        None
    }

    /// Up to `wanted` frames in a row from memory never used before: the first, and how many. The caller describes them.
    fn advance_singles(&mut self, wanted: u32) -> Option<(u32, u32)> {
        let span = self.spans[..self.count].iter_mut().find(|span| span.next < span.end)?;
        let (first, run) = (span.next, wanted.min(span.end - span.next));
        span.next += run;
        Some((first, run))
    }

    /// Frees 2^order frames without references.
    pub fn free(&mut self, frame: u32, order: usize) {
        self.free += 1 << order;
        if order == 0 {
            self.memory.state(frame).store(INTERIOR, Relaxed);
            self.memory.set_links(frame, (self.singles, NONE));
            self.singles = frame;
        } else {
            self.insert(frame, order);
        }
    }

    /// Puts a block into the lists, joined with its free buddies.
    fn insert(&mut self, mut frame: u32, mut order: usize) {
        let span = self.span_of(frame);
        for i in 0..1 << order {
            self.memory.state(frame + i).store(INTERIOR, Relaxed);
        }
        while order + 1 < ORDERS {
            let size = 1u32 << order;
            let buddy = frame ^ size;
            let described = buddy >= span.start && buddy + size <= span.next;
            if !described || self.memory.state(buddy).load(Relaxed) != FREE | order as u32 {
                break;
            }
            self.unlink(buddy, order);
            frame = frame.min(buddy);
            order += 1;
        }
        self.link(frame, order);
    }

    fn span_of(&self, frame: u32) -> Span {
        let spans = &self.spans[..self.count];
        *spans.iter().find(|s| s.start <= frame && frame < s.end).expect("a frame of the allocator")
    }

    fn link(&mut self, frame: u32, order: usize) {
        let next = self.heads[order];
        self.memory.set_links(frame, (next, NONE));
        if next != NONE {
            let (after, _) = self.memory.links(next);
            self.memory.set_links(next, (after, frame));
        }
        self.heads[order] = frame;
        self.filled |= 1 << order;
        self.memory.state(frame).store(FREE | order as u32, Relaxed);
    }

    fn unlink(&mut self, frame: u32, order: usize) {
        let (next, previous) = self.memory.links(frame);
        if previous == NONE {
            self.heads[order] = next;
            if next == NONE {
                self.filled &= !(1 << order);
            }
        } else {
            let (_, before) = self.memory.links(previous);
            self.memory.set_links(previous, (next, before));
        }
        if next != NONE {
            let (after, _) = self.memory.links(next);
            self.memory.set_links(next, (after, previous));
        }
        self.memory.state(frame).store(INTERIOR, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::vec::Vec;

    struct Fake {
        state: Vec<AtomicU32>,
        links: RefCell<Vec<(u32, u32)>>,
    }
    impl Memory for Fake {
        fn state(&self, frame: u32) -> &AtomicU32 {
            &self.state[frame as usize]
        }
        fn links(&self, frame: u32) -> (u32, u32) {
            self.links.borrow()[frame as usize]
        }
        fn set_links(&self, frame: u32, links: (u32, u32)) {
            self.links.borrow_mut()[frame as usize] = links;
        }
    }

    fn fake(frames: usize) -> Buddy<Fake> {
        // Garbage in the descriptions: memory that was never described must not be believed.
        let state = (0..frames).map(|i| AtomicU32::new(FREE | (i % 11) as u32)).collect();
        Buddy::new(Fake { state, links: RefCell::new(std::vec![(7, 7); frames]) })
    }

    #[test]
    fn hands_out_each_frame_once_and_takes_all_back() {
        let mut buddy = fake(1000);
        buddy.add_span(3, 97);
        buddy.add_span(100, 1000);
        let (all, total) = buddy.counts();
        assert_eq!((all, total), (994, 994));
        let mut random = 1u64;
        let mut held: Vec<(u32, usize)> = Vec::new();
        let mut owner = std::vec![false; 1000];
        // Miri interprets: it has time for a few.
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        for round in 0..rounds {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let order = (random >> 40) as usize % 5;
            if (random >> 60) < 8 + round * 5 / rounds
                && let Some(frame) = buddy.alloc(order)
            {
                assert_eq!(frame % (1 << order), 0);
                for i in frame..frame + (1 << order) {
                    assert!(!std::mem::replace(&mut owner[i as usize], true));
                    assert!((3..97).contains(&i) || (100..1000).contains(&i));
                }
                held.push((frame, order));
            } else if !held.is_empty() {
                let (frame, order) = held.swap_remove((random >> 20) as usize % held.len());
                for i in frame..frame + (1 << order) {
                    owner[i as usize] = false;
                }
                buddy.free(frame, order);
            }
            let used: usize = held.iter().map(|(_, o)| 1 << o).sum();
            assert_eq!(buddy.counts().0, 994 - used);
        }
        for (frame, order) in held.drain(..) {
            buddy.free(frame, order);
        }
        assert_eq!(buddy.counts().0, 994);
        // All joined again: large blocks can be had.
        assert!(buddy.alloc(8).is_some());
    }

    #[test]
    fn several_single_frames_are_those_that_come_one_by_one() {
        // As two allocators with the same history: blocks of all sizes free, single frames, and memory never used.
        let used = || {
            let mut buddy = fake(300);
            buddy.add_span(3, 40);
            buddy.add_span(50, 300);
            let blocks: Vec<u32> = (0..5).map(|order| buddy.alloc(order).unwrap()).collect();
            buddy.free(blocks[4], 4);
            buddy.free(blocks[2], 2);
            let ones: Vec<u32> = (0..7).map(|_| buddy.alloc(0).unwrap()).collect();
            ones[2..5].iter().for_each(|&frame| buddy.free(frame, 0));
            buddy
        };
        for count in [0, 1, 3, 16, 17, 100, 290] {
            let (mut several, mut single) = (used(), used());
            let mut frames = std::vec![NONE; count];
            let done = several.alloc_singles(&mut frames);
            let mut expected: Vec<u32> = (0..count).map_while(|_| single.alloc(0)).collect();
            frames.truncate(done);
            frames.sort_unstable();
            expected.sort_unstable();
            assert_eq!(frames, expected);
            assert!(frames.iter().all(|&frame| several.memory.state(frame).load(Relaxed) == 1));
            assert_eq!(several.counts(), single.counts());
            // Both go on alike.
            let rest = |buddy: &mut Buddy<Fake>| core::iter::from_fn(|| buddy.alloc(0)).count();
            assert_eq!(rest(&mut several), rest(&mut single));
        }
    }

    #[test]
    fn does_not_touch_what_was_never_used() {
        let mut buddy = fake(256);
        buddy.add_span(0, 256);
        for expected in 0..10 {
            assert_eq!(buddy.alloc(0), Some(expected));
        }
        assert_eq!(buddy.memory.state(10).load(Relaxed), FREE | 10);
    }

    #[test]
    fn parts_of_a_block_can_be_freed_alone() {
        let mut buddy = fake(64);
        buddy.add_span(0, 64);
        let block = buddy.alloc(3).unwrap();
        buddy.free(block + 5, 0);
        buddy.free(block + 6, 1);
        assert_eq!(buddy.counts().0, 64 - 5);
        buddy.free(block, 2);
        buddy.free(block + 4, 0);
        assert_eq!(buddy.counts().0, 64);
    }
}
