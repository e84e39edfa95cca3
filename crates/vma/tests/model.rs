//! The map against a model that keeps one value per byte.
use coracle_vma::{Attributes, RegionMap};
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
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, usize, u8, Option<usize>),
    Remove(usize, usize),
    Update(usize, usize, u8),
    Resize(usize, usize),
    GrowDown(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..SPACE;
    prop_oneof![
        (at(), 1..16usize, 0..3u8, proptest::option::of(0..100usize))
            .prop_map(|(a, l, c, o)| Step::Insert(a, l, c, o)),
        (at(), 0..24usize).prop_map(|(a, l)| Step::Remove(a, l)),
        (at(), 0..24usize, 0..3u8).prop_map(|(a, l, c)| Step::Update(a, l, c)),
        (at(), at()).prop_map(|(a, e)| Step::Resize(a, e)),
        (at(), at()).prop_map(|(a, s)| Step::GrowDown(a, s)),
    ]
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

proptest! {
    #[test]
    fn behaves_like_an_array(steps in proptest::collection::vec(step(), 1..40)) {
        let mut map = RegionMap::new();
        let mut model: Vec<Option<Tag>> = vec![None; SPACE];
        for step in steps {
            match step {
                Step::Insert(at, len, colour, offset) => {
                    let range = at..(at + len).min(SPACE);
                    let free = model[range.clone()].iter().all(Option::is_none);
                    prop_assert_eq!(map.is_free(range.clone()), free);
                    if free {
                        let tag = Tag { colour, offset };
                        map.insert(range.clone(), tag);
                        for i in range { model[i] = Some(tag.advance(i - at)); }
                    }
                }
                Step::Remove(at, len) => {
                    let range = at..(at + len).min(SPACE);
                    let removed = map.remove(range.clone());
                    let bytes: usize = removed.iter().map(|(r, _)| r.len()).sum();
                    prop_assert_eq!(bytes, model[range.clone()].iter().flatten().count());
                    for (r, tag) in removed {
                        for i in r.clone() { prop_assert_eq!(model[i], Some(tag.advance(i - r.start))); }
                    }
                    for i in range { model[i] = None; }
                }
                Step::Update(at, len, colour) => {
                    let range = at..(at + len).min(SPACE);
                    map.update(range.clone(), |tag| tag.colour = colour);
                    for i in range { if let Some(tag) = &mut model[i] { tag.colour = colour; } }
                }
                Step::Resize(start, end) => {
                    let Some((found, tag)) = map.find(start).map(|(r, t)| (r, *t)) else { continue };
                    if found.start != start { prop_assert!(!map.resize(start, end)); continue }
                    let possible = end > start && (end <= found.end || model[found.end..end].iter().all(Option::is_none));
                    prop_assert_eq!(map.resize(start, end), possible);
                    if possible {
                        model[end..found.end.max(end)].fill(None);
                        for (i, slot) in model.iter_mut().enumerate().take(end).skip(start) { *slot = Some(tag.advance(i - start)); }
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
            prop_assert_eq!(map.bytes_in(start..end), model[start..end].iter().flatten().count());
        }
    }
}
