//! The frames of one class of the heap's objects, which all CPUs share.
//!
//! Each frame has its own list of free objects. So a frame in which all objects are free is known at once, and goes back to
//! the frame allocator; a few are kept for the next burst. Each operation takes constant time.
//!
//! What is known of a frame is in its word of the array of states ([`Record`]) and, while one of its objects is free, in the
//! first of these: the links to the other frames with free objects, which form a ring. Frames in which all are free are last
//! in the ring, so that they are used last. Objects that were never taken follow each other at the end of the frame, and are
//! part of its list though nothing was written there: a frame is touched only as far as it is used.
use crate::frame;
use crate::layout::{self, PAGE};

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

pub(crate) struct Depot {
    /// Bytes of an object.
    size: usize,
    /// The first frame of the ring.
    first: u32,
    /// Frames of the class.
    frames: usize,
    /// Free objects.
    free: usize,
    /// Frames in which all objects are free.
    whole: usize,
}

impl Depot {
    /// Of objects of `size` bytes, a multiple of [`UNIT`], at least two of which fit into a frame.
    pub const fn new(size: usize) -> Depot {
        assert!(size.is_multiple_of(UNIT) && size * 2 <= PAGE);
        Depot { size, first: NO_FRAME, frames: 0, free: 0, whole: 0 }
    }

    /// Objects that are taken.
    pub fn used(&self) -> usize {
        self.frames * self.capacity() - self.free
    }

    fn capacity(&self) -> usize {
        PAGE / self.size
    }

    /// Adds a frame at the physical address `phys`, when no object is free.
    ///
    /// # Safety
    /// The frame is unused, and becomes the depot's.
    pub unsafe fn add(&mut self, phys: u64) {
        let frame = (phys >> 12) as u32;
        Record { first: 0, untouched: 0, free: self.capacity() as u32 }.store(frame);
        self.frames += 1;
        self.free += self.capacity();
        self.whole += 1;
        // SAFETY: the frame is ours.
        unsafe { self.link(frame) };
        self.first = frame;
    }

    /// Takes an object. `None`: none is free.
    pub fn take(&mut self) -> Option<*mut u8> {
        let frame = self.first;
        if frame == NO_FRAME {
            return None;
        }
        let mut record = Record::of(frame);
        let taken = object(frame, record.first);
        if record.free as usize == self.capacity() {
            self.whole -= 1;
        }
        self.free -= 1;
        record.free -= 1;
        // SAFETY: the frames of the ring are ours; the first object of each list is free and holds the links.
        unsafe {
            if record.free == 0 {
                self.unlink(frame);
            }
            let next = if record.first == record.untouched {
                record.untouched += (self.size / UNIT) as u32;
                record.untouched
            } else {
                (*taken).next
            };
            if record.free > 0 {
                (*object(frame, next)).ring = (*taken).ring;
            }
            record.first = next;
        }
        record.store(frame);
        Some(taken.cast())
    }

    /// Takes an object back. If all of its frame are free then, and `kept` such frames are there already, the frame goes back
    /// to the frame allocator; returns how many frames did.
    ///
    /// # Safety
    /// The object came from [`Depot::take`], and nothing uses it.
    pub unsafe fn put(&mut self, given: *mut u8, kept: usize) -> usize {
        let address = given as usize;
        let frame = (layout::direct_phys(address & !(PAGE - 1)) >> 12) as u32;
        let given: *mut Free = given.cast();
        let mut record = Record::of(frame);
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
        self.free += 1;
        // SAFETY: a frame of ours, with a free object.
        unsafe {
            if was_full {
                self.link(frame);
                self.first = frame;
            }
            if (record.free as usize) < self.capacity() {
                return 0;
            }
            self.whole += 1;
            self.unlink(frame);
            self.link(frame);
        }
        if self.whole > kept { self.give_back(kept) } else { 0 }
    }

    /// Gives frames in which all objects are free back to the frame allocator, until no more than `kept` are left; returns how
    /// many.
    pub fn give_back(&mut self, kept: usize) -> usize {
        let mut given = 0;
        while self.whole > kept {
            // SAFETY: the ring isn't empty, and the frames in which all are free are its last.
            unsafe {
                let frame = ring(self.first).previous;
                debug_assert!(Record::of(frame).free as usize == self.capacity());
                self.unlink(frame);
                frame::free_block(u64::from(frame) << 12, 0);
            }
            self.whole -= 1;
            self.frames -= 1;
            self.free -= self.capacity();
            given += 1;
        }
        given
    }

    /// Makes `frame` the last of the ring.
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
        }
    }

    /// Takes `frame` out of the ring.
    ///
    /// # Safety
    /// It is in the ring.
    unsafe fn unlink(&mut self, frame: u32) {
        // SAFETY: as in `link`.
        unsafe {
            let Ring { previous, next } = *ring(frame);
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

    fn take(depot: &mut Depot) -> *mut u8 {
        depot.take().unwrap_or_else(|| {
            // SAFETY: a fresh frame.
            unsafe { depot.add(frame::alloc_single(0).expect("memory")) };
            depot.take().expect("an object")
        })
    }

    /// Random objects are taken and put back; each keeps what was written to it, and counts agree.
    fn works(size: usize, kept: usize) {
        let rounds = if cfg!(miri) { 300 } else { 20_000 };
        let mut depot = Depot::new(size);
        let mut held: Vec<(*mut u8, u8)> = Vec::new();
        let mut random = size as u64;
        for round in 0..rounds {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // It grows at first, and shrinks at the end.
            if (random >> 33) % rounds > round || held.is_empty() {
                let object = take(&mut depot);
                let number = (random >> 50) as u8;
                // SAFETY: the object is ours.
                unsafe { object.write_bytes(number, size) };
                held.push((object, number));
            } else {
                let (object, number) = held.swap_remove((random >> 20) as usize % held.len());
                // SAFETY: taken above.
                unsafe {
                    assert!(core::slice::from_raw_parts(object, size).iter().all(|&byte| byte == number));
                    depot.put(object, kept);
                }
            }
            assert_eq!(depot.used(), held.len());
            assert!(depot.whole <= kept.max(1));
        }
        for (object, _) in held {
            // SAFETY: taken above.
            unsafe { depot.put(object, kept) };
        }
        assert_eq!((depot.used(), depot.frames), (0, depot.whole));
        let frames = depot.frames;
        assert_eq!(depot.give_back(0), frames);
        assert_eq!((depot.frames, depot.free, depot.first), (0, 0, NO_FRAME));
    }

    #[test]
    fn objects_keep_their_bytes_and_frames_come_back() {
        for size in [16, 48, 96, 192, 768, 1536, 2048] {
            for kept in [0, 1, 5] {
                works(size, kept);
            }
        }
    }

    #[test]
    fn frames_in_use_are_taken_from_first() {
        let mut depot = Depot::new(1024);
        let first: [_; 4] = core::array::from_fn(|_| take(&mut depot));
        let second: [_; 4] = core::array::from_fn(|_| take(&mut depot));
        // SAFETY: taken above.
        unsafe {
            first.into_iter().for_each(|object| assert_eq!(depot.put(object, 1), 0));
            assert_eq!(depot.put(second[0], 1), 0);
        }
        assert_eq!(take(&mut depot), second[0]);
        // SAFETY: taken above. One frame is kept, the other comes back with its last object.
        unsafe { assert_eq!(second.map(|object| depot.put(object, 1)), [0, 0, 0, 1]) };
        assert_eq!(depot.give_back(0), 1);
    }
}
