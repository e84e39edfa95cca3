//! The pages of a file by their number: sparse, in runs of neighbours. Appending and look-up are fast however long
//! the file is, and the code is a fraction of a B-tree's.
use alloc::boxed::Box;
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _, boxed_array};

/// Pages in a run. A small file pays for one run; a gigabyte has 16,384 of them to search by halving.
const RUN: u64 = 16;

/// A run's pages, in order.
pub type Pages<V> = [Option<V>; RUN as usize];
type Run<V> = Box<Pages<V>>;

/// The map.
#[derive(Clone, Debug)]
pub struct PageMap<V> {
    /// Runs that hold a page, by number of the run.
    runs: Vec<(u64, Run<V>)>,
    len: u64,
}

impl<V> Default for PageMap<V> {
    fn default() -> Self {
        PageMap::new()
    }
}

impl<V> PageMap<V> {
    /// No pages.
    pub const fn new() -> Self {
        PageMap { runs: Vec::new(), len: 0 }
    }
    /// How many pages there are.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the run `number` is, or would be.
    fn place(&self, number: u64) -> Result<usize, usize> {
        // Most files lack no run between their first and last: the place is then as far from the start as the number.
        let first = self.runs.first().map_or(0, |(first, _)| *first);
        let guess = number.wrapping_sub(first) as usize;
        match (self.runs.get(guess), self.runs.last()) {
            (Some((found, _)), _) if *found == number => Ok(guess),
            // Files are mostly written from front to back.
            (_, Some((last, _))) if *last < number => Err(self.runs.len()),
            _ => self.runs.binary_search_by(|(other, _)| other.cmp(&number)),
        }
    }

    /// Page `index`.
    pub fn get(&self, index: u64) -> Option<&V> {
        let place = self.place(index / RUN).ok()?;
        self.runs[place].1[(index % RUN) as usize].as_ref()
    }
    /// Page `index`, to be changed.
    pub fn get_mut(&mut self, index: u64) -> Option<&mut V> {
        let place = self.place(index / RUN).ok()?;
        self.runs[place].1[(index % RUN) as usize].as_mut()
    }
    /// Page `index` and those behind it that are found with it: as many as are left to the next multiple of 16, or none if all of them lack.
    pub fn together_from(&mut self, index: u64) -> &mut [Option<V>] {
        match self.place(index / RUN) {
            Ok(place) => &mut self.runs[place].1[(index % RUN) as usize..],
            Err(_) => &mut [],
        }
    }
    /// Puts a page at `index`, in place of the one that may be there; returns it as it is now in the map.
    ///
    /// # Errors
    /// [`NoMemory`]; the map is as it was.
    pub fn insert(&mut self, index: u64, page: V) -> Result<&V, NoMemory> {
        let place = match self.place(index / RUN) {
            Ok(place) => place,
            Err(place) => {
                self.runs.try_insert(place, (index / RUN, boxed_array(|| None)?))?;
                place
            }
        };
        let slot = &mut self.runs[place].1[(index % RUN) as usize];
        self.len += u64::from(slot.is_none());
        Ok(slot.insert(page))
    }
    /// Takes page `index` out.
    pub fn remove(&mut self, index: u64) -> Option<V> {
        let place = self.place(index / RUN).ok()?;
        let run = &mut self.runs[place].1;
        let page = run[(index % RUN) as usize].take()?;
        self.len -= 1;
        if run.iter().all(Option::is_none) {
            self.runs.remove(place);
        }
        Some(page)
    }
    /// The number of the first page there is from `index` on.
    pub fn next_from(&self, index: u64) -> Option<u64> {
        let (Ok(first) | Err(first)) = self.place(index / RUN);
        self.runs[first..].iter().find_map(|(number, run)| {
            let from = if *number == index / RUN { (index % RUN) as usize } else { 0 };
            let within = run[from..].iter().position(Option::is_some)?;
            Some(number * RUN + (from + within) as u64)
        })
    }
    /// How many pages there are from `index` on.
    pub fn count_from(&self, index: u64) -> u64 {
        if index == 0 {
            return self.len;
        }
        let (Ok(first) | Err(first)) = self.place(index / RUN);
        let count = |(number, run): &(u64, Run<V>)| {
            let from = if *number == index / RUN { (index % RUN) as usize } else { 0 };
            run[from..].iter().flatten().count() as u64
        };
        self.runs[first..].iter().map(count).sum()
    }
    /// Takes out all pages from `index` on, those of the run that it lies in last: the map ends before it.
    ///
    /// # Errors
    /// [`NoMemory`]; the map is as it was.
    pub fn split_off(&mut self, index: u64) -> Result<PageMap<V>, NoMemory> {
        if index == 0 {
            return Ok(core::mem::take(self));
        }
        let (Ok(first) | Err(first)) = self.place(index.div_ceil(RUN));
        let mut cut = PageMap::new();
        cut.runs.make_room(self.runs.len() - first)?;
        cut.len = self.count_from(index.div_ceil(RUN) * RUN);
        self.len -= cut.len;
        self.runs.drain(first..).for_each(|run| cut.runs.push_reserved(run));
        // Of the run that is cut in two, if there is one.
        drop(self.cut_from(index));
        Ok(cut)
    }
    /// Takes out some of the pages from `index` on, as many as are together in a run; `None` if there are none.
    pub fn cut_from(&mut self, index: u64) -> Option<Pages<V>> {
        let (number, run) = self.runs.last_mut()?;
        if *number < index / RUN {
            return None;
        }
        let from = if *number == index / RUN { (index % RUN) as usize } else { 0 };
        let mut cut = [const { None }; RUN as usize];
        cut[from..].swap_with_slice(&mut run[from..]);
        if run.iter().all(Option::is_none) {
            self.runs.pop();
        }
        let count = cut.iter().flatten().count() as u64;
        self.len -= count;
        (count > 0).then_some(cut)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{PageMap, RUN};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn same(map: &PageMap<u32>, model: &BTreeMap<u64, u32>) -> Result<(), TestCaseError> {
        prop_assert_eq!(map.len(), model.len() as u64);
        prop_assert_eq!(map.is_empty(), model.is_empty());
        for index in (0..200).chain([u64::MAX]) {
            prop_assert_eq!(map.get(index), model.get(&index));
            let together = map.clone().together_from(index).to_vec();
            let count = if together.is_empty() { 0 } else { RUN - index % RUN };
            prop_assert_eq!(together.len() as u64, count);
            for at in 0..RUN - index % RUN {
                let found = together.get(at as usize).and_then(Option::as_ref);
                prop_assert_eq!(found, index.checked_add(at).and_then(|at| model.get(&at)));
            }
            prop_assert_eq!(map.next_from(index), model.range(index..).next().map(|(index, _)| *index));
            prop_assert_eq!(map.count_from(index), model.range(index..).count() as u64);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn is_a_map(steps in prop::collection::vec((0u8..11, 0u64..200, any::<u32>()), 1..100)) {
            let mut map = PageMap::new();
            let mut model = BTreeMap::new();
            for (what, index, value) in steps {
                match what {
                    0..=5 => {
                        prop_assert_eq!(map.insert(index, value), Ok(&value));
                        model.insert(index, value);
                    }
                    6..=8 => prop_assert_eq!(map.remove(index), model.remove(&index)),
                    9 => {
                        let behind = model.split_off(&index);
                        let cut = map.split_off(index).map_err(|_| TestCaseError::fail("no memory"))?;
                        // Those of the run that was cut in two are dropped.
                        let kept = behind.into_iter().filter(|(at, _)| at / RUN > index / RUN || index % RUN == 0);
                        same(&cut, &kept.collect())?;
                    }
                    _ => {
                        let mut cut = model.split_off(&index);
                        while let Some(pages) = map.cut_from(index) {
                            for page in pages.into_iter().flatten() {
                                let at = cut.iter().find(|(_, value)| **value == page).map(|(at, _)| *at);
                                prop_assert!(at.and_then(|at| cut.remove(&at)).is_some());
                            }
                        }
                        prop_assert!(cut.is_empty());
                    }
                }
                same(&map, &model)?;
            }
        }
    }
}
