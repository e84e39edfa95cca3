//! /proc/net/dev, if_inet6, route, fib_trie and arp: interfaces, their addresses, and what is reached over them.
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, Text};
use coracle_net::arp_ioctl;
use coracle_net::engine;
use coracle_net::interface_ioctl::{CARD_NAME, InterfaceAddress, InterfaceInfo, interfaces, ipv6_addresses};
use coracle_net::netlink_change::for_each_route;
use coracle_tcpip::GroupSeen;
use core::net::Ipv4Addr;

const DEV_HEADER: &[u8] = b"Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
const ARP_HEADER: &[u8] = b"IP address       HW type     Flags       HW address            Mask     Device\n";
const ROUTE_HEADER: &str =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
/// Columns of a line of /proc/net/route.
const ROUTE_WIDTH: usize = 127;
/// Flags of routes (linux/route.h).
const RTF_UP: u32 = 1;
const RTF_GATEWAY: u32 = 2;
const RTF_HOST: u32 = 4;
/// Bits of the second byte of a group's address of IPv6 that say how far it reaches, and that of one within the host (RFC 4291, 2.7).
const SCOPE: u8 = 0xf;
const INTERFACE_SCOPE: u8 = 1;

/// /proc/net/dev.
pub fn dev(text: &mut Text) -> Result<(), NoMemory> {
    text.push(DEV_HEADER)?;
    interfaces().iter().try_for_each(|interface| {
        let [received, sent] = interface.traffic();
        writeln!(
            text,
            "{:>6}: {:7} {:7} {:4} {:4}    0     0          0         0 {:8} {:7}    0 {:4}    0     0       0          0",
            interface.name,
            received.bytes,
            received.packets,
            received.errors,
            received.drops,
            sent.bytes,
            sent.packets,
            sent.drops
        )
    })
}

/// /proc/net/if_inet6: addresses of IPv6: the address, and in hexadecimal the number of its interface, the length of its prefix, its
/// scope, and its flags (IFA_F_*).
pub fn if_inet6(text: &mut Text) -> Result<(), NoMemory> {
    let all = interfaces();
    ipv6_addresses().iter().try_for_each(|own: &InterfaceAddress| {
        for byte in own.address.octets() {
            write!(text, "{byte:02x}")?;
        }
        let is_own = |interface: &&InterfaceInfo| interface.index == own.index;
        let name = all.iter().find(is_own).map_or("", |found| &found.name);
        let (index, len, scope, flags) = (own.index, own.prefix_len, own.proc_scope(), own.flags);
        writeln!(text, " {index:02x} {len:02x} {scope:02x} {flags:02x} {name:>8}")
    })
}

/// The groups of one family that the host is a member of on an interface.
fn groups_on(interface: &InterfaceInfo, v4: bool) -> Result<Vec<GroupSeen>, NoMemory> {
    let link = interface.link();
    let mut all = engine().memberships().map_err(|_| NoMemory)?;
    all.retain(|shown| shown.link == link && shown.group.is_v4() == v4);
    Ok(all)
}

/// /proc/net/igmp: groups of IPv4 by interface, with the number of sockets in each. Numbers are in the order of the network.
pub fn igmp(text: &mut Text) -> Result<(), NoMemory> {
    text.push(b"Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n")?;
    interfaces().iter().try_for_each(|interface| {
        let groups = groups_on(interface, true)?;
        writeln!(text, "{}\t{:<10}: {:5}      V3", interface.index, interface.name, groups.len())?;
        groups.iter().try_for_each(|shown| {
            let group = shown.group.as_v4().unwrap_or_default().swap_bytes();
            writeln!(text, "\t\t\t\t{group:08X} {:5} 0:00000000\t\t0", shown.users)
        })
    })
}

/// /proc/net/igmp6: groups of IPv6 by interface, with the number of sockets in each, and what is known of its reports (MAF_*).
pub fn igmp6(text: &mut Text) -> Result<(), NoMemory> {
    const MAF_LOADED: u32 = 4;
    const MAF_NOREPORT: u32 = 8;
    interfaces().iter().try_for_each(|interface| {
        groups_on(interface, false)?.iter().try_for_each(|shown| {
            write!(text, "{:<4} {:<15} ", interface.index, interface.name)?;
            for byte in shown.group.octets() {
                write!(text, "{byte:02x}")?;
            }
            let loaded = if shown.group.octets()[1] & SCOPE == INTERFACE_SCOPE { 0 } else { MAF_LOADED };
            let flags = loaded | if shown.is_silent { MAF_NOREPORT } else { 0 };
            writeln!(text, " {:5} {flags:08X} 0", shown.users)
        })
    })
}

/// /proc/net/route: the routes of IPv4. Numbers are in the order of the network.
pub fn route(text: &mut Text) -> Result<(), NoMemory> {
    writeln!(text, "{ROUTE_HEADER:<ROUTE_WIDTH$}")?;
    let mut line = |name: &str, destination: u32, gateway: u32, flags: u32, mask: u32| {
        let [destination, gateway, mask] = [destination, gateway, mask].map(u32::swap_bytes);
        let begin = text.len();
        write!(text, "{name}\t{destination:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t0\t{mask:08X}\t0\t0\t0")?;
        while text.len() - begin < ROUTE_WIDTH {
            text.push(b" ")?;
        }
        text.push(b"\n")
    };
    let all = interfaces();
    for_each_route(&mut |shown| {
        let name = all.iter().find(|own| own.index == shown.interface).map_or("", |own| &own.name);
        let gateway = shown.gateway.map_or(0, u32::from);
        let mask = u32::MAX.checked_shl(32 - u32::from(shown.prefix_len)).unwrap_or(0);
        let host = if shown.prefix_len == 32 { RTF_HOST } else { 0 };
        let flags = RTF_UP | host | if gateway != 0 { RTF_GATEWAY } else { 0 };
        line(name, shown.network.into(), gateway, flags, mask)
    })?;
    let Some(config) = engine().ipv4() else { return Ok(()) };
    if let Some(gateway) = config.gateway {
        line(CARD_NAME, 0, gateway.into(), RTF_UP | RTF_GATEWAY, 0)?;
    }
    line(CARD_NAME, u32::from(config.address) & config.mask(), 0, RTF_UP, config.mask())
}

/// /proc/net/fib_trie: the networks and addresses of IPv4 as leaves of one node. Scripts look for the line before `/32 host LOCAL`.
pub fn fib_trie(text: &mut Text) -> Result<(), NoMemory> {
    let mut leaf = |head: &str, address: u32, len: u8, what: &str| {
        write!(text, "{head}     |-- {}\n        /{len} {what}\n", Ipv4Addr::from(address))
    };
    let config = engine().ipv4();
    let mut head = "Main:\n  +-- 0.0.0.0/0 2 0 2\n";
    if let Some(config) = config {
        if config.gateway.is_some() {
            leaf(core::mem::take(&mut head), 0, 0, "universe UNICAST")?;
        }
        let network = u32::from(config.address) & config.mask();
        leaf(core::mem::take(&mut head), network, config.prefix_len, "link UNICAST")?;
    }
    let mut head = "Local:\n  +-- 0.0.0.0/0 2 0 2\n";
    let own = config.map(|config| config.address);
    for address in own.into_iter().chain([Ipv4Addr::LOCALHOST]) {
        leaf(core::mem::take(&mut head), address.into(), 32, "host LOCAL")?;
    }
    Ok(())
}

/// /proc/net/arp: neighbours of IPv4.
pub fn arp(text: &mut Text) -> Result<(), NoMemory> {
    text.push(ARP_HEADER)?;
    for seen in engine().neighbors().map_err(|_| NoMemory)? {
        let Some(address) = seen.address.to_ipv4() else { continue };
        let mac = seen.mac.unwrap_or_default();
        let flags = arp_ioctl::flags(&seen);
        let [a, b, c, d, e, f] = mac;
        // Linux's columns: the address takes 16 of them.
        let mut own = heapless::String::<16>::new();
        let _ = core::fmt::write(&mut own, format_args!("{address}"));
        writeln!(
            text,
            "{own:<16} 0x1         0x{flags:<10x}{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}     *        {CARD_NAME}"
        )?;
    }
    Ok(())
}
