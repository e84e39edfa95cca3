//! TCP (RFC 9293).

mod ack;
mod close;
mod congestion;
mod control;
mod cookie;
mod demux;
mod dispatch;
mod header;
mod input;
mod list;
mod listen;
mod listeners;
mod open;
mod options;
mod output;
mod path;
mod predicted;
mod receive_queue;
mod rtt;
mod scoreboard;
mod send_queue;
mod seq;
mod settings;
mod socket;
mod table;
mod tcb;
mod time_wait;
mod timer;
mod transfer;
mod urgent;

pub use demux::{Demux, Tuple};
pub use list::{Flow, Pending, TcpListed};
pub use listeners::Listeners;
pub use seq::Seq;
pub use settings::{Shutdown, State, TcpInfo, TcpOptions};
pub use socket::TcpSocket;
