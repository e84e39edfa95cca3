//! What programs find in /etc/resolv.conf (resolv.conf(5)).
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// The text of /etc/resolv.conf: the name servers of the command line and of DHCP. Waits for DHCP if it runs. `None`:
/// nobody told us of any, so that the image's own file, if it has one, counts.
pub fn resolv_conf() -> Option<Vec<u8>> {
    // A signal that ends the wait only means that the answer may be missing.
    let _ = super::stack::wait_configured();
    let servers = super::stack::name_servers();
    if servers.is_empty() {
        return None;
    }
    let mut text = String::new();
    for server in servers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "nameserver {server}");
    }
    Some(text.into_bytes())
}
