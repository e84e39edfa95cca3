//! POSIX message queues (mq_overview(7)) without a kernel around them: the order of messages, and the attributes that a queue may
//! have. Sleeping, clocks and notification are the kernel's.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod attributes;
mod queue;

pub use attributes::{Attributes, Refused};
pub use queue::{MAX_PRIORITY, Message, Queue};
