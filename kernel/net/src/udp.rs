//! UDP and UDP-Lite sockets as files (udp(7), udplite(7)).
use super::address::Family;
use super::ancillary::{Arrived, Wanted, error_message};
use super::common::{Common, check_scope, errno, header_bytes, ioctl_answer, wait_for_address};
use super::interface::{Interface, Watch, poll_events};
use super::multicast::link_of;
use super::options::{
    SOL_IP, SOL_IPV6, SOL_SOCKET, SOL_UDP, SOL_UDPLITE, USUAL_HOPS, answer, buffer_size, int, ttl,
};
use super::stack::sent;
use super::zerocopy::MSG_ZEROCOPY;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, DatagramInfo, Received, Socket, SocketAddress};
use coracle_devices::buffer::NetBuffer;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::sync::atomic::{AtomicU16, Ordering};
use coracle_hal::time::now_ns;
use coracle_tcpip::{Address, Datagram, Endpoint, Error, Payload, Udp, UdpHeaders, Way};
use core::any::Any;
use core::net::SocketAddrV6;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::net as n;

/// The most data a datagram carries over IPv4: 65,535 less the headers of IP and UDP.
const DATAGRAM_MAX: usize = 65_507;
/// The same over IPv6, whose header does not count.
const DATAGRAM_MAX_V6: usize = 65_527;
/// Datagrams up to this size are fetched to the kernel's stack: what fits a frame of Ethernet.
const SMALL_DATAGRAM: usize = 1500;
/// UDP_CORK and UDP_GRO (linux/udp.h).
const UDP_CORK: u32 = 1;
const UDP_GRO: u32 = 104;
/// UDP_SEGMENT (linux/udp.h).
pub const UDP_SEGMENT: u32 = 103;
/// UDPLITE_SEND_CSCOV and UDPLITE_RECV_CSCOV (linux/udp.h).
const SEND_COVERAGE: u32 = 10;
const RECEIVE_COVERAGE: u32 = 11;

/// A UDP socket.
pub struct UdpFile {
    pub(super) socket: Udp<Interface, Watch>,
    pub(super) common: Common,
    /// What is told of a datagram.
    wanted: Wanted,
    /// UDP_SEGMENT: bytes of each datagram that a larger one is cut into; 0: none is cut.
    segment: AtomicU16,
}

impl UdpFile {
    /// socket(2). `is_lite`: of UDP-Lite.
    pub fn new(family: Family, is_lite: bool) -> Result<Arc<UdpFile>, Errno> {
        let watch = Watch::new();
        let common = Common::new(family, watch.inode);
        let socket = common.home.udp_socket(is_lite, watch).map_err(errno)?;
        socket.set_options(|options| options.family = family.of_engine(false));
        let new = UdpFile { socket, common, wanted: Wanted::new(), segment: AtomicU16::new(0) };
        try_arc(new).map_err(|_| Errno::NOBUFS)
    }

    #[inline]
    fn source(&self) -> &PollSource {
        &self.socket.events().source
    }

    /// Sends the rest of `src`: one datagram, or several of `segment` bytes if that is not 0 and less (UDP_SEGMENT). EMSGSIZE,
    /// EINVAL.
    #[inline]
    fn send_rest(&self, src: &mut UserBuf, way: Way, segment: u16, nonblock: bool) -> SysResult {
        let len = src.remaining();
        if segment == 0 || len <= usize::from(segment) {
            return self.send_datagram(src, len, way, nonblock);
        }
        self.send_segments(src, way, usize::from(segment), nonblock)
    }

    #[cold]
    fn send_segments(&self, src: &mut UserBuf, way: Way, segment: usize, nonblock: bool) -> SysResult {
        /// UDP_MAX_SEGMENTS.
        const SEGMENTS_MAX: usize = 64;
        /// Headers of IP and UDP.
        const HEADER_BYTES: usize = 28;
        const HEADER_BYTES_V6: usize = 48;
        let len = src.remaining();
        let to = way.to.or_else(|| self.socket.peer());
        let headers = match to {
            Some(to) if !to.address.is_v4() => HEADER_BYTES_V6,
            _ => HEADER_BYTES,
        };
        // A datagram to this machine meets no link.
        let mtu = match to {
            Some(to) if to.address.is_loopback() => DATAGRAM_MAX + HEADER_BYTES,
            _ => coracle_tcpip::Device::mtu(self.common.home.device()),
        };
        if len > DATAGRAM_MAX {
            return Err(Errno::MSGSIZE);
        }
        if len > segment * SEGMENTS_MAX || segment + headers > mtu {
            return Err(Errno::INVAL);
        }
        let mut done = 0;
        while done < len {
            match self.send_datagram(src, segment.min(len - done), way, nonblock) {
                Ok(sent) => done += sent,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Sends one datagram: the next `len` bytes of `src`. It is sent as a whole or not at all, and a page of it may not be
    /// there yet, so it is fetched before the engine is called.
    #[inline]
    fn send_datagram(&self, src: &mut UserBuf, len: usize, way: Way, nonblock: bool) -> SysResult {
        if len > DATAGRAM_MAX_V6 {
            return Err(Errno::MSGSIZE);
        }
        if len <= SMALL_DATAGRAM {
            let mut bytes = [0; SMALL_DATAGRAM];
            self.send_bytes(src, &mut bytes[..len], way, nonblock)
        } else {
            self.send_bytes(
                src,
                &mut coracle_fallible::filled(0, len).map_err(|_| Errno::NOBUFS)?,
                way,
                nonblock,
            )
        }
    }

    #[inline]
    fn send_bytes(&self, src: &mut UserBuf, bytes: &mut [u8], way: Way, nonblock: bool) -> SysResult {
        if src.take(bytes)? < bytes.len() {
            return Err(Errno::FAULT);
        }
        let attempt = || {
            let now = now_ns();
            let mut at = 0;
            let result = self.common.home.udp_send(&self.socket, now, way, bytes.len(), |room| {
                let part = room.len().min(bytes.len() - at);
                room[..part].copy_from_slice(&bytes[at..at + part]);
                at += part;
                part
            });
            sent(now);
            result.map_err(errno)
        };
        let deadline = self.common.send_deadline();
        block_on_events(self.source(), Events::OUT, nonblock, deadline, attempt)
    }

    #[inline]
    fn receive_datagram(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        let nonblock = flags & n::MSG_DONTWAIT != 0;
        let peek = flags & n::MSG_PEEK != 0;
        if flags & n::MSG_ERRQUEUE != 0 {
            return self.receive_report(dst);
        }
        let wants_more = self.wanted.any();
        let mut headers = None;
        let want = dst.remaining();
        let deadline = self.common.receive_deadline();
        let (mut spilled, mut lost) = (Vec::new(), false);
        let attempt = || {
            let look = |payload: &Payload<NetBuffer>| {
                if wants_more {
                    headers = UdpHeaders::before(payload);
                }
            };
            self.common
                .home
                .udp_recv_noting(&self.socket, peek, look, |piece| {
                    // What a page fault keeps from being copied now is copied after the engine's call.
                    let copied = if spilled.is_empty() { dst.put_nofault(piece) } else { 0 };
                    if copied < piece.len() && dst.remaining() > spilled.len() {
                        lost |= spilled.try_extend_from_slice(&piece[copied..]).is_err();
                    }
                    piece.len()
                })
                .map_err(errno)
        };
        let Some(datagram) = block_on_events(self.source(), Events::IN, nonblock, deadline, attempt)? else {
            return if nonblock { Err(Errno::AGAIN) } else { Ok(Received::bytes(0)) };
        };
        if lost {
            return Err(Errno::NOMEM);
        }
        if !spilled.is_empty() {
            dst.put_all(&spilled)?;
        }
        let truncated = datagram.len > want;
        Ok(Received {
            from: Some(self.common.raise(datagram.from)),
            flags: if truncated { n::MSG_TRUNC } else { 0 },
            info: if wants_more { self.info(&datagram, headers) } else { None },
            ..Received::bytes(if flags & n::MSG_TRUNC != 0 { datagram.len } else { datagram.len.min(want) })
        })
    }

    /// What the program is told of a datagram with these headers.
    #[cold]
    fn info(&self, datagram: &Datagram, headers: Option<UdpHeaders>) -> Option<Box<DatagramInfo>> {
        let usual = UdpHeaders { ttl: USUAL_HOPS as u8, tos: 0, port: self.socket.local().port };
        let UdpHeaders { ttl, tos, port } = headers.unwrap_or(usual);
        let (to, link, at) = (datagram.to, datagram.link, datagram.arrived);
        self.wanted.info(&Arrived { to, port, link, at, ttl, tos, lost: datagram.lost })
    }

    /// Sends with flags that few programs use: MSG_ZEROCOPY. EOPNOTSUPP for MSG_OOB.
    #[cold]
    fn send_special(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&mut Control>,
    ) -> SysResult {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let sent = self.send(src, to, flags & !MSG_ZEROCOPY, control)?;
        self.common.zerocopy.sent(self.source());
        Ok(sent)
    }

    /// A message of the error queue.
    #[cold]
    fn receive_report(&self, dst: &mut UserBuf) -> Result<Received, Errno> {
        let Some(report) = self.common.home.udp_report(&self.socket) else {
            return self.common.zerocopy.receive(self.common.family);
        };
        let copied = dst.put(&report.payload)?;
        error_message(self.common.family, &self.wanted, &report, copied)
    }

    /// The engine's address for one that the program sends to. An AF_INET6 socket takes one of AF_INET, too, or returns
    /// `only_v6` if IPV6_V6ONLY is set (Linux's `udpv6_sendmsg` and `__ip6_datagram_connect`).
    #[inline]
    fn to_reach(&self, address: &SocketAddress, only_v6: Errno) -> Result<Endpoint, Errno> {
        let peer = match (self.common.family, address) {
            (Family::V6, SocketAddress::Inet(_)) if self.common.is_only_v6() => Err(only_v6),
            (Family::V6, SocketAddress::Inet(inet)) => {
                let mapped = SocketAddrV6::new(inet.ip().to_ipv6_mapped(), inet.port(), 0, 0);
                self.common.to_reach(&SocketAddress::Inet6(mapped))
            }
            _ => self.common.to_reach(address),
        }?;
        // A program that has IPv4 goes on with that meanwhile.
        if !peer.address.is_v4() && self.common.home.ipv4().is_none() {
            wait_for_address(peer)?;
        }
        Ok(peer)
    }

    fn finish(&self) {
        if self.common.close() {
            self.common.home.udp_close(&self.socket);
        }
    }
}

/// The sender's address and the link that a program requests (ip(7), IP_PKTINFO); ENODEV for an interface that is not there.
/// There is one route to each host, so the link matters for groups only.
fn set_way(way: &mut Way, interface: u32, from: Address) -> Result<(), Errno> {
    if interface != 0 {
        way.link = Some(link_of(interface).ok_or(Errno::NODEV)?);
    }
    way.from = (!from.is_unspecified()).then_some(from);
    Ok(())
}

/// What a checksum is to cover, of what a program asks for: the whole, or the header at least (udplite(7)).
fn coverage(value: i32) -> u16 {
    const HEADER_BYTES: i32 = 8;
    if value == 0 { 0 } else { value.clamp(HEADER_BYTES, i32::from(u16::MAX)) as u16 }
}

/// IP_RECVERR or IPV6_RECVERR.
fn is_reports(level: i32, number: u32) -> bool {
    matches!((level, number), (SOL_IP, n::IP_RECVERR) | (SOL_IPV6, n::IPV6_RECVERR))
}

impl File for UdpFile {
    #[inline]
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        // As for all sockets read(2) of no bytes takes nothing (Linux's `sock_read_iter`).
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let flags = if nonblock { n::MSG_DONTWAIT } else { 0 };
        self.receive_datagram(dst, flags).map(|received| received.len)
    }

    #[inline]
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        self.send_rest(src, Way::default(), self.segment.load(Ordering::Relaxed), nonblock)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.common.stat())
    }

    #[inline]
    fn readiness(&self) -> Events {
        let events = poll_events(self.socket.readiness()) | self.common.zerocopy.readiness();
        if events.contains(Events::OUT) { events | Events::WRBAND } else { events }
    }

    #[inline]
    fn poll_source(&self) -> Option<&PollSource> {
        Some(self.source())
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        let int = |value| ioctl_answer(argument, value);
        match command {
            linux_raw_sys::ioctl::FIONREAD => int(self.socket.next_len() as u32),
            linux_raw_sys::ioctl::TIOCOUTQ => int(0),
            _ => super::interface_ioctl::ioctl_of_inet(self.common.family == Family::V4, command, argument),
        }
    }

    #[inline]
    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        self.common.path(text)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn closed(&self) {
        self.finish();
    }
}

impl Socket for UdpFile {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        let local = self.common.to_bind(address)?;
        self.common.home.udp_bind(&self.socket, local).map_err(errno)
    }

    fn connect(&self, address: &SocketAddress, _nonblock: bool) -> Result<(), Errno> {
        if matches!(address, SocketAddress::Unspecified(_)) {
            self.common.home.udp_disconnect(&self.socket);
            return Ok(());
        }
        let peer = self.to_reach(address, Errno::AFNOSUPPORT)?;
        if !peer.address.is_multicast() {
            check_scope(address, peer)?;
        }
        self.common.home.udp_connect(&self.socket, peer).map_err(errno)
    }

    fn listen(&self, _backlog: usize) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn accept(&self, _nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn local_address(&self) -> Result<SocketAddress, Errno> {
        Ok(self.common.raise(self.socket.local()))
    }

    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        let peer = self.socket.peer().ok_or(Errno::NOTCONN)?;
        Ok(self.common.raise(peer))
    }

    #[inline]
    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&mut Control>,
    ) -> SysResult {
        if flags & (n::MSG_OOB | MSG_ZEROCOPY) != 0 {
            return self.send_special(src, to, flags, control);
        }
        let to = match to {
            None => None,
            // Linux's `udp_sendmsg` takes it for one of AF_INET.
            Some(SocketAddress::Unspecified(inet)) => {
                Some(self.to_reach(&SocketAddress::Inet(inet.ok_or(Errno::INVAL)?), Errno::NETUNREACH)?)
            }
            Some(address) => Some(self.to_reach(address, Errno::NETUNREACH)?),
        };
        let mut segment = self.segment.load(Ordering::Relaxed);
        let mut way = Way { to, ..Way::default() };
        if let Some(control) = control {
            segment = control.segment.unwrap_or(segment);
            let to = to.or_else(|| self.socket.peer());
            (way.ttl, way.tos) = header_bytes(control, to.is_some_and(|to| to.address.is_v4()));
            if let Some(info) = control.packet_info {
                set_way(&mut way, info.interface, info.local.into())?;
            } else if let Some(info) = control.packet_info6 {
                set_way(&mut way, info.interface, info.address.into())?;
            }
        }
        self.send_rest(src, way, segment, flags & n::MSG_DONTWAIT != 0)
    }

    #[inline]
    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        self.receive_datagram(dst, flags)
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        let how = super::common::shutdown_of(how)?;
        self.common.home.udp_shutdown(&self.socket, how).map_err(errno)
    }

    fn takes_departures(&self) -> bool {
        self.common.takes_departures()
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let number = name as u32;
        if level == SOL_IP
            && let Some(result) = self.set_multicast(number, value)
        {
            return result;
        }
        if level == SOL_IPV6 {
            if self.common.family == Family::V4 {
                return Err(Errno::NOPROTOOPT);
            }
            if let Some(result) = self.set_v6(number, value) {
                return result;
            }
        }
        if let Ok(value) = int(value)
            && let Some(result) = self.wanted.set(level, number, value)
        {
            return result;
        }
        if (level, number) == (SOL_SOCKET, n::SO_ZEROCOPY) && !self.socket.is_lite() {
            return self.common.zerocopy.set(value);
        }
        if !is_reports(level, number)
            && let Some(result) = self.common.set(level, name, value)
        {
            if (level, number) == (SOL_SOCKET, n::SO_BINDTODEVICE) {
                self.common.home.udp_set_device(&self.socket, self.common.device());
            }
            return result;
        }
        let value = int(value)?;
        let on = value != 0;
        let set = |change: &dyn Fn(&mut coracle_tcpip::UdpOptions)| {
            self.socket.set_options(|options| change(options));
            Ok(())
        };
        match (level, number) {
            (SOL_SOCKET, n::SO_REUSEADDR) => set(&|o| o.reuse_address = on),
            (SOL_SOCKET, n::SO_REUSEPORT) => set(&|o| o.reuse_port = on),
            (SOL_SOCKET, n::SO_BROADCAST) => set(&|o| o.broadcast = on),
            (SOL_SOCKET, n::SO_RCVBUF | n::SO_RCVBUFFORCE) => set(&|o| o.receive_buffer = buffer_size(value)),
            (SOL_SOCKET, n::SO_SNDBUF | n::SO_SNDBUFFORCE | n::SO_KEEPALIVE | n::SO_LINGER) => {
                self.common.remember(level, name, value)
            }
            (SOL_IP, n::IP_TTL) => ttl(value).and_then(|ttl| set(&|o| o.ttl = ttl)),
            (SOL_IP, n::IP_TOS) => set(&|o| o.tos = value as u8),
            (SOL_IP, n::IP_RECVERR) | (SOL_IPV6, n::IPV6_RECVERR) => {
                set(&|o| o.reports = on)?;
                // Those that wait are of no use any more.
                while !on && self.common.home.udp_report(&self.socket).is_some() {}
                Ok(())
            }
            (SOL_UDP | SOL_UDPLITE, SEND_COVERAGE) if self.socket.is_lite() => {
                set(&|o| o.coverage.send = Some(coverage(value)))
            }
            (SOL_UDP | SOL_UDPLITE, RECEIVE_COVERAGE) if self.socket.is_lite() => {
                set(&|o| o.coverage.receive = Some(coverage(value)))
            }
            (SOL_UDP, UDP_CORK) if !on => Ok(()),
            (SOL_UDP, UDP_GRO) => {
                // Datagrams are never joined; a program that can take joined ones takes single ones, too.
                self.common.remember(level, name, value)
            }
            (SOL_UDP, UDP_SEGMENT) => {
                let segment = u16::try_from(value).map_err(|_| Errno::INVAL)?;
                self.segment.store(segment, Ordering::Relaxed);
                Ok(())
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let number = name as u32;
        if level == SOL_IP
            && let Some(value) = self.multicast(number)
        {
            return answer(value);
        }
        if level == SOL_IPV6
            && self.common.family == Family::V6
            && let Some(value) = self.option_v6(number)
        {
            return answer(value);
        }
        if let Some(value) = self.wanted.get(level, number) {
            return answer(value);
        }
        if !is_reports(level, number)
            && let Some(result) = self.common.get(level, name)
        {
            return result;
        }
        let options = self.socket.options();
        match (level, number) {
            (SOL_IP, n::IP_MTU) | (SOL_IPV6, n::IPV6_MTU) => Common::path_mtu(self.socket.peer()),
            (SOL_SOCKET, n::SO_ERROR) => answer(self.socket.take_error().map_or(0, Error::errno)),
            (SOL_SOCKET, n::SO_ACCEPTCONN) => answer(0),
            (SOL_SOCKET, n::SO_REUSEADDR) => answer(options.reuse_address as i32),
            (SOL_SOCKET, n::SO_REUSEPORT) => answer(options.reuse_port as i32),
            (SOL_SOCKET, n::SO_BROADCAST) => answer(options.broadcast as i32),
            (SOL_SOCKET, n::SO_RCVBUF) => answer(2 * options.receive_buffer as i32),
            (SOL_SOCKET, n::SO_SNDBUF) => {
                answer(2 * self.common.recall(level, name, (super::options::BUFFER_MAX / 2) as i32))
            }
            (SOL_SOCKET, n::SO_KEEPALIVE) => answer(self.common.recall(level, name, 0)),
            (SOL_SOCKET, n::SO_LINGER) => Ok([0; 8].try_to_vec()?),
            (SOL_IP, n::IP_TTL) => answer(i32::from(options.ttl)),
            (SOL_IP, n::IP_TOS) => answer(i32::from(options.tos)),
            (SOL_IP, n::IP_RECVERR) | (SOL_IPV6, n::IPV6_RECVERR) => answer(options.reports.into()),
            // That of UDP is 0: the whole is covered.
            (SOL_UDP | SOL_UDPLITE, SEND_COVERAGE) => answer(options.coverage.send.unwrap_or(0).into()),
            (SOL_UDP | SOL_UDPLITE, RECEIVE_COVERAGE) => answer(options.coverage.receive.unwrap_or(0).into()),
            (SOL_UDP, UDP_SEGMENT) => answer(i32::from(self.segment.load(Ordering::Relaxed))),
            (SOL_UDP, UDP_CORK | UDP_GRO) => answer(self.common.recall(level, name, 0)),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn kind(&self) -> (i32, i32, i32) {
        let protocol = if self.socket.is_lite() { SOL_UDPLITE } else { SOL_UDP };
        (self.common.family.number(), n::SOCK_DGRAM as i32, protocol)
    }
}
