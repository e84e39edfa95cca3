//! Virtio devices (virtio 1.2), modern and legacy ones.
pub mod console;
mod legacy;
mod memory;
pub mod net;
mod net_queues;
pub mod port;
pub mod rng;
pub mod transport;

pub use memory::{Queue, QueueMemory};
