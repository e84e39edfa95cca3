//! The map against a model that keeps one value per number.
use coracle_interval_map::{InsertError, IntervalMap, Slot};
use proptest::prelude::*;
use std::ops::Range;

const SPACE: usize = 200;

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, usize),
    Remove(usize),
    Detach(usize),
    Resize(usize, usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SPACE, 0..6usize).prop_map(|(start, len)| Step::Insert(start, len)),
        1 => (0..SPACE).prop_map(Step::Remove),
        1 => (0..SPACE).prop_map(Step::Detach),
        2 => (0..SPACE, 0..SPACE, 0..8usize).prop_map(|(at, start, len)| Step::Resize(at, start, len)),
    ]
}

type Model = Vec<(Range<usize>, usize)>;

fn found(map: &IntervalMap<usize>, slot: Option<Slot>) -> Option<Range<usize>> {
    slot.map(|slot| map.range(slot))
}

fn is_free(model: &Model, range: &Range<usize>) -> bool {
    model.iter().all(|(other, _)| other.end <= range.start || range.end <= other.start)
}

fn agree(map: &IntervalMap<usize>, model: &mut Model) -> Result<(), TestCaseError> {
    model.sort_by_key(|(range, _)| range.start);
    map.check();
    let all: Model = map.iter().map(|(range, &value)| (range, value)).collect();
    prop_assert_eq!(&all, &*model);
    prop_assert_eq!(map.len(), model.len());
    prop_assert_eq!(map.is_empty(), model.is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn behaves_like_a_list(steps in prop::collection::vec(step(), 1..300)) {
        let mut map = IntervalMap::new();
        let mut model = Model::new();
        let mut detached: Vec<usize> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(start, len) => {
                    let range = start..start + len;
                    let free = len > 0 && is_free(&model, &range);
                    let result = map.insert(range.clone(), number);
                    prop_assert_eq!(result.is_ok(), free);
                    match result {
                        Ok(slot) => {
                            prop_assert_eq!(map.get(slot), Some((range.clone(), &number)));
                            model.push((range, number));
                        }
                        Err(error) => prop_assert_eq!(error, InsertError::Occupied),
                    }
                }
                Step::Remove(at) | Step::Detach(at) => {
                    let place = model.iter().position(|(range, _)| range.contains(&at));
                    let slot = map.find(at);
                    prop_assert_eq!(slot.is_some(), place.is_some());
                    let (Some(slot), Some(place)) = (slot, place) else { continue };
                    let (_, value) = model.remove(place);
                    if matches!(step, Step::Remove(_)) {
                        prop_assert_eq!(map.remove(slot), Some(value));
                        prop_assert_eq!(map.get(slot), None);
                    } else {
                        map.detach(slot);
                        detached.push(value);
                    }
                }
                Step::Resize(at, start, len) => {
                    let Some(slot) = map.find(at) else { continue };
                    let place = model.iter().position(|(range, _)| range.contains(&at)).unwrap();
                    let wanted = start..start + len;
                    // An interval may move only as far as its neighbours.
                    let from = if place == 0 { 0 } else { model[place - 1].0.end };
                    let to = model.get(place + 1).map_or(usize::MAX, |(range, _)| range.start);
                    let fits = len > 0 && from <= wanted.start && wanted.end <= to;
                    prop_assert_eq!(map.resize(slot, wanted.clone()), fits);
                    if fits {
                        model[place].0 = wanted;
                    }
                }
            }
            agree(&map, &mut model)?;
        }
        for value in detached.into_iter().rev() {
            prop_assert_eq!(map.release(), Some(value));
        }
        prop_assert_eq!(map.release(), None);
        agree(&map, &mut model)?;
        for at in 0..SPACE + 10 {
            let last = model.iter().rfind(|(range, _)| range.start <= at).map(|(range, _)| range.clone());
            prop_assert_eq!(found(&map, map.last_upto(at)), last);
            let last = model.iter().rfind(|(range, _)| range.start < at).map(|(range, _)| range.clone());
            prop_assert_eq!(found(&map, map.last_before(at)), last);
            let first = model.iter().find(|(range, _)| range.start >= at).map(|(range, _)| range.clone());
            prop_assert_eq!(found(&map, map.first_from(at)), first);
            let holds = model.iter().find(|(range, _)| range.contains(&at)).map(|(range, _)| range.clone());
            prop_assert_eq!(found(&map, map.find(at)), holds);
        }
        for within in [0..SPACE, 7..SPACE - 9, 50..150, 90..100] {
            for len in 1..24 {
                for align in [1, 4] {
                    let fits = |&at: &usize| {
                        at % align == 0 && at + len <= within.end && is_free(&model, &(at..at + len))
                    };
                    prop_assert_eq!(map.lowest_gap(within.clone(), len, align), within.clone().find(fits));
                    prop_assert_eq!(map.highest_gap(within.clone(), len, align), within.clone().rev().find(fits));
                }
            }
        }
    }
}

#[test]
fn memory_follows_what_is_there() {
    let mut map = IntervalMap::new();
    for round in 0..3 {
        let slots: Vec<Slot> = (0..5000).map(|at| map.insert(2 * at..2 * at + 1, at).unwrap()).collect();
        map.check();
        // In an order that leaves every chunk of the arena half full first.
        for (at, slot) in slots.iter().enumerate().filter(|(at, _)| at % 2 == round % 2) {
            assert_eq!(map.remove(*slot), Some(at));
        }
        map.check();
        for (at, slot) in slots.iter().enumerate().filter(|(at, _)| at % 2 != round % 2) {
            assert_eq!(map.remove(*slot), Some(at));
        }
        map.check();
        assert!(map.is_empty());
    }
}
