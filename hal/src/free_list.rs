//! Lists of free objects, linked through the objects themselves.
use core::ptr;

/// A free object: the link to the next.
pub(crate) struct Free {
    pub next: *mut Free,
}

/// Sorts a list by address; neither memory nor a deep stack is needed.
///
/// # Safety
/// The list ends with null, and all its objects are free memory of the caller's with valid links.
pub(crate) unsafe fn sort(mut list: *mut Free) -> *mut Free {
    /// More than there are bits in the number of objects of any list.
    const BINS: usize = 40;
    // Bin n is empty or has 2^n sorted objects, like the digits of a number that counts them.
    let mut bins: [*mut Free; BINS] = [ptr::null_mut(); BINS];
    while !list.is_null() {
        let mut carried = list;
        // SAFETY: an object of the caller's list.
        unsafe {
            list = (*list).next;
            (*carried).next = ptr::null_mut();
        }
        for bin in &mut bins {
            if bin.is_null() {
                *bin = carried;
                break;
            }
            // SAFETY: sorted lists of the caller's objects.
            carried = unsafe { merge(core::mem::take(bin), carried) };
        }
    }
    // SAFETY: as above.
    bins.into_iter().fold(ptr::null_mut(), |merged, bin| unsafe { merge(bin, merged) })
}

/// Joins two sorted lists.
///
/// # Safety
/// As for [`sort`].
unsafe fn merge(mut a: *mut Free, mut b: *mut Free) -> *mut Free {
    let mut head = ptr::null_mut();
    let mut tail: *mut *mut Free = &mut head;
    while !a.is_null() && !b.is_null() {
        let least = if a < b { &mut a } else { &mut b };
        // SAFETY: `tail` is `head` or the link of an object of ours; `least` is an object of the caller's lists.
        unsafe {
            *tail = *least;
            tail = &mut (**least).next;
            *least = *tail;
        }
    }
    // SAFETY: as above.
    unsafe { *tail = if a.is_null() { b } else { a } };
    head
}

#[cfg(test)]
mod tests {
    use super::{Free, sort};
    use core::ptr;
    use std::vec::Vec;

    #[test]
    fn lists_are_sorted_by_address() {
        for len in [0, 1, 2, 3, 7, 64, 100] {
            let mut objects: Vec<Free> = (0..len).map(|_| Free { next: ptr::null_mut() }).collect();
            let base = objects.as_mut_ptr();
            // An order that mixes all: 101 is prime.
            let order = (0..101usize).map(|i| i * 37 % 101).filter(|&i| i < len);
            let mut list = ptr::null_mut();
            for index in order {
                // SAFETY: an element of the vector.
                unsafe {
                    let object = base.add(index);
                    (*object).next = list;
                    list = object;
                }
            }
            // SAFETY: the list that was just made.
            let mut sorted = unsafe { sort(list) };
            for index in 0..len {
                // SAFETY: elements of the vector.
                unsafe {
                    assert_eq!(sorted, base.add(index));
                    sorted = (*sorted).next;
                }
            }
            assert!(sorted.is_null());
        }
    }
}
