//! Drivers of virtio devices (virtio 1.2), over the transports and queues of [`coracle_hal::virtio`].
pub mod blk;
pub mod console;
pub mod net;
mod net_queues;
pub mod port;
pub mod rng;
pub mod share;
pub mod vsock;
