//! TCP (RFC 9293).

mod congestion;
mod header;
mod receive_queue;
mod rtt;
mod scoreboard;
mod send_queue;
mod seq;
mod settings;

pub use settings::{Shutdown, State, TcpInfo, TcpOptions};
