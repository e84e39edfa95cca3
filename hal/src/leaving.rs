//! Values that are moved out at their owner's end, in place of being dropped there.
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

/// What becomes of a value when its owner ends.
pub trait Leaves: Sized {
    /// Takes the value. It must not panic.
    fn leave(self);
}

/// Owns a value that [leaves](Leaves) when it ends. So the end of the owner can put aside what is not to be dropped there, without
/// a place that is empty meanwhile.
pub struct Leaving<T: Leaves>(ManuallyDrop<T>);

impl<T: Leaves> Leaving<T> {
    /// Owns `value`.
    pub const fn new(value: T) -> Self {
        Leaving(ManuallyDrop::new(value))
    }
}

impl<T: Leaves> Deref for Leaving<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Leaves> DerefMut for Leaving<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Leaves> Drop for Leaving<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the value is there until now, and nothing reaches it after this, which runs once.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        value.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::sync::Mutex;

    static LEFT: Mutex<Option<Box<Number>>> = Mutex::new(None);

    struct Number(u32);

    impl Leaves for Box<Number> {
        fn leave(self) {
            let before = LEFT.lock().expect("no test fails with it").replace(self);
            assert!(before.is_none());
        }
    }

    #[test]
    fn a_value_leaves_once_with_what_it_has() {
        let mut owner = Leaving::new(Box::new(Number(1)));
        owner.0.0 += 6;
        let address = core::ptr::from_ref::<Number>(&owner);
        drop(owner);
        let left = LEFT.lock().expect("no test fails with it").take();
        assert!(left.is_some_and(|left| left.0 == 7 && core::ptr::eq(address, &*left)));
    }
}
