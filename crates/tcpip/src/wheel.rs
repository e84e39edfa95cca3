//! A hierarchical timer wheel (Varghese and Lauck, 1987): setting, moving and cancelling a timer costs O(1),
//! and so does asking when the next one is due.
//!
//! An entry is made once and then set as often as needed. Level 0 has a slot per tick; a slot of each further level
//! covers 64 of the level below, and its entries move down when the time comes near.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// A tick is 2^20 ns, about a millisecond.
const TICK_SHIFT: u32 = 20;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Five levels reach 2^30 ticks, thirteen days. A later deadline is cut to that.
const LEVELS: usize = 5;
const MAX_DISTANCE: u64 = (1 << (SLOT_BITS as usize * LEVELS)) - 1;
const NIL: u32 = u32::MAX;
/// The list of entries whose time has come.
const DUE: u16 = (LEVELS * SLOTS) as u16;
const UNSET: u16 = u16::MAX;

/// Names an entry of a wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

struct Entry<T> {
    value: Option<T>,
    deadline: u64,
    list: u16,
    previous: u32,
    next: u32,
}

/// A timer wheel. `T` is what comes back when a timer is due.
pub struct Wheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    /// In memory of their own: a stack is built by value, and kernel stacks are small.
    heads: Box<[u32; HEADS]>,
    occupied: [u64; LEVELS],
    tick: u64,
    /// Work done, counted in entries moved (for tests of cost).
    #[cfg(test)]
    pub work: usize,
}

/// Lists of a wheel: one for each slot, and one for what is due.
const HEADS: usize = LEVELS * SLOTS + 1;

/// Empty lists, made without passing over the stack.
fn nil_heads() -> Box<[u32; HEADS]> {
    match vec![NIL; HEADS].into_boxed_slice().try_into() {
        Ok(heads) => heads,
        Err(_) => unreachable!("as long as it was made"),
    }
}

impl<T: Clone> Default for Wheel<T> {
    fn default() -> Self {
        Wheel {
            entries: Vec::new(),
            free: NIL,
            heads: nil_heads(),
            occupied: [0; LEVELS],
            tick: 0,
            #[cfg(test)]
            work: 0,
        }
    }
}

impl<T: Clone> Wheel<T> {
    /// Makes an entry that is not set.
    pub fn insert(&mut self, value: T) -> TimerId {
        let entry = Entry { value: Some(value), deadline: 0, list: UNSET, previous: NIL, next: NIL };
        if self.free != NIL {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            self.entries[index as usize] = entry;
            TimerId(index)
        } else {
            self.entries.push(entry);
            TimerId(self.entries.len() as u32 - 1)
        }
    }

    /// Removes an entry, set or not. Its name may be given to another.
    pub fn remove(&mut self, id: TimerId) -> Option<T> {
        self.unlink(id.0);
        let entry = &mut self.entries[id.0 as usize];
        let value = entry.value.take();
        if value.is_some() {
            entry.next = self.free;
            self.free = id.0;
        }
        value
    }

    /// Sets (or moves) an entry to `deadline`, in ns. It is never due before, at most a tick after.
    pub fn set(&mut self, id: TimerId, deadline: u64) {
        self.unlink(id.0);
        let tick = (deadline >> TICK_SHIFT) + u64::from(deadline & ((1 << TICK_SHIFT) - 1) != 0);
        self.entries[id.0 as usize].deadline = tick;
        self.link(id.0);
    }

    /// Cancels an entry, which stays.
    pub fn unset(&mut self, id: TimerId) {
        self.unlink(id.0);
    }

    /// When `pop` should be called next, in ns: never later than the first deadline (plus a tick).
    pub fn next(&self) -> Option<u64> {
        if self.heads[DUE as usize] != NIL {
            return Some(self.tick << TICK_SHIFT);
        }
        self.next_slot().map(|(_, tick)| tick << TICK_SHIFT)
    }

    /// Takes one entry that is due at `now` (ns); it is no longer set.
    pub fn pop(&mut self, now: u64) -> Option<T> {
        let target = now >> TICK_SHIFT;
        loop {
            let head = self.heads[DUE as usize];
            if head != NIL {
                self.unlink(head);
                return self.entries[head as usize].value.clone();
            }
            match self.next_slot() {
                Some((list, tick)) if tick <= target => {
                    self.tick = tick;
                    while self.heads[list] != NIL {
                        let index = self.heads[list];
                        self.unlink(index);
                        self.link(index);
                        #[cfg(test)]
                        {
                            self.work += 1;
                        }
                    }
                }
                _ => {
                    self.tick = self.tick.max(target);
                    return None;
                }
            }
        }
    }

    /// The first slot that has entries, and the tick at which it must be opened.
    fn next_slot(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * SLOT_BITS;
        let block = self.tick >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        Some((level * SLOTS + slot, block | (slot as u64) << shift))
    }

    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline.min(self.tick | MAX_DISTANCE);
        let list = if deadline <= self.tick {
            DUE as usize
        } else {
            // All entries of a level lie in the same block of the level above as the present does, in a later slot.
            let level = (63 - (deadline ^ self.tick).leading_zeros()) / SLOT_BITS;
            let slot = (deadline >> (level * SLOT_BITS)) as usize % SLOTS;
            self.occupied[level as usize] |= 1 << slot;
            level as usize * SLOTS + slot
        };
        let head = self.heads[list];
        self.heads[list] = index;
        if head != NIL {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.list = list as u16;
        entry.previous = NIL;
        entry.next = head;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let (list, previous, next) = (entry.list, entry.previous, entry.next);
        if list == UNSET {
            return;
        }
        entry.list = UNSET;
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
        } else {
            self.heads[list as usize] = next;
            if next == NIL && list != DUE {
                self.occupied[list as usize / SLOTS] &= !(1 << (list as usize % SLOTS));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TICK_SHIFT, TimerId, Wheel};
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Move(prop::sample::Index, u64),
        Cancel(prop::sample::Index),
        Remove(prop::sample::Index),
        Advance(u64),
    }

    fn delay() -> impl Strategy<Value = u64> {
        (0u32..48).prop_flat_map(|bits| 0..(1u64 << bits))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => delay().prop_map(Step::Insert),
            2 => (any::<prop::sample::Index>(), delay()).prop_map(|(i, d)| Step::Move(i, d)),
            1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
            3 => delay().prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// The wheel agrees with a sorted map: nothing early, nothing more than a tick late, nothing lost.
        #[test]
        fn behaves_as_a_sorted_map(steps in proptest::collection::vec(step(), 1..120)) {
            let mut wheel = Wheel::default();
            let mut model: BTreeMap<usize, (TimerId, Option<u64>)> = BTreeMap::new();
            let mut now = 12_345_678_901u64;
            wheel.pop(now);
            for (serial, step) in steps.into_iter().enumerate() {
                let pick = |i: prop::sample::Index| (!model.is_empty()).then(|| *model.keys().nth(i.index(model.len())).unwrap());
                match step {
                    Step::Insert(delay) => {
                        let id = wheel.insert(serial);
                        wheel.set(id, now + delay);
                        model.insert(serial, (id, Some(now + delay)));
                    }
                    Step::Move(i, delay) => if let Some(key) = pick(i) {
                        wheel.set(model[&key].0, now + delay);
                        model.get_mut(&key).unwrap().1 = Some(now + delay);
                    }
                    Step::Cancel(i) => if let Some(key) = pick(i) {
                        wheel.unset(model[&key].0);
                        model.get_mut(&key).unwrap().1 = None;
                    }
                    Step::Remove(i) => if let Some(key) = pick(i) {
                        prop_assert_eq!(wheel.remove(model[&key].0), Some(key));
                        model.remove(&key);
                    }
                    Step::Advance(by) => {
                        now += by;
                        while let Some(key) = wheel.pop(now) {
                            let deadline = model.get_mut(&key).unwrap().1.take();
                            prop_assert!(deadline.is_some_and(|d| d <= now), "early or twice");
                        }
                        for (_, deadline) in model.values() {
                            prop_assert!(deadline.is_none_or(|d| d + (1 << TICK_SHIFT) > now), "late");
                        }
                    }
                }
                let first = model.values().filter_map(|v| v.1).min();
                prop_assert_eq!(wheel.next().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next(), first) {
                    prop_assert!(next <= first + (1 << TICK_SHIFT));
                }
            }
        }
    }

    /// An idle timer is touched at most once per level, however long it waits and whatever its neighbours do.
    #[test]
    fn cost_does_not_grow_with_idle_timers() {
        let mut wheel = Wheel::default();
        let idle: Vec<TimerId> = (0..10_000).map(|i| wheel.insert(i)).collect();
        for id in &idle {
            wheel.set(*id, 7_200_000_000_000);
        }
        let busy = wheel.insert(10_000);
        wheel.work = 0;
        for ms in 0..60_000u64 {
            wheel.set(busy, ms * 1_000_000 + 40_000_000);
            while wheel.pop(ms * 1_000_000).is_some() {}
        }
        assert!(wheel.work < 10_000, "{} moves", wheel.work);
    }
}
