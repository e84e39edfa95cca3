//! Virtio devices (virtio 1.2).
pub mod console;
mod memory;
pub mod net;
mod net_queues;
pub mod port;
pub mod rng;
pub mod transport;

pub use memory::{Queue, QueueMemory};
