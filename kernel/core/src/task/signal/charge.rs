//! How many signals wait for the processes of each user, which RLIMIT_SIGPENDING bounds (getrlimit(2)).
use crate::task::process::Process;
use crate::task::user_count::{UserCounts, UserShare};
use linux_raw_sys::general as abi;

/// Waiting signals, and timers, which may each have one.
static WAITING: UserCounts = UserCounts::new();

/// A place among the signals that may wait for a user's processes.
pub struct Charge(#[expect(dead_code, reason = "given back when dropped")] UserShare);

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
        WAITING.add(process.user(), 1, limit).ok().flatten().map(Charge)
    }

    /// How many wait for the user of `process`.
    pub fn waiting(process: &Process) -> u64 {
        WAITING.of(process.user())
    }
}
