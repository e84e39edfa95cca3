//! How many signals wait for the processes of each user, which RLIMIT_SIGPENDING bounds (getrlimit(2)).
use crate::task::process::Process;
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general as abi;
use spin::Mutex;

/// Waiting signals, and timers, which may each have one, by real user id.
static WAITING: Mutex<SortedMap<u32, u64>> = Mutex::new(SortedMap::new());

/// A place among the signals that may wait for a user's processes; given back when dropped.
pub struct Charge {
    uid: u32,
}

impl Charge {
    /// A place for a signal to `process`; `None` if its user has as many as the process's limit allows, or
    /// if there is no memory.
    pub fn of(process: &Process) -> Option<Charge> {
        Self::up_to(process, process.limits.soft(abi::RLIMIT_SIGPENDING))
    }

    /// The same, whatever the limit: for standard signals of the kernel, of which only one of a kind waits.
    pub fn beyond_limit(process: &Process) -> Option<Charge> {
        Self::up_to(process, u64::MAX)
    }

    fn up_to(process: &Process, limit: u64) -> Option<Charge> {
        let uid = process.credentials.lock().uid[0];
        let mut waiting = WAITING.lock();
        let count = waiting.get_or_insert_with(uid, || 0).ok()?;
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Charge { uid })
    }

    /// How many wait for the user of `process`.
    pub fn waiting(process: &Process) -> u64 {
        let uid = process.credentials.lock().uid[0];
        WAITING.lock().get(&uid).copied().unwrap_or(0)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut waiting = WAITING.lock();
        if let Some(count) = waiting.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.uid);
            }
        }
    }
}
