//! System V IPC (sysvipc(7)) without a kernel: how objects are named, which processes may use them, and what operations do to
//! sets of semaphores and to queues of messages. The kernel adds sleeping, clocks and access to programs' memory.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod permission;
mod queue;
mod registry;
mod semaphores;

pub use permission::{Permission, READ, Subject, WRITE};
pub use queue::{Message, Queue, Selection};
pub use registry::{Missing, Refused, Registry};
pub use semaphores::{Blocked, MAX_VALUE, Operation, Outcome, Semaphores, Waits};
