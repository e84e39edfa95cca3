//! The queue beside a list that is searched from the start.
use coracle_mqueue::{MAX_PRIORITY, Message, Queue};
use proptest::prelude::*;

proptest! {
    #[test]
    fn messages_leave_by_priority_and_age(steps in prop::collection::vec(prop::option::weighted(0.6, 0..=4u32), 1..300)) {
        let mut queue = Queue::new();
        let mut model: Vec<Message> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Some(level) => {
                    let message = || Message { priority: level * (MAX_PRIORITY / 4), bytes: vec![number as u8; number % 7] };
                    queue.push(message()).unwrap();
                    model.push(message());
                }
                None => {
                    let first = (0..model.len()).max_by_key(|&at| (model[at].priority, model.len() - at));
                    prop_assert_eq!(queue.pop(), first.map(|at| model.remove(at)));
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.bytes(), model.iter().map(|message| message.bytes.len() as u64).sum::<u64>());
        }
    }
}
