//! AF_VSOCK sockets (vsock(7)): connections between this machine and its host, and within this machine.
//!
//! Both ways are the same packets (virtio 1.2, section 5.10.6), which the device carries, or a queue here. A packet is queued with the lock of
//! its socket held, so that packets keep their order, and goes on its way (`kick`) with no lock held.
mod connection;
mod inbox;
mod input;
mod link;
mod options;
mod receive;
mod send;
mod socket;
mod table;

pub use input::packet;
pub use link::{Device, Link, attach, poll};
pub use socket::new;

use coracle_virtio::device::vsock::Address;

/// CIDs and ports with a meaning (vsock(7)).
const CID_ANY: u32 = u32::MAX;
const CID_LOCAL: u32 = 1;
const CID_HOST: u32 = 2;
const PORT_ANY: u32 = u32::MAX;
/// The greatest port that takes CAP_NET_BIND_SERVICE to bind to.
const LAST_RESERVED_PORT: u32 = 1023;
