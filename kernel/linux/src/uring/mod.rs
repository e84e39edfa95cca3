//! io_uring(7): its three calls, and what requests ask for (`ipc::uring` has the rings).
mod buffers;
mod cancel;
mod enter;
mod operation;
mod register;
mod run;
mod setup;
mod timeout;
mod transfer;
mod worker;

pub use enter::io_uring_enter;
pub use register::io_uring_register;
pub use setup::io_uring_setup;
pub use worker::main;
