//! `coracle exec`: programs beside the main one of a running guest.

mod account;
mod command;
mod launch;
mod pump;
mod session;

pub use command::exec;
