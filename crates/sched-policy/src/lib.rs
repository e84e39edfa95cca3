//! Scheduling policies, priorities and nice values (sched(7)): which there are, which a process may choose, and what they mean for the
//! order and the time of threads.
#![no_std]
#![forbid(unsafe_code)]

mod scheduling;

pub use scheduling::{Limits, Refused, Scheduling, policy, priorities};
