//! Timers in a hierarchical wheel (Varghese and Lauck, 1987): setting, moving and cancelling one costs O(1) however many
//! are set, and so does asking when the next is due. Nothing is allocated but when there are more timers than ever before.
//!
//! Deadlines are exact: unlike in the classic wheel a tick is the unit of time itself, and each slot knows its earliest
//! deadline, so nobody is woken just to move entries down. That happens on the way, when a timer is due.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod links;
mod wheel;

pub use links::TimerId;
pub use wheel::Wheel;
