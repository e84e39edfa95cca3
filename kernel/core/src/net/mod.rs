//! What every socket is.
pub mod sockaddr;
pub mod socket;
