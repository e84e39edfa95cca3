//! POSIX message queues (mq_overview(7)): a file system of its own whose files are queues. The calls find them by name there;
//! programs that mount it see them as files. The order of messages is in the crate `coracle-mqueue`.
//!
//! A message that comes while a thread waits for one goes straight to that thread, the one that waits longest first. So a
//! queue with waiting receivers is empty, and a thread that came later can't take what was meant for another (Linux's
//! `pipelined_send`).
pub mod file;
mod notification;
pub mod queue;
pub mod tree;

pub use notification::{Means, Notification};
