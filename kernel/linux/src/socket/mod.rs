//! The socket calls (socket(2) and those it names).
mod address;
mod bytes;
mod connection;
mod control;
mod message;
mod object;
mod options;
mod requests;

pub use bytes::{recvfrom, sendto};
pub use connection::{
    accept, accept4, bind, connect, getpeername, getsockname, listen, shutdown, socket, socketpair,
};
pub(crate) use connection::{accept_from, connect_to};
pub(crate) use message::KeptMessage;
pub use message::{recvmmsg, recvmsg, sendmmsg, sendmsg};
pub use options::{getsockopt, setsockopt};
pub(crate) use requests::{
    connected, destination, is_stream, may_send_zero_copy, receive_bytes, send_bytes, shut,
};
