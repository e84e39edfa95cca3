//! What a thread knows of the events that count it (perf_event_open(2)): a list of a type that a higher layer has.
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use core::any::Any;

/// An event.
pub type Counter = Arc<dyn Any + Send + Sync>;

/// The events that count a thread.
#[derive(Default)]
pub struct CountedList(Mutex<List>);

#[derive(Default)]
struct List {
    counters: Vec<Counter>,
    /// The thread has ended.
    is_over: bool,
}

impl CountedList {
    /// Adds an event; false: the thread has ended.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn add(&self, counter: Counter) -> Result<bool, NoMemory> {
        let mut list = self.0.lock();
        if list.is_over {
            return Ok(false);
        }
        list.counters.try_push(counter).map(|()| true)
    }

    /// Takes an event out, if it is there.
    pub fn remove(&self, is_it: impl Fn(&Counter) -> bool) {
        let mut list = self.0.lock();
        let removed = list.counters.iter().position(is_it).map(|index| list.counters.swap_remove(index));
        // It may have been the last reference.
        drop(list);
        drop(removed);
    }

    /// The event at a place.
    pub fn get(&self, index: usize) -> Option<Counter> {
        self.0.lock().counters.get(index).cloned()
    }

    /// Takes all of them out. `is_over`: the thread has ended, and none is added any more.
    pub fn take(&self, is_over: bool) -> Vec<Counter> {
        let mut list = self.0.lock();
        list.is_over |= is_over;
        core::mem::take(&mut list.counters)
    }
}
