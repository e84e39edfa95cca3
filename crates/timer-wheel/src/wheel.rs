//! A wheel of timers, each with a value.
use crate::links::{Links, TimerId};
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

/// A timer wheel. `T` is the value that is returned when a timer is due.
///
/// A timer is made once and then set as often as needed. Times are numbers of any unit, nanoseconds for one.
pub struct Wheel<T> {
    pub(crate) links: Links,
    values: Vec<Option<T>>,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Wheel { links: Links::new(), values: Vec::new() }
    }
}

impl<T: Clone> Wheel<T> {
    /// Makes room for `count` timers in all: [`Wheel::insert`] succeeds while there are fewer.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn make_room_for(&mut self, count: usize) -> Result<(), NoMemory> {
        self.values.make_room(count.saturating_sub(self.values.len()))?;
        self.links.make_room_for(count)
    }

    /// Makes a timer that is not set.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn insert(&mut self, value: T) -> Result<TimerId, NoMemory> {
        if self.links.is_full() {
            self.values.make_room(1)?;
        }
        let id = self.links.insert()?;
        match self.values.get_mut(id.index as usize) {
            Some(place) => *place = Some(value),
            None => self.values.push_reserved(Some(value)),
        }
        Ok(id)
    }

    /// Removes a timer, set or not, and returns its value; `None` if it was removed before.
    pub fn remove(&mut self, id: TimerId) -> Option<T> {
        if !self.links.remove(id) {
            return None;
        }
        let value = self.values[id.index as usize].take();
        self.give_back();
        value
    }

    /// Room for `count` timers in all will do from here on, where [`Wheel::make_room_for`] made room for more.
    pub fn keep_room_for(&mut self, count: usize) {
        self.links.keep_room_for(count);
        self.give_back();
    }

    /// Frees what far fewer timers than before don't need.
    fn give_back(&mut self) {
        let places = self.links.trim();
        self.values.truncate(places);
        self.links.shrink_beside(&mut self.values);
    }

    /// A timer, and when it is due if it is set. `None` if it was removed.
    pub fn get(&self, id: TimerId) -> Option<(&T, Option<u64>)> {
        let deadline = self.links.deadline(id)?;
        Some((self.values.get(id.index as usize)?.as_ref()?, deadline))
    }

    /// Sets or moves a timer. It is never due before `deadline`. False if it was removed.
    pub fn set(&mut self, id: TimerId, deadline: u64) -> bool {
        self.links.set(id, deadline)
    }

    /// Cancels a timer without removing it.
    pub fn unset(&mut self, id: TimerId) {
        self.links.unset(id);
    }

    /// When [`Wheel::pop`] has to be called next, if ever: no timer is due earlier. It is exact unless the timer that
    /// would have been the first was cancelled or moved since; then `pop` may find nothing, and this is exact again.
    pub fn next(&self) -> Option<u64> {
        self.links.next()
    }

    /// Takes a timer that is due at `now`; it is no longer set. Timers that were set before they were due come in the order of
    /// their deadlines, however many are due at once.
    pub fn pop(&mut self, now: u64) -> Option<T> {
        let index = self.links.pop(now)?;
        self.values[index as usize].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Wheel;
    use crate::TimerId;
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
        /// To the next deadline that the wheel reports.
        AdvanceToNext,
    }

    fn delay() -> impl Strategy<Value = u64> {
        (0u32..63).prop_flat_map(|bits| 0..(1u64 << bits))
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => delay().prop_map(Step::Insert),
            3 => (any::<prop::sample::Index>(), delay()).prop_map(|(i, d)| Step::Move(i, d)),
            1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
            2 => (0u32..40).prop_flat_map(|bits| 0..(1u64 << bits)).prop_map(Step::Advance),
            3 => Just(Step::AdvanceToNext),
        ]
    }

    proptest! {
        /// The wheel agrees with a sorted map: nothing early, nothing late, nothing lost, nothing twice.
        #[test]
        fn behaves_as_a_sorted_map(
            start in any::<u64>().prop_map(|start| start >> 2),
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut wheel = Wheel::default();
            let mut model: BTreeMap<usize, (TimerId, Option<u64>)> = BTreeMap::new();
            let mut removed: Vec<TimerId> = Vec::new();
            let (mut now, mut popped) = (start, start);
            for (serial, step) in steps.into_iter().enumerate() {
                let pick = |i: prop::sample::Index| {
                    (!model.is_empty()).then(|| *model.keys().nth(i.index(model.len())).unwrap())
                };
                match step {
                    Step::Insert(delay) => {
                        let id = wheel.insert(serial).unwrap();
                        prop_assert!(wheel.set(id, now.saturating_add(delay)));
                        model.insert(serial, (id, Some(now.saturating_add(delay))));
                    }
                    Step::Move(i, delay) => if let Some(key) = pick(i) {
                        prop_assert!(wheel.set(model[&key].0, now.saturating_add(delay)));
                        model.get_mut(&key).unwrap().1 = Some(now.saturating_add(delay));
                    }
                    Step::Cancel(i) => if let Some(key) = pick(i) {
                        wheel.unset(model[&key].0);
                        model.get_mut(&key).unwrap().1 = None;
                    }
                    Step::Remove(i) => if let Some(key) = pick(i) {
                        prop_assert_eq!(wheel.remove(model[&key].0), Some(key));
                        removed.push(model.remove(&key).unwrap().0);
                    }
                    Step::Advance(by) => now += by,
                    Step::AdvanceToNext => now = wheel.next().unwrap_or(now).max(now),
                }
                for id in &removed {
                    prop_assert!(!wheel.set(*id, now) && wheel.remove(*id).is_none());
                }
                let first = model.values().filter_map(|v| v.1).min();
                prop_assert_eq!(wheel.next().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (wheel.next(), first) {
                    prop_assert!(next <= first.max(now));
                }
                if now != start {
                    let mut last = None;
                    while let Some(key) = wheel.pop(now) {
                        let deadline = model.get_mut(&key).unwrap().1.take();
                        prop_assert!(deadline.is_some_and(|d| d <= now), "early or twice");
                        // What was due when it was set comes first, in any order.
                        let ahead = deadline.filter(|&deadline| deadline > popped);
                        prop_assert!(ahead >= last, "out of order");
                        last = ahead;
                    }
                    popped = now;
                    let first = model.values().filter_map(|v| v.1).min();
                    prop_assert!(first.is_none_or(|first| first > now), "late");
                }
            }
        }
    }

    /// Whatever the order in which they go, and though some stay, the memory of many timers goes back; names of timers that are
    /// gone name no new one.
    #[test]
    fn memory_goes_back() {
        const MANY: usize = 100_000;
        for descending in [false, true] {
            let mut wheel = Wheel::default();
            wheel.make_room_for(MANY).unwrap();
            let mut ids: Vec<_> = (0..MANY).map(|i| wheel.insert(i).unwrap()).collect();
            let first = ids.remove(0);
            if descending {
                ids.reverse();
            }
            for id in &ids {
                assert!(wheel.remove(*id).is_some());
            }
            assert!(wheel.values.capacity() >= MANY, "room was asked for");
            wheel.keep_room_for(1000);
            assert!(wheel.values.capacity() <= 2000 && wheel.links.capacity() <= 2000);
            for i in 1..1000 {
                let id = wheel.insert(i).unwrap();
                assert!(wheel.set(id, 5));
            }
            for id in &ids {
                assert!(!wheel.set(*id, 1));
            }
            assert!(wheel.set(first, 1));
            assert_eq!(wheel.pop(1), Some(0));
            assert_eq!(core::iter::from_fn(|| wheel.pop(5)).count(), 999);
        }
    }

    /// After a long pause all come in the order of their deadlines, though they were set in another.
    #[test]
    fn timers_of_one_batch_come_in_order() {
        let mut wheel = Wheel::default();
        let deadlines = (0..1000u64).map(|i| i * 617 % 1000 * 60_000_000 + 1);
        for deadline in deadlines {
            let id = wheel.insert(deadline).unwrap();
            wheel.set(id, deadline);
        }
        let mut come = Vec::new();
        while let Some(deadline) = wheel.pop(u64::MAX) {
            come.push(deadline);
        }
        assert_eq!(come.len(), 1000);
        assert!(come.is_sorted());
    }

    /// Without cancellations the next deadline is exact.
    #[test]
    fn tells_the_next_deadline_exactly() {
        let mut wheel = Wheel::default();
        let mut deadlines: Vec<u64> =
            (0..1000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).collect();
        for deadline in &deadlines {
            let id = wheel.insert(*deadline).unwrap();
            wheel.set(id, *deadline);
        }
        deadlines.sort_unstable();
        for deadline in deadlines {
            assert_eq!(wheel.next(), Some(deadline));
            assert_eq!(wheel.pop(deadline - u64::from(deadline > 0)).filter(|_| deadline > 0), None);
            if deadline > 0 {
                assert_eq!(wheel.pop(deadline), Some(deadline));
            }
        }
        assert_eq!(wheel.next(), None);
    }

    /// A timer that waits is touched at most once per level, whatever its neighbours do.
    #[test]
    fn cost_does_not_grow_with_waiting_timers() {
        const WAITING: usize = 10_000;
        let mut wheel = Wheel::default();
        for i in 0..WAITING {
            let id = wheel.insert(i).unwrap();
            wheel.set(id, 7_200_000_000_000 + i as u64);
        }
        let busy = wheel.insert(WAITING).unwrap();
        for ms in 0..600_000u64 {
            wheel.set(busy, ms * 1_000_000 + 400_000);
            while wheel.pop(ms * 1_000_000).is_some() {}
            while wheel.pop(ms * 1_000_000 + 400_000).is_some() {}
        }
        assert!(wheel.links.moved < 16 * WAITING + 600_000, "{} moves", wheel.links.moved);
    }
}
