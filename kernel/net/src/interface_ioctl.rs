//! The ioctls that report network interfaces (netdevice(7)), and other ioctls of sockets.
use super::engine;
use super::space::Home;
use super::tun::{self, Tun};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::mm::user;
use coracle_core::task::namespaces::check_network_capability;
use coracle_tcpip::{Count, Device, Ipv6Probe, Link, LoopbackState, TUNNELS_MAX, Traffic, Tunnel};
use core::net::{Ipv4Addr, Ipv6Addr};
use linux_raw_sys::net::AF_INET;

/// ioctl numbers (linux/sockios.h).
const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCSIFFLAGS: u32 = 0x8914;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFDSTADDR: u32 = 0x8917;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;
const SIOCETHTOOL: u32 = 0x8946;
/// Bytes queued and never sent (tcp(7)).
pub const SIOCOUTQNSD: u32 = 0x894b;
/// Whether the stream is at urgent data.
pub const SIOCATMARK: u32 = 0x8905;

/// Flags of interfaces (netdevice(7)).
const IFF_UP: u32 = 0x1;
/// See [`IFF_LOOPBACK`].
pub const IFF_BROADCAST: u32 = 0x2;
/// See `IFF_UP`.
pub const IFF_LOOPBACK: u32 = 0x8;
const IFF_POINTOPOINT: u32 = 0x10;
/// See [`IFF_LOOPBACK`].
pub const IFF_RUNNING: u32 = 0x40;
const IFF_NOARP: u32 = 0x80;
const IFF_MULTICAST: u32 = 0x1000;

/// `struct ifreq`: a name, then a union.
pub const NAME_BYTES: usize = 16;
const IFREQ_BYTES: usize = 40;
/// Hardware types (linux/if_arp.h).
pub const ARPHRD_ETHER: u16 = 1;
/// See [`ARPHRD_ETHER`].
pub const ARPHRD_LOOPBACK: u16 = 772;
/// See [`ARPHRD_ETHER`].
pub const ARPHRD_NONE: u16 = 0xfffe;
/// Linux's MTU of the loopback.
const LOOPBACK_MTU: u32 = 65536;
/// txqueuelen, as Linux reports it for Ethernet cards and for the loopback.
pub const QUEUE_LENGTH: u32 = 1000;

/// Numbers of the interfaces.
pub const LOOPBACK_INDEX: u32 = 1;
/// See [`LOOPBACK_INDEX`].
pub const CARD_INDEX: u32 = 2;
/// Name of the card.
pub const CARD_NAME: &str = "eth0";
/// How many there are at most.
pub const INTERFACES_MAX: usize = 2 + TUNNELS_MAX;
/// Name of an interface.
pub type Name = heapless::String<{ NAME_BYTES - 1 }, u8>;

/// Addresses of IPv6 at most, `::1` among them.
pub const IPV6_ADDRESSES_MAX: usize = 9;
/// Flags of addresses (linux/if_addr.h).
pub const IFA_F_PERMANENT: u8 = 0x80;
const IFA_F_TENTATIVE: u8 = 0x40;
const IFA_F_DEPRECATED: u8 = 0x20;
const IFA_F_DADFAILED: u8 = 0x08;

/// A network interface as programs see it.
pub struct InterfaceInfo {
    /// Number, from 1.
    pub index: u32,
    /// Name.
    pub name: Name,
    /// ARPHRD_*.
    pub hardware: u16,
    /// IFF_*.
    pub flags: u32,
    /// Greatest packet.
    pub mtu: u32,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Address and length of its network's prefix.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The address at the other end, if that is another one.
    pub peer: Option<Ipv4Addr>,
}

impl InterfaceInfo {
    /// What came in over it, and what went out.
    pub fn traffic(&self) -> [Traffic; 2] {
        let engine = engine();
        match engine.device().card() {
            Some(card) if self.index == CARD_INDEX => {
                let count = |what| engine.counters().get(what);
                let [mut received, mut sent] = card.traffic();
                received.drops += count(Count::UnknownFrames) + count(Count::ShortOfMemory);
                sent.drops += count(Count::OutDrops);
                [received, sent]
            }
            _ if self.is_tunnel() => {
                engine.device().tuns().of(self.index).map_or([Traffic::default(); 2], |tun| tun.traffic())
            }
            _ => {
                // What is dropped had been sent.
                let looped = engine.looped();
                [looped, Traffic { drops: 0, ..looped }]
            }
        }
    }

    /// Whether a program is its other end.
    pub fn is_tunnel(&self) -> bool {
        self.hardware == ARPHRD_NONE
    }

    /// Whether packets pass.
    pub fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// What engines know it by.
    pub fn link(&self) -> Link {
        match self.index {
            LOOPBACK_INDEX => Link::Loopback,
            index if self.is_tunnel() => Link::Tunnel(index),
            _ => Link::Wire,
        }
    }

    /// Packets that wait to be sent, at most.
    pub fn queue_length(&self) -> u32 {
        if self.is_tunnel() { tun::QUEUE_LENGTH } else { QUEUE_LENGTH }
    }

    /// IF_OPER_*: of what has no carrier of its own nothing is known while it is up.
    pub fn operational(&self) -> u8 {
        /// IF_OPER_UNKNOWN, IF_OPER_DOWN, IF_OPER_LOWERLAYERDOWN, IF_OPER_UP.
        const STATES: [u8; 3] = [0, 2, 6];
        match self.index {
            CARD_INDEX => STATES[2],
            _ if self.is_tunnel() && self.flags & IFF_RUNNING == 0 => STATES[1],
            _ => STATES[0],
        }
    }

    fn mask(&self) -> u32 {
        match self.address {
            Some((_, 0)) | None => 0,
            Some((_, len)) => u32::MAX << (32 - u32::from(len.min(32))),
        }
    }

    /// The broadcast address of its network.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        let (address, _) = self.address?;
        (self.flags & IFF_BROADCAST != 0).then(|| Ipv4Addr::from(u32::from(address) | !self.mask()))
    }
}

/// All interfaces of the program's network: the loopback, then the card, then those whose other end is a program.
pub fn interfaces() -> heapless::Vec<InterfaceInfo, INTERFACES_MAX> {
    interfaces_of(&engine())
}

/// The same of a network.
pub fn interfaces_of(engine: &Home) -> heapless::Vec<InterfaceInfo, INTERFACES_MAX> {
    let state = engine.loopback_state();
    let loopback = InterfaceInfo {
        index: LOOPBACK_INDEX,
        name: name_of("lo"),
        hardware: ARPHRD_LOOPBACK,
        flags: IFF_LOOPBACK | if state.is_up { IFF_UP | IFF_RUNNING } else { 0 },
        mtu: LOOPBACK_MTU,
        mac: [0; 6],
        address: state.has_ipv4.then_some((Ipv4Addr::LOCALHOST, 8)),
        peer: None,
    };
    let mut all = heapless::Vec::new();
    let _ = all.push(loopback);
    if engine.device().card().is_some() {
        let _ = all.push(InterfaceInfo {
            index: CARD_INDEX,
            name: name_of(CARD_NAME),
            hardware: ARPHRD_ETHER,
            flags: IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST,
            mtu: engine.device().mtu() as u32,
            mac: engine.device().mac(),
            address: engine.ipv4().map(|config| (config.address, config.prefix_len)),
            peer: None,
        });
    }
    engine.device().tuns().for_each(&mut |tun| {
        if let Some(tunnel) = engine.tunnel(tun.index) {
            let _ = all.push(tunnel_info(tun, &tunnel));
        }
    });
    all
}

fn name_of(name: &str) -> Name {
    Name::try_from(name).unwrap_or_default()
}

fn tunnel_info(tun: &Tun, tunnel: &Tunnel) -> InterfaceInfo {
    let up = match (tunnel.is_up, tun.has_carrier()) {
        (true, true) => IFF_UP | IFF_RUNNING,
        (true, false) => IFF_UP,
        _ => 0,
    };
    InterfaceInfo {
        index: tun.index,
        name: tun.name.clone(),
        hardware: ARPHRD_NONE,
        flags: IFF_POINTOPOINT | IFF_NOARP | IFF_MULTICAST | up,
        mtu: tunnel.mtu.into(),
        mac: [0; 6],
        address: tunnel.address.map(|own| (own.local, own.prefix_len)),
        peer: tunnel
            .address
            .map(|own| own.peer)
            .filter(|peer| tunnel.address.is_some_and(|own| own.local != *peer)),
    }
}

/// Changes what is configured of an interface whose other end is a program.
pub fn change_tunnel(index: u32, change: impl FnOnce(&mut Tunnel)) -> Result<(), Errno> {
    if engine().change_tunnel(index, change) { Ok(()) } else { Err(Errno::NODEV) }
}

/// Gives such an interface another MTU. EINVAL.
pub fn set_mtu(own: &InterfaceInfo, mtu: u32) -> Result<(), Errno> {
    /// Linux's ETH_MIN_MTU.
    const LEAST: u32 = 68;
    /// What it takes besides is too much for its queue of pages.
    const MOST: u32 = 65535;
    if mtu == own.mtu {
        return Ok(());
    }
    if !own.is_tunnel() {
        return Err(Errno::OPNOTSUPP);
    }
    if !(LEAST..=MOST).contains(&mtu) {
        return Err(Errno::INVAL);
    }
    change_tunnel(own.index, |tunnel| tunnel.mtu = mtu as u16)
}

/// An address of IPv6 as programs see it.
pub struct InterfaceAddress {
    /// The number of its interface.
    pub index: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// Length of its prefix, in bits.
    pub prefix_len: u8,
    /// IFA_F_*.
    pub flags: u8,
}

impl InterfaceAddress {
    /// Its scope in /proc/net/if_inet6 (Linux's IPV6_ADDR_LOOPBACK and IPV6_ADDR_LINKLOCAL).
    pub fn proc_scope(&self) -> u8 {
        match self.address {
            Ipv6Addr::LOCALHOST => 0x10,
            address if address.is_unicast_link_local() => 0x20,
            _ => 0,
        }
    }
}

/// Addresses of IPv6 of all interfaces: one more than the engine has.
pub fn ipv6_addresses() -> heapless::Vec<InterfaceAddress, IPV6_ADDRESSES_MAX> {
    let localhost = Ipv6Addr::LOCALHOST;
    let engine = engine();
    let own = engine.ipv6_addresses();
    let of_card = own.iter().map(|own| {
        let probe = match own.probe {
            Ipv6Probe::Until(_) => IFA_F_TENTATIVE,
            Ipv6Probe::Unique => 0,
            Ipv6Probe::Taken => IFA_F_DADFAILED | IFA_F_TENTATIVE,
        };
        let permanent = if own.valid_until == u64::MAX { IFA_F_PERMANENT } else { 0 };
        let flags = probe | permanent | if own.deprecated { IFA_F_DEPRECATED } else { 0 };
        InterfaceAddress {
            index: CARD_INDEX,
            address: own.address.to_ipv6(),
            prefix_len: own.prefix_len,
            flags,
        }
    });
    let loopback = InterfaceAddress {
        index: LOOPBACK_INDEX,
        address: localhost,
        prefix_len: 128,
        flags: IFA_F_PERMANENT,
    };
    Some(loopback).filter(|_| engine.loopback_state().is_up).into_iter().chain(of_card).collect()
}

/// Gives an interface other flags. The loopback gets its address when it comes up without one, as on Linux. EOPNOTSUPP: the card is
/// always up.
pub fn set_flags(own: &InterfaceInfo, flags: u32) -> Result<(), Errno> {
    let is_up = flags & IFF_UP != 0;
    if is_up == (own.flags & IFF_UP != 0) {
        return Ok(());
    }
    if own.is_tunnel() {
        return tun::set_up(own.index, is_up);
    }
    if own.index != LOOPBACK_INDEX {
        return Err(Errno::OPNOTSUPP);
    }
    let engine = engine();
    let has_ipv4 = engine.loopback_state().has_ipv4 || is_up;
    engine.set_loopback_state(LoopbackState { is_up, has_ipv4 });
    Ok(())
}

fn socket_address(ip: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(AF_INET as u16).to_le_bytes());
    bytes[4..8].copy_from_slice(&ip.octets());
    bytes
}

/// An ioctl on a socket that is about interfaces; ENOTTY for all others.
pub fn ioctl(command: u32, argument: usize) -> SysResult {
    match command {
        SIOCGIFCONF => list(argument),
        SIOCGIFNAME | SIOCGIFFLAGS | SIOCSIFFLAGS | SIOCGIFADDR | SIOCGIFDSTADDR | SIOCGIFBRDADDR
        | SIOCGIFNETMASK | SIOCGIFMETRIC | SIOCGIFMTU | SIOCGIFHWADDR | SIOCGIFINDEX | SIOCGIFTXQLEN => {
            one(command, argument)
        }
        // Nothing is told of the card itself.
        SIOCETHTOOL => {
            let mut name = [0; NAME_BYTES];
            user::read(&mut name, argument)?;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
            let is_there = interfaces().iter().any(|interface| interface.name.as_bytes() == &name[..end]);
            Err(if is_there { Errno::OPNOTSUPP } else { Errno::NODEV })
        }
        _ => Err(Errno::NOTTY),
    }
}

/// The same for a socket of AF_INET (`is_v4`) or AF_INET6, of which the former have those of arp(7), too.
pub fn ioctl_of_inet(is_v4: bool, command: u32, argument: usize) -> SysResult {
    let arp = if is_v4 { super::arp_ioctl::ioctl(command, argument) } else { None };
    arp.unwrap_or_else(|| ioctl(command, argument))
}

/// `struct ifconf`: the length of a buffer, and its address; filled with an `ifreq` for each interface with an address.
fn list(argument: usize) -> SysResult {
    let _ = super::stack::wait_configured();
    let room = user::read_u32(argument)? as usize;
    let buffer = user::read_u64(argument.wrapping_add(8))? as usize;
    let mut bytes: heapless::Vec<u8, { INTERFACES_MAX * IFREQ_BYTES }> = heapless::Vec::new();
    for interface in interfaces() {
        let Some((address, _)) = interface.address else { continue };
        let mut request = [0; IFREQ_BYTES];
        request[..interface.name.len()].copy_from_slice(interface.name.as_bytes());
        request[NAME_BYTES..NAME_BYTES + 16].copy_from_slice(&socket_address(address));
        let _ = bytes.extend_from_slice(&request);
    }
    // Without a buffer the call returns the size that it needs (netdevice(7)).
    if buffer != 0 {
        bytes.truncate(room / IFREQ_BYTES * IFREQ_BYTES);
        user::write(buffer, &bytes)?;
    }
    user::write_u32(argument, bytes.len() as u32)?;
    Ok(0)
}

fn one(command: u32, argument: usize) -> SysResult {
    let mut request = [0; IFREQ_BYTES];
    user::read(&mut request, argument)?;
    let (name, value) = request.split_at_mut(NAME_BYTES);
    let all = interfaces();
    if command == SIOCGIFNAME {
        let index = u32::from_le_bytes([value[0], value[1], value[2], value[3]]);
        let found = all.iter().find(|interface| interface.index == index).ok_or(Errno::NODEV)?;
        name.fill(0);
        name[..found.name.len()].copy_from_slice(found.name.as_bytes());
        user::write(argument, &request)?;
        return Ok(0);
    }
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    let found = all.iter().find(|interface| interface.name.as_bytes() == &name[..len]).ok_or(Errno::NODEV)?;
    let address = || found.address.ok_or(Errno::ADDRNOTAVAIL);
    let mut set = |bytes: &[u8]| value[..bytes.len()].copy_from_slice(bytes);
    match command {
        SIOCSIFFLAGS => {
            check_network_capability(capability::NET_ADMIN)?;
            // The upper half of an interface's flags has no place there.
            let low = u32::from(u16::from_le_bytes([value[0], value[1]]));
            set_flags(found, low | found.flags & !u32::from(u16::MAX))?;
            return Ok(0);
        }
        SIOCGIFFLAGS => set(&(found.flags as u16).to_le_bytes()),
        SIOCGIFADDR | SIOCGIFDSTADDR => set(&socket_address(address()?.0)),
        SIOCGIFBRDADDR => set(&socket_address(found.broadcast().unwrap_or(Ipv4Addr::UNSPECIFIED))),
        SIOCGIFNETMASK => {
            address()?;
            set(&socket_address(found.mask().into()));
        }
        SIOCGIFMETRIC => set(&0u32.to_le_bytes()),
        SIOCGIFMTU => set(&found.mtu.to_le_bytes()),
        SIOCGIFINDEX => set(&found.index.to_le_bytes()),
        SIOCGIFTXQLEN => set(&found.queue_length().to_le_bytes()),
        _ => {
            let [low, high] = found.hardware.to_le_bytes();
            let [a, b, c, d, e, f] = found.mac;
            set(&[low, high, a, b, c, d, e, f]);
        }
    }
    user::write(argument, &request)?;
    Ok(0)
}
