//! Sockets of AF_PACKET (packet(7)): copies of the frames that come and go.
//!
//! While there is one, packets are shown as to `coracle pcap` ([`coracle_devices::capture`]); while there is none, a packet takes no
//! instruction for it.
use super::common::{errno, ioctl_answer};
use super::interface::Watch;
use super::interface_ioctl::{CARD_INDEX, InterfaceInfo, LOOPBACK_INDEX, interfaces};
use super::options::{SOL_SOCKET, answer, buffer_size, int};
use super::packet_ring::{
    Entry, Request, Ring, STATUS_LOSING, STATUS_NO_CHECKSUM, STATUS_USER, header_bytes,
};
use super::stack::{sent, tap};
use super::{address::Family, common::Common, filter, first};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_bpf::{Data, Program};
use coracle_control::packet;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{
    AUXDATA_BYTES, Arrival, Control, DatagramInfo, LinkAddress, Received, Socket, SocketAddress,
};
use coracle_core::task::namespaces::check_network_capability;
use coracle_core::time::clock;
use coracle_devices::capture::Packet;
use coracle_devices::give_tapped;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, filled, try_arc, try_box};
use coracle_hal::frame::Frame;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_hal::time::now_ns;
use core::any::Any;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::if_packet as p;
use linux_raw_sys::net as n;

/// Ethernet: header, address, where the type is.
const ETHERNET_BYTES: usize = 14;
const MAC_BYTES: usize = 6;
const TYPE_AT: usize = 12;
/// ETH_P_ALL: packets of all types, and those that are sent.
const ALL: u16 = 3;
/// The longest frame.
const FRAME_MAX: usize = 65_535 + ETHERNET_BYTES;
/// What a packet that waits counts for beside its bytes.
const OVERHEAD: usize = 256;
/// The level of the options of these sockets.
const SOL_PACKET: i32 = n::SOL_PACKET as i32;
/// Bytes of `struct packet_mreq`, at least.
const MREQ_BYTES: usize = 16;

/// All open ones.
static SOCKETS: Mutex<Vec<Arc<PacketFile>>> = Mutex::new(Vec::new());

struct Waiting {
    bytes: Vec<u8>,
    len: usize,
    from: LinkAddress,
    status: u32,
    at_ns: u64,
}

struct State {
    /// The Ethernet type that is received; 0: nothing is.
    protocol: u16,
    /// 0: all interfaces.
    interface: u32,
    queue: VecDeque<Waiting>,
    held: usize,
    receive_buffer: usize,
    program: Option<Program>,
    /// PACKET_STATISTICS: packets, and those among them that were lost.
    packets: u32,
    lost: u32,
    version: u32,
    reserve: usize,
    ring: Option<Ring>,
    wants_auxiliary: bool,
    ignores_sent: bool,
    /// SO_TIMESTAMP, SO_TIMESTAMPNS, or 0.
    stamps: u32,
}

/// A socket of AF_PACKET.
pub struct PacketFile {
    common: Common,
    watch: Watch,
    kind: u32,
    /// Packets have come that no reader was notified of.
    is_fresh: AtomicBool,
    state: Mutex<State>,
}

/// A packet that filters look at from `start` on, with what Linux has them read beside it (SKF_AD_OFF, linux/filter.h).
struct View<'a> {
    packet: &'a Packet<'a>,
    start: u32,
    from: &'a LinkAddress,
}

impl Data for View<'_> {
    fn len(&self) -> u32 {
        Data::len(self.packet) - self.start
    }

    fn load(&self, at: u32, bytes: u32) -> Option<u32> {
        /// Where what is not of the packet begins, and the offsets from the headers of the network and of the link.
        const BESIDE: u32 = 0_u32.wrapping_sub(0x1000);
        const FROM_NETWORK: u32 = 0_u32.wrapping_sub(0x10_0000);
        const FROM_LINK: u32 = 0_u32.wrapping_sub(0x20_0000);
        match at {
            BESIDE.. => match at - BESIDE {
                0 => Some(self.from.protocol.into()),
                4 => Some(self.from.kind.into()),
                8 => Some(self.from.interface),
                28 => Some(self.from.hardware.into()),
                // Of VLANs, hashes and CPUs nothing is known.
                32 | 36 | 44 | 48 | 60 => Some(0),
                56 => Some(coracle_core::random::u64() as u32),
                _ => None,
            },
            FROM_NETWORK.. => self.packet.load(at - FROM_NETWORK + ETHERNET_BYTES as u32, bytes),
            FROM_LINK.. => self.packet.load(at - FROM_LINK, bytes),
            at => self.packet.load(at.checked_add(self.start)?, bytes),
        }
    }
}

/// The interface of this number. ENODEV.
fn interface(index: u32) -> Result<InterfaceInfo, Errno> {
    interfaces().into_iter().find(|interface| interface.index == index).ok_or(Errno::NODEV)
}

/// Sender and kind of a packet that was shown as one of `kind`. Of the loopback each is first sent, and then comes.
fn address_of(kind: u32, head: &[u8; ETHERNET_BYTES]) -> LinkAddress {
    let (interface, hardware) = match kind {
        packet::LOOPED => (LOOPBACK_INDEX, super::interface_ioctl::ARPHRD_LOOPBACK),
        _ => (CARD_INDEX, super::interface_ioctl::ARPHRD_ETHER),
    };
    let own =
        if kind == packet::LOOPED { [0; MAC_BYTES] } else { coracle_tcpip::Device::mac(first().device()) };
    let to = &head[..MAC_BYTES];
    let kind = match to {
        _ if kind == packet::SENT => p::PACKET_OUTGOING,
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => p::PACKET_BROADCAST,
        [first, ..] if first & 1 != 0 => p::PACKET_MULTICAST,
        to if *to == own => p::PACKET_HOST,
        _ => p::PACKET_OTHERHOST,
    };
    let mut address = [0; 8];
    address[..MAC_BYTES].copy_from_slice(&head[MAC_BYTES..TYPE_AT]);
    LinkAddress {
        protocol: u16::from_be_bytes([head[TYPE_AT], head[TYPE_AT + 1]]),
        interface,
        hardware,
        kind: kind as u8,
        len: MAC_BYTES as u8,
        address,
    }
}

/// Whether the checksum of the transport is there: on the loopback those of TCP and UDP are left out.
fn has_checksum(kind: u32, from: &LinkAddress, packet: &Packet<'_>) -> bool {
    const IPV4: u16 = 0x0800;
    let protocol_at = if from.protocol == IPV4 { 9 } else { 6 };
    let protocol = packet.load((ETHERNET_BYTES + protocol_at) as u32, 1);
    kind != packet::LOOPED || !protocol.is_some_and(|protocol| matches!(protocol, 6 | 17))
}

/// Shows a packet to all of these sockets in a network namespace.
#[cold]
fn show(kind: u32, space: u32, packet: &Packet<'_>) {
    let mut head = [0; ETHERNET_BYTES];
    let bytes = packet.parts().flatten();
    if head.iter_mut().zip(bytes).map(|(to, byte)| *to = *byte).count() < ETHERNET_BYTES {
        return;
    }
    let mut from = address_of(kind, &head);
    let status = if has_checksum(kind, &from, packet) { 0 } else { STATUS_NO_CHECKSUM };
    for socket in SOCKETS.lock().iter().filter(|socket| socket.is_in(space)) {
        if kind == packet::LOOPED {
            from.kind = p::PACKET_OUTGOING as u8;
            socket.offer(packet, from, status);
            from.kind = p::PACKET_HOST as u8;
        }
        socket.offer(packet, from, status);
    }
}

give_tapped!(show);

/// Tells those that wait for packets.
#[cold]
pub fn tell() {
    for socket in SOCKETS.lock().iter() {
        if socket.is_fresh.swap(false, Ordering::Relaxed) {
            socket.watch.source.notify(Events::IN | Events::RDNORM);
        }
    }
}

impl PacketFile {
    /// socket(2). `protocol` in the order of the network. EPERM, ENOBUFS.
    pub fn new(kind: u32, protocol: u16) -> Result<Arc<PacketFile>, Errno> {
        check_network_capability(capability::NET_RAW)?;
        let watch = Watch::new();
        let state = State {
            protocol: u16::from_be(protocol),
            interface: 0,
            queue: VecDeque::new(),
            held: 0,
            receive_buffer: super::options::BUFFER_MAX,
            program: None,
            packets: 0,
            lost: 0,
            version: 1,
            reserve: 0,
            ring: None,
            wants_auxiliary: false,
            ignores_sent: false,
            stamps: 0,
        };
        let common = Common::new(Family::V4, watch.inode);
        let new = try_arc(PacketFile {
            common,
            watch,
            kind,
            is_fresh: AtomicBool::new(false),
            state: Mutex::new(state),
        })
        .map_err(|_| Errno::NOBUFS)?;
        SOCKETS.lock().try_push(new.clone()).map_err(|_| Errno::NOBUFS)?;
        tap(true);
        new.watch_own(true);
        Ok(new)
    }

    fn is_in(&self, space: u32) -> bool {
        self.common.home.device().space() == space
    }

    /// Has the loopback of another namespace than the first watched, or not any more.
    fn watch_own(&self, on: bool) {
        if !self.common.home.is_first() {
            self.common.home.watch_loopback(on);
        }
    }

    fn is_raw(&self) -> bool {
        self.kind == n::SOCK_RAW
    }

    /// Takes a copy of a packet, if it is one for this socket.
    fn offer(&self, packet: &Packet<'_>, from: LinkAddress, status: u32) {
        let is_taken = self.take(&mut self.state.lock(), packet, from, status);
        if is_taken {
            self.is_fresh.store(true, Ordering::Relaxed);
            self.common.home.tell_watchers_later();
        }
    }

    /// The same; whether there is something new to read.
    fn take(&self, state: &mut State, packet: &Packet<'_>, from: LinkAddress, status: u32) -> bool {
        let is_sent = u32::from(from.kind) == p::PACKET_OUTGOING;
        let wants = match state.protocol {
            0 => false,
            ALL => !(is_sent && state.ignores_sent),
            protocol => protocol == from.protocol && !is_sent,
        };
        if !wants || (state.interface != 0 && state.interface != from.interface) {
            return false;
        }
        let start = if self.is_raw() { 0 } else { ETHERNET_BYTES };
        let view = View { packet, start: start as u32, from: &from };
        let len = Data::len(&view) as usize;
        let take = state.program.as_ref().map_or(u32::MAX, |program| program.run(&view)) as usize;
        if take == 0 {
            return false;
        }
        state.packets = state.packets.wrapping_add(1);
        let at_ns = clock::realtime_ns();
        let cost = len.min(take) + OVERHEAD;
        let has_room = state.ring.is_some() || state.held + cost <= state.receive_buffer;
        let copied = if has_room { copy(packet, start, len.min(take)) } else { None };
        let is_kept = copied.is_some_and(|bytes| match &mut state.ring {
            Some(ring) => {
                let link_bytes = ETHERNET_BYTES - start;
                let status = status | if state.lost > 0 { STATUS_LOSING } else { 0 };
                ring.put(&Entry { bytes: &bytes, len, link_bytes, from, status, at_ns })
            }
            None => {
                let is_kept = state.queue.try_push_back(Waiting { bytes, len, from, status, at_ns }).is_ok();
                state.held += if is_kept { cost } else { 0 };
                is_kept
            }
        });
        if !is_kept {
            state.lost = state.lost.wrapping_add(1);
        }
        is_kept
    }

    /// The interface and the address that a frame is sent to. ENXIO, EINVAL.
    fn target(&self, to: Option<&SocketAddress>) -> Result<(InterfaceInfo, LinkAddress), Errno> {
        let state = self.state.lock();
        let to = match to {
            None => {
                LinkAddress { interface: state.interface, protocol: state.protocol, ..Default::default() }
            }
            Some(SocketAddress::Packet(to)) => *to,
            Some(_) => return Err(Errno::INVAL),
        };
        drop(state);
        Ok((interface(to.interface).map_err(|_| Errno::NXIO)?, to))
    }

    fn send_frame(&self, src: &mut UserBuf, to: Option<&SocketAddress>) -> SysResult {
        let (interface, to) = self.target(to)?;
        let len = src.remaining();
        let start = if self.is_raw() { 0 } else { ETHERNET_BYTES };
        if len + start > FRAME_MAX {
            return Err(Errno::MSGSIZE);
        }
        let mut frame = filled(0, start + len).map_err(|_| Errno::NOBUFS)?;
        if start > 0 {
            if usize::from(to.len) < MAC_BYTES && interface.index == CARD_INDEX {
                return Err(Errno::INVAL);
            }
            frame[..MAC_BYTES].copy_from_slice(&to.address[..MAC_BYTES]);
            frame[MAC_BYTES..TYPE_AT].copy_from_slice(&interface.mac);
            frame[TYPE_AT..ETHERNET_BYTES].copy_from_slice(&to.protocol.to_be_bytes());
        }
        if src.take(&mut frame[start..])? < len {
            return Err(Errno::FAULT);
        }
        let link = interface.link();
        let now = now_ns();
        let result = self.common.home.link_send(now, link, &frame);
        sent(now);
        result.map(|()| len).map_err(errno)
    }

    /// PACKET_ADD_MEMBERSHIP and PACKET_DROP_MEMBERSHIP: all frames that the card receives are shown in any case. EINVAL, ENODEV.
    fn check_membership(value: &[u8]) -> Result<(), Errno> {
        let index = value.first_chunk().copied().map(u32::from_le_bytes).ok_or(Errno::INVAL)?;
        if value.len() < MREQ_BYTES {
            return Err(Errno::INVAL);
        }
        interface(index).map(|_| ())
    }

    fn set_packet_option(&self, name: u32, value: &[u8]) -> Result<(), Errno> {
        match name {
            p::PACKET_ADD_MEMBERSHIP | p::PACKET_DROP_MEMBERSHIP => return Self::check_membership(value),
            p::PACKET_RX_RING => {
                let (version, reserve) = {
                    let state = self.state.lock();
                    (state.version, state.reserve)
                };
                let request = Request::decode(value, version)?;
                let ring = if request.is_none() { None } else { Some(Ring::new(request, version, reserve)?) };
                let old = core::mem::replace(&mut self.state.lock().ring, ring);
                drop(old);
                return Ok(());
            }
            _ => {}
        }
        let number = value.first_chunk().copied().map(i32::from_le_bytes).ok_or(Errno::INVAL)?;
        let mut state = self.state.lock();
        match name {
            p::PACKET_AUXDATA => state.wants_auxiliary = number != 0,
            p::PACKET_IGNORE_OUTGOING if !(0..=1).contains(&number) => return Err(Errno::INVAL),
            p::PACKET_IGNORE_OUTGOING => state.ignores_sent = number != 0,
            p::PACKET_VERSION | p::PACKET_RESERVE if state.ring.is_some() => return Err(Errno::BUSY),
            // Linux's numbers begin at 0.
            p::PACKET_VERSION if !(0..=2).contains(&number) => return Err(Errno::INVAL),
            p::PACKET_VERSION => state.version = number as u32 + 1,
            p::PACKET_RESERVE if number < 0 => return Err(Errno::INVAL),
            p::PACKET_RESERVE => state.reserve = number as usize,
            p::PACKET_ORIGDEV
            | p::PACKET_COPY_THRESH
            | p::PACKET_LOSS
            | p::PACKET_TIMESTAMP
            | p::PACKET_QDISC_BYPASS => {
                drop(state);
                return self.common.remember(SOL_PACKET, name as i32, number);
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    /// What recvmsg(2) returns of a packet.
    fn info(&self, waiting: &Waiting) -> Option<Box<DatagramInfo>> {
        let (wants_auxiliary, stamps) = {
            let state = self.state.lock();
            (state.wants_auxiliary, state.stamps)
        };
        if !wants_auxiliary && stamps == 0 {
            return None;
        }
        let mut info = try_box(DatagramInfo::default()).ok()?;
        info.arrival = match stamps {
            0 => None,
            n::SO_TIMESTAMP => Some(Arrival::Micros(waiting.at_ns)),
            _ => Some(Arrival::Nanos(waiting.at_ns)),
        };
        if wants_auxiliary {
            let mut bytes = [0; AUXDATA_BYTES];
            let network = if self.is_raw() { ETHERNET_BYTES } else { 0 } as u32;
            let words =
                [STATUS_USER | waiting.status, waiting.len as u32, waiting.bytes.len() as u32, network << 16];
            bytes[..16].copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
            info.auxiliary = Some(bytes);
        }
        Some(info)
    }
}

/// A copy of so many bytes of a packet from `start` on. `None` without memory.
fn copy(packet: &Packet<'_>, mut start: usize, len: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.make_room(len).ok()?;
    for part in packet.parts() {
        let Some(rest) = part.get(start..) else {
            start -= part.len();
            continue;
        };
        start = 0;
        let take = rest.len().min(len - bytes.len());
        bytes.try_extend_from_slice(&rest[..take]).ok()?;
    }
    Some(bytes)
}

/// A socket of AF_PACKET as a list shows it.
pub struct PacketListed {
    /// SOCK_RAW or SOCK_DGRAM.
    pub kind: u32,
    /// The Ethernet type that is received.
    pub protocol: u16,
    /// 0: all.
    pub interface: u32,
    /// What packets that wait count for, in bytes.
    pub to_read: u32,
    /// The user whose process made it.
    pub uid: u32,
    /// Number of the socket.
    pub inode: u64,
}

/// Lists the sockets of the running program's network namespace up to the first error.
pub fn list<E>(mut each: impl FnMut(&PacketListed) -> Result<(), E>) -> Result<(), E> {
    let space = super::engine().device().space();
    SOCKETS.lock().iter().filter(|socket| socket.is_in(space)).try_for_each(|socket| {
        let state = socket.state.lock();
        let (protocol, interface, to_read) = (state.protocol, state.interface, state.held as u32);
        drop(state);
        let Watch { uid, inode, .. } = socket.watch;
        each(&PacketListed { kind: socket.kind, protocol, interface, to_read, uid, inode })
    })
}

impl File for PacketFile {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.receive(dst, if nonblock { n::MSG_DONTWAIT } else { 0 }).map(|received| received.len)
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        self.send_frame(src, None)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.common.stat())
    }

    fn readiness(&self) -> Events {
        let mut state = self.state.lock();
        let has_some = !state.queue.is_empty() || state.ring.as_mut().is_some_and(Ring::has_packets);
        let writable = Events::OUT | Events::WRNORM | Events::WRBAND;
        if has_some { writable | Events::IN | Events::RDNORM } else { writable }
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.watch.source)
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            linux_raw_sys::ioctl::FIONREAD => {
                let next = self.state.lock().queue.front().map_or(0, |waiting| waiting.bytes.len());
                ioctl_answer(argument, next as u32)
            }
            linux_raw_sys::ioctl::TIOCOUTQ => ioctl_answer(argument, 0),
            _ => super::interface_ioctl::ioctl_of_inet(true, command, argument),
        }
    }

    fn page(&self, index: u64, _for_write: bool) -> Result<Frame, Errno> {
        self.state.lock().ring.as_ref().ok_or(Errno::INVAL)?.page(index)
    }

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
        if !self.common.close() {
            return;
        }
        let mut sockets = SOCKETS.lock();
        let place = sockets.iter().position(|socket| core::ptr::eq(&**socket, self));
        let gone = place.map(|place| sockets.remove(place));
        let is_last = sockets.is_empty();
        let space = self.common.home.device().space();
        let is_last_here = !sockets.iter().any(|socket| socket.is_in(space));
        drop(sockets);
        if is_last_here {
            self.watch_own(false);
        }
        if is_last {
            tap(false);
        }
        drop(gone);
    }
}

impl Socket for PacketFile {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        let SocketAddress::Packet(address) = address else { return Err(Errno::INVAL) };
        if address.interface != 0 {
            interface(address.interface)?;
        }
        let mut state = self.state.lock();
        state.interface = address.interface;
        if address.protocol != 0 {
            state.protocol = address.protocol;
        }
        Ok(())
    }

    fn connect(&self, _address: &SocketAddress, _nonblock: bool) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn listen(&self, _backlog: usize) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn accept(&self, _nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn local_address(&self) -> Result<SocketAddress, Errno> {
        let state = self.state.lock();
        let mut address =
            LinkAddress { protocol: state.protocol, interface: state.interface, ..Default::default() };
        drop(state);
        if let Ok(interface) = interface(address.interface) {
            address.hardware = interface.hardware;
            address.len = MAC_BYTES as u8;
            address.address[..MAC_BYTES].copy_from_slice(&interface.mac);
        }
        Ok(SocketAddress::Packet(address))
    }

    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        _flags: u32,
        _control: Option<&mut Control>,
    ) -> SysResult {
        self.send_frame(src, to)
    }

    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        if flags & n::MSG_ERRQUEUE != 0 {
            return Err(Errno::AGAIN);
        }
        let (nonblock, peek) = (flags & n::MSG_DONTWAIT != 0, flags & n::MSG_PEEK != 0);
        let deadline = self.common.receive_deadline();
        let waiting = block_on_events(&self.watch.source, Events::IN, nonblock, deadline, || {
            let mut state = self.state.lock();
            let first = state.queue.front().ok_or(Errno::AGAIN)?;
            if peek {
                let bytes = first.bytes.try_to_vec()?;
                return Ok(Waiting { bytes, ..*first });
            }
            let first = state.queue.pop_front().ok_or(Errno::AGAIN)?;
            state.held -= first.bytes.len() + OVERHEAD;
            Ok(first)
        })?;
        let copied = dst.put(&waiting.bytes)?;
        Ok(Received {
            from: Some(SocketAddress::Packet(waiting.from)),
            flags: if copied < waiting.bytes.len() { n::MSG_TRUNC } else { 0 },
            info: self.info(&waiting),
            ..Received::bytes(if flags & n::MSG_TRUNC != 0 { waiting.bytes.len() } else { copied })
        })
    }

    fn shutdown(&self, _how: u32) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let number = name as u32;
        match (level, number) {
            (SOL_PACKET, _) => self.set_packet_option(number, value),
            (SOL_SOCKET, n::SO_ATTACH_FILTER) => {
                let program = filter::read(value)?;
                let old = self.state.lock().program.replace(program);
                drop(old);
                Ok(())
            }
            (SOL_SOCKET, n::SO_DETACH_FILTER) => {
                let old = self.state.lock().program.take();
                old.map(drop).ok_or(Errno::NOENT)
            }
            (SOL_SOCKET, n::SO_TIMESTAMP | n::SO_TIMESTAMPNS) => {
                let stamps = if int(value)? != 0 { number } else { 0 };
                self.state.lock().stamps = stamps;
                Ok(())
            }
            (SOL_SOCKET, n::SO_RCVBUF | n::SO_RCVBUFFORCE) => {
                self.state.lock().receive_buffer = buffer_size(int(value)?);
                Ok(())
            }
            (SOL_SOCKET, n::SO_SNDBUF | n::SO_SNDBUFFORCE | n::SO_BROADCAST | n::SO_REUSEADDR) => {
                self.common.remember(level, name, int(value)?)
            }
            (SOL_SOCKET, _) => self.common.set(level, name, value).unwrap_or(Err(Errno::NOPROTOOPT)),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let number = name as u32;
        let mut state = self.state.lock();
        match (level, number) {
            (SOL_PACKET, p::PACKET_STATISTICS) => {
                let counts = [core::mem::take(&mut state.packets), core::mem::take(&mut state.lost), 0];
                let count = if state.version == 3 { 3 } else { 2 };
                Ok(counts.map(u32::to_le_bytes)[..count].as_flattened().try_to_vec()?)
            }
            (SOL_PACKET, p::PACKET_AUXDATA) => answer(state.wants_auxiliary.into()),
            (SOL_PACKET, p::PACKET_IGNORE_OUTGOING) => answer(state.ignores_sent.into()),
            (SOL_PACKET, p::PACKET_VERSION) => answer(state.version as i32 - 1),
            (SOL_PACKET, p::PACKET_RESERVE) => answer(state.reserve as i32),
            (SOL_SOCKET, n::SO_ERROR | n::SO_ACCEPTCONN) => answer(0),
            (SOL_SOCKET, n::SO_RCVBUF) => answer(2 * state.receive_buffer as i32),
            (SOL_SOCKET, n::SO_TIMESTAMP | n::SO_TIMESTAMPNS) => answer((state.stamps == number).into()),
            // Offsets beside the packet that filters can read.
            (SOL_SOCKET, n::SO_BPF_EXTENSIONS) => answer(64),
            _ => {
                drop(state);
                match (level, number) {
                    (SOL_SOCKET, n::SO_SNDBUF) => answer(super::options::BUFFER_MAX as i32),
                    (SOL_PACKET, _) | (SOL_SOCKET, n::SO_BROADCAST | n::SO_REUSEADDR) => {
                        answer(self.common.recall(level, name, 0))
                    }
                    _ => self.common.get(level, name).unwrap_or(Err(Errno::NOPROTOOPT)),
                }
            }
        }
    }

    fn option_with(&self, level: i32, name: i32, given: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
        if (level, name as u32) != (SOL_PACKET, p::PACKET_HDRLEN) {
            return None;
        }
        let version = given.first_chunk().copied().map(u32::from_le_bytes);
        Some(
            version
                .ok_or(Errno::INVAL)
                .and_then(|version| answer(header_bytes(version.wrapping_add(1))? as i32)),
        )
    }

    fn kind(&self) -> (i32, i32, i32) {
        let protocol = self.state.lock().protocol.to_be();
        (n::AF_PACKET as i32, self.kind as i32, protocol.into())
    }
}
