//! Schedules as crontab(5) has them: read on the host, stored in an image as a few bytes, and followed in the guest by the rules of cron(8).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "parse"))]
extern crate alloc;

mod civil;
mod job;
#[cfg(any(test, feature = "parse"))]
mod parse;
#[cfg(any(test, feature = "parse"))]
mod posix;
mod schedule;
mod walk;
mod zone;

pub use civil::{Moment, day_of};
pub use job::{Job, Overlap};
pub use schedule::Schedule;
pub use walk::{Kinds, Walker};
pub use zone::{Rule, Summer, Zone};
