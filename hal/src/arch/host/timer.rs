//! The clock of the machine, which is no clock of the host: it goes on a little with each look at it, to the next time that a timer is set to
//! when no CPU has anything to do, and where a test moves it.
pub(crate) use crate::host::cpus::{arm, ticks};
use crate::local::Local;

/// Timers are set in the clock's own time.
pub fn steered(_raw_rate: u64, _rate: u64) {}

/// Nothing is to be done.
pub fn fired(_: &Local) {}
