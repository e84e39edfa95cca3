//! Queues.
use crate::{NoMemory, may_grow};
use alloc::collections::VecDeque;

/// What a queue does fallibly. After an error it is as it was.
pub trait TryDeque<T> {
    /// Makes room for `len` elements in all: pushes succeed up to that length.
    ///
    /// # Errors
    /// [`NoMemory`].
    fn make_room_for(&mut self, len: usize) -> Result<(), NoMemory>;

    /// [`VecDeque::push_back`] where [`TryDeque::make_room_for`] made the room before.
    fn push_back_reserved(&mut self, value: T);

    /// [`VecDeque::push_front`] where [`TryDeque::make_room_for`] made the room before.
    fn push_front_reserved(&mut self, value: T);

    /// [`VecDeque::push_back`].
    ///
    /// # Errors
    /// [`NoMemory`]; the value is dropped.
    fn try_push_back(&mut self, value: T) -> Result<(), NoMemory>;

    /// [`VecDeque::push_front`].
    ///
    /// # Errors
    /// [`NoMemory`]; the value is dropped.
    fn try_push_front(&mut self, value: T) -> Result<(), NoMemory>;
}

#[cold]
#[inline(never)]
fn grow<T>(queue: &mut VecDeque<T>, len: usize) -> Result<(), NoMemory> {
    may_grow()?;
    Ok(queue.try_reserve(len - queue.len())?)
}

impl<T> TryDeque<T> for VecDeque<T> {
    #[inline(always)]
    fn make_room_for(&mut self, len: usize) -> Result<(), NoMemory> {
        if len > self.capacity() { grow(self, len) } else { Ok(()) }
    }

    #[inline(always)]
    fn push_back_reserved(&mut self, value: T) {
        debug_assert!(self.len() < self.capacity(), "room was to be made before");
        self.push_back(value);
    }

    #[inline]
    fn push_front_reserved(&mut self, value: T) {
        debug_assert!(self.len() < self.capacity(), "room was to be made before");
        self.push_front(value);
    }

    #[inline]
    fn try_push_back(&mut self, value: T) -> Result<(), NoMemory> {
        if self.len() == self.capacity() {
            grow(self, self.len() + 1)?;
            // There is room; said here, it spares each caller the code that grows a queue infallibly.
            if self.len() == self.capacity() {
                return Err(NoMemory);
            }
        }
        self.push_back(value);
        Ok(())
    }

    #[inline]
    fn try_push_front(&mut self, value: T) -> Result<(), NoMemory> {
        if self.len() == self.capacity() {
            grow(self, self.len() + 1)?;
            // As in `try_push_back`.
            if self.len() == self.capacity() {
                return Err(NoMemory);
            }
        }
        self.push_front(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_grow_at_both_ends() {
        let mut queue = VecDeque::new();
        for number in 0..100 {
            queue.try_push_back(number).unwrap();
            queue.try_push_front(-number).unwrap();
        }
        assert_eq!((queue.len(), queue.front(), queue.back()), (200, Some(&-99), Some(&99)));
    }
}
