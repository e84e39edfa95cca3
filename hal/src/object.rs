//! Objects made fallibly, which stable `alloc` offers for slices and vectors only.
use crate::heap;
use alloc::alloc::Layout;
use alloc::boxed::Box;
use alloc::sync::Arc;

pub use coracle_fallible::NoMemory;

/// `value` in a box of its own (the unstable `Box::try_new`).
///
/// # Errors
/// [`NoMemory`]; the value is dropped.
#[inline]
pub fn try_box<T>(value: T) -> Result<Box<T>, NoMemory> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value));
    }
    coracle_fallible::may_grow()?;
    // SAFETY: the layout is not of size zero.
    let object = unsafe { alloc::alloc::alloc(layout) }.cast::<T>();
    if object.is_null() {
        return Err(NoMemory);
    }
    // SAFETY: fresh memory of the layout of `T`, from the global allocator, written before it is a box.
    unsafe {
        object.write(value);
        Ok(Box::from_raw(object))
    }
}

/// `value` behind a reference count (the unstable `Arc::try_new`). The value is no larger than the heap's largest class,
/// less the two counts before it; what is larger stands in a box of its own.
///
/// # Errors
/// [`NoMemory`]; the value is dropped.
#[inline]
pub fn try_arc<T>(value: T) -> Result<Arc<T>, NoMemory> {
    /// The counts of strong and of weak references.
    const COUNTS: Layout = Layout::new::<[usize; 2]>();
    let layout = const {
        let Ok((layout, _)) = COUNTS.extend(Layout::new::<T>()) else { panic!("too large") };
        let layout = layout.pad_to_align();
        assert!(heap::is_small(layout), "larger than a class of the heap: put it in a box");
        layout
    };
    coracle_fallible::may_grow()?;
    if !heap::provide(layout) {
        return Err(NoMemory);
    }
    // Kernel code is not preempted, so that what was provided on this CPU is there still.
    Ok(Arc::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_hold_their_values() {
        assert!(try_box([7u64; 100]).unwrap().iter().all(|&value| value == 7));
        assert_eq!(*try_arc(8u64).unwrap(), 8);
        assert_eq!(try_box(()), Ok(Box::new(())));
    }
}
