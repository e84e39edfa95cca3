//! The ring.
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Words of a record.
pub const RECORD_WORDS: usize = 4;

/// An atomic word.
pub trait Word {
    /// As [`AtomicU64::load`].
    fn load(&self, order: Ordering) -> u64;
    /// As [`AtomicU64::store`].
    fn store(&self, value: u64, order: Ordering);
    /// As [`fence`].
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }
    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }
    #[inline(always)]
    fn fence(order: Ordering) {
        fence(order);
    }
}

/// A ring. Its first fields are read from outside of the machine, too (cli/src/observe/outside/recorder.rs).
#[repr(C)]
#[derive(Debug)]
pub struct Ring<W = AtomicU64> {
    /// Records that were written since the beginning.
    head: W,
    /// Records that have room, less one.
    mask: u64,
    /// The address of the first record.
    base: usize,
    words: Vec<W>,
}

/// What [`Ring::read`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Records that were copied, at the front of the place for them.
    pub count: usize,
    /// Records before them that were overwritten.
    pub lost: u64,
    /// Where to read on.
    pub next: u64,
}

impl<W: Word> Ring<W> {
    /// A ring in `words`, which are as many as a power of two of records takes. `None` if they are not.
    pub fn new(words: Vec<W>, zero: W) -> Option<Ring<W>> {
        let records = words.len() / RECORD_WORDS;
        if !records.is_power_of_two() || !words.len().is_multiple_of(RECORD_WORDS) {
            return None;
        }
        Some(Ring { head: zero, mask: records as u64 - 1, base: words.as_ptr() as usize, words })
    }

    /// Records that were written since the beginning: where a reader of new ones begins.
    pub fn end(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Records that have room.
    pub fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// Writes a record. Called by one CPU only, and not while it writes another.
    #[inline(always)]
    pub fn write(&self, record: [u64; RECORD_WORDS]) {
        let head = self.head.load(Ordering::Relaxed);
        // A reader that sees a word of this record sees the head that the one before has left, too.
        W::fence(Ordering::Release);
        let at = (head & self.mask) as usize * RECORD_WORDS;
        if let Some([first, second, third, fourth]) = self.words.get(at..at + RECORD_WORDS) {
            first.store(record[0], Ordering::Relaxed);
            second.store(record[1], Ordering::Relaxed);
            third.store(record[2], Ordering::Relaxed);
            fourth.store(record[3], Ordering::Relaxed);
        }
        self.head.store(head.wrapping_add(1), Ordering::Release);
    }

    /// Copies records to `out`, from number `from` on or from the oldest that is still there.
    pub fn read(&self, from: u64, out: &mut [[u64; RECORD_WORDS]]) -> Reading {
        let end = self.head.load(Ordering::Acquire);
        let start = from.min(end).max(end.saturating_sub(self.capacity()));
        let wanted = out.len().min((end - start) as usize);
        for (number, place) in (start..).zip(&mut out[..wanted]) {
            let at = (number & self.mask) as usize * RECORD_WORDS;
            for (word, own) in place.iter_mut().zip(&self.words[at..at + RECORD_WORDS]) {
                *word = own.load(Ordering::Relaxed);
            }
        }
        W::fence(Ordering::Acquire);
        // The record that is being written now takes the place of the one a whole ring before.
        let now = self.head.load(Ordering::Relaxed);
        let sound_from = (now + 1).saturating_sub(self.capacity()).max(start);
        let gone = (sound_from - start).min(wanted as u64) as usize;
        out.copy_within(gone..wanted, 0);
        Reading {
            count: wanted - gone,
            lost: (start - from.min(end)) + gone as u64,
            next: start + wanted as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use alloc::vec;

    fn ring(records: usize) -> Ring {
        Ring::new((0..records * RECORD_WORDS).map(|_| AtomicU64::new(0)).collect(), AtomicU64::new(0))
            .unwrap()
    }

    #[test]
    fn what_is_written_is_read_in_order() {
        let ring = ring(8);
        (0..5).for_each(|n| ring.write([n; RECORD_WORDS]));
        let mut out = vec![[0; RECORD_WORDS]; 3];
        assert_eq!(ring.read(0, &mut out), Reading { count: 3, lost: 0, next: 3 });
        assert_eq!(out, [[0; 4], [1; 4], [2; 4]]);
        assert_eq!(ring.read(3, &mut out), Reading { count: 2, lost: 0, next: 5 });
        assert_eq!(out[..2], [[3; 4], [4; 4]]);
        assert_eq!(ring.read(5, &mut out), Reading { count: 0, lost: 0, next: 5 });
        // Beyond the end there is nothing yet.
        assert_eq!(ring.read(9, &mut out).count, 0);
    }

    #[test]
    fn what_is_overwritten_is_counted() {
        let ring = ring(4);
        (0..10).for_each(|n| ring.write([n; RECORD_WORDS]));
        let mut out = vec![[0; RECORD_WORDS]; 10];
        // One place is that of the record that may be in the making.
        assert_eq!(ring.read(0, &mut out), Reading { count: 3, lost: 7, next: 10 });
        assert_eq!(out[..3], [[7; 4], [8; 4], [9; 4]]);
    }

    #[test]
    fn odd_sizes_are_refused() {
        let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        assert!(Ring::new(words(12), AtomicU64::new(0)).is_none());
        assert!(Ring::new(words(9), AtomicU64::new(0)).is_none());
        assert!(Ring::new(words(0), AtomicU64::new(0)).is_none());
    }

    impl Word for loom::sync::atomic::AtomicU64 {
        fn load(&self, order: Ordering) -> u64 {
            self.load(order)
        }
        fn store(&self, value: u64, order: Ordering) {
            self.store(value, order);
        }
        fn fence(order: Ordering) {
            loom::sync::atomic::fence(order);
        }
    }

    /// In every order in which a reader may see the writer's stores, a record that is read is one that was written, and none is
    /// forgotten.
    #[test]
    fn a_record_is_read_whole_or_counted_as_lost() {
        loom::model(|| {
            let words = (0..2 * RECORD_WORDS).map(|_| loom::sync::atomic::AtomicU64::new(0)).collect();
            let ring = Ring::new(words, loom::sync::atomic::AtomicU64::new(0)).unwrap();
            let ring = std::sync::Arc::new(ring);
            ring.write([10, 1010, 2010, 3010]);
            let writer = {
                let ring = ring.clone();
                loom::thread::spawn(move || {
                    [11, 12].into_iter().for_each(|n| ring.write([n, n + 1000, n + 2000, n + 3000]));
                })
            };
            let mut out = [[0; RECORD_WORDS]; 2];
            let reading = ring.read(0, &mut out);
            for (place, [n, a, b, c]) in out[..reading.count].iter().enumerate() {
                assert_eq!((*a, *b, *c), (n + 1000, n + 2000, n + 3000));
                assert_eq!(*n, 10 + reading.next - (reading.count - place) as u64);
            }
            assert_eq!(reading.next, reading.lost + reading.count as u64);
            writer.join().unwrap();
        });
    }
}
