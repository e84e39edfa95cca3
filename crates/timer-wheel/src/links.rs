//! The wheel's lists, which are independent of the type of the timers: one copy of this code serves all wheels.
//!
//! There is a level for each four bits of a deadline. If the highest bits in which a deadline differs from the present
//! are those of level `l`, the timer is on level `l`, in the slot that its own four bits there select. So the entries of a
//! level come after those of all lower levels, and a slot's after those of lower slots: the first list that isn't empty
//! has the earliest deadline of all.
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

const SLOT_BITS: u32 = 4;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = (u64::BITS / SLOT_BITS) as usize;
/// One list per slot of each level, in the order of their time.
const LISTS: usize = LEVELS * SLOTS;
/// The list of entries that are due.
const DUE: usize = LISTS;
/// The `list` of an entry that is on none, and of a place without a timer.
const UNSET: u16 = u16::MAX;
const FREE: u16 = u16::MAX - 1;
/// Places that are kept when memory is freed.
const KEPT: usize = 256;
/// No entry.
const NIL: u32 = u32::MAX;
const WORD_BITS: usize = u64::BITS as usize;

/// Names a timer of a wheel. After the timer's removal it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    pub(crate) index: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct List {
    first: u32,
    /// No entry of the list has an earlier deadline (its earliest may have been cancelled).
    earliest: u64,
}

struct Entry {
    deadline: u64,
    /// The previous and the next of its list, or of the free ones.
    previous: u32,
    next: u32,
    /// How many timers had this place before, at least.
    generation: u32,
    list: u16,
}

/// Moves elements to less memory, if they take little of theirs and `room` does not need it. Without memory to move to, they
/// stay.
fn shrink<T>(elements: &mut Vec<T>, room: usize) {
    let wanted = (2 * elements.len()).max(room).max(KEPT);
    if elements.capacity() / 2 < wanted {
        return;
    }
    let mut fewer = Vec::new();
    if fewer.make_room(wanted).is_ok() && fewer.try_append(elements).is_ok() {
        *elements = fewer;
    }
}

pub(crate) struct Links {
    entries: Vec<Entry>,
    /// First of the places without a timer.
    free: u32,
    /// No place that is gone was of a later generation: a new one begins with this.
    fresh_generation: u32,
    /// Places for which there is to be room.
    room: usize,
    /// In memory of their own: kernel stacks are small, and a wheel is built by value.
    lists: Box<[List]>,
    /// Lists with entries, one bit each, but for [`DUE`].
    occupied: [u64; LISTS / WORD_BITS],
    /// What deadlines are compared with to find their list. Not later than any occupied list begins.
    present: u64,
    /// Entries moved down (for tests of cost).
    #[cfg(test)]
    pub moved: usize,
}

impl Links {
    pub(crate) fn new() -> Links {
        Links {
            entries: Vec::new(),
            free: NIL,
            fresh_generation: 0,
            room: 0,
            lists: vec![List { first: NIL, earliest: u64::MAX }; LISTS + 1].into_boxed_slice(),
            occupied: [0; LISTS / WORD_BITS],
            present: 0,
            #[cfg(test)]
            moved: 0,
        }
    }

    /// Makes room for `count` timers in all.
    pub(crate) fn make_room_for(&mut self, count: usize) -> Result<(), NoMemory> {
        self.entries.make_room(count.saturating_sub(self.entries.len()))?;
        self.room = self.room.max(count);
        Ok(())
    }

    /// Room for `count` timers in all will do from here on.
    pub(crate) fn keep_room_for(&mut self, count: usize) {
        self.room = count;
    }

    /// Places that there is memory for (for tests).
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Whether another timer needs a place more.
    pub(crate) fn is_full(&self) -> bool {
        self.free == NIL
    }

    /// Forgets the places at the end that have no timer; returns how many places there are then.
    pub(crate) fn trim(&mut self) -> usize {
        while let Some(&Entry { list: FREE, previous, next, generation, .. }) = self.entries.last() {
            match previous {
                NIL => self.free = next,
                previous => self.entries[previous as usize].next = next,
            }
            if next != NIL {
                self.entries[next as usize].previous = previous;
            }
            self.fresh_generation = self.fresh_generation.max(generation);
            self.entries.pop();
        }
        self.shrink();
        self.entries.len()
    }

    /// Frees memory that far fewer timers don't need.
    fn shrink(&mut self) {
        shrink(&mut self.entries, self.room);
    }

    /// The same for what is kept beside the places.
    pub(crate) fn shrink_beside<T>(&self, values: &mut Vec<T>) {
        shrink(values, self.room);
    }

    /// A place for a timer that is not set.
    pub(crate) fn insert(&mut self) -> Result<TimerId, NoMemory> {
        if self.free == NIL {
            let generation = self.fresh_generation;
            let entry = Entry { deadline: 0, previous: NIL, next: NIL, generation, list: UNSET };
            self.entries.try_push(entry)?;
            return Ok(TimerId { index: self.entries.len() as u32 - 1, generation });
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        entry.list = UNSET;
        let (next, generation) = (entry.next, entry.generation);
        self.free = next;
        if next != NIL {
            self.entries[next as usize].previous = NIL;
        }
        Ok(TimerId { index, generation })
    }

    /// Frees a place; false if it was free already.
    pub(crate) fn remove(&mut self, id: TimerId) -> bool {
        let exists = self.unset(id);
        if exists {
            let entry = &mut self.entries[id.index as usize];
            entry.generation = entry.generation.wrapping_add(1);
            entry.list = FREE;
            entry.previous = NIL;
            entry.next = core::mem::replace(&mut self.free, id.index);
            let next = entry.next;
            if next != NIL {
                self.entries[next as usize].previous = id.index;
            }
        }
        exists
    }

    /// Sets or moves a timer; false if it is gone.
    pub(crate) fn set(&mut self, id: TimerId, deadline: u64) -> bool {
        let exists = self.unset(id);
        if exists {
            self.link(id.index, deadline);
        }
        exists
    }

    /// When a timer is due, if it is set; `None` if it is gone.
    pub(crate) fn deadline(&self, id: TimerId) -> Option<Option<u64>> {
        let entry = self.entries.get(id.index as usize).filter(|entry| entry.generation == id.generation)?;
        Some((entry.list != UNSET).then_some(entry.deadline))
    }

    /// Cancels a timer; false if it is gone.
    pub(crate) fn unset(&mut self, id: TimerId) -> bool {
        let exists =
            self.entries.get(id.index as usize).is_some_and(|entry| entry.generation == id.generation);
        if exists {
            self.unlink(id.index);
        }
        exists
    }

    /// No timer is due earlier, and if none was cancelled or moved since, one is due then.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.lists[DUE].first != NIL {
            return Some(self.present);
        }
        self.first_list().map(|list| self.lists[list].earliest)
    }

    /// Takes the place of a timer that is due at `now`; it is no longer set. Timers that were set before they were due come in
    /// the order of their deadlines.
    pub(crate) fn pop(&mut self, now: u64) -> Option<u32> {
        loop {
            let due = self.lists[DUE].first;
            if due != NIL {
                self.unlink(due);
                return Some(due);
            }
            let list = self.first_list().filter(|&list| self.lists[list].earliest <= now)?;
            self.open(list);
        }
    }

    /// Moves the entries of the first list to where they belong at the earliest of their deadlines, which has passed. No
    /// further: those that are due later go after it.
    fn open(&mut self, list: usize) {
        self.present = self.lists[list].earliest;
        let mut index = core::mem::replace(&mut self.lists[list].first, NIL);
        self.occupied[list / WORD_BITS] &= !(1 << (list % WORD_BITS));
        while index != NIL {
            let Entry { deadline, next, .. } = self.entries[index as usize];
            self.link(index, deadline);
            index = next;
            #[cfg(test)]
            {
                self.moved += 1;
            }
        }
    }

    #[inline(always)]
    fn first_list(&self) -> Option<usize> {
        let word = self.occupied.iter().position(|&lists| lists != 0)?;
        Some(word * WORD_BITS + self.occupied[word].trailing_zeros() as usize)
    }

    fn link(&mut self, index: u32, deadline: u64) {
        let number = if deadline <= self.present {
            DUE
        } else {
            let level = (deadline ^ self.present).ilog2() / SLOT_BITS;
            let slot = (deadline >> (level * SLOT_BITS)) as usize % SLOTS;
            level as usize * SLOTS + slot
        };
        let list = &mut self.lists[number];
        let next = core::mem::replace(&mut list.first, index);
        if next != NIL {
            list.earliest = list.earliest.min(deadline);
            self.entries[next as usize].previous = index;
        } else {
            list.earliest = deadline;
            if number != DUE {
                self.occupied[number / WORD_BITS] |= 1 << (number % WORD_BITS);
            }
        }
        let entry = &mut self.entries[index as usize];
        entry.deadline = deadline;
        entry.list = number as u16;
        entry.previous = NIL;
        entry.next = next;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let (list, previous, next) = (entry.list as usize, entry.previous, entry.next);
        if entry.list == UNSET {
            return;
        }
        entry.list = UNSET;
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
            return;
        }
        self.lists[list].first = next;
        if next == NIL && list != DUE {
            self.occupied[list / WORD_BITS] &= !(1 << (list % WORD_BITS));
        }
    }
}
