//! Record locks on byte ranges (fcntl(2), "Advisory record locking"): who holds what, splitting and merging.
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

/// A held range. `last` is inclusive; `u64::MAX` stands for the end of the file however it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Who holds it: locks of one owner never conflict.
    pub owner: u64,
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
    /// A write lock, which tolerates no other.
    pub exclusive: bool,
}

/// Locks that are left at most of those that a range is cut out of.
const RESTS: usize = 2;

/// The locks of one file.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    held: Vec<Lock>,
}

impl Locks {
    /// No locks.
    pub const fn new() -> Self {
        Locks { held: Vec::new() }
    }
    /// A lock that keeps `wanted` from being set.
    pub fn conflict(&self, wanted: &Lock) -> Option<Lock> {
        let clashes = |held: &&Lock| {
            held.owner != wanted.owner
                && held.first <= wanted.last
                && wanted.first <= held.last
                && (held.exclusive || wanted.exclusive)
        };
        self.held.iter().filter(clashes).min_by_key(|held| held.first).copied()
    }
    /// Sets the lock, in place of what its owner holds in that range. The caller has seen that nothing conflicts.
    ///
    /// # Errors
    /// [`NoMemory`]; the locks are as they were.
    pub fn set(&mut self, lock: Lock) -> Result<(), NoMemory> {
        self.held.make_room(RESTS + 1)?;
        self.clear(lock.owner, lock.first, lock.last)?;
        let mut merged = lock;
        self.held.retain(|held| {
            let same = held.owner == lock.owner && held.exclusive == lock.exclusive;
            let touches =
                held.first <= merged.last.saturating_add(1) && merged.first <= held.last.saturating_add(1);
            if same && touches {
                merged.first = merged.first.min(held.first);
                merged.last = merged.last.max(held.last);
            }
            !(same && touches)
        });
        self.held.push_reserved(merged);
        Ok(())
    }
    /// Releases what `owner` holds in `first..=last`, splitting a lock that reaches beyond it.
    ///
    /// # Errors
    /// [`NoMemory`]; the locks are as they were.
    pub fn clear(&mut self, owner: u64, first: u64, last: u64) -> Result<(), NoMemory> {
        self.held.make_room(RESTS)?;
        // Locks of one owner don't overlap: one can reach in at each end.
        let [mut before, mut behind] = [None; RESTS];
        self.held.retain(|held| {
            if held.owner != owner || held.last < first || last < held.first {
                return true;
            }
            if held.first < first {
                before = Some(Lock { last: first - 1, ..*held });
            }
            if held.last > last {
                behind = Some(Lock { first: last + 1, ..*held });
            }
            false
        });
        for rest in [before, behind].into_iter().flatten() {
            self.held.push_reserved(rest);
        }
        Ok(())
    }
    /// Releases everything that `owner` holds; whether there was anything.
    pub fn clear_owner(&mut self, owner: u64) -> bool {
        let before = self.held.len();
        self.held.retain(|held| held.owner != owner);
        self.held.len() != before
    }
    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: u64 = 32;

    proptest! {
        /// Against one cell per byte and owner.
        #[test]
        fn agrees_with_cells(steps in prop::collection::vec((0u64..3, 0..BYTES, 0..BYTES, 0u8..3), 1..60)) {
            let mut locks = Locks::new();
            let mut cells = [[0u8; BYTES as usize]; 3];
            for (owner, a, b, kind) in steps {
                let (first, last) = (a.min(b), a.max(b));
                let range = first as usize..=last as usize;
                if kind == 0 {
                    locks.clear(owner, first, last).unwrap();
                    cells[owner as usize][range].fill(0);
                    continue;
                }
                let lock = Lock { owner, first, last, exclusive: kind == 2 };
                let clash = (0..3).filter(|&o| o != owner as usize)
                    .any(|o| cells[o][range.clone()].iter().any(|&c| c != 0 && (c == 2 || kind == 2)));
                prop_assert_eq!(locks.conflict(&lock).is_some(), clash);
                if !clash {
                    locks.set(lock).unwrap();
                    cells[owner as usize][range].fill(kind);
                }
            }
            for owner in 0..3 {
                let held = locks.held.iter().filter(|l| l.owner == owner).count();
                let mut runs = 0;
                let mut before = 0;
                for &c in &cells[owner as usize] {
                    if c != 0 && c != before { runs += 1; }
                    before = c;
                }
                prop_assert_eq!(held, runs);
            }
        }
    }
}
