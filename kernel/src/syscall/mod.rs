//! System calls: one table, one function per call, in a file named after its family.
pub mod call;
mod dispatch;
mod futex;
mod identity;
mod memory;
mod names;
pub mod process;
mod signal;
pub mod system;
pub mod table;
mod thread;
mod time;

pub use dispatch::dispatch;
