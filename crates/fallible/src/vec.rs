//! Vectors.
use crate::object::{LARGEST, provide};
use crate::{NoMemory, may_grow};
use alloc::alloc::Layout;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// What a vector does fallibly. After an error it is as it was, but for [`TryVec::try_extend`].
pub trait TryVec<T> {
    /// [`Vec::push`].
    ///
    /// # Errors
    /// [`NoMemory`]; the value is dropped.
    fn try_push(&mut self, value: T) -> Result<(), NoMemory>;

    /// Makes room for `more` elements: [`TryVec::push_reserved`] succeeds as often.
    ///
    /// # Errors
    /// [`NoMemory`].
    fn make_room(&mut self, more: usize) -> Result<(), NoMemory>;

    /// [`Vec::push`] where [`TryVec::make_room`] made the room before: for steps that must not fail half-way.
    fn push_reserved(&mut self, value: T);

    /// [`Vec::insert`] where [`TryVec::make_room`] made the room before; panics as that does if `index` lies past the end.
    fn insert_reserved(&mut self, index: usize, value: T);

    /// [`Vec::insert`]; panics as that does if `index` lies past the end.
    ///
    /// # Errors
    /// [`NoMemory`]; the value is dropped.
    fn try_insert(&mut self, index: usize, value: T) -> Result<(), NoMemory>;

    /// [`Vec::extend`].
    ///
    /// # Errors
    /// [`NoMemory`], after as many elements as there was memory for.
    fn try_extend(&mut self, values: impl IntoIterator<Item = T>) -> Result<(), NoMemory>;

    /// [`Vec::extend_from_slice`].
    ///
    /// # Errors
    /// [`NoMemory`].
    fn try_extend_from_slice(&mut self, values: &[T]) -> Result<(), NoMemory>
    where
        T: Copy;

    /// [`Vec::append`].
    ///
    /// # Errors
    /// [`NoMemory`]; both are as they were.
    fn try_append(&mut self, other: &mut Vec<T>) -> Result<(), NoMemory>;

    /// [`Vec::resize`].
    ///
    /// # Errors
    /// [`NoMemory`].
    fn try_resize(&mut self, len: usize, value: T) -> Result<(), NoMemory>
    where
        T: Clone;
}

/// Makes room for `more` elements.
#[inline(always)]
fn make_room<T>(vec: &mut Vec<T>, more: usize) -> Result<(), NoMemory> {
    if more > vec.capacity() - vec.len() { grow(vec, more) } else { Ok(()) }
}

/// Apart, so that vectors with elements of one size share the code.
#[cold]
#[inline(never)]
fn grow<T>(vec: &mut Vec<T>, more: usize) -> Result<(), NoMemory> {
    may_grow()?;
    Ok(vec.try_reserve(more)?)
}

impl<T> TryVec<T> for Vec<T> {
    #[inline]
    fn try_push(&mut self, value: T) -> Result<(), NoMemory> {
        if self.len() == self.capacity() {
            grow(self, 1)?;
            // There is room; said here, it spares each caller the code that grows a vector infallibly.
            if self.len() == self.capacity() {
                return Err(NoMemory);
            }
        }
        self.push(value);
        Ok(())
    }

    fn make_room(&mut self, more: usize) -> Result<(), NoMemory> {
        make_room(self, more)
    }

    #[inline]
    fn push_reserved(&mut self, value: T) {
        debug_assert!(self.len() < self.capacity(), "room was to be made before");
        self.push(value);
    }

    #[inline]
    fn insert_reserved(&mut self, index: usize, value: T) {
        debug_assert!(self.len() < self.capacity(), "room was to be made before");
        self.insert(index, value);
    }

    fn try_insert(&mut self, index: usize, value: T) -> Result<(), NoMemory> {
        if self.len() == self.capacity() {
            grow(self, 1)?;
            // As in `try_push`.
            if self.len() == self.capacity() {
                return Err(NoMemory);
            }
        }
        self.insert(index, value);
        Ok(())
    }

    fn try_extend(&mut self, values: impl IntoIterator<Item = T>) -> Result<(), NoMemory> {
        let values = values.into_iter();
        make_room(self, values.size_hint().0)?;
        for value in values {
            self.try_push(value)?;
        }
        Ok(())
    }

    fn try_extend_from_slice(&mut self, values: &[T]) -> Result<(), NoMemory>
    where
        T: Copy,
    {
        make_room(self, values.len())?;
        self.extend_from_slice(values);
        Ok(())
    }

    fn try_append(&mut self, other: &mut Vec<T>) -> Result<(), NoMemory> {
        make_room(self, other.len())?;
        self.append(other);
        Ok(())
    }

    fn try_resize(&mut self, len: usize, value: T) -> Result<(), NoMemory>
    where
        T: Clone,
    {
        make_room(self, len.saturating_sub(self.len()))?;
        self.resize(len, value);
        Ok(())
    }
}

/// Elements of a long vector that are filled one by one.
const FIRST_FILLED: usize = 64;

/// `len` times `value`, as by `vec![value; len]`.
///
/// # Errors
/// [`NoMemory`].
pub fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>, NoMemory> {
    // Of few bytes, as a path has, `vec!` makes one with a third of the instructions that a growing vector takes.
    if let Ok(layout) = Layout::array::<T>(len)
        && 0 < layout.size()
        && layout.size() <= LARGEST
    {
        provide(layout)?;
        return Ok(vec![value; len]);
    }
    let mut filled = Vec::new();
    may_grow()?;
    filled.try_reserve_exact(len)?;
    // What is there is doubled: of bytes, that is far faster than one by one.
    filled.resize(len.min(FIRST_FILLED), value);
    while filled.len() < len {
        let more = filled.len().min(len - filled.len());
        filled.extend_from_within(..more);
    }
    Ok(filled)
}

/// An array in a box, each element made by `make`.
///
/// # Errors
/// [`NoMemory`].
pub fn boxed_array<T, const N: usize>(mut make: impl FnMut() -> T) -> Result<Box<[T; N]>, NoMemory> {
    let mut elements = Vec::new();
    may_grow()?;
    elements.try_reserve_exact(N)?;
    elements.extend((0..N).map(|_| make()));
    // Exactly as many as the array has.
    elements.into_boxed_slice().try_into().map_err(|_| NoMemory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_grow_as_they_do_infallibly() {
        let mut vec = Vec::new();
        vec.try_push(2).unwrap();
        vec.try_insert(0, 1).unwrap();
        vec.try_extend(3..6).unwrap();
        vec.try_extend_from_slice(&[6, 7]).unwrap();
        vec.try_resize(9, 8).unwrap();
        assert_eq!(vec, [1, 2, 3, 4, 5, 6, 7, 8, 8]);
        let mut more = vec![9, 10];
        vec.try_append(&mut more).unwrap();
        assert_eq!((vec.len(), vec.last(), more.len()), (11, Some(&10), 0));
        vec.try_resize(1, 0).unwrap();
        assert_eq!(vec, [1]);
        assert_eq!(filled(7u8, 3).unwrap(), [7; 3]);
        assert_eq!(*boxed_array::<_, 4>(|| 9).unwrap(), [9; 4]);
    }

    #[test]
    fn too_much_is_refused() {
        let mut vec = Vec::new();
        vec.try_push(1u64).unwrap();
        assert_eq!(vec.try_resize(usize::MAX / 4, 0), Err(NoMemory));
        assert_eq!(vec.try_extend(core::iter::repeat_n(0, usize::MAX / 8)), Err(NoMemory));
        assert_eq!(vec, [1]);
        assert_eq!(filled(0u64, usize::MAX / 8), Err(NoMemory));
    }
}
