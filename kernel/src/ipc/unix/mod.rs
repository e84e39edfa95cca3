//! AF_UNIX sockets (unix(7)).
mod address;
mod connection;
mod inbox;
mod options;
mod receive;
mod send;
mod socket;

pub use address::table;
pub use socket::{new, pair};
