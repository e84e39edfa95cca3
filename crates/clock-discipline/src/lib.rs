//! The clock discipline of adjtimex(2): what a program asks of the system clock, and at which rate the clock runs for it (RFC 5905, appendix A.5.6.6,
//! in the form of Linux's `kernel/time/ntp.c`).
//!
//! [`Discipline`] is a state machine without a clock of its own: the kernel tells it each second of the real-time clock that
//! has begun ([`Discipline::advance`]), and runs the clock at the rate that it then has ([`Discipline::adjustment`]).
#![no_std]
#![forbid(unsafe_code)]

mod discipline;
mod timex;

pub use discipline::{Discipline, Now};
pub use timex::{Refusal, Timex, WORDS, mode, state, status};

#[cfg(test)]
mod tests;
