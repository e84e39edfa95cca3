//! Records that CPUs make, in buffers that a device reads in place.
//!
//! Each CPU writes into a buffer of its own, with no lock and no locked instruction: to make a record is to compare, to store and to
//! move an address on. Full buffers wait until they are taken ([`Taking`]), as many as [`start`] allows; what has no room is counted. Of
//! the buffer that a CPU still writes to, what is there so far is copied.
//!
//! Records are words of 64 bits, and a record lies in one buffer. Before the records of a buffer there is room for [`ROOM_BEFORE`]
//! bytes that say whose they are.
use crate::cpu;
use crate::io::dma::PacketBuffer;
use crate::local::Local;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use core::cell::Cell;

/// Bytes before the records of a buffer.
pub const ROOM_BEFORE: usize = 8;
/// Bytes of records in a buffer at most.
pub const BYTES: usize = 2000;
/// Bytes of a word.
const WORD: usize = size_of::<u64>();

const _: () = assert!(ROOM_BEFORE + BYTES <= PacketBuffer::SIZE && BYTES.is_multiple_of(WORD));

/// A buffer of records: they begin behind the room for what is to be before them, and end here.
pub struct Piece {
    /// The bytes.
    pub buffer: PacketBuffer,
    /// Where they end.
    pub end: usize,
}

/// What a CPU writes to. Other CPUs read it, and change only what the lock protects, and `is_full`.
pub struct Lane {
    /// Where its next record goes.
    next: AtomicPtr<u64>,
    /// Where the buffer's room for records ends; null: there is no buffer. For the CPU alone.
    end: Cell<*mut u64>,
    /// As many buffers as there may be wait to be taken.
    is_full: AtomicBool,
    /// Records that had no room, since the beginning.
    lost: AtomicU64,
    held: Mutex<Held>,
}

// SAFETY: the cell is used by the CPU that the lane is for, as those of `Local` are.
unsafe impl Sync for Lane {}

/// The buffers of a CPU.
struct Held {
    /// The one that `next` lies in.
    current: Option<PacketBuffer>,
    /// Where its bytes begin that were not copied yet.
    taken: usize,
    /// Room for full ones; empty while no records are made.
    full: Vec<Option<Piece>>,
    /// Which of them is the oldest, and how many there are.
    first: usize,
    count: usize,
    /// Records that had no room, as far as was said.
    told: u64,
}

impl Lane {
    /// That of a CPU before it runs.
    pub(crate) const fn new() -> Lane {
        let held = Held { current: None, taken: 0, full: Vec::new(), first: 0, count: 0, told: 0 };
        Lane {
            next: AtomicPtr::new(core::ptr::null_mut()),
            end: Cell::new(core::ptr::null_mut()),
            is_full: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            held: Mutex::new(held),
        }
    }

    /// Counts a record that has no room.
    fn lose(&self) {
        // No other CPU writes it.
        self.lost.store(self.lost.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Makes room for a record of `len` bytes in another buffer. False: there is none, and the record counts as lost if any are made.
    #[inline(never)]
    fn refill(&self, len: usize) -> bool {
        let mut held = self.held.lock();
        if held.full.is_empty() {
            // None are made any more.
            self.retire(&mut held);
            return false;
        }
        if len <= BYTES && held.count < held.full.len() {
            self.retire(&mut held);
            if held.count < held.full.len()
                && let Some(buffer) = PacketBuffer::alloc()
            {
                let base = buffer.as_ptr();
                // SAFETY: both lie in the buffer, which is longer.
                let (next, end) = unsafe { (base.add(ROOM_BEFORE), base.add(ROOM_BEFORE + BYTES)) };
                (held.current, held.taken) = (Some(buffer), ROOM_BEFORE);
                self.next.store(next.cast(), Ordering::Relaxed);
                self.end.set(end.cast());
                return true;
            }
        }
        self.is_full.store(held.count == held.full.len(), Ordering::Relaxed);
        self.lose();
        false
    }

    /// Puts the buffer in use, if there is one, to the full ones, for one more of which there is room; without any room it is freed.
    /// Called by the CPU itself.
    fn retire(&self, held: &mut Held) {
        let next = self.next.swap(core::ptr::null_mut(), Ordering::Acquire);
        self.end.set(core::ptr::null_mut());
        let Some(mut buffer) = held.current.take() else { return };
        let end = next as usize - buffer.as_ptr() as usize;
        let from = core::mem::replace(&mut held.taken, ROOM_BEFORE);
        if end == from {
            return;
        }
        if from != ROOM_BEFORE {
            // What was copied before is not there twice.
            buffer.as_mut_slice().copy_within(from..end, ROOM_BEFORE);
        }
        let piece = Piece { buffer, end: end - from + ROOM_BEFORE };
        let place = (held.first + held.count) % held.full.len().max(1);
        if let Some(place) = held.full.get_mut(place) {
            *place = Some(piece);
            held.count += 1;
        }
    }

    /// Copies what the CPU has written of its present buffer since the last time. `None`: nothing, or there is no memory.
    fn copy(&self, held: &mut Held) -> Option<Piece> {
        let base = held.current.as_ref()?.as_ptr();
        let next = self.next.load(Ordering::Acquire);
        let (from, end) = (held.taken, (next as usize).checked_sub(base as usize)?);
        let len = end.checked_sub(from).filter(|&len| len > 0)?;
        let mut buffer = PacketBuffer::alloc()?;
        let to = buffer.as_mut_slice().get_mut(ROOM_BEFORE..ROOM_BEFORE + len)?;
        // SAFETY: these bytes of the buffer were written before the address was moved on, and are written no more; the lock keeps the
        // buffer.
        unsafe { core::ptr::copy_nonoverlapping(base.add(from), to.as_mut_ptr(), len) };
        held.taken = end;
        Some(Piece { buffer, end: ROOM_BEFORE + len })
    }

    /// Has so many full buffers wait at most. ENOMEM.
    fn start(&self, buffers: usize) -> Result<(), NoMemory> {
        let full = (0..buffers).map(|_| None).try_collect_vec()?;
        let mut held = self.held.lock();
        (held.full, held.first, held.count) = (full, 0, 0);
        held.told = self.lost.load(Ordering::Relaxed);
        self.is_full.store(false, Ordering::Relaxed);
        if let Some(base) = held.current.as_ref().map(PacketBuffer::as_ptr) {
            // What calls in progress have written since the last time is no one's.
            held.taken = self.next.load(Ordering::Acquire) as usize - base as usize;
        }
        Ok(())
    }

    /// Has no more buffers be filled than the one in use, which is freed when it is full.
    fn stop(&self) {
        let full = {
            let mut held = self.held.lock();
            (held.first, held.count) = (0, 0);
            core::mem::take(&mut held.full)
        };
        self.is_full.store(false, Ordering::Relaxed);
        drop(full);
    }
}

impl Held {
    fn oldest(&mut self) -> Option<Piece> {
        let piece = self.full.get_mut(self.first)?.take()?;
        self.first = (self.first + 1) % self.full.len();
        self.count -= 1;
        Some(piece)
    }
}

/// Makes a record of this CPU's, of these words and more, if there is room for it in the buffer in use. False: there is not.
#[inline(always)]
pub fn append_here<const N: usize, const M: usize>(record: [u64; N], more: [u64; M]) -> bool {
    let lane = &Local::get().lane;
    let place = lane.next.load(Ordering::Relaxed);
    // An address behind the buffer is compared, and not used.
    let has_room = place.wrapping_add(N + M) <= lane.end.get();
    if has_room {
        // SAFETY: there is room for so many words in this CPU's buffer, which no other CPU frees,
        // and interrupt handlers make no records.
        let next = unsafe {
            place.cast::<[u64; N]>().write(record);
            place.add(N).cast::<[u64; M]>().write(more);
            place.add(N + M)
        };
        lane.next.store(next, Ordering::Release);
    }
    has_room
}

/// Makes a record of this CPU's, of these words and more. False: there is no room, or none are made.
pub fn append<const N: usize, const M: usize>(record: [u64; N], more: [u64; M]) -> bool {
    append_here(record, more) || (Local::get().lane.refill((N + M) * WORD) && append_here(record, more))
}

/// Counts a record of this CPU's as lost if there is no room for any. False: there may be.
#[inline(always)]
pub fn is_lost() -> bool {
    let lane = &Local::get().lane;
    let is_full = lane.is_full.load(Ordering::Relaxed);
    if is_full {
        lane.lose();
    }
    is_full
}

/// Makes a record of this CPU's of these words, a number, and as many bytes: what `write` has written to the front of the `most` bytes that it is
/// given. False as for [`append`].
#[inline(always)]
pub fn append_bytes<const N: usize>(
    record: [u64; N],
    most: usize,
    write: impl FnOnce(&mut [u8]) -> usize,
) -> bool {
    let lane = &Local::get().lane;
    let whole = (N + 1) * WORD + most.next_multiple_of(WORD);
    let has_room = || lane.next.load(Ordering::Relaxed) as usize + whole <= lane.end.get() as usize;
    if !(has_room() || lane.refill(whole) && has_room()) {
        return false;
    }
    let place = lane.next.load(Ordering::Relaxed);
    // SAFETY: as in `append_here`, there is room for the words, and for whole words of `most` bytes behind them. The bytes of a buffer
    // are always some, and no one else looks at these before the address is moved on.
    let next = unsafe {
        let bytes = place.add(N + 1).cast::<u8>();
        let len = write(core::slice::from_raw_parts_mut(bytes, most)).min(most);
        place.cast::<[u64; N]>().write(record);
        place.add(N).write(len as u64);
        let rest = len % WORD;
        if rest != 0 {
            // Nothing else goes out with the bytes that fill the last word up.
            let last = place.add(N + 1 + len / WORD);
            last.write(u64::from_le(last.read()) & ((1 << (rest * 8)) - 1));
        }
        place.add(N + 1 + len.div_ceil(WORD))
    };
    lane.next.store(next, Ordering::Release);
    true
}

/// Has records made from now on: `buffers` that are full may wait of each CPU. ENOMEM, after which [`stop`] frees what there is.
pub fn start(buffers: usize) -> Result<(), NoMemory> {
    lanes().try_for_each(|lane| lane.start(buffers))
}

/// Has no more records made, and frees those that were not taken: but for the buffer that a CPU writes to, of calls that are in progress.
pub fn stop() {
    lanes().for_each(Lane::stop);
}

/// Takes the records that wait: CPU by CPU, and each CPU's in order.
pub struct Taking {
    cpu: usize,
    /// Full buffers of this CPU that are still to be taken: those that become full meanwhile are for the next time.
    left: Option<usize>,
    /// Records that had no room, of the CPUs before.
    lost: u64,
    /// Buffers that were taken.
    taken: u64,
}

impl Taking {
    /// From the first CPU on.
    pub const fn new() -> Taking {
        Taking { cpu: 0, left: None, lost: 0, taken: 0 }
    }

    /// The next records; `None`: these were all.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Piece> {
        while self.cpu < cpu::count() {
            let piece = Local::of(self.cpu).and_then(|local| self.next_of(&local.lane));
            if piece.is_some() {
                self.taken += 1;
                return piece;
            }
        }
        None
    }

    /// The next records of a CPU; after the last of them, it is the next CPU's turn.
    fn next_of(&mut self, lane: &Lane) -> Option<Piece> {
        let mut held = lane.held.lock();
        let left = self.left.unwrap_or(held.count);
        if left > 0 {
            self.left = Some(left - 1);
            lane.is_full.store(false, Ordering::Relaxed);
            return held.oldest();
        }
        (self.cpu, self.left) = (self.cpu + 1, None);
        let lost = lane.lost.load(Ordering::Relaxed);
        self.lost += lost - core::mem::replace(&mut held.told, lost);
        lane.is_full.store(false, Ordering::Relaxed);
        // What became full comes before what is copied.
        if held.count == 0 { lane.copy(&mut held) } else { None }
    }

    /// How many buffers with records there were.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How many records had no room, of the CPUs whose records were taken.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl Default for Taking {
    fn default() -> Self {
        Self::new()
    }
}

/// Those of the CPUs that run.
fn lanes() -> impl Iterator<Item = &'static Lane> {
    (0..cpu::count()).filter_map(|cpu| Some(&Local::of(cpu)?.lane))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The words that wait, and how many records were lost.
    fn taken(lane: &Lane) -> (Vec<u64>, u64) {
        let (mut words, mut taking) = (Vec::new(), Taking::new());
        while taking.cpu == 0 {
            let Some(piece) = taking.next_of(lane) else { continue };
            let bytes = &piece.buffer.as_slice()[ROOM_BEFORE..piece.end];
            words.extend(bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)));
        }
        (words, taking.lost())
    }

    #[test]
    fn records_are_taken_once_and_in_order() {
        let lane = &Local::get().lane;
        assert!(!append([1], []), "none are made");
        lane.start(8).unwrap();
        let mut expected = Vec::new();
        for round in 0..1000 {
            assert!(append([round], [round + 1, round + 2]));
            expected.extend([round, round + 1, round + 2]);
            assert!(append_bytes([round], 16, |bytes| {
                bytes.fill(0xff);
                9
            }));
            expected.extend([round, 9, u64::MAX, 0xff]);
            if round % 7 == 0 {
                assert_eq!(taken(lane), (core::mem::take(&mut expected), 0));
            }
        }
        assert_eq!(taken(lane), (expected, 0));
        assert_eq!(taken(lane), (Vec::new(), 0));
        lane.stop();
        // What is in progress goes to the buffer in use until that is full, and is not seen, not even the next time.
        while append([1], []) {}
        assert!(lane.held.lock().current.is_none());
        assert_eq!(taken(lane), (Vec::new(), 0));
        lane.start(8).unwrap();
        assert!(append([1], []));
        lane.stop();
        assert!(append([2], []));
        lane.start(8).unwrap();
        assert!(append([3], []));
        assert_eq!(taken(lane), (Vec::from([3]), 0));
        lane.stop();
    }

    #[test]
    fn what_has_no_room_is_counted() {
        const WORDS: usize = 10;
        const BUFFERS: usize = 3;
        let lane = &Local::get().lane;
        lane.start(BUFFERS).unwrap();
        let fit = (BUFFERS * (BYTES / (WORDS * WORD))) as u64;
        for number in 0..fit + 5 {
            assert_eq!(append([number; WORDS], []), number < fit);
        }
        assert!(!append_bytes([], 100, |_| 0) && !append_bytes([], BYTES, |_| 0) && is_lost());
        let (words, lost) = taken(lane);
        assert!(words.iter().copied().eq((0..fit).flat_map(|number| [number; WORDS])));
        assert_eq!(lost, 8);
        assert!(!is_lost());
        // There is room again.
        assert!(append([], [9; WORDS]));
        assert_eq!(taken(lane), (Vec::from([9; WORDS]), 0));
        lane.stop();
    }

    #[test]
    fn another_cpu_takes_what_is_being_written() {
        const RECORDS: u64 = if cfg!(miri) { 300 } else { 30_000 };
        let lane = &Local::get().lane;
        lane.start(1000).unwrap();
        let reader = std::thread::spawn(move || {
            let mut next = 0;
            while next < RECORDS {
                let (words, lost) = taken(lane);
                assert_eq!(lost, 0);
                for record in words.as_chunks().0 {
                    assert_eq!(*record, [next, !next, next]);
                    next += 1;
                }
                std::thread::yield_now();
            }
        });
        for number in 0..RECORDS {
            while !append([number, !number, number], []) {
                std::thread::yield_now();
            }
        }
        reader.join().unwrap();
        lane.stop();
    }
}
