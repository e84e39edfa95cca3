//! /proc/net (proc(5)).
use crate::fs::synthetic::{Item, Table};
use alloc::vec::Vec;

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

const SOCKETS_V4: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const SOCKETS_V6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const DEVICES: &str = "Inter-|   Receive                                                |  Transmit\n \
face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n  \
eth0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n";

/// The items.
pub static FILES: Table<()> = &[
    ("dev", Item::Text(|()| bytes(DEVICES))),
    ("tcp", Item::Text(|()| bytes(SOCKETS_V4))),
    ("udp", Item::Text(|()| bytes(SOCKETS_V4))),
    ("raw", Item::Text(|()| bytes(SOCKETS_V4))),
    ("tcp6", Item::Text(|()| bytes(SOCKETS_V6))),
    ("udp6", Item::Text(|()| bytes(SOCKETS_V6))),
    ("unix", Item::Text(|()| crate::ipc::unix::table())),
    (
        "route",
        Item::Text(|()| {
            bytes("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n")
        }),
    ),
    (
        "arp",
        Item::Text(|()| {
            bytes("IP address       HW type     Flags       HW address            Mask     Device\n")
        }),
    ),
    (
        "sockstat",
        Item::Text(|()| {
            bytes("sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\n")
        }),
    ),
    ("protocols", Item::Text(|()| bytes("protocol  size sockets  memory press maxhdr\n"))),
];
