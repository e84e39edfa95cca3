//! What the guest does by itself over its network: it asks for the time, and sends its lines to a syslog server. Each is a thread of the
//! kernel, which exists only if it was asked for.
pub mod ntp;
mod resolve;
mod socket;
pub use socket::pause;
pub mod syslog;
