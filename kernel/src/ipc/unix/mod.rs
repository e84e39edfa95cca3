//! AF_UNIX sockets (unix(7)).
mod address;
mod inbox;
mod options;
mod socket;

pub use address::table;
pub use socket::{new, pair};
