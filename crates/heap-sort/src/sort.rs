//! Heap sort: in place, n log n comparisons at most, equal elements in any order.

/// Sorts by a key.
pub fn heap_sort<T, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    heap_sort_by(list, |left, right| key(left) < key(right));
}

/// Sorts by a relation: whether one element comes before another.
pub fn heap_sort_by<T>(list: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    let sink = |list: &mut [T], mut at: usize| {
        while let Some(left) = list.get(2 * at + 1) {
            let right = list.get(2 * at + 2).filter(|right| is_before(left, right));
            let largest = 2 * at + 1 + usize::from(right.is_some());
            if !is_before(&list[at], &list[largest]) {
                break;
            }
            list.swap(at, largest);
            at = largest;
        }
    };
    for at in (0..list.len() / 2).rev() {
        sink(list, at);
    }
    for end in (1..list.len()).rev() {
        list.swap(0, end);
        sink(&mut list[..end], 0);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library(mut list in proptest::collection::vec(any::<u16>(), 0..200)) {
            let (mut by_key, mut expected) = (list.clone(), list.clone());
            expected.sort_unstable();
            heap_sort(&mut by_key, |number| *number);
            prop_assert_eq!(&by_key, &expected);
            heap_sort_by(&mut list, |left, right| left > right);
            expected.reverse();
            prop_assert_eq!(list, expected);
        }
    }
}
