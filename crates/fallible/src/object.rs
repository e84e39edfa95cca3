//! Boxes and reference counts, for which stable `alloc` has no fallible constructors.
use crate::{NoMemory, may_grow};
use alloc::alloc::Layout;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use spin::Once;

/// Bytes of the largest object made here, with its counts. Larger objects are in a vector or slice of their own.
pub const LARGEST: usize = 2048;

/// Ensures that the next allocation of this layout, of at most [`LARGEST`] bytes, succeeds if no other comes before it.
/// False: out of memory.
pub type Provider = fn(Layout) -> bool;

static PROVIDER: Once<Provider> = Once::new();

/// Names the provider, once. Where there is none, as in tests on the host, memory does not run out.
pub fn set_provider(provider: Provider) {
    PROVIDER.call_once(|| provider);
}

/// Sees to it that the next allocation of this layout succeeds.
#[inline]
pub(crate) fn provide(layout: Layout) -> Result<(), NoMemory> {
    may_grow()?;
    match PROVIDER.get() {
        Some(provide) if !provide(layout) => Err(NoMemory),
        _ => Ok(()),
    }
}

/// `value` in a box of its own (the unstable `Box::try_new`).
///
/// # Errors
/// [`NoMemory`]; the value is dropped.
#[inline]
pub fn try_box<T>(value: T) -> Result<Box<T>, NoMemory> {
    let layout = const {
        assert!(size_of::<T>() <= LARGEST && align_of::<T>() <= LARGEST);
        Layout::new::<T>()
    };
    if layout.size() != 0 {
        provide(layout)?;
    }
    Ok(Box::new(value))
}

/// The layout of a value with the counts of strong and of weak references before it.
const fn counted<T>() -> Layout {
    let Ok((layout, _)) = Layout::new::<[usize; 2]>().extend(Layout::new::<T>()) else { panic!("too large") };
    let layout = layout.pad_to_align();
    assert!(layout.size() <= LARGEST && layout.align() <= LARGEST);
    layout
}

/// `value` behind a reference count (the unstable `Arc::try_new`).
///
/// # Errors
/// [`NoMemory`]; the value is dropped.
#[inline]
pub fn try_arc<T>(value: T) -> Result<Arc<T>, NoMemory> {
    provide(const { counted::<T>() })?;
    Ok(Arc::new(value))
}

/// [`try_arc`] of a value that may keep a weak reference to itself: see [`Arc::new_cyclic`].
///
/// # Errors
/// [`NoMemory`]; `make` is not called.
#[inline]
pub fn try_arc_cyclic<T>(make: impl FnOnce(&Weak<T>) -> T) -> Result<Arc<T>, NoMemory> {
    // The allocation comes before `make`, and takes what was provided.
    provide(const { counted::<T>() })?;
    Ok(Arc::new_cyclic(make))
}

/// A copy of at most [`LARGEST`] bytes, its counts included, behind a reference count.
///
/// # Errors
/// [`NoMemory`], also where there are more.
pub fn try_arc_bytes(bytes: &[u8]) -> Result<Arc<[u8]>, NoMemory> {
    let counts = const { Layout::new::<[usize; 2]>() };
    let (layout, _) =
        Layout::array::<u8>(bytes.len()).and_then(|array| counts.extend(array)).map_err(|_| NoMemory)?;
    let layout = layout.pad_to_align();
    if layout.size() > LARGEST {
        return Err(NoMemory);
    }
    provide(layout)?;
    Ok(Arc::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_hold_their_values() {
        assert!(try_box([7u64; 100]).unwrap().iter().all(|&value| value == 7));
        assert_eq!(try_box(()), Ok(Box::new(())));
        assert_eq!(*try_arc(8u64).unwrap(), 8);
        assert_eq!(*try_arc_bytes(b"name").unwrap(), *b"name");
        assert!(try_arc_bytes(&[]).unwrap().is_empty());
        assert_eq!(try_arc_bytes(&[0; LARGEST]), Err(NoMemory));
        struct Knot(Weak<Knot>);
        let knot = try_arc_cyclic(|this| Knot(this.clone())).unwrap();
        assert!(Arc::ptr_eq(&knot.0.upgrade().unwrap(), &knot));
    }
}
