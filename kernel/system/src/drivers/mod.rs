//! Devices: finding them, and the drivers of those that Coracle knows.
//!
//! Drivers work by polling: the scheduler polls them when a thread is about to sleep and when a CPU is idle, and has them
//! interrupt before a CPU really waits ([`Devices`](coracle_core::task::devices::Devices)). Interrupts only end that wait, or an overlong computation of the program.
pub mod console;
mod discover;
pub mod pty;
mod service;

pub use console::{begin, set_node as set_terminal_node, standard_streams};
#[cfg(not(target_os = "none"))]
pub use discover::add;
pub use discover::start;
pub use service::shutdown;
