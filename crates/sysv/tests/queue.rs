//! Which message msgrcv(2) takes, and what a queue holds.
use coracle_sysv::{Message, Queue, Selection};
use proptest::prelude::*;

proptest! {
    #[test]
    fn selects_as_the_manual_says(kinds in prop::collection::vec(1i64..6, 0..20), wanted in 1i64..6) {
        let mut queue = Queue::new(1 << 14);
        for &kind in &kinds {
            queue.push(Message { kind, bytes: vec![kind as u8; kind as usize] }).unwrap();
        }
        prop_assert_eq!(queue.bytes() as i64, kinds.iter().sum::<i64>());
        prop_assert_eq!(queue.find(Selection::First), (!kinds.is_empty()).then_some(0));
        prop_assert_eq!(queue.find(Selection::Of(wanted)), kinds.iter().position(|&kind| kind == wanted));
        prop_assert_eq!(queue.find(Selection::Except(wanted)), kinds.iter().position(|&kind| kind != wanted));
        let lowest = kinds.iter().copied().filter(|&kind| kind <= wanted).min();
        let first_of_lowest = lowest.and_then(|lowest| kinds.iter().position(|&kind| kind == lowest));
        prop_assert_eq!(queue.find(Selection::UpTo(wanted)), first_of_lowest);
        let mut taken = Vec::new();
        while let Some(position) = queue.find(Selection::UpTo(i64::MAX)) {
            taken.push(queue.take(position).unwrap().kind);
        }
        let mut sorted = kinds.clone();
        sorted.sort_unstable();
        prop_assert_eq!(taken, sorted);
        prop_assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }
}

#[test]
fn is_bounded_in_bytes_and_in_messages() {
    let mut queue = Queue::new(4);
    assert!(queue.has_room_for(4) && !queue.has_room_for(5));
    for _ in 0..4 {
        assert!(queue.has_room_for(0));
        queue.push(Message { kind: 1, bytes: Vec::new() }).unwrap();
    }
    assert!(!queue.has_room_for(0));
    queue.set_capacity(5);
    assert!(queue.has_room_for(5) && !queue.has_room_for(6));
}
