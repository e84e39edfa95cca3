//! `coracle exec`: programs beside the main one of a running guest.

mod account;
mod command;
mod launch;
mod pump;
mod session;
mod with;

pub use command::exec;
pub use launch::shell;
pub use session::Session;
