//! UDP (RFC 768) and UDP-Lite (RFC 3828).

mod input;
mod open;
mod settings;
mod socket;
mod table;
mod transfer;

pub use settings::{Datagram, UdpHeaders, UdpListed, UdpOptions, Way};
pub use socket::{State, UdpSocket};
pub use table::UdpTable;

/// Where the checksum is in a header.
const CHECKSUM_FIELD: usize = 6;
