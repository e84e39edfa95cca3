//! The map against a model that keeps one value per byte.
use coracle_vma::{Attributes, Error, RegionMap};
use proptest::prelude::*;

const SPACE: usize = 64;

/// A colour, and an offset that moves with the address when it is not `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    colour: u8,
    offset: Option<usize>,
}

impl Attributes for Tag {
    fn advance(&self, by: usize) -> Self {
        Tag { offset: self.offset.map(|offset| offset + by), ..*self }
    }
    fn joins(&self, len: usize, next: &Self) -> bool {
        self.advance(len) == *next
    }
    fn is_locked(&self) -> bool {
        self.colour == 0
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, usize, u8, Option<usize>),
    Remove(usize, usize),
    Update(usize, usize, u8),
    Replace(usize, usize, u8, Option<usize>),
    GrowDown(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..SPACE;
    prop_oneof![
        (at(), 1..16usize, 0..3u8, proptest::option::of(0..100usize))
            .prop_map(|(a, l, c, o)| Step::Insert(a, l, c, o)),
        (at(), 0..24usize).prop_map(|(a, l)| Step::Remove(a, l)),
        (at(), 0..24usize, 0..3u8).prop_map(|(a, l, c)| Step::Update(a, l, c)),
        (at(), 1..16usize, 0..3u8, proptest::option::of(0..100usize))
            .prop_map(|(a, l, c, o)| Step::Replace(a, l, c, o)),
        (at(), at()).prop_map(|(a, s)| Step::GrowDown(a, s)),
    ]
}

/// Regions a map has at most.
const MOST: usize = 12;

/// What was removed, in any order.
fn drain(map: &mut RegionMap<Tag>) -> usize {
    std::iter::from_fn(|| map.take_removed()).count()
}

/// Pieces of regions in the range.
fn pieces(map: &RegionMap<Tag>, range: &std::ops::Range<usize>) -> usize {
    map.parts(range.clone()).count()
}

fn expand(map: &RegionMap<Tag>) -> Vec<Option<Tag>> {
    let mut bytes = vec![None; SPACE];
    for (range, tag) in map.iter() {
        for at in range.clone() {
            assert!(bytes[at].is_none(), "regions overlap");
            bytes[at] = Some(tag.advance(at - range.start));
        }
    }
    bytes
}

#[test]
fn growth_joins_what_it_reaches() {
    let mut map = RegionMap::bounded(MOST);
    let tag = Tag { colour: 1, offset: None };
    map.insert(37..46, tag).unwrap();
    map.insert(30..33, tag).unwrap();
    assert!(map.grow_down(40, 33));
    assert_eq!(map.len(), 1);
    assert_eq!(map.find(30).map(|(range, _)| range), Some(30..46));
}

proptest! {
    #[test]
    fn behaves_like_an_array(steps in proptest::collection::vec(step(), 1..40)) {
        let mut map = RegionMap::bounded(MOST);
        let mut model: Vec<Option<Tag>> = vec![None; SPACE];
        for step in steps {
            let full = map.len() + 2 > MOST;
            match step {
                Step::Insert(at, len, colour, offset) => {
                    let range = at..(at + len).min(SPACE);
                    let free = model[range.clone()].iter().all(Option::is_none);
                    prop_assert_eq!(map.is_free(range.clone()), free);
                    let tag = Tag { colour, offset };
                    match map.insert(range.clone(), tag) {
                        Ok(()) => {
                            prop_assert!(free);
                            for i in range { model[i] = Some(tag.advance(i - at)); }
                        }
                        Err(Error::TooMany) => prop_assert!(free && map.len() == MOST),
                        Err(error) => prop_assert!(!free && error == Error::Occupied),
                    }
                }
                Step::Replace(at, len, colour, offset) => {
                    let range = at..(at + len).min(SPACE);
                    let tag = Tag { colour, offset };
                    let pieces = pieces(&map, &range);
                    match map.replace(range.clone(), tag) {
                        Ok(first) => {
                            prop_assert_eq!(usize::from(first.is_some()) + drain(&mut map), pieces);
                            for i in range { model[i] = Some(tag.advance(i - at)); }
                        }
                        Err(error) => prop_assert!(full && error == Error::TooMany),
                    }
                }
                Step::Remove(at, len) => {
                    let range = at..(at + len).min(SPACE);
                    let pieces = pieces(&map, &range);
                    match map.remove(range.clone()) {
                        Ok(any) => {
                            prop_assert_eq!(any, pieces > 0);
                            prop_assert_eq!(drain(&mut map), pieces);
                            for i in range { model[i] = None; }
                        }
                        Err(error) => prop_assert!(full && error == Error::TooMany),
                    }
                }
                Step::Update(at, len, colour) => {
                    let range = at..(at + len).min(SPACE);
                    match map.update(range.clone(), |tag| tag.colour = colour) {
                        Ok(()) => for i in range { if let Some(tag) = &mut model[i] { tag.colour = colour; } },
                        Err(error) => prop_assert!(full && error == Error::TooMany),
                    }
                }
                Step::GrowDown(addr, start) => {
                    let Some((found, tag)) = map.find(addr).map(|(r, t)| (r, *t)) else { continue };
                    if tag.offset.is_some() { continue }
                    let possible = start < found.start && model[start..found.start].iter().all(Option::is_none);
                    prop_assert_eq!(map.grow_down(addr, start), possible);
                    if possible { for slot in &mut model[start..found.start] { *slot = Some(tag); } }
                }
            }
            prop_assert_eq!(&expand(&map), &model);
            prop_assert!(map.len() <= MOST);
            prop_assert_eq!(map.bytes(), model.iter().flatten().count());
            let locked = model.iter().flatten().filter(|tag| tag.is_locked()).count();
            prop_assert_eq!(map.locked_bytes(), locked);
            // Neighbours that continue each other are one.
            let all: Vec<_> = map.iter().map(|(range, tag)| (range, *tag)).collect();
            for pair in all.windows(2) {
                let ((range, tag), (next, following)) = (&pair[0], &pair[1]);
                prop_assert!(range.end < next.start || !tag.joins(range.len(), following));
            }
            for (at, slot) in model.iter().enumerate() {
                prop_assert_eq!(map.find(at).map(|(r, t)| t.advance(at - r.start)), *slot);
            }
        }
        // Laws of the searches.
        for len in 1..10 {
            let free = |at: usize| at + len <= SPACE && model[at..at + len].iter().all(Option::is_none);
            prop_assert_eq!(map.lowest_gap(0..SPACE, len, 1), (0..SPACE).find(|&at| free(at)));
            prop_assert_eq!(map.highest_gap(0..SPACE, len, 1), (0..SPACE).rev().find(|&at| free(at)));
            prop_assert_eq!(map.lowest_gap(0..SPACE, len, 4), (0..SPACE).find(|&at| at % 4 == 0 && free(at)));
            prop_assert_eq!(map.highest_gap(0..SPACE, len, 4), (0..SPACE).rev().find(|&at| at % 4 == 0 && free(at)));
        }
        for start in 0..SPACE {
            let end = (start + 7).min(SPACE);
            prop_assert_eq!(map.covers(start..end), model[start..end].iter().all(Option::is_some));
            let hole = (start..end).find(|&at| model[at].is_none()).unwrap_or(end);
            prop_assert_eq!(map.covered_to(start..end), hole);
        }
    }
}

#[test]
fn what_was_removed_is_not_found() {
    let tag = Tag { colour: 0, offset: None };
    let mut map = RegionMap::bounded(MOST);
    map.insert(0..8, tag).expect("free");
    map.insert(16..24, tag).expect("free");
    assert_eq!(map.find(4).map(|(range, _)| range), Some(0..8));
    assert!(map.remove(0..8).expect("room"));
    // Its attributes are still to be taken.
    assert!(map.find(4).is_none());
    assert_eq!(drain(&mut map), 1);
    assert!(map.find(4).is_none());
}
