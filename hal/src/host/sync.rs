//! Locks and atomic values of the machine of threads ([`crate::sync`]): each use is a point at which the scheduler may let another CPU run.
use super::schedule::{point, spin};

/// What a CPU does while it waits for a lock.
pub struct Wait;

impl ::spin::RelaxStrategy for Wait {
    fn relax() {
        spin();
    }
}

/// What a lock protects, while it is held.
pub type MutexGuard<'a, T> = ::spin::MutexGuard<'a, T, Wait>;

/// A lock.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(::spin::mutex::Mutex<T, Wait>);

impl<T> Mutex<T> {
    /// An unlocked one.
    pub const fn new(value: T) -> Self {
        Mutex(::spin::mutex::Mutex::new(value))
    }

    /// What it protected.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is free, and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        point();
        self.0.lock()
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        point();
        self.0.try_lock()
    }

    /// Whether it is taken.
    pub fn is_locked(&self) -> bool {
        point();
        self.0.is_locked()
    }

    /// What it protects, without locking: no other reference to the lock exists.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// A lock that several CPUs may hold to read.
pub type RwLock<T> = ::spin::rwlock::RwLock<T, Wait>;

/// A value that is made when it is first used.
pub type LazyLock<T, F = fn() -> T> = ::spin::lazylock::LazyLock<T, F, Wait>;

/// Atomic values.
pub mod atomic {
    use super::point;
    use core::sync::atomic as core_atomic;
    pub use core::sync::atomic::Ordering;

    /// A fence, and a point at which another CPU may run.
    pub fn fence(order: Ordering) {
        point();
        core_atomic::fence(order);
    }

    /// Defines an atomic type with what all of them have.
    macro_rules! atomic {
        ($name:ident$(<$param:ident>)?, $type:ty) => {
            #[doc = concat!("As [`core::sync::atomic::", stringify!($name), "`].")]
            #[derive(Debug, Default)]
            #[repr(transparent)]
            pub struct $name$(<$param>)?(core_atomic::$name$(<$param>)?);

            #[allow(missing_docs)]
            impl$(<$param>)? $name$(<$param>)? {
                pub const fn new(value: $type) -> Self {
                    $name(core_atomic::$name::new(value))
                }
                pub fn get_mut(&mut self) -> &mut $type {
                    self.0.get_mut()
                }
                pub fn into_inner(self) -> $type {
                    self.0.into_inner()
                }
                pub fn load(&self, order: Ordering) -> $type {
                    point();
                    self.0.load(order)
                }
                pub fn store(&self, value: $type, order: Ordering) {
                    point();
                    self.0.store(value, order);
                }
                pub fn swap(&self, value: $type, order: Ordering) -> $type {
                    point();
                    self.0.swap(value, order)
                }
                pub fn compare_exchange(
                    &self,
                    current: $type,
                    new: $type,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$type, $type> {
                    point();
                    self.0.compare_exchange(current, new, success, failure)
                }
                pub fn compare_exchange_weak(
                    &self,
                    current: $type,
                    new: $type,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$type, $type> {
                    self.compare_exchange(current, new, success, failure)
                }
                pub fn fetch_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    f: impl FnMut($type) -> Option<$type>,
                ) -> Result<$type, $type> {
                    self.try_update(success, failure, f)
                }
                pub fn try_update(
                    &self,
                    success: Ordering,
                    failure: Ordering,
                    mut f: impl FnMut($type) -> Option<$type>,
                ) -> Result<$type, $type> {
                    let mut old = self.load(failure);
                    while let Some(new) = f(old) {
                        match self.compare_exchange(old, new, success, failure) {
                            Ok(old) => return Ok(old),
                            Err(found) => old = found,
                        }
                    }
                    Err(old)
                }
            }
        };
    }

    /// Defines operations that an atomic type has beside those.
    macro_rules! operations {
        ($name:ident, $type:ty: $($operation:ident)*) => {
            #[allow(missing_docs)]
            impl $name {
                $(
                    pub fn $operation(&self, value: $type, order: Ordering) -> $type {
                        point();
                        self.0.$operation(value, order)
                    }
                )*
            }

            impl From<$type> for $name {
                fn from(value: $type) -> Self {
                    Self::new(value)
                }
            }
        };
    }

    atomic!(AtomicBool, bool);
    operations!(AtomicBool, bool: fetch_and fetch_or fetch_xor);
    atomic!(AtomicPtr<T>, *mut T);

    /// Defines an atomic type of numbers.
    macro_rules! number {
        ($name:ident, $type:ty) => {
            atomic!($name, $type);
            operations!($name, $type: fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
        };
    }

    number!(AtomicU8, u8);
    number!(AtomicU16, u16);
    number!(AtomicU32, u32);
    number!(AtomicU64, u64);
    number!(AtomicUsize, usize);
    number!(AtomicI32, i32);
    number!(AtomicI64, i64);
}
