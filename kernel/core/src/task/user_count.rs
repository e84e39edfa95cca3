//! What the processes of each user have together of something, for limits that count by user (getrlimit(2)).
use crate::lock::Mutex;
use coracle_fallible::NoMemory;
use coracle_sorted_map::SortedMap;

/// How many each user has, by real user id.
pub struct UserCounts(Mutex<SortedMap<u32, u64>>);

/// Some of a user's; given back when dropped.
pub struct UserShare {
    counts: &'static UserCounts,
    uid: u32,
    amount: u64,
}

impl UserCounts {
    /// None.
    pub const fn new() -> Self {
        UserCounts(Mutex::new(SortedMap::new()))
    }

    /// `amount` more for a user that has less than `limit`; else `None`.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn add(&'static self, uid: u32, amount: u64, limit: u64) -> Result<Option<UserShare>, NoMemory> {
        let mut counts = self.0.lock();
        let count = counts.get_or_insert_with(uid, || 0)?;
        if *count >= limit {
            return Ok(None);
        }
        *count += amount;
        Ok(Some(UserShare { counts: self, uid, amount }))
    }

    /// `amount` more for a user that has at most `limit` then; else `None`.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn add_within(
        &'static self,
        uid: u32,
        amount: u64,
        limit: u64,
    ) -> Result<Option<UserShare>, NoMemory> {
        match limit.checked_sub(amount) {
            Some(most_before) => self.add(uid, amount, most_before.saturating_add(1)),
            None => Ok(None),
        }
    }

    /// How many a user has.
    pub fn of(&self, uid: u32) -> u64 {
        self.0.lock().get(&uid).copied().unwrap_or(0)
    }
}

impl Drop for UserShare {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock();
        if let Some(count) = counts.get_mut(&self.uid) {
            *count -= self.amount;
            if *count == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}
