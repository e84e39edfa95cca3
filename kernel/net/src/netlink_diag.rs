//! Requests of NETLINK_SOCK_DIAG, and where they are answered: the lists of all sockets are made where all kinds of them are known.
use coracle_fallible::NoMemory;

/// NETLINK_SOCK_DIAG, and the one type of its messages (SOCK_DIAG_BY_FAMILY).
pub const PROTOCOL: u32 = 4;
/// See [`PROTOCOL`].
pub const BY_FAMILY: u16 = 20;

/// A query.
pub struct Query<'a> {
    /// What follows the header: the family is its first byte.
    pub body: &'a [u8],
    /// All sockets are asked for.
    pub is_dump: bool,
}

/// Takes the fixed part of a message, and its attributes.
pub type Answer<'a> = dyn FnMut(&[u8], &[(u16, &[u8])]) -> Result<(), NoMemory> + 'a;

coracle_hal::hook! {
    $ pub
    /// Gives the second argument an answer for each socket that a query is about.
    diagnose: fn(&coracle_net::netlink_diag::Query<'_>, &mut coracle_net::netlink_diag::Answer<'_>) -> Result<(), coracle_core::errno::Errno> = "coracle_diagnose", given by give_diagnose
}
