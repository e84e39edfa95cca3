//! A queue whose first element is stored in the queue itself. Most connections never hold a second element, so most need no
//! memory beside their own, and what every request does is done without a ring buffer.

use alloc::collections::VecDeque;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

/// A queue.
pub struct Few<T> {
    /// None only if `rest` is empty.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Few<T> {
    /// An empty queue. Allocates nothing.
    pub const fn new() -> Self {
        Few { first: None, rest: VecDeque::new() }
    }

    /// Number of elements.
    #[inline(always)]
    pub fn len(&self) -> usize {
        if self.first.is_none() { 0 } else { 1 + self.rest.len() }
    }

    /// Number of elements behind the first.
    #[inline(always)]
    pub fn behind_first(&self) -> usize {
        self.rest.len()
    }

    /// The element at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        match index {
            0 => self.first.as_ref(),
            _ => self.rest.get(index - 1),
        }
    }

    /// The first element.
    #[inline(always)]
    pub fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The first element.
    #[inline(always)]
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    /// The last element.
    #[inline(always)]
    pub fn back(&self) -> Option<&T> {
        if self.rest.is_empty() { self.first.as_ref() } else { self.rest.back() }
    }

    /// The last element.
    #[inline(always)]
    pub fn back_mut(&mut self) -> Option<&mut T> {
        if self.rest.is_empty() { self.first.as_mut() } else { self.rest.back_mut() }
    }

    /// Adds the first element to an empty queue.
    #[inline(always)]
    pub fn begin(&mut self, value: T) {
        debug_assert!(self.first.is_none());
        // There is nothing to drop: spares the code for it.
        core::mem::forget(self.first.replace(value));
    }

    /// Makes room for `more` elements at the end.
    ///
    /// # Errors
    /// [`NoMemory`].
    #[inline(always)]
    pub fn make_room(&mut self, more: usize) -> Result<(), NoMemory> {
        let behind = if self.first.is_none() { more.saturating_sub(1) } else { self.rest.len() + more };
        self.rest.make_room_for(behind)
    }

    /// Adds an element at the end, for which [`Few::make_room`] made the room before.
    #[inline(always)]
    pub fn push_back(&mut self, value: T) {
        if self.first.is_none() {
            self.begin(value);
        } else {
            self.push_rest(value);
        }
    }

    #[inline(never)]
    fn push_rest(&mut self, value: T) {
        let pushed = self.rest.try_push_back(value);
        debug_assert!(pushed.is_ok(), "room was to be made before");
    }

    /// Takes the first element.
    #[inline(always)]
    pub fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take();
        if !self.rest.is_empty() {
            self.move_up();
        }
        first
    }

    #[inline(never)]
    fn move_up(&mut self) {
        self.first = self.rest.pop_front();
    }

    /// The elements from `index` on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &T> {
        let rest = self.rest.range(index.saturating_sub(1)..);
        self.first.as_ref().filter(|_| index == 0).into_iter().chain(rest)
    }

    /// The elements from the first to the last, by themselves.
    pub fn into_elements(self) -> impl Iterator<Item = T> {
        self.first.into_iter().chain(self.rest)
    }

    /// The first of the ordered elements for which `before` does not hold.
    pub fn partition_point(&self, mut before: impl FnMut(&T) -> bool) -> usize {
        match &self.first {
            Some(first) if before(first) => 1 + self.rest.partition_point(before),
            _ => 0,
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.rest.clear();
        self.first = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// It is a queue, whatever is done to it.
        #[test]
        fn is_a_queue(steps in proptest::collection::vec(0u8..6, 0..200)) {
            let mut few = Few::new();
            let mut model = VecDeque::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    0..3 => { few.make_room(1).unwrap(); few.push_back(number); model.push_back(number); }
                    3 | 4 => prop_assert_eq!(few.pop_front(), model.pop_front()),
                    _ if number % 20 == 0 => { few.clear(); model.clear(); }
                    _ => {}
                }
                prop_assert_eq!((few.len(), few.behind_first()), (model.len(), model.len().saturating_sub(1)));
                prop_assert_eq!((few.front(), few.back()), (model.front(), model.back()));
                prop_assert_eq!(few.front_mut().copied(), model.front().copied());
                prop_assert_eq!(few.back_mut().copied(), model.back().copied());
                prop_assert_eq!(few.partition_point(|n| *n < number / 2), model.partition_point(|n| *n < number / 2));
                for index in 0..model.len() {
                    prop_assert_eq!(few.get(index), model.get(index));
                    prop_assert!(few.iter_from(index).eq(model.range(index..)));
                }
                prop_assert_eq!(few.get(model.len()), None);
            }
            prop_assert_eq!(few.into_elements().collect::<VecDeque<_>>(), model);
        }
    }
}
