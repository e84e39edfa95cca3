//! The ioctls for the cache of neighbours of IPv4 (arp(7)), which squid asks for clients' Ethernet addresses and by which DHCP servers
//! reach a client that has no address yet.
use super::common::errno;
use super::engine;
use super::interface_ioctl::{ARPHRD_ETHER, InterfaceInfo, LOOPBACK_INDEX, NAME_BYTES, interfaces};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::mm::user;
use coracle_core::task::namespaces::check_network_capability;
use coracle_hal::time::now_ns;
use coracle_tcpip::{Address, Seen};
use core::net::Ipv4Addr;
use linux_raw_sys::net::AF_INET;

/// ioctl numbers (linux/sockios.h).
const SIOCDARP: u32 = 0x8953;
const SIOCGARP: u32 = 0x8954;
const SIOCSARP: u32 = 0x8955;

/// `struct arpreq` (net/if_arp.h): two `sockaddr`, flags, another `sockaddr`, the name of an interface.
const REQUEST_BYTES: usize = 68;
const PROTOCOL_AT: usize = 0;
const HARDWARE_AT: usize = 16;
const FLAGS_AT: usize = 32;
const DEVICE_AT: usize = 52;
/// Where a `sockaddr_in` has the address, and a `sockaddr` of hardware.
const IP_AT: usize = PROTOCOL_AT + 4;
const MAC_AT: usize = HARDWARE_AT + 2;
const MAC_BYTES: usize = 6;

/// ATF_* (net/if_arp.h): the Ethernet address is known; for good; answered for by this host; with a mask; no answers.
const ATF_COM: u32 = 0x02;
const ATF_PERM: u32 = 0x04;
const ATF_PUBL: u32 = 0x08;
const ATF_NETMASK: u32 = 0x20;
const ATF_DONTPUB: u32 = 0x40;

/// ATF_* of a neighbour (`arp_state_to_flags()`).
pub fn flags(seen: &Seen) -> u32 {
    match (seen.permanent, seen.mac) {
        (true, _) => ATF_PERM | ATF_COM,
        (false, Some(_)) => ATF_COM,
        (false, None) => 0,
    }
}

struct Request([u8; REQUEST_BYTES]);

impl Request {
    fn short(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }
    fn flags(&self) -> u32 {
        let bytes = &self.0[FLAGS_AT..];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
    fn address(&self) -> Ipv4Addr {
        let bytes = &self.0[IP_AT..];
        Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
    }
    /// The interface that it names; `None`: none. ENODEV.
    fn interface(&self) -> Result<Option<InterfaceInfo>, Errno> {
        let name = &self.0[DEVICE_AT..DEVICE_AT + NAME_BYTES];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        if end == 0 {
            return Ok(None);
        }
        let found = interfaces().into_iter().find(|interface| interface.name.as_bytes() == &name[..end]);
        found.map(Some).ok_or(Errno::NODEV)
    }
}

/// An ioctl of arp(7). `None`: it is another.
pub fn ioctl(command: u32, argument: usize) -> Option<SysResult> {
    match command {
        SIOCDARP | SIOCSARP => {
            Some(check_network_capability(capability::NET_ADMIN).and_then(|()| request(command, argument)))
        }
        SIOCGARP => Some(request(command, argument)),
        _ => None,
    }
}

fn request(command: u32, argument: usize) -> SysResult {
    let mut request = Request([0; REQUEST_BYTES]);
    user::read(&mut request.0, argument)?;
    if u32::from(request.short(PROTOCOL_AT)) != AF_INET {
        return Err(Errno::PFNOSUPPORT);
    }
    let flags = request.flags();
    if flags & ATF_PUBL == 0 && flags & (ATF_NETMASK | ATF_DONTPUB) != 0 {
        return Err(Errno::INVAL);
    }
    let interface = request.interface()?;
    let address = Address::from(request.address());
    let Some(interface) = interface else {
        if command == SIOCGARP {
            return Err(Errno::NODEV);
        }
        // That of the route to it.
        let is_loopback = request.address().is_loopback();
        if !is_loopback && engine().mtu_to(address).is_none() {
            return Err(Errno::NETUNREACH);
        }
        return change(command, &request, address, is_loopback);
    };
    let hardware = match request.short(HARDWARE_AT) {
        0 => interface.hardware,
        named => named,
    };
    if flags & ATF_COM != 0 && hardware != interface.hardware {
        return Err(Errno::INVAL);
    }
    let is_loopback = interface.index == LOOPBACK_INDEX;
    if command != SIOCGARP {
        return change(command, &request, address, is_loopback);
    }
    let seen = if is_loopback { None } else { engine().neighbor(address) }.ok_or(Errno::NXIO)?;
    request.0[HARDWARE_AT..MAC_AT].copy_from_slice(&ARPHRD_ETHER.to_le_bytes());
    request.0[MAC_AT..MAC_AT + MAC_BYTES].copy_from_slice(&seen.mac.unwrap_or_default());
    request.0[FLAGS_AT..FLAGS_AT + 4].copy_from_slice(&self::flags(&seen).to_le_bytes());
    user::write(argument, &request.0)?;
    Ok(0)
}

/// SIOCSARP and SIOCDARP. EOPNOTSUPP for entries that this host is to answer for: it does so for no other. The loopback has no
/// neighbours: ENXIO.
fn change(command: u32, request: &Request, address: Address, is_loopback: bool) -> SysResult {
    let flags = request.flags();
    if flags & ATF_PUBL != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    if is_loopback {
        return Err(Errno::NXIO);
    }
    if command == SIOCDARP {
        return if engine().remove_neighbor(address) { Ok(0) } else { Err(Errno::NXIO) };
    }
    let permanent = flags & ATF_PERM != 0;
    let mac = (permanent || flags & ATF_COM != 0)
        .then(|| request.0[MAC_AT..].first_chunk::<MAC_BYTES>().copied())
        .flatten();
    engine().set_neighbor(now_ns(), address, mac, permanent).map_err(errno)?;
    Ok(0)
}
