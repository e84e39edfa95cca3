//! The contents of /etc/resolv.conf (resolv.conf(5)).
use super::interface_ioctl::CARD_NAME;
use coracle_fallible::{NoMemory, Text};

/// Writes the text of /etc/resolv.conf: the name servers of the command line and of DHCP, or if there are none, those that routers
/// of IPv6 advertise. Waits for DHCP if it runs. False
/// if there are none, so that the image's own file, if it has one, counts. ENOMEM.
pub fn resolv_conf(text: &mut Text) -> Result<bool, NoMemory> {
    // A signal that ends the wait only means that the answer may be missing.
    let _ = super::stack::wait_configured();
    let before = text.len();
    super::stack::for_each_name_server(|server| writeln!(text, "nameserver {server}"))?;
    if text.len() == before {
        super::engine().ipv6_name_servers().iter().try_for_each(|server| {
            match server.is_unicast_link_local() {
                true => writeln!(text, "nameserver {server}%{CARD_NAME}"),
                false => writeln!(text, "nameserver {server}"),
            }
        })?;
    }
    Ok(text.len() > before)
}
