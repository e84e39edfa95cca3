//! What TCP and UDP sockets share: addresses between program and engine, time-outs, errors, and options that are
//! only stored.
use super::address::Family;
use super::interface_ioctl::CARD_INDEX;
use super::multicast::link_of;
use super::options::SOL_SOCKET;
use super::space::Home;
use super::stack::{wait_configured, wait_ipv6};
use super::zerocopy::Zerocopy;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::net::socket::{Control, SocketAddress, timeout_ns, timeout_value};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use coracle_hal::time::now_ns;
use coracle_tcpip::{Endpoint, Shutdown};
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::net as n;

/// State of a socket that the engine doesn't need.
pub struct Common {
    /// Its network namespace.
    pub home: Home,
    /// Address family.
    pub family: Family,
    /// IPV6_V6ONLY.
    pub v6_only: AtomicBool,
    /// The program has closed it.
    closed: AtomicBool,
    /// SO_RCVTIMEO and SO_SNDTIMEO in ns; 0: none.
    receive_timeout: AtomicU64,
    send_timeout: AtomicU64,
    /// MSG_ZEROCOPY.
    pub zerocopy: Zerocopy,
    /// Options without effect, as the program set them, for getsockopt(2).
    remembered: Mutex<Vec<(i32, i32, i32)>>,
    /// Number in `socket:[…]` and st_ino.
    pub inode: u64,
}

impl Common {
    /// Of a new socket.
    pub fn new(family: Family, inode: u64) -> Self {
        Common::at(Home::own(), family, inode)
    }

    fn at(home: Home, family: Family, inode: u64) -> Self {
        Common {
            home,
            family,
            v6_only: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            receive_timeout: AtomicU64::new(0),
            send_timeout: AtomicU64::new(0),
            zerocopy: Zerocopy::default(),
            remembered: Mutex::new(Vec::new()),
            inode,
        }
    }

    /// Of a connection accepted by the socket, whose time-outs it inherits.
    pub fn inherit(&self, inode: u64) -> Self {
        let new = Common::at(self.home.clone(), self.family, inode);
        for (from, to) in
            [(&self.receive_timeout, &new.receive_timeout), (&self.send_timeout, &new.send_timeout)]
        {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        new.zerocopy.is_on.store(self.zerocopy.is_on.load(Ordering::Relaxed), Ordering::Relaxed);
        new.v6_only.store(self.is_only_v6(), Ordering::Relaxed);
        let (level, name) = (SOL_SOCKET, n::SO_BINDTODEVICE as i32);
        let device = self.recall(level, name, 0);
        if device != 0 {
            // Without memory the program is not told, and the connection is bound all the same.
            let _ = new.remember(level, name, device);
        }
        new
    }

    /// True the first time: the engine is to hear of it.
    pub fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Whether an AF_INET6 socket has no addresses of IPv4 (IPV6_V6ONLY).
    pub fn is_only_v6(&self) -> bool {
        self.v6_only.load(Ordering::Relaxed)
    }

    /// Whether the program names an address of IPv4 to a socket that has none.
    fn is_barred(&self, end: Endpoint) -> bool {
        self.family == Family::V6 && end.address.is_v4() && self.is_only_v6()
    }

    /// The engine's address for one that the program binds the socket to. EINVAL, ENODEV for an address of a link that is not
    /// named (ipv6(7)).
    pub fn to_bind(&self, address: &SocketAddress) -> Result<Endpoint, Errno> {
        let local = self.family.lower(address)?;
        if self.is_barred(local) {
            return Err(Errno::INVAL);
        }
        check_scope(address, local)?;
        wait_for_address(local)?;
        Ok(local)
    }

    /// The engine's address for one that the program sends to. ENETUNREACH.
    pub fn to_reach(&self, address: &SocketAddress) -> Result<Endpoint, Errno> {
        let peer = self.family.lower(address)?;
        if self.is_barred(peer) {
            return Err(Errno::NETUNREACH);
        }
        // "This host on this network" (RFC 1122, section 3.2.1.3): Linux means itself.
        if peer.address.is_v4() && !peer.address.is_unspecified() && !peer.address.is_loopback() {
            wait_configured()?;
        }
        Ok(peer)
    }

    /// The program's address for one of the engine's.
    pub fn raise(&self, end: Endpoint) -> SocketAddress {
        self.family.raise(end)
    }

    /// fstat(2).
    pub fn stat(&self) -> Stat {
        coracle_core::fs::stat::nameless(coracle_core::net::socket::SOCKET_MODE, self.inode)
    }

    /// Its name in /proc.
    pub fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        write!(text, "socket:[{}]", self.inode)
    }

    /// The deadline of a receive that starts now.
    #[inline]
    pub fn receive_deadline(&self) -> Option<u64> {
        deadline(&self.receive_timeout)
    }

    /// The deadline of a send that starts now.
    #[inline]
    pub fn send_deadline(&self) -> Option<u64> {
        deadline(&self.send_timeout)
    }

    /// Remembers an option that changes nothing.
    /// ENOMEM.
    pub fn remember(&self, level: i32, name: i32, value: i32) -> Result<(), Errno> {
        let mut all = self.remembered.lock();
        match all.iter_mut().find(|(l, n, _)| (*l, *n) == (level, name)) {
            Some(entry) => entry.2 = value,
            None => all.try_push((level, name, value))?,
        }
        Ok(())
    }

    /// What was remembered, or `default`.
    pub fn recall(&self, level: i32, name: i32, default: i32) -> i32 {
        let all = self.remembered.lock();
        all.iter().find(|(l, n, _)| (*l, *n) == (level, name)).map_or(default, |entry| entry.2)
    }

    /// SO_RCVTIMEO and SO_SNDTIMEO. EINVAL, EDOM.
    pub fn set_timeout(&self, name: u32, value: &[u8]) -> Result<(), Errno> {
        self.timeout(name).store(timeout_ns(value)?, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the time-out that `name` selects. ENOMEM.
    pub fn timeout_value(&self, name: u32) -> Result<Vec<u8>, Errno> {
        timeout_value(self.timeout(name).load(Ordering::Relaxed))
    }

    fn timeout(&self, name: u32) -> &AtomicU64 {
        match name {
            n::SO_RCVTIMEO_OLD | n::SO_RCVTIMEO_NEW => &self.receive_timeout,
            _ => &self.send_timeout,
        }
    }
}

/// A program that names an address of a link must name the link, which exists (Linux's `__inet6_bind`, `tcp_v6_connect`).
/// EINVAL, ENODEV.
pub fn check_scope(address: &SocketAddress, end: Endpoint) -> Result<(), Errno> {
    match address {
        SocketAddress::Inet6(address) if end.address.is_link_local() => match address.scope_id() {
            0 => Err(Errno::INVAL),
            CARD_INDEX => link_of(CARD_INDEX).map(|_| ()).ok_or(Errno::NODEV),
            _ => Err(Errno::NODEV),
        },
        _ => Ok(()),
    }
}

/// Waits until the addresses of the family of `end` are known, unless it is one that this host has in any case.
pub fn wait_for_address(end: Endpoint) -> Result<(), Errno> {
    match end.address {
        address if address.is_unspecified() || address.is_loopback() => Ok(()),
        address if address.is_v4() => wait_configured(),
        _ => wait_ipv6(),
    }
}

#[inline]
fn deadline(timeout: &AtomicU64) -> Option<u64> {
    match timeout.load(Ordering::Relaxed) {
        0 => None,
        ns => Some(now_ns().saturating_add(ns)),
    }
}

/// The engine's error as Linux's number.
#[inline]
pub fn errno(error: coracle_tcpip::Error) -> Errno {
    Errno::new(error.errno() as u16)
}

/// Answers an ioctl(2) with a number at `argument`.
pub fn ioctl_answer(argument: usize, value: u32) -> SysResult {
    coracle_core::mm::user::write_u32(argument, value).map(|()| 0)
}

/// SHUT_RD, SHUT_WR or SHUT_RDWR.
pub fn shutdown_of(how: u32) -> Result<Shutdown, Errno> {
    match how {
        n::SHUT_RD => Ok(Shutdown::Read),
        n::SHUT_WR => Ok(Shutdown::Write),
        n::SHUT_RDWR => Ok(Shutdown::Both),
        _ => Err(Errno::INVAL),
    }
}

/// Time to live and type of service that control data gives a packet over IPv4, or hop limit and traffic class over IPv6.
pub fn header_bytes(control: &Control, is_v4: bool) -> (Option<u8>, Option<u8>) {
    if is_v4 { (control.ttl, control.tos) } else { (control.hop_limit, control.traffic_class) }
}
