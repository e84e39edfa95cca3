//! Room made in advance, so that what must not fail later doesn't.
use crate::NoMemory;
use core::sync::atomic::{AtomicUsize, Ordering::*};

/// Counts the objects that need room in some collections, and has the collections grow ahead of them: by doubling, so that
/// most objects find the room made.
pub struct Room {
    taken: AtomicUsize,
    made: AtomicUsize,
}

/// The least room that is made.
const FIRST: usize = 16;

impl Default for Room {
    fn default() -> Self {
        Room::new()
    }
}

impl Room {
    /// No room.
    pub const fn new() -> Room {
        Room { taken: AtomicUsize::new(0), made: AtomicUsize::new(0) }
    }

    /// Takes room for one object more. `make_for` makes the room for so many objects in all; it is called on several CPUs at
    /// once if they find the room too small at once, and each time at least with the number that was asked for before.
    ///
    /// # Errors
    /// That of `make_for`: nothing is taken then.
    pub fn take(&self, make_for: impl FnOnce(usize) -> Result<(), NoMemory>) -> Result<(), NoMemory> {
        let taken = self.taken.fetch_add(1, AcqRel) + 1;
        if taken > self.made.load(Acquire) {
            let wanted = taken.next_power_of_two().max(FIRST);
            if let Err(error) = make_for(wanted) {
                self.give();
                return Err(error);
            }
            self.made.fetch_max(wanted, AcqRel);
        }
        Ok(())
    }

    /// An object that took room is gone.
    pub fn give(&self) {
        self.taken.fetch_sub(1, AcqRel);
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
        room.give();
        room.take(|_| Err(NoMemory)).unwrap();
    }
}
