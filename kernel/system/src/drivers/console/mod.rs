//! The console: the terminal, the program's standard streams, and the control channel, over the serial port or over the
//! ports of a virtio console.
pub mod arguments;
mod control;
mod standard;
mod stream;
pub mod tap;
mod terminal;

pub use control::{Channel, Server};
pub use standard::{
    arm, begin, control, has_ports, is_drained, poll, set_node, standard_streams, start, use_virtio,
};
