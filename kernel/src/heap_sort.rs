//! Sorting without calls within calls.

/// Sorts by a key. The sort of the standard library calls itself, more often the more there is, and the kernel's
/// stacks are small.
pub fn heap_sort<T, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    let sink = |list: &mut [T], mut at: usize| {
        while let Some(left) = list.get(2 * at + 1) {
            let right = list.get(2 * at + 2).filter(|right| key(right) > key(left));
            let largest = 2 * at + 1 + usize::from(right.is_some());
            if key(&list[largest]) <= key(&list[at]) {
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
