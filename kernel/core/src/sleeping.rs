//! A lock that threads sleep for: what it protects is used across waits for a disk.
use crate::ipc::poll::{Events, PollSource, wait_until};
use crate::lock::Mutex;
use alloc::boxed::Box;
use core::ops::{Deref, DerefMut};

/// The lock. The value is taken out of it by the thread that has it.
pub struct Sleeping<T> {
    value: Mutex<Option<Box<T>>>,
    free: PollSource,
}

/// The value, until it is dropped.
pub struct Guard<'a, T> {
    lock: &'a Sleeping<T>,
    value: Option<Box<T>>,
}

impl<T> Sleeping<T> {
    /// An unlocked one.
    pub const fn new(value: Box<T>) -> Self {
        Sleeping { value: Mutex::new(Some(value)), free: PollSource::new() }
    }

    /// Waits until no other thread has the value. Hold no spinning lock.
    pub fn lock(&self) -> Guard<'_, T> {
        let mut value = None;
        wait_until(&self.free, Events::IN, &mut || {
            value = self.value.lock().take();
            value.is_some()
        });
        Guard { lock: self, value }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // `lock` returns with it.
        self.value.as_deref().expect("a guard has the value")
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_deref_mut().expect("a guard has the value")
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        *self.lock.value.lock() = self.value.take();
        self.lock.free.notify(Events::IN);
    }
}
