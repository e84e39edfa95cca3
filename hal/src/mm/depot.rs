//! The objects of one size class of the heap, which all CPUs share.
//!
//! CPUs return objects in chains of a batch, and take them in the same way: a chain is taken as it was put, whichever frames
//! its objects belong to. The caller limits how many objects may be in chains; a chain beyond the limit is broken up, object by
//! object.
//!
//! Each frame has its own list of free objects. So a frame in which all objects are free is recognised at once, and returns to
//! the frame allocator. Each operation takes constant time for each object.
//!
//! A frame's record is in its word of the array of states ([`Record`]) and, while one of its objects is free, in the first of
//! these: the links to the other frames with free objects, which form a ring. Objects that were never taken are consecutive at
//! the end of the frame, and are part of its list though nothing was written there: a frame is touched only as far as it is
//! used.
use crate::mm::frame;
use crate::mm::layout::{self, PAGE};
use core::ptr;

/// Objects lie at multiples of this many bytes: no class is smaller.
const UNIT: usize = 16;
/// Number of no frame.
const NO_FRAME: u32 = u32::MAX;

/// A free object.
#[repr(C)]
struct Free {
    /// The next in the frame, in units; not written if this one was never taken.
    next: u32,
    /// The neighbours of the frame in the ring, if this is the first of the frame's list.
    ring: Ring,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Ring {
    previous: u32,
    next: u32,
}

const _: () = assert!(size_of::<Free>() <= UNIT);

/// What the word of a frame holds.
#[derive(Clone, Copy)]
struct Record {
    /// The first free object, in units.
    first: u32,
    /// The first object of those that were never taken, in units.
    untouched: u32,
    /// Free objects.
    free: u32,
}

impl Record {
    /// Bits of each number: as many as 0 to `PAGE / UNIT` need.
    const BITS: u32 = (PAGE / UNIT).ilog2() + 1;
    const MASK: u32 = (1 << Self::BITS) - 1;

    fn of(frame: u32) -> Record {
        let word = frame::word(frame);
        Record {
            first: word & Self::MASK,
            untouched: word >> Self::BITS & Self::MASK,
            free: word >> (2 * Self::BITS),
        }
    }
    fn store(self, frame: u32) {
        frame::set_word(frame, self.first | self.untouched << Self::BITS | self.free << (2 * Self::BITS));
    }
}

/// The object of `frame` at so many units.
fn object(frame: u32, unit: u32) -> *mut Free {
    (layout::direct(u64::from(frame) << 12) + unit as usize * UNIT) as *mut Free
}

/// The links of a frame of the ring.
///
/// # Safety
/// The frame is in a ring of the caller's, and no other reference to its links is in use.
unsafe fn ring<'a>(frame: u32) -> &'a mut Ring {
    // SAFETY: an object of a frame in the ring is free, and the first one holds the links.
    unsafe { &mut (*object(frame, Record::of(frame).first)).ring }
}

/// An object of a chain, or of a CPU's list.
#[repr(C)]
pub(crate) struct Linked {
    /// The next one, or null.
    pub next: *mut Linked,
    /// The next chain, in the first object of one.
    chain: *mut Linked,
}

const _: () = assert!(size_of::<Linked>() <= UNIT);

pub(crate) struct Depot {
    /// Bytes of an object.
    size: usize,
    /// Objects of a frame.
    capacity: u32,
    /// Objects of a chain.
    batch: u32,
    /// The first frame of the ring.
    first: u32,
    /// Objects that are taken.
    used: usize,
    /// The first chain.
    chains: *mut Linked,
    /// Objects in chains.
    chained: usize,
}

// SAFETY: what the links lead to is the depot's own.
unsafe impl Send for Depot {}

impl Depot {
    /// Of objects of `size` bytes, a multiple of [`UNIT`], at least two of which fit into a frame; `batch` of them are a chain.
    pub const fn new(size: usize, batch: u32) -> Depot {
        assert!(size.is_multiple_of(UNIT) && size * 2 <= PAGE && batch > 0);
        let capacity = (PAGE / size) as u32;
        Depot { size, capacity, batch, first: NO_FRAME, used: 0, chains: ptr::null_mut(), chained: 0 }
    }

    /// Objects that are taken.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Adds a frame at the physical address `phys`, when no object is free.
    ///
    /// # Safety
    /// The frame is unused, and becomes the depot's.
    pub unsafe fn add(&mut self, phys: u64) {
        let frame = (phys >> 12) as u32;
        Record { first: 0, untouched: 0, free: self.capacity }.store(frame);
        // SAFETY: the frame is ours.
        unsafe { self.link(frame) };
    }

    /// Takes a chain, or, if there is none, up to `most` objects of one frame; returns a list of them, and how many they are.
    /// `None`: no object is free.
    #[inline]
    pub fn take(&mut self, most: u32) -> Option<(*mut Linked, u32)> {
        self.take_chain().map(|chain| (chain, self.batch)).or_else(|| self.take_from_frame(most))
    }

    #[inline]
    fn take_chain(&mut self) -> Option<*mut Linked> {
        let chain = self.chains;
        if chain.is_null() {
            return None;
        }
        // SAFETY: the chain is ours, and its first object has the link to the next.
        self.chains = unsafe { (*chain).chain };
        self.chained -= self.batch as usize;
        self.used += self.batch as usize;
        Some(chain)
    }

    #[inline(never)]
    fn take_from_frame(&mut self, most: u32) -> Option<(*mut Linked, u32)> {
        let frame = self.first;
        if frame == NO_FRAME {
            return None;
        }
        let mut record = Record::of(frame);
        let count = record.free.min(most);
        let mut list: *mut Linked = ptr::null_mut();
        // SAFETY: the frames of the ring are ours; the first object of each list is free and holds the links. What a free object
        // holds is read before it is taken.
        unsafe {
            let links = *ring(frame);
            for _ in 0..count {
                let taken = object(frame, record.first);
                record.first = if record.first == record.untouched {
                    record.untouched += (self.size / UNIT) as u32;
                    record.untouched
                } else {
                    (*taken).next
                };
                let taken: *mut Linked = taken.cast();
                (*taken).next = list;
                list = taken;
            }
            record.free -= count;
            if record.free > 0 {
                (*object(frame, record.first)).ring = links;
            } else {
                self.unlink(frame, links);
            }
        }
        record.store(frame);
        self.used += count as usize;
        Some((list, count))
    }

    /// Takes a chain of a batch of objects back, to be broken up if more than `most` objects would lie in chains; returns how
    /// many frames went back to the frame allocator.
    ///
    /// # Safety
    /// The objects came from [`Depot::take`], and nothing uses them.
    #[inline]
    pub unsafe fn put_chain(&mut self, chain: *mut Linked, most: usize) -> usize {
        self.used -= self.batch as usize;
        self.chained += self.batch as usize;
        // SAFETY: free memory, which is ours now.
        unsafe { (*chain).chain = self.chains };
        self.chains = chain;
        if self.chained > most { self.break_chains(2) } else { 0 }
    }

    /// Breaks up to `count` chains up; returns how many frames went back to the frame allocator.
    #[inline(never)]
    pub fn break_chains(&mut self, count: usize) -> usize {
        let mut frames = 0;
        for _ in 0..count {
            let Some(mut next) = self.take_chain() else { break };
            while !next.is_null() {
                let object = next;
                // SAFETY: an object of the chain, of which nothing is read after it is put.
                unsafe {
                    next = (*object).next;
                    frames += self.put(object.cast());
                }
            }
        }
        frames
    }

    /// Takes an object back. If all objects of its frame are free then, the frame returns to the frame allocator; returns how
    /// many frames did.
    ///
    /// # Safety
    /// The object came from [`Depot::take`], and nothing uses it.
    pub unsafe fn put(&mut self, given: *mut u8) -> usize {
        let address = given as usize;
        let frame = (layout::direct_phys(address & !(PAGE - 1)) >> 12) as u32;
        let given: *mut Free = given.cast();
        let mut record = Record::of(frame);
        self.used -= 1;
        if record.free + 1 == self.capacity {
            // SAFETY: the others are free, so the frame is in the ring; nothing uses any of it.
            unsafe {
                self.unlink(frame, *ring(frame));
                frame::free_block(u64::from(frame) << 12, 0);
            }
            return 1;
        }
        // SAFETY: the object is free memory now, and the first of its list holds the links if one was free.
        unsafe {
            (*given).next = record.first;
            if record.free > 0 {
                (*given).ring = *ring(frame);
            }
        }
        let was_full = record.free == 0;
        record.first = ((address & (PAGE - 1)) / UNIT) as u32;
        record.free += 1;
        record.store(frame);
        if was_full {
            // SAFETY: a frame of ours, with a free object.
            unsafe { self.link(frame) };
        }
        0
    }

    /// Makes `frame` the first of the ring.
    ///
    /// # Safety
    /// A frame of the depot's with a free object, in no ring.
    unsafe fn link(&mut self, frame: u32) {
        // SAFETY: the frames of the ring, and this one, are ours and have a free object. A frame may be its own neighbour: one
        // reference at a time.
        unsafe {
            if self.first == NO_FRAME {
                self.first = frame;
                *ring(frame) = Ring { previous: frame, next: frame };
                return;
            }
            let last = ring(self.first).previous;
            *ring(frame) = Ring { previous: last, next: self.first };
            ring(last).next = frame;
            ring(self.first).previous = frame;
            self.first = frame;
        }
    }

    /// Takes `frame`, which has these links, out of the ring.
    ///
    /// # Safety
    /// It is in the ring.
    unsafe fn unlink(&mut self, frame: u32, Ring { previous, next }: Ring) {
        // SAFETY: as in `link`.
        unsafe {
            if next == frame {
                self.first = NO_FRAME;
                return;
            }
            ring(previous).next = next;
            ring(next).previous = previous;
            if self.first == frame {
                self.first = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Objects of a chain.
    const BATCH: usize = 4;

    /// A depot, and how many frames it has.
    struct Counted(Depot, usize);

    impl Counted {
        fn new(size: usize) -> Counted {
            Counted(Depot::new(size, BATCH as u32), 0)
        }

        /// Up to so many objects.
        fn take(&mut self, most: usize) -> Vec<*mut u8> {
            let taken = self.0.take(most as u32).unwrap_or_else(|| {
                // SAFETY: a fresh frame.
                unsafe { self.0.add(frame::alloc_single(0).expect("memory")) };
                self.1 += 1;
                self.0.take(most as u32).expect("an object")
            });
            let (mut next, count) = taken;
            let mut objects = Vec::new();
            while !next.is_null() {
                objects.push(next.cast());
                // SAFETY: an object of the list.
                next = unsafe { (*next).next };
            }
            assert_eq!(objects.len(), count as usize);
            objects
        }

        /// The objects were taken, and are not used.
        fn put_batch(&mut self, batch: &[*mut u8], most: usize) {
            assert_eq!(batch.len(), BATCH);
            let mut chain = ptr::null_mut();
            for object in batch {
                let object: *mut Linked = object.cast();
                // SAFETY: the caller gives the objects up.
                unsafe { (*object).next = chain };
                chain = object;
            }
            // SAFETY: as above.
            self.1 -= unsafe { self.0.put_chain(chain, most) };
        }

        /// The object was taken, and is not used.
        fn put(&mut self, object: *mut u8) {
            // SAFETY: the caller gives the object up.
            self.1 -= unsafe { self.0.put(object) };
        }
    }

    /// Random objects are taken and put back, by themselves and in chains; each keeps what was written to it, and counts agree.
    fn works(size: usize, most: usize) {
        let rounds = if cfg!(miri) { 150 } else { 5_000 };
        let mut depot = Counted::new(size);
        let mut held: Vec<(*mut u8, u8)> = Vec::new();
        let mut random = size as u64;
        let look = |(object, number): (*mut u8, u8)| {
            // SAFETY: taken, and written then.
            let bytes = unsafe { core::slice::from_raw_parts(object, size) };
            assert!(bytes.iter().all(|&byte| byte == number));
            object
        };
        for round in 0..rounds {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let chain = random >> 62 != 0;
            let number = (random >> 50) as u8;
            // It grows at first, and shrinks at the end.
            if (random >> 33) % rounds > round || held.len() < BATCH {
                for object in depot.take(if chain { BATCH } else { 1 }) {
                    // SAFETY: the object is ours.
                    unsafe { object.write_bytes(number, size) };
                    held.push((object, number));
                }
            } else if chain {
                let mut pick = || look(held.swap_remove((random >> 20) as usize % held.len()));
                let batch: [_; BATCH] = core::array::from_fn(|_| pick());
                depot.put_batch(&batch, most);
            } else {
                depot.put(look(held.swap_remove((random >> 20) as usize % held.len())));
            }
            assert_eq!(depot.0.used(), held.len());
            assert!(depot.0.chained <= most);
            assert!(depot.1 * (PAGE / size) >= held.len() + depot.0.chained);
        }
        held.into_iter().for_each(|one| depot.put(look(one)));
        depot.1 -= depot.0.break_chains(usize::MAX);
        assert_eq!((depot.0.used(), depot.0.chained, depot.0.first, depot.1), (0, 0, NO_FRAME, 0));
    }

    #[test]
    fn objects_keep_their_bytes_and_frames_come_back() {
        for size in [16, 48, 96, 192, 768, 1536, 2048] {
            for most in [0, BATCH, 100] {
                works(size, most);
            }
        }
    }

    #[test]
    fn the_chain_put_last_is_taken_first() {
        let mut depot = Counted::new(1024);
        let [first, second]: [_; 2] = core::array::from_fn(|_| depot.take(BATCH));
        depot.put_batch(&first, usize::MAX);
        depot.put_batch(&second, usize::MAX);
        assert_eq!(depot.take(BATCH), second.iter().rev().copied().collect::<Vec<_>>());
        assert_eq!(depot.take(BATCH), first.iter().rev().copied().collect::<Vec<_>>());
        depot.put_batch(&first, 0);
        depot.put_batch(&second, 0);
        assert_eq!(depot.1, 0);
    }

    #[test]
    fn frames_in_use_are_taken_from_first() {
        let mut depot = Counted::new(1024);
        let first = depot.take(4);
        let second = depot.take(4);
        first.into_iter().for_each(|object| depot.put(object));
        assert_eq!(depot.1, 1);
        depot.put(second[0]);
        assert_eq!(depot.take(4), [second[0]]);
        second.into_iter().for_each(|object| depot.put(object));
        assert_eq!(depot.1, 0);
    }
}
