//! What a guest says: lines with a time and a stream, kept in a file or handed to journald or syslog, and shown by `coracle logs`.
//!
//! Each destination has a queue and a thread of its own ([`outlet`]). A destination that takes nothing, for instance a full disk
//! or a server that does not answer, first holds the guest up, as a slow reader of a pipe does; after a while what it does not
//! take is dropped and counted, and a line says how much was lost as soon as the destination takes lines again.

mod data;
mod guest_syslog;
mod journald;
mod json_file;
mod lines;
mod logger;
mod outlet;
mod priority;
mod record;
mod remote;
mod settings;
mod show;
mod syslog;
mod time;
mod tls;

pub use data::{note, remove, rename};
pub use guest_syslog::GuestSyslog;
pub use lines::Lines;
pub use logger::{Logger, Naming};
pub use record::{Record, Stream};
pub use settings::{Choice, Driver, LogOption, Server};
pub use show::{logs, text};
pub use time::parse as parse_time;
