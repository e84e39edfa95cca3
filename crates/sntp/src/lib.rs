//! An SNTP client (RFC 5905, client mode; RFC 4330's checks): packets, the choice of samples, and when to ask again. It knows no clock and no network. What is done about an offset is the same for a clock that the
//! machine tells.
#![no_std]
#![forbid(unsafe_code)]

mod adjust;
mod packet;
mod plan;
mod samples;

pub use adjust::{slew, step};
pub use packet::{Kiss, LONGEST, PORT, Rejection, Reply, parse, request};
pub use plan::{BURST, BURST_INTERVAL_S, Correction, Plan, correction};
pub use samples::{Sample, Samples};

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: i64 = 1_000_000_000;

#[cfg(test)]
mod tests;
