//! Messages for syslog servers (RFC 5424), those that programs write to /dev/log (syslog(3)), and lines of a stream.
#![no_std]
#![forbid(unsafe_code)]

mod head;
mod lines;
mod local;

pub use head::{Head, number_of};
pub use lines::{LONGEST_LINE, Lines};
pub use local::{Message, read};

/// Facilities and severities (RFC 5424, section 6.2.1) that lines get which have none.
pub mod code {
    /// Programs of users: what a message of syslog(3) is without a priority.
    pub const USER: u8 = 1;
    /// Daemons.
    pub const DAEMON: u8 = 3;
    /// An error.
    pub const ERROR: u8 = 3;
    /// A warning.
    pub const WARNING: u8 = 4;
    /// Normal, but worth a look.
    pub const NOTICE: u8 = 5;
    /// Information.
    pub const INFO: u8 = 6;
}
