//! Collecting iterators into vectors.
use crate::{NoMemory, TryVec as _};
use alloc::vec::Vec;

/// Iterators whose elements are collected fallibly.
pub trait TryCollect: Iterator + Sized {
    /// A vector of all elements.
    ///
    /// # Errors
    /// [`NoMemory`].
    fn try_collect_vec(self) -> Result<Vec<Self::Item>, NoMemory> {
        let mut all = Vec::new();
        all.try_extend(self)?;
        Ok(all)
    }

    /// The same where the number of elements is known: one check for all of them, for where speed matters.
    ///
    /// # Errors
    /// [`NoMemory`].
    fn try_collect_exact(self) -> Result<Vec<Self::Item>, NoMemory>
    where
        Self: ExactSizeIterator,
    {
        let len = self.len();
        let mut all = Vec::new();
        all.make_room(len)?;
        all.extend(self.take(len));
        Ok(all)
    }

    /// A vector of all values, up to the first error.
    ///
    /// # Errors
    /// That error, or [`NoMemory`] as one.
    fn try_collect_ok<T, E: From<NoMemory>>(self) -> Result<Vec<T>, E>
    where
        Self: Iterator<Item = Result<T, E>>,
    {
        let mut all = Vec::new();
        for value in self {
            all.try_push(value?)?;
        }
        Ok(all)
    }
}

impl<I: Iterator> TryCollect for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_up_to_an_error() {
        assert_eq!((0..4).try_collect_vec().unwrap(), [0, 1, 2, 3]);
        assert_eq!((0..4).try_collect_exact().unwrap(), [0, 1, 2, 3]);
        assert_eq!([Ok(1), Ok(2)].into_iter().try_collect_ok::<_, NoMemory>(), Ok(alloc::vec![1, 2]));
        assert_eq!([Ok(1), Err(NoMemory)].into_iter().try_collect_ok::<i32, _>(), Err(NoMemory));
    }
}
