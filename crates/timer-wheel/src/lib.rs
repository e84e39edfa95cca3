//! Timers in a hierarchical wheel (Varghese and Lauck, 1987): setting, moving and cancelling a timer costs O(1) however many
//! are set, and so does asking when the next is due. Memory is allocated only when there are more timers than ever before.
//!
//! Deadlines are exact: unlike in the classic wheel, a tick is the unit of time itself, and each slot stores its earliest
//! deadline, so no CPU is woken only to move entries down. That is done when a timer is due.
//!
//! The wheel has no lock and no clock; the kernel and the network stack add both.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod links;
mod wheel;

pub use links::TimerId;
pub use wheel::Wheel;
