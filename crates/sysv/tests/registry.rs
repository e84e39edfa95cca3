//! Identifiers and keys against a plain model.
use coracle_sysv::{Missing, Refused, Registry};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Insert { key: i32 },
    Remove { which: usize },
    ForgetKey { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6).prop_map(|key| Step::Insert { key }),
        any::<usize>().prop_map(|which| Step::Remove { which }),
        any::<usize>().prop_map(|which| Step::ForgetKey { which }),
    ]
}

proptest! {
    #[test]
    fn finds_what_is_there(steps in prop::collection::vec(step(), 0..80)) {
        const LIMIT: usize = 12;
        let mut registry = Registry::new();
        // Identifier to key and value.
        let mut model: BTreeMap<i32, (i32, usize)> = BTreeMap::new();
        let mut removed = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let nth = |which: usize| model.keys().nth(which % model.len().max(1)).copied();
            match step {
                // As the kernel does: a key that is there is not added again.
                Step::Insert { key } if key != 0 && registry.by_key(key).is_some() => {}
                Step::Insert { key } => match registry.insert(key, number, LIMIT) {
                    Ok(id) => {
                        prop_assert!(id >= 0 && model.len() < LIMIT);
                        prop_assert!(model.insert(id, (key, number)).is_none());
                    }
                    Err(refused) => prop_assert_eq!((refused, model.len()), (Refused::Full, LIMIT)),
                },
                Step::Remove { which } => if let Some(id) = nth(which) {
                    let (_, value) = model.remove(&id).unwrap();
                    prop_assert_eq!(registry.remove(id), Ok(value));
                    removed.push(id);
                },
                Step::ForgetKey { which } => if let Some(id) = nth(which) {
                    model.get_mut(&id).unwrap().0 = 0;
                    registry.forget_key(id);
                },
            }
            prop_assert_eq!(registry.len(), model.len());
            for (&id, &(key, value)) in &model {
                prop_assert_eq!(registry.get(id), Ok(&value));
                if key != 0 {
                    prop_assert_eq!(registry.by_key(key), Some((id, &value)));
                }
            }
            for key in 1..6 {
                let known = model.values().any(|&(known, _)| known == key);
                prop_assert_eq!(registry.by_key(key).is_some(), known);
            }
            for &id in &removed {
                prop_assert!(matches!(registry.get(id), Err(Missing::Invalid | Missing::Removed)));
            }
            let mut from = 0;
            let mut seen = 0;
            while let Some((at, id, value)) = registry.next_from(from) {
                prop_assert_eq!(model.get(&id).map(|(_, value)| value), Some(value));
                prop_assert!(at <= registry.highest_index());
                (from, seen) = (at + 1, seen + 1);
            }
            prop_assert_eq!(seen, model.len());
        }
    }
}

#[test]
fn an_identifier_does_not_come_back_at_once() {
    let mut registry = Registry::new();
    let first = registry.insert(0, 'a', 1).unwrap();
    registry.remove(first).unwrap();
    let second = registry.insert(0, 'b', 1).unwrap();
    assert_ne!(first, second);
    assert_eq!(registry.get(first), Err(Missing::Removed));
    assert_eq!(registry.get(-1), Err(Missing::Invalid));
}
