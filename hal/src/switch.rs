//! A choice between values that live for ever, at the cost of reading one of them.
use core::sync::atomic::{AtomicPtr, Ordering};

/// Refers to one of several values; which one can be changed at any time.
pub struct Switch<T: 'static>(AtomicPtr<T>);

impl<T: Sync> Switch<T> {
    /// Refers to `value`.
    pub const fn new(value: &'static T) -> Self {
        Switch(AtomicPtr::new(core::ptr::from_ref(value).cast_mut()))
    }

    /// What it refers to.
    #[inline(always)]
    pub fn get(&self) -> &'static T {
        // SAFETY: only `new` and `set` store pointers, of values that are shared and live for ever.
        unsafe { &*self.0.load(Ordering::Acquire) }
    }

    /// Has it refer to `value`.
    pub fn set(&self, value: &'static T) {
        self.0.store(core::ptr::from_ref(value).cast_mut(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refers_to_what_was_set() {
        static VALUES: [u32; 2] = [1, 2];
        static SWITCH: Switch<u32> = Switch::new(&VALUES[0]);
        assert_eq!(*SWITCH.get(), 1);
        SWITCH.set(&VALUES[1]);
        assert_eq!(*SWITCH.get(), 2);
    }
}
