//! /proc/net (proc(5)).
use crate::fs::synthetic::{Item, Table};
use crate::net::interface_ioctl::{InterfaceAddress, interfaces, ipv6_addresses};
use coracle_fallible::{NoMemory, Text};

const SOCKETS_V4: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const SOCKETS_V6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const DEVICES: &str = "Inter-|   Receive                                                |  Transmit\n \
face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n  \
eth0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n";

/// Addresses of IPv6: the address, and in hexadecimal the number of its interface, the length of its prefix, its scope, and its
/// flags (IFA_F_*).
fn if_inet6(text: &mut Text) -> Result<(), NoMemory> {
    let all = interfaces();
    ipv6_addresses().iter().try_for_each(|own: &InterfaceAddress| {
        for byte in own.address.octets() {
            write!(text, "{byte:02x}")?;
        }
        let name = all.iter().find(|interface| interface.index == own.index).map_or("", |found| found.name);
        let (index, len, scope, flags) = (own.index, own.prefix_len, own.proc_scope(), own.flags);
        writeln!(text, " {index:02x} {len:02x} {scope:02x} {flags:02x} {name:>8}")
    })
}

/// The items.
pub static FILES: Table<()> = &[
    ("dev", Item::Fixed(DEVICES)),
    ("tcp", Item::Fixed(SOCKETS_V4)),
    ("udp", Item::Fixed(SOCKETS_V4)),
    ("raw", Item::Fixed(SOCKETS_V4)),
    ("tcp6", Item::Fixed(SOCKETS_V6)),
    ("udp6", Item::Fixed(SOCKETS_V6)),
    ("if_inet6", Item::Text(|(), text| if_inet6(text))),
    ("unix", Item::Text(|(), text| crate::ipc::unix::table(text))),
    (
        "route",
        Item::Fixed("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"),
    ),
    ("arp", Item::Fixed("IP address       HW type     Flags       HW address            Mask     Device\n")),
    (
        "sockstat",
        Item::Fixed("sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\n"),
    ),
    ("protocols", Item::Fixed("protocol  size sockets  memory press maxhdr\n")),
];
