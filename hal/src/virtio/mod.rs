//! Virtio devices (virtio 1.2), modern and legacy ones: finding them, and queues that own what the device has.
//!
//! This is the part of the drivers that passes addresses to a device, and so can make it write anywhere. A driver gets a
//! [`transport::Transport`], which agrees on features and reads the device's configuration, and queues of four kinds:
//! [`queue::Queue`] for whole buffers, [`packets::Packets`] for packets in pieces, [`requests::Requests`] for those of block
//! devices, [`exchanges::Exchanges`] for questions and answers. All take buffers over, and give them back when the device has returned them. A queue that is dropped stops its
//! device first.
pub mod exchanges;
mod legacy;
pub mod packets;
pub mod queue;
mod registers;
pub mod requests;
pub mod transport;
