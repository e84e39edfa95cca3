//! Copies of slices.
use crate::{NoMemory, may_grow};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What a slice does fallibly.
pub trait TrySlice<T> {
    /// [`slice::to_vec`].
    ///
    /// # Errors
    /// [`NoMemory`].
    fn try_to_vec(&self) -> Result<Vec<T>, NoMemory>;

    /// A copy that takes no more than it needs.
    ///
    /// # Errors
    /// [`NoMemory`].
    fn try_to_boxed(&self) -> Result<Box<[T]>, NoMemory> {
        Ok(self.try_to_vec()?.into_boxed_slice())
    }
}

impl<T: Clone> TrySlice<T> for [T] {
    #[inline(never)]
    fn try_to_vec(&self) -> Result<Vec<T>, NoMemory> {
        let mut copy = Vec::new();
        may_grow()?;
        copy.try_reserve_exact(self.len())?;
        copy.extend_from_slice(self);
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal() {
        assert_eq!(*b"boat".try_to_vec().unwrap(), *b"boat");
        assert_eq!(*b"boat".try_to_boxed().unwrap(), *b"boat");
        assert!(<[u8]>::try_to_boxed(&[]).unwrap().is_empty());
    }
}
