//! Record locks on byte ranges (fcntl(2), "Advisory record locking"): owners, conflicts, splitting and merging.
use coracle_fallible::NoMemory;
use coracle_sorted_map::SortedMap;

/// A held range. `last` is inclusive; `u64::MAX` is the end of the file however it grows.
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
    /// The process that took it.
    pub pid: i32,
}

/// The locks of one file. Setting and releasing one takes a number of steps logarithmic in those of its owner, and proportional
/// to those that it replaces; looking for conflicts takes some for each owner.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    /// By owner and first byte. Locks of one owner don't overlap, and those of one kind don't touch.
    held: SortedMap<(u64, u64), Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    last: u64,
    exclusive: bool,
    pid: i32,
}

impl Locks {
    /// No locks.
    pub const fn new() -> Self {
        Locks { held: SortedMap::new() }
    }
    /// The locks of `owner` that have a byte in `first..=last`, by rising bytes.
    fn overlapping(&self, owner: u64, first: u64, last: u64) -> impl Iterator<Item = Lock> {
        // The one before may be another owner's.
        let around = self.held.iter_around(&(owner, first)).skip_while(move |(key, _)| key.0 < owner);
        let from = around.take_while(move |(key, _)| key.0 == owner && key.1 <= last);
        from.map(|(key, held)| lock_of(*key, *held)).filter(move |lock| lock.last >= first)
    }
    /// A lock that keeps `wanted` from being set: the first by its bytes.
    pub fn conflict(&self, wanted: &Lock) -> Option<Lock> {
        let mut found: Option<Lock> = None;
        let mut next = self.held.iter().next();
        while let Some((&(owner, _), _)) = next {
            if owner != wanted.owner {
                let mut locks = self.overlapping(owner, wanted.first, wanted.last);
                let clash = locks.find(|held| held.exclusive || wanted.exclusive);
                found = [found, clash].into_iter().flatten().min_by_key(|lock| lock.first);
            }
            next = self.held.after(&(owner, u64::MAX));
        }
        found
    }
    /// All locks.
    pub fn iter(&self) -> impl Iterator<Item = Lock> {
        self.held.iter().map(|(key, held)| lock_of(*key, *held))
    }
    /// The first lock of an owner in a range.
    pub fn held(&self, owner: u64, first: u64, last: u64) -> Option<Lock> {
        self.overlapping(owner, first, last).next()
    }
    /// Sets the lock, in place of what its owner holds in that range. The caller has seen that nothing conflicts.
    ///
    /// # Errors
    /// [`NoMemory`]; the locks are as they were.
    pub fn set(&mut self, lock: Lock) -> Result<(), NoMemory> {
        let Lock { owner, first, last, exclusive, pid } = lock;
        // With its neighbours, which it becomes one with if they are of its kind.
        let (before, behind) = (first.saturating_sub(1), last.saturating_add(1));
        if self.overlapping(owner, before, behind).next().is_none() {
            self.held.insert((owner, first), Held { last, exclusive, pid })?;
            return Ok(());
        }
        let mut merged = lock;
        for held in self.overlapping(owner, before, behind).filter(|held| held.exclusive == exclusive) {
            merged.first = merged.first.min(held.first);
            merged.last = merged.last.max(held.last);
        }
        let cut = self.overlapping(owner, first, first).next();
        let cut = cut.filter(|held| held.first < first && held.exclusive != exclusive);
        // Steps that need memory come first.
        let has_rest = self.keep_behind(owner, last, Some(exclusive))?;
        let added = self.held.insert((owner, merged.first), Held { last: merged.last, exclusive, pid });
        if let Err(error) = added {
            if has_rest {
                self.held.remove(&(owner, behind));
            }
            return Err(error);
        }
        if let Some(cut) = cut.and_then(|cut| self.held.get_mut(&(owner, cut.first))) {
            cut.last = before;
        }
        self.take(owner, first, merged.last, Some(merged.first));
        Ok(())
    }
    /// Releases what `owner` holds in `first..=last`, splitting a lock that reaches beyond it.
    ///
    /// # Errors
    /// [`NoMemory`]; the locks are as they were.
    pub fn clear(&mut self, owner: u64, first: u64, last: u64) -> Result<(), NoMemory> {
        let held = self.overlapping(owner, first, last).next();
        match held {
            None => {}
            Some(held) if (held.first, held.last) == (first, last) => {
                self.held.remove(&(owner, first));
            }
            Some(_) => {
                self.keep_behind(owner, last, None)?;
                self.take(owner, first, last, None);
            }
        }
        Ok(())
    }
    /// Makes a lock of its own of what a lock of `owner` has behind `last`, unless that is of the kind `but`; whether there was
    /// such a lock.
    fn keep_behind(&mut self, owner: u64, last: u64, but: Option<bool>) -> Result<bool, NoMemory> {
        let reaching = self.overlapping(owner, last, last).next();
        let Some(held) = reaching.filter(|held| held.last > last && Some(held.exclusive) != but) else {
            return Ok(false);
        };
        let Lock { last: end, exclusive, pid, .. } = held;
        self.held.insert((owner, last + 1), Held { last: end, exclusive, pid })?;
        Ok(true)
    }
    /// Takes `first..=last` from what `owner` holds, but for the lock that begins at `kept`. What lies behind `last` has been
    /// kept.
    fn take(&mut self, owner: u64, first: u64, last: u64, kept: Option<u64>) {
        let mut from = first;
        loop {
            let next = self.overlapping(owner, from, last).find(|held| Some(held.first) != kept);
            let Some(held) = next else { break };
            if held.first < first {
                if let Some(cut) = self.held.get_mut(&(owner, held.first)) {
                    cut.last = first - 1;
                }
            } else {
                self.held.remove(&(owner, held.first));
                from = held.first;
            }
        }
    }
    /// Releases everything that `owner` holds; whether there was anything.
    pub fn clear_owner(&mut self, owner: u64) -> bool {
        let has_some =
            self.held.iter_from(&(owner, 0)).next().is_some_and(|((holder, _), _)| *holder == owner);
        if has_some {
            self.held.retain(|(holder, _), _| *holder != owner);
        }
        has_some
    }
    /// Whether no lock is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

fn lock_of((owner, first): (u64, u64), Held { last, exclusive, pid }: Held) -> Lock {
    Lock { owner, first, last, exclusive, pid }
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
                let lock = Lock { owner, first, last, exclusive: kind == 2, pid: 0 };
                let clash = (0..3).filter(|&o| o != owner as usize)
                    .any(|o| cells[o][range.clone()].iter().any(|&c| c != 0 && (c == 2 || kind == 2)));
                prop_assert_eq!(locks.conflict(&lock).is_some(), clash);
                if !clash {
                    locks.set(lock).unwrap();
                    cells[owner as usize][range].fill(kind);
                }
            }
            for owner in 0..3 {
                let held = locks.held.iter().filter(|((holder, _), _)| *holder == owner).count();
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
