//! /sys/class/net: network interfaces (Linux's Documentation/ABI/testing/sysfs-class-net).
use coracle_core::errno::Errno;
use coracle_fallible::{NoMemory, Text, try_box};
use coracle_fs::synthetic::{Directory, Item, Kind, Listed, Table, TakeName};
use coracle_net::interface_ioctl::{IFF_BROADCAST, IFF_RUNNING, InterfaceInfo, LOOPBACK_INDEX, interfaces};
use coracle_tcpip::Traffic;
use linux_raw_sys::general::S_IFDIR;

/// The directory.
pub struct Interfaces;

/// What an interface is now, by its number.
fn of(index: u32) -> Option<InterfaceInfo> {
    interfaces().into_iter().find(|interface| interface.index == index)
}

/// Writes what `write` does of an interface.
fn about(
    index: u32,
    text: &mut Text,
    write: impl FnOnce(InterfaceInfo, &mut Text) -> Result<(), NoMemory>,
) -> Result<(), NoMemory> {
    of(index).map_or(Ok(()), |own| write(own, text))
}

fn mac([a, b, c, d, e, f]: [u8; 6], text: &mut Text) -> Result<(), NoMemory> {
    writeln!(text, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

const NOTHING: Item<u32> = Item::Fixed("0\n");

static INTERFACE: Table<u32> = &[
    ("addr_assign_type", NOTHING),
    (
        "addr_len",
        Item::Text(|index, text| {
            about(*index, text, |own, text| text.push(if own.is_tunnel() { b"0\n" } else { b"6\n" }))
        }),
    ),
    ("address", Item::Text(|index, text| about(*index, text, |own, text| mac(own.mac, text)))),
    (
        "broadcast",
        Item::Text(|index, text| {
            let all = |own: InterfaceInfo| if own.flags & IFF_BROADCAST == 0 { 0 } else { u8::MAX };
            about(*index, text, |own, text| mac([all(own); 6], text))
        }),
    ),
    ("carrier", Item::Fixed("1\n")),
    ("carrier_changes", NOTHING),
    ("carrier_down_count", NOTHING),
    ("carrier_up_count", NOTHING),
    ("dev_id", Item::Fixed("0x0\n")),
    ("dev_port", NOTHING),
    ("dormant", NOTHING),
    ("duplex", Item::Pieces(|index, _, text| of_card(*index, "unknown\n", text))),
    (
        "flags",
        Item::Text(|index, text| {
            about(*index, text, |own, text| writeln!(text, "{:#x}", own.flags & !IFF_RUNNING))
        }),
    ),
    ("ifalias", Item::Fixed("\n")),
    ("ifindex", Item::Text(|index, text| writeln!(text, "{index}"))),
    ("iflink", Item::Text(|index, text| writeln!(text, "{index}"))),
    ("link_mode", NOTHING),
    ("mtu", Item::Text(|index, text| about(*index, text, |own, text| writeln!(text, "{}", own.mtu)))),
    ("name_assign_type", Item::Fixed("2\n")),
    ("netdev_group", NOTHING),
    (
        "operstate",
        Item::Text(|index, text| {
            about(*index, text, |own, text| {
                text.push(match own.operational() {
                    0 => b"unknown\n",
                    2 => b"down\n",
                    _ => b"up\n",
                })
            })
        }),
    ),
    ("proto_down", NOTHING),
    ("speed", Item::Pieces(|index, _, text| of_card(*index, "-1\n", text))),
    ("statistics", Item::Directory(STATISTICS)),
    (
        "tx_queue_len",
        Item::Text(|index, text| about(*index, text, |own, text| writeln!(text, "{}", own.queue_length()))),
    ),
    ("type", Item::Text(|index, text| about(*index, text, |own, text| writeln!(text, "{}", own.hardware)))),
    (
        "uevent",
        Item::Text(|index, text| {
            about(*index, text, |own, text| writeln!(text, "INTERFACE={}\nIFINDEX={index}", own.name))
        }),
    ),
];

/// What is known of a card only. EINVAL, as on Linux.
fn of_card(index: u32, what: &str, text: &mut Text) -> Result<Option<u64>, Errno> {
    if index == LOOPBACK_INDEX {
        return Err(Errno::INVAL);
    }
    text.push(what.as_bytes())?;
    Ok(None)
}

/// Writes a number of an interface's traffic.
fn count(index: u32, text: &mut Text, way: usize, which: fn(&Traffic) -> u64) -> Result<(), NoMemory> {
    about(index, text, |own, text| writeln!(text, "{}", which(&own.traffic()[way])))
}

/// Places in what an interface has received and sent.
const RECEIVED: usize = 0;
const SENT: usize = 1;

const STATISTICS: Table<u32> = &[
    ("collisions", NOTHING),
    ("multicast", NOTHING),
    ("rx_bytes", Item::Text(|index, text| count(*index, text, RECEIVED, |own| own.bytes))),
    ("rx_compressed", NOTHING),
    ("rx_crc_errors", NOTHING),
    ("rx_dropped", Item::Text(|index, text| count(*index, text, RECEIVED, |own| own.drops))),
    ("rx_errors", Item::Text(|index, text| count(*index, text, RECEIVED, |own| own.errors))),
    ("rx_fifo_errors", NOTHING),
    ("rx_frame_errors", NOTHING),
    ("rx_length_errors", NOTHING),
    ("rx_missed_errors", NOTHING),
    ("rx_nohandler", NOTHING),
    ("rx_over_errors", NOTHING),
    ("rx_packets", Item::Text(|index, text| count(*index, text, RECEIVED, |own| own.packets))),
    ("tx_aborted_errors", NOTHING),
    ("tx_bytes", Item::Text(|index, text| count(*index, text, SENT, |own| own.bytes))),
    ("tx_carrier_errors", NOTHING),
    ("tx_compressed", NOTHING),
    ("tx_dropped", Item::Text(|index, text| count(*index, text, SENT, |own| own.drops))),
    ("tx_errors", NOTHING),
    ("tx_fifo_errors", NOTHING),
    ("tx_heartbeat_errors", NOTHING),
    ("tx_packets", Item::Text(|index, text| count(*index, text, SENT, |own| own.packets))),
    ("tx_window_errors", NOTHING),
];

impl Directory for Interfaces {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        let all = interfaces();
        let Some(own) = all.iter().find(|own| own.name.as_bytes() == name) else { return Ok(None) };
        Ok(Some(Kind::Directory(try_box(Listed { table: INTERFACE, context: own.index })?)))
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        for (position, own) in interfaces().iter().enumerate().skip(from as usize) {
            if !take(position as u64 + 1, own.name.as_bytes(), S_IFDIR) {
                break;
            }
        }
        Ok(())
    }
}
