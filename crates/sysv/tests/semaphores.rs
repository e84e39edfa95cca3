//! The laws of semop(2).
use coracle_sysv::{Blocked, MAX_VALUE, Operation, Outcome, Semaphores, Waits};
use proptest::prelude::*;

const COUNT: u16 = 3;

fn operation() -> impl Strategy<Value = Operation> {
    let change = prop_oneof![-3i16..4, Just(i16::MAX), Just(i16::MIN)];
    (0..COUNT + 1, change, any::<bool>(), any::<bool>())
        .prop_map(|(number, change, no_wait, undo)| Operation { number, change, no_wait, undo })
}

fn values(set: &Semaphores) -> Vec<u16> {
    (0..set.count()).map(|number| set.value(number).unwrap()).collect()
}

proptest! {
    #[test]
    fn all_or_nothing(calls in prop::collection::vec((1i32..4, prop::collection::vec(operation(), 1..5)), 0..60)) {
        let mut set = Semaphores::new(COUNT.into()).unwrap();
        // What each process has added with SEM_UNDO.
        let mut added = [[0i32; COUNT as usize]; 4];
        for (pid, operations) in calls {
            let before = values(&set);
            let outcome = set.operate(&operations, pid);
            // The rules once more, one after the other.
            let mut expected: Vec<i32> = before.iter().copied().map(i32::from).collect();
            let mut owed = added[pid as usize];
            let mut wanted = Outcome::Done;
            if operations.iter().any(|operation| operation.number >= COUNT) {
                wanted = Outcome::NoSuchSemaphore;
            } else {
                for &Operation { number, change, no_wait, undo } in &operations {
                    let (at, change) = (usize::from(number), i32::from(change));
                    let blocked = |waits| Outcome::Blocked(Blocked { number, waits, no_wait });
                    if change == 0 && expected[at] != 0 {
                        wanted = blocked(Waits::ForZero);
                    } else if expected[at] + change < 0 {
                        wanted = blocked(Waits::ForMore);
                    } else if expected[at] + change > i32::from(MAX_VALUE)
                        || undo && !(-32_767..=32_768).contains(&(owed[at] + change))
                    {
                        wanted = Outcome::OutOfRange;
                    } else {
                        expected[at] += change;
                        owed[at] += if undo { change } else { 0 };
                        continue;
                    }
                    break;
                }
            }
            prop_assert_eq!(outcome, wanted);
            if outcome == Outcome::Done {
                added[pid as usize] = owed;
                prop_assert_eq!(values(&set).into_iter().map(i32::from).collect::<Vec<_>>(), expected);
                prop_assert!(operations.iter().all(|operation| set.pid(operation.number.into()) == Some(pid)));
            } else {
                prop_assert_eq!(values(&set), before);
            }
        }
        for pid in 1..4 {
            let before = values(&set);
            let changed = set.undo_all(pid);
            let after = values(&set);
            for at in 0..usize::from(COUNT) {
                let value = i32::from(before[at]) - added[pid as usize][at];
                prop_assert_eq!(i32::from(after[at]), value.clamp(0, MAX_VALUE.into()));
            }
            prop_assert_eq!(changed, added[pid as usize] != [0; COUNT as usize]);
            prop_assert!(!set.undo_all(pid));
        }
    }
}

#[test]
fn setting_a_value_cancels_what_is_owed() {
    let mut set = Semaphores::new(1).unwrap();
    assert_eq!(
        set.operate(&[Operation { number: 0, change: 5, no_wait: false, undo: true }], 7),
        Outcome::Done
    );
    assert!(set.set(0, 9, 8));
    assert!(!set.undo_all(7));
    assert_eq!((set.value(0), set.pid(0)), (Some(9), Some(8)));
    assert!(!set.set(0, 32_768, 8) && !set.set(0, -1, 8) && !set.set(1, 0, 8));
}

#[test]
fn waiters_are_counted_by_what_they_wait_for() {
    let mut set = Semaphores::new(2).unwrap();
    let blocked = |number, waits| Blocked { number, waits, no_wait: false };
    set.wait(1, blocked(0, Waits::ForMore)).unwrap();
    set.wait(2, blocked(0, Waits::ForZero)).unwrap();
    set.wait(1, blocked(1, Waits::ForMore)).unwrap();
    assert_eq!(set.waiters(0, Waits::ForMore), 0);
    assert_eq!((set.waiters(1, Waits::ForMore), set.waiters(0, Waits::ForZero)), (1, 1));
    set.leave(1);
    assert_eq!(set.waiters(1, Waits::ForMore), 0);
}
