//! Room that is made in advance, so that a later step cannot fail.
use crate::NoMemory;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

/// Counts the objects that need room in some collections, and has the collections grow ahead of them: by doubling, so that
/// most objects find the room made.
pub struct Room {
    taken: AtomicUsize,
    made: AtomicUsize,
    /// A CPU is changing how much is made.
    changing: AtomicBool,
}

/// The least room that is made.
const FIRST: usize = 16;
/// When no more than the one part of the room is taken, the other part stays, but not less than so much. CPUs that take room
/// meanwhile, each for one object, find it there.
const TOO_MUCH: usize = 8;
const FEWER: usize = TOO_MUCH / 2;
const KEPT: usize = 1024;

impl Default for Room {
    fn default() -> Self {
        Room::new()
    }
}

impl Room {
    /// No room.
    pub const fn new() -> Room {
        Room { taken: AtomicUsize::new(0), made: AtomicUsize::new(0), changing: AtomicBool::new(false) }
    }

    /// Takes room for one object more. `make_for` makes the room for so many objects in all, on one CPU at a time.
    ///
    /// # Errors
    /// That of `make_for`: nothing is taken then.
    pub fn take(&self, make_for: impl FnOnce(usize) -> Result<(), NoMemory>) -> Result<(), NoMemory> {
        let taken = self.taken.fetch_add(1, AcqRel) + 1;
        if taken <= self.made.load(Acquire) {
            return Ok(());
        }
        while self.changing.swap(true, Acquire) {
            core::hint::spin_loop();
        }
        let mut result = Ok(());
        if taken > self.made.load(Acquire) {
            let wanted = taken.next_power_of_two().max(FIRST);
            result = make_for(wanted);
            match result {
                Ok(()) => self.made.store(wanted, Release),
                Err(_) => drop(self.taken.fetch_sub(1, AcqRel)),
            }
        }
        self.changing.store(false, Release);
        result
    }

    /// An object that took room is gone. If far fewer have room now than could, `keep_for` may let the collections shrink: they
    /// need room for so many objects in all from here on.
    pub fn give(&self, keep_for: impl FnOnce(usize)) {
        let taken = self.taken.fetch_sub(1, AcqRel) - 1;
        if self.is_too_much_for(taken) && !self.changing.swap(true, Acquire) {
            // What CPUs take from here on is compared with what stays.
            if self.is_too_much_for(self.taken.load(Acquire)) {
                let fewer = self.made.load(Acquire) / FEWER;
                self.made.store(fewer, SeqCst);
                keep_for(fewer);
            }
            self.changing.store(false, Release);
        }
    }

    /// Whether far more room is made than so many objects need.
    fn is_too_much_for(&self, taken: usize) -> bool {
        let made = self.made.load(Acquire);
        made / FEWER >= KEPT && taken <= made / TOO_MUCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_ahead() {
        let room = Room::new();
        let mut made = alloc::vec::Vec::new();
        for _ in 0..40 {
            let make_for = |count| {
                made.push(count);
                Ok(())
            };
            room.take(make_for).unwrap();
        }
        assert_eq!(made, [16, 32, 64]);
        for _ in 0..24 {
            room.take(|_| Err(NoMemory)).unwrap();
        }
        assert_eq!(room.take(|_| Err(NoMemory)), Err(NoMemory));
        room.give(|_| unreachable!("little is made"));
        room.take(|_| Err(NoMemory)).unwrap();
    }

    #[test]
    fn room_goes_back() {
        let room = Room::new();
        for _ in 0..40_000 {
            room.take(|_| Ok(())).unwrap();
        }
        let mut kept = alloc::vec::Vec::new();
        for left in (0..40_000).rev() {
            room.give(|count| {
                assert!(left * 2 <= count);
                kept.push(count);
            });
        }
        assert_eq!(kept, [16_384, 4_096, 1_024]);
        for _ in 0..1024 {
            room.take(|_| Err(NoMemory)).unwrap();
        }
        assert_eq!(room.take(|_| Err(NoMemory)), Err(NoMemory));
    }
}
