//! Values that are made once and then only read. A read is one load and a branch. The code that waits for another CPU to make
//! the value exists once for all types.
use crate::sync::atomic::{AtomicU8, Ordering};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

/// Nothing is there yet.
const EMPTY: u8 = 0;
/// A CPU is making the value.
const RUNNING: u8 = 1;
/// The value is there, and stays.
const DONE: u8 = 2;

/// A place for a value that is made once.
pub struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value goes with its place.
unsafe impl<T: Send> Send for Once<T> {}
// SAFETY: the value is written by the one thread that `begin` chose, and others refer to it only after that thread has stored
// `DONE`; from then on it is only shared.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// A place without a value.
    pub const fn new() -> Self {
        Once { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it is there.
    #[inline(always)]
    pub fn get(&self) -> Option<&T> {
        if !self.is_completed() {
            return None;
        }
        // SAFETY: the value was written before the state became `DONE`, and is not written again while `self` is shared.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Whether the value is there.
    #[inline(always)]
    pub fn is_completed(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    /// The value; `make` makes it if it isn't there. If another CPU is making it, this waits; `make` must not ask for the same
    /// value.
    #[inline(always)]
    pub fn call_once(&self, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => self.fill(make),
        }
    }

    #[cold]
    fn fill(&self, make: impl FnOnce() -> T) -> &T {
        if begin(&self.state) {
            let value = make();
            // SAFETY: `begin` returns true once, and nothing reads the value before the state is `DONE`.
            unsafe { (*self.value.get()).write(value) };
            self.state.store(DONE, Ordering::Release);
        }
        // SAFETY: either it was written just now, or `begin` has seen that another CPU has written it.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// The value, which another CPU makes, or has made.
    pub fn wait(&self) -> &T {
        wait_for(&self.state);
        // SAFETY: the state is `DONE`, so the value was written before.
        unsafe { (*self.value.get()).assume_init_ref() }
    }
}

/// Waits until another CPU has made a value.
fn wait_for(state: &AtomicU8) {
    while state.load(Ordering::Acquire) != DONE {
        crate::cpu::pause();
    }
}

/// Whether the caller has to make the value: true for one caller. The others return when the value is there.
#[cold]
#[inline(never)]
fn begin(state: &AtomicU8) -> bool {
    loop {
        match state.compare_exchange(EMPTY, RUNNING, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => return true,
            Err(DONE) => return false,
            Err(_) => crate::cpu::pause(),
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Once::new()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == DONE {
            // SAFETY: the value is there, and nothing refers to it any more.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Once;
    use crate::sync::atomic::{AtomicUsize, Ordering};
    use alloc::sync::Arc;

    #[test]
    fn is_made_once_and_dropped_once() {
        let value = Arc::new(());
        let once = Once::new();
        assert!(once.get().is_none() && !once.is_completed());
        for _ in 0..2 {
            assert!(Arc::ptr_eq(once.call_once(|| value.clone()), &value));
        }
        assert!(once.is_completed() && Arc::ptr_eq(once.wait(), &value));
        assert_eq!(Arc::strong_count(&value), 2);
        drop(once);
        assert_eq!(Arc::strong_count(&value), 1);
        drop(Once::<Arc<()>>::default());
    }

    #[test]
    fn all_threads_see_the_value_of_one() {
        let (once, made) = (Once::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let value = once.call_once(|| {
                        std::thread::yield_now();
                        made.fetch_add(1, Ordering::Relaxed) + 7
                    });
                    assert_eq!(*value, 7);
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }
}
