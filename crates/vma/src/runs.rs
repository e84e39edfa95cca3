//! Regions in order of their address, in runs of bounded length: finding one halves twice, and a change moves no more than
//! a run, however many regions there are. A tree would do the same with several times the code, and slower look-ups.
use alloc::vec::Vec;

/// Regions in a run at most. A program has a few dozen regions; one with ten thousand threads has two for each.
const RUN: usize = 64;

/// A region.
#[derive(Clone, Debug)]
pub(crate) struct Region<A> {
    pub start: usize,
    pub end: usize,
    pub attributes: A,
}

/// The regions: runs in order, none of them empty.
#[derive(Clone, Debug)]
pub(crate) struct Runs<A> {
    runs: Vec<Vec<Region<A>>>,
}

impl<A> Runs<A> {
    pub const fn new() -> Self {
        Runs { runs: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Region<A>> {
        self.runs.iter().flatten()
    }

    /// The run that a region beginning at `addr` belongs to: the last that begins no later, or the first.
    fn run_of(&self, addr: usize) -> usize {
        self.runs.partition_point(|run| run[0].start <= addr).saturating_sub(1)
    }

    /// Where the region that begins at `start` is: its run, and its place in it.
    fn place(&self, start: usize) -> Option<(usize, usize)> {
        let run = self.run_of(start);
        let index = self.runs.get(run)?.binary_search_by_key(&start, |region| region.start).ok()?;
        Some((run, index))
    }

    pub fn get(&self, start: usize) -> Option<&Region<A>> {
        self.place(start).map(|(run, index)| &self.runs[run][index])
    }

    pub fn get_mut(&mut self, start: usize) -> Option<&mut Region<A>> {
        self.place(start).map(|(run, index)| &mut self.runs[run][index])
    }

    /// The last region that begins at `addr` or before.
    pub fn last_upto(&self, addr: usize) -> Option<&Region<A>> {
        let run = self.runs.get(self.run_of(addr))?;
        let after = run.partition_point(|region| region.start <= addr);
        run[..after].last()
    }

    /// The last region that begins before `addr`.
    pub fn last_before(&self, addr: usize) -> Option<&Region<A>> {
        self.last_upto(addr.checked_sub(1)?)
    }

    /// The regions that begin at `addr` or after.
    pub fn from(&self, addr: usize) -> impl Iterator<Item = &Region<A>> {
        let (first, rest) = self.runs[self.run_of(addr).min(self.runs.len())..]
            .split_first()
            .map_or((&[][..], &[][..]), |(first, rest)| (first.as_slice(), rest));
        let from = first.partition_point(|region| region.start < addr);
        first[from..].iter().chain(rest.iter().flatten())
    }

    /// Adds a region where none begins.
    pub fn insert(&mut self, region: Region<A>) {
        let mut at = self.run_of(region.start);
        match self.runs.get_mut(at) {
            None => self.runs.push(Vec::new()),
            Some(run) if run.len() == RUN => {
                let upper = run.split_off(RUN / 2);
                let is_upper = upper[0].start < region.start;
                self.runs.insert(at + 1, upper);
                at += usize::from(is_upper);
            }
            Some(_) => {}
        }
        let run = &mut self.runs[at];
        let index = run.partition_point(|other| other.start < region.start);
        run.insert(index, region);
    }

    /// Takes out the region that begins at `start`.
    pub fn remove(&mut self, start: usize) -> Option<Region<A>> {
        let (at, index) = self.place(start)?;
        let region = self.runs[at].remove(index);
        if self.runs[at].is_empty() {
            self.runs.remove(at);
        } else if let [run, next, ..] = &mut self.runs[at..]
            && run.len() + next.len() <= RUN / 2
        {
            run.append(next);
            self.runs.remove(at + 1);
        }
        Some(region)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{RUN, Region, Runs};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    const SPACE: usize = 1000;

    proptest! {
        #[test]
        fn are_an_ordered_map(steps in prop::collection::vec((0u8..3, 0..SPACE), 1..1500)) {
            let mut runs = Runs::new();
            let mut model = BTreeMap::new();
            // More is added than taken out at first, then the other way round.
            let growing = steps.len() / 2;
            for (step, (what, start)) in steps.into_iter().enumerate() {
                if (what > 0) == (step < growing) {
                    if model.insert(start, start + 1).is_none() {
                        runs.insert(Region { start, end: start + 1, attributes: () });
                    }
                } else {
                    prop_assert_eq!(runs.remove(start).map(|region| region.end), model.remove(&start));
                }
                prop_assert!(runs.runs.iter().all(|run| (1..=RUN).contains(&run.len())));
            }
            prop_assert_eq!(runs.len(), model.len());
            prop_assert_eq!(runs.is_empty(), model.is_empty());
            let starts = |regions: &mut dyn Iterator<Item = &Region<()>>| -> Vec<usize> {
                regions.map(|region| region.start).collect()
            };
            prop_assert_eq!(starts(&mut runs.iter()), model.keys().copied().collect::<Vec<_>>());
            for addr in 0..SPACE + 1 {
                prop_assert_eq!(runs.get(addr).map(|region| region.end), model.get(&addr).copied());
                prop_assert_eq!(runs.get_mut(addr).map(|region| region.end), model.get(&addr).copied());
                let last = |region: Option<&Region<()>>| region.map(|region| region.start);
                prop_assert_eq!(last(runs.last_upto(addr)), model.range(..=addr).next_back().map(|(&s, _)| s));
                prop_assert_eq!(last(runs.last_before(addr)), model.range(..addr).next_back().map(|(&s, _)| s));
                let next: Vec<_> = model.range(addr..).take(3).map(|(&start, _)| start).collect();
                prop_assert_eq!(starts(&mut runs.from(addr).take(3)), next);
            }
        }
    }
}
