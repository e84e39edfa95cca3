//! AF_UNIX sockets (unix(7)).
mod address;
mod collect;
mod connection;
mod in_flight;
mod inbox;
mod kernel;
mod options;
mod receive;
mod send;
mod socket;

pub use address::bound;
pub use collect::{after_call, let_go, look, suspect};
pub use kernel::serve;
pub use socket::{UnixSocket, new, of, pair};
