//! A spin lock for what is on no hot path: taking it is a call, where [`coracle_hal::sync::Mutex`] copies its loop to each place.
use coracle_hal::sync::MutexGuard;

/// The lock. Its guards are those of [`coracle_hal::sync::Mutex`].
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(coracle_hal::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked one.
    pub const fn new(value: T) -> Self {
        Mutex(coracle_hal::sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is free, and takes it. One copy of this code serves all types of the same alignment.
    #[inline(never)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    /// Takes the lock if it is free.
    #[inline(never)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock()
    }

    /// What it protects, without locking: no other reference to the lock exists.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
