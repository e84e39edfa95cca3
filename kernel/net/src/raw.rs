//! Raw sockets (raw(7), RFC 3542 section 3), and those of ping (icmp(7)), as files.
//!
//! A packet that is neither of TCP nor of UDP is shown to all of them ([`input`]); each takes a copy of what it wants. While there is
//! none, such a packet costs one test.
use super::address::Family;
use super::ancillary::{Arrived, Wanted, error_message};
use super::common::{Common, errno, ioctl_answer};
use super::interface::Watch;
use super::multicast::link_of;
use super::options::{SOL_IP, SOL_IPV6, SOL_SOCKET, answer, buffer_size, byte_or_default, int};
use super::stack::sent;
use super::{engine, filter};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_bpf::Program;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, Received, Socket, SocketAddress};
use coracle_devices::buffer::NetBuffer;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, filled, try_arc};
use coracle_hal::time::now_ns;
use coracle_tcpip::{Address, Endpoint, Link, RawPacket, RawWay, Report, Unsent, protocol};
use core::any::Any;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::net as n;

/// IPPROTO_RAW: the program makes the IP header, and receives nothing.
const PROTOCOL_RAW: i32 = 255;
/// Levels of the filters of ICMP's types (raw(7), RFC 3542), each of which has one option of this number.
const SOL_RAW: i32 = 255;
const SOL_ICMPV6: i32 = 58;
const FILTER: u32 = 1;
/// Types of echo requests and replies.
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Header of an echo message, where its checksum is, and where its identifier.
const ECHO_BYTES: usize = 8;
const CHECKSUM_AT: usize = 2;
const IDENT_AT: usize = 4;
/// Bytes of the longest packet.
const PACKET_MAX: usize = 65_535;
/// What a packet that waits counts for beside its bytes.
const OVERHEAD: usize = 256;
/// Reports that wait, at most.
const REPORTS_MAX: usize = 64;
/// Where an IPv4 header has its length, flags and checksum, and its length without options.
const LENGTH_AT: usize = 2;
const FRAGMENT_AT: usize = 6;
const HEADER_CHECKSUM_AT: usize = 10;
const IPV4_BYTES: usize = 20;
/// Words of a filter of ICMPv6's types.
const TYPE_WORDS: usize = 8;

/// All open ones, in the order in which they were made.
static SOCKETS: Mutex<Vec<Arc<RawFile>>> = Mutex::new(Vec::new());
/// How many they are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The groups whose members may make sockets for ping (net.ipv4.ping_group_range): the first, and in the upper half the last. All at
/// first, as systemd and docker set it; of Linux itself none.
static PING_GROUPS: AtomicU64 = AtomicU64::new((i32::MAX as u64) << 32);

/// The first and the last group whose members may make sockets for ping.
pub fn ping_groups() -> (u32, u32) {
    let both = PING_GROUPS.load(Ordering::Relaxed);
    (both as u32, (both >> 32) as u32)
}

/// Sets them. A range that ends before it begins is that of no group.
pub fn set_ping_groups(first: u32, last: u32) {
    let (first, last) = if last < first { (1, 0) } else { (first, last) };
    PING_GROUPS.store(u64::from(first) | u64::from(last) << 32, Ordering::Relaxed);
}

/// A packet that waits to be received.
struct Waiting {
    bytes: Vec<u8>,
    from: Address,
    about: Arrived,
}

struct State {
    /// Identifier of a socket for ping; 0: none yet.
    ident: u16,
    local: Address,
    peer: Option<Address>,
    queue: VecDeque<Waiting>,
    held: usize,
    lost: u32,
    reports: VecDeque<Report>,
    error: Option<Errno>,
    receive_buffer: usize,
    program: Option<Program>,
    /// Types of ICMP that are not taken; of ICMPv6 all words count.
    refused: [u32; TYPE_WORDS],
    /// The program makes the IP header.
    with_header: bool,
    checksum_at: Option<usize>,
    wants_reports: bool,
    may_broadcast: bool,
    ttl: Option<u8>,
    group_ttl: Option<u8>,
    tos: u8,
    group_link: Option<Link>,
    receive_shut: bool,
}

/// A raw socket, or one for ping.
pub struct RawFile {
    common: Common,
    watch: Watch,
    /// SOCK_RAW or SOCK_DGRAM.
    kind: u32,
    protocol: i32,
    wanted: Wanted,
    state: Mutex<State>,
}

/// Whether a thread may make a socket for ping: EACCES.
fn check_ping() -> Result<(), Errno> {
    let (first, last) = ping_groups();
    let is_among = |group: u32| (first..=last).contains(&group);
    let may = coracle_core::this::with(|me| {
        let credentials = me.process.credentials.lock();
        is_among(credentials.gid[1]) || credentials.groups.iter().copied().any(is_among)
    });
    if may { Ok(()) } else { Err(Errno::ACCES) }
}

impl RawFile {
    /// socket(2). EPERM, EACCES, ENOBUFS.
    pub fn new(family: Family, kind: u32, protocol: i32) -> Result<Arc<RawFile>, Errno> {
        if kind == n::SOCK_RAW {
            check_capability(capability::NET_RAW)?;
        } else {
            check_ping()?;
        }
        let watch = Watch::new();
        let is_icmp6 = family == Family::V6 && protocol == SOL_ICMPV6;
        let is_ping = kind == n::SOCK_DGRAM;
        let state = State {
            ident: 0,
            local: family.of_engine(false).any(),
            peer: None,
            queue: VecDeque::new(),
            held: 0,
            lost: 0,
            reports: VecDeque::new(),
            error: None,
            receive_buffer: super::options::BUFFER_MAX,
            program: None,
            refused: [0; TYPE_WORDS],
            with_header: protocol == PROTOCOL_RAW,
            checksum_at: (is_icmp6 || is_ping).then_some(CHECKSUM_AT),
            wants_reports: false,
            may_broadcast: false,
            ttl: None,
            group_ttl: None,
            tos: 0,
            group_link: None,
            receive_shut: false,
        };
        let common = Common::new(family, watch.inode);
        let new = RawFile { common, watch, kind, protocol, wanted: Wanted::new(), state: Mutex::new(state) };
        let new = try_arc(new).map_err(|_| Errno::NOBUFS)?;
        let mut sockets = SOCKETS.lock();
        sockets.try_push(new.clone()).map_err(|_| Errno::NOBUFS)?;
        COUNT.store(sockets.len(), Ordering::Relaxed);
        Ok(new)
    }

    fn is_ping(&self) -> bool {
        self.kind == n::SOCK_DGRAM
    }

    fn is_v4(&self) -> bool {
        self.common.family == Family::V4
    }

    /// Takes a copy of a packet, if it is one for this socket. Whether it is.
    fn offer(&self, now: u64, packet: &RawPacket<'_, NetBuffer>) -> bool {
        let info = packet.info;
        if i32::from(info.protocol) != self.protocol || info.source.is_v4() != self.is_v4() {
            return false;
        }
        let head = packet.payload.head();
        let mut state = self.state.lock();
        if !(state.local.is_unspecified() || state.local == info.destination || info.broadcast) {
            return false;
        }
        let kind = head.first().copied().unwrap_or(0);
        if self.is_ping() {
            let reply = if self.is_v4() { ECHO_REPLY } else { ECHO_REPLY_V6 };
            let ident = head.get(IDENT_AT..).and_then(|rest| rest.first_chunk::<2>());
            if kind != reply || ident.is_none_or(|ident| u16::from_be_bytes(*ident) != state.ident) {
                return false;
            }
        } else if state.peer.is_some_and(|peer| peer != info.source) || self.refuses(&state, kind) {
            return false;
        }
        // A checksum that this socket writes it also wants to be right; that of ICMPv6 has been looked at.
        let checks = state.checksum_at.is_some() && info.protocol != protocol::ICMPV6 && !self.is_v4();
        if (checks && !info.checksum_ok(packet.payload)) || state.receive_shut {
            return true;
        }
        match self.copy_of(&state, packet) {
            Some(bytes) if state.held + bytes.len() + OVERHEAD <= state.receive_buffer => {
                let header = packet.header();
                let tos = match header {
                    [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
                    [_, tos, ..] => *tos,
                    _ => 0,
                };
                let about = Arrived {
                    to: info.destination,
                    port: 0,
                    link: info.link,
                    at: now,
                    ttl: info.ttl,
                    tos,
                    lost: state.lost,
                };
                let cost = bytes.len() + OVERHEAD;
                if state.queue.try_push_back(Waiting { bytes, from: info.source, about }).is_ok() {
                    state.held += cost;
                } else {
                    state.lost = state.lost.saturating_add(1);
                }
            }
            Some(_) => state.lost = state.lost.saturating_add(1),
            None => {}
        }
        drop(state);
        self.watch.source.notify(Events::IN | Events::RDNORM);
        true
    }

    fn refuses(&self, state: &State, kind: u8) -> bool {
        let word = state.refused[usize::from(kind) / 32];
        let is_filtered = match self.protocol {
            SOL_ICMPV6 => !self.is_v4(),
            protocol => protocol == i32::from(protocol::ICMP) && kind < 32 && self.is_v4(),
        };
        is_filtered && word >> (kind % 32) & 1 != 0
    }

    /// What the program is to have of a packet; `None` if its filter takes nothing of it, or if there is no memory.
    fn copy_of(&self, state: &State, packet: &RawPacket<'_, NetBuffer>) -> Option<Vec<u8>> {
        let has_header = self.is_v4() && !self.is_ping();
        let header = if has_header { packet.header() } else { &[] };
        let len = packet.payload.len() as usize;
        let mut bytes = filled(0, header.len() + len).ok()?;
        bytes[..header.len()].copy_from_slice(header);
        packet.payload.copy_out(0, &mut bytes[header.len()..]);
        if header.len() >= IPV4_BYTES {
            complete(&mut bytes, header.len());
        }
        if let Some(program) = &state.program {
            match program.run(&bytes[..]) {
                0 => return None,
                take => bytes.truncate(take as usize),
            }
        }
        Some(bytes)
    }

    /// Takes the report of a packet of this socket that could not be delivered.
    fn report(&self, now: u64, unsent: &Unsent<'_>) {
        if i32::from(unsent.protocol) != self.protocol || unsent.source.is_v4() != self.is_v4() {
            return;
        }
        let mut state = self.state.lock();
        if self.is_ping() {
            let request = if self.is_v4() { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
            let ident = unsent.rest.get(IDENT_AT..).and_then(|rest| rest.first_chunk::<2>());
            let is_ours = unsent.rest.first() == Some(&request)
                && ident.is_some_and(|ident| u16::from_be_bytes(*ident) == state.ident);
            if !is_ours {
                return;
            }
        } else if !(state.local.is_unspecified() || state.local == unsent.source)
            || state.peer.is_some_and(|peer| peer != unsent.destination)
        {
            return;
        }
        if state.wants_reports {
            if state.reports.len() < REPORTS_MAX
                && let Ok(report) = Report::new(now, unsent, 0, unsent.rest)
            {
                let _ = state.reports.try_push_back(report);
            }
        } else if state.peer.is_none() || !unsent.blame.is_hard {
            return;
        }
        state.error = Some(errno(unsent.blame.error));
        drop(state);
        self.watch.source.notify(Events::ERR | Events::IN);
    }

    /// The engine's address of one that the program names. `None`: it names none. EINVAL, EAFNOSUPPORT.
    fn lower(&self, address: &SocketAddress) -> Result<Endpoint, Errno> {
        match (self.common.family, address) {
            (Family::V4, SocketAddress::Unspecified(Some(inet))) => Ok((*inet).into()),
            _ => self.common.family.lower(address),
        }
    }

    /// A socket for ping gets an identifier: this one, or any that is free. EADDRINUSE.
    fn take_ident(&self, wanted: u16) -> Result<(), Errno> {
        let sockets = SOCKETS.lock();
        let is_free = |ident: u16| {
            ident != 0
                && !sockets.iter().any(|other| {
                    other.is_ping()
                        && !core::ptr::eq(&**other, self)
                        && other.common.family == self.common.family
                        && other.state.lock().ident == ident
                })
        };
        let ident = match wanted {
            0 => {
                let start = coracle_core::random::u64() as u16;
                (0..=u16::MAX).map(|step| start.wrapping_add(step)).find(|ident| is_free(*ident))
            }
            // They may share one, as with SO_REUSEADDR.
            wanted => Some(wanted),
        };
        self.state.lock().ident = ident.ok_or(Errno::ADDRINUSE)?;
        Ok(())
    }

    fn send_bytes(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&Control>,
    ) -> SysResult {
        let len = src.remaining();
        if len > PACKET_MAX {
            return Err(Errno::MSGSIZE);
        }
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if self.is_ping() && len < ECHO_BYTES {
            return Err(Errno::INVAL);
        }
        let to = match to {
            Some(address) => {
                let end = self.lower(address)?;
                // Over IPv6 the port may name the protocol (RFC 3542).
                if !self.is_v4() && !self.is_ping() && end.port != 0 && i32::from(end.port) != self.protocol {
                    return Err(Errno::INVAL);
                }
                Some(end.address)
            }
            None => None,
        };
        // Of an address of one's own too the configuration must be known.
        if to.is_some_and(|to| !to.is_loopback()) {
            super::stack::wait_configured()?;
        }
        let mut bytes = filled(0, len).map_err(|_| Errno::NOBUFS)?;
        if src.take(&mut bytes)? < len {
            return Err(Errno::FAULT);
        }
        if self.is_ping() {
            let request = if self.is_v4() { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
            if bytes[0] != request || bytes[1] != 0 {
                return Err(Errno::INVAL);
            }
            if self.state.lock().ident == 0 {
                self.take_ident(0)?;
            }
        }
        let (way, with_header) = {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let to = to.or(state.peer).ok_or(Errno::DESTADDRREQ)?.or_localhost();
            if self.is_ping() {
                bytes[IDENT_AT..IDENT_AT + 2].copy_from_slice(&state.ident.to_be_bytes());
            }
            let mut way = RawWay {
                to,
                from: (!state.local.is_unspecified() && !state.local.is_multicast()).then_some(state.local),
                link: state.group_link,
                protocol: self.protocol as u8,
                ttl: if to.is_multicast() { state.group_ttl } else { state.ttl },
                tos: state.tos,
                is_whole: self.never_cuts(),
                checksum_at: state.checksum_at,
                may_broadcast: state.may_broadcast,
            };
            if let Some(control) = control {
                way.ttl = control.ttl.or(way.ttl);
                way.tos = control.tos.unwrap_or(way.tos);
                let info = control.packet_info.map(|info| (info.interface, Address::from(info.local)));
                let info6 = control.packet_info6.map(|info| (info.interface, Address::from(info.address)));
                if let Some((interface, from)) = info.or(info6) {
                    if interface != 0 {
                        way.link = Some(link_of(interface).ok_or(Errno::NODEV)?);
                    }
                    way.from = (!from.is_unspecified()).then_some(from).or(way.from);
                }
            }
            (way, state.with_header)
        };
        let now = now_ns();
        let result = match with_header {
            true => engine().raw_send_whole(now, &way, &mut bytes),
            false => engine().raw_send(now, &way, &mut bytes),
        };
        sent(now);
        result.map(|()| len).map_err(errno)
    }

    /// Whether the path's MTU binds the program (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER).
    fn never_cuts(&self) -> bool {
        let (level, name) = match self.common.family {
            Family::V4 => (SOL_IP, n::IP_MTU_DISCOVER),
            Family::V6 => (SOL_IPV6, n::IPV6_MTU_DISCOVER),
        };
        let asked = self.common.recall(level, name as i32, n::IP_PMTUDISC_WANT as i32) as u32;
        matches!(asked, n::IP_PMTUDISC_DO | n::IP_PMTUDISC_PROBE)
    }

    fn receive_report(&self, dst: &mut UserBuf) -> Result<Received, Errno> {
        let mut state = self.state.lock();
        let report = state.reports.pop_front().ok_or(Errno::AGAIN)?;
        state.error = state.reports.front().map(|next| errno(next.blame.error));
        drop(state);
        let copied = dst.put(&report.payload)?;
        error_message(self.common.family, &self.wanted, &report, copied)
    }

    fn set_v4(&self, number: u32, value: i32) -> Result<(), Errno> {
        let byte = |least: i32| match value {
            -1 => Ok(None),
            value if (least..=255).contains(&value) => Ok(Some(value as u8)),
            _ => Err(Errno::INVAL),
        };
        let mut state = self.state.lock();
        match number {
            n::IP_HDRINCL if self.is_ping() => return Err(Errno::NOPROTOOPT),
            n::IP_HDRINCL => state.with_header = value != 0,
            n::IP_TTL => state.ttl = byte(1)?,
            n::IP_TOS => state.tos = value as u8,
            n::IP_MULTICAST_TTL => state.group_ttl = byte(0)?,
            n::IP_RECVERR => {
                state.wants_reports = value != 0;
                if value == 0 {
                    state.reports.clear();
                }
            }
            n::IP_RETOPTS | n::IP_RECVOPTS | n::IP_ROUTER_ALERT => {
                drop(state);
                return self.common.remember(SOL_IP, number as i32, i32::from(value != 0));
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_v6(&self, number: u32, value: &[u8]) -> Result<(), Errno> {
        let whole = value.first_chunk().copied().map(i32::from_le_bytes).ok_or(Errno::INVAL)?;
        let mut state = self.state.lock();
        match number {
            n::IPV6_CHECKSUM if self.protocol == SOL_ICMPV6 => return Err(Errno::INVAL),
            n::IPV6_CHECKSUM if whole > 0 && whole & 1 != 0 => return Err(Errno::INVAL),
            n::IPV6_CHECKSUM => state.checksum_at = usize::try_from(whole).ok(),
            n::IPV6_UNICAST_HOPS => state.ttl = byte_or_default(value)?,
            n::IPV6_MULTICAST_HOPS => state.group_ttl = byte_or_default(value)?,
            n::IPV6_TCLASS => state.tos = byte_or_default(value)?.unwrap_or(0),
            n::IPV6_RECVERR => state.wants_reports = whole != 0,
            n::IPV6_HDRINCL => state.with_header = whole != 0,
            n::IPV6_MULTICAST_IF => {
                state.group_link = match whole as u32 {
                    0 => None,
                    index => Some(link_of(index).ok_or(Errno::NODEV)?),
                }
            }
            n::IPV6_V6ONLY | n::IPV6_MULTICAST_LOOP => {
                drop(state);
                return self.common.remember(SOL_IPV6, number as i32, whole);
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    /// Sets the types of ICMP that are not taken. EOPNOTSUPP for another protocol.
    fn set_types(&self, level: i32, name: u32, value: &[u8]) -> Result<(), Errno> {
        self.check_types(level, name)?;
        let mut state = self.state.lock();
        for (word, bytes) in state.refused.iter_mut().zip(value.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Ok(())
    }

    fn check_types(&self, level: i32, name: u32) -> Result<(), Errno> {
        let wanted = if level == SOL_RAW { i32::from(protocol::ICMP) } else { SOL_ICMPV6 };
        match () {
            () if name != FILTER || self.is_ping() => Err(Errno::NOPROTOOPT),
            () if self.protocol != wanted => Err(Errno::OPNOTSUPP),
            () => Ok(()),
        }
    }
}

/// Makes the header of a packet whose fragments were joined that of the whole.
fn complete(bytes: &mut [u8], header_len: usize) {
    const DONT_FRAGMENT: u8 = 0x40;
    let len = bytes.len() as u16;
    let header = &mut bytes[..header_len];
    let is_fragment = header[FRAGMENT_AT] & !DONT_FRAGMENT != 0 || header[FRAGMENT_AT + 1] != 0;
    if !is_fragment {
        return;
    }
    header[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&len.to_be_bytes());
    header[FRAGMENT_AT..FRAGMENT_AT + 2].fill(0);
    header[HEADER_CHECKSUM_AT..HEADER_CHECKSUM_AT + 2].fill(0);
    let sum = coracle_tcpip::internet_checksum(header);
    header[HEADER_CHECKSUM_AT..HEADER_CHECKSUM_AT + 2].copy_from_slice(&sum);
}

/// Shows a packet to all sockets of this kind. Whether one of them is for its protocol.
pub fn input(now: u64, packet: &RawPacket<'_, NetBuffer>) -> bool {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return false;
    }
    // A reply is for one socket of ping: of several with its identifier, the last.
    let (mut is_raw, mut is_answered) = (false, false);
    for socket in SOCKETS.lock().iter().rev() {
        match socket.is_ping() {
            true if !is_answered => is_answered = socket.offer(now, packet),
            true => {}
            false => is_raw |= socket.offer(now, packet),
        }
    }
    is_raw
}

/// Tells the sockets of this kind of a packet that could not be delivered.
pub fn unsent(now: u64, unsent: &Unsent<'_>) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        SOCKETS.lock().iter().for_each(|socket| socket.report(now, unsent));
    }
}

/// A socket of this kind as a list shows it.
pub struct RawListed {
    /// A raw socket, not one for ping.
    pub is_raw: bool,
    /// Of AF_INET6.
    pub is_v6: bool,
    /// Its protocol.
    pub protocol: i32,
    /// The identifier of one for ping.
    pub ident: u16,
    /// Our address.
    pub local: Address,
    /// The peer's.
    pub remote: Option<Address>,
    /// What packets that wait count for, in bytes.
    pub to_read: u32,
    /// Packets that its buffer had no room for.
    pub lost: u32,
    /// The user whose process made it.
    pub uid: u32,
    /// Number of the socket.
    pub inode: u64,
}

/// Lists the sockets up to the first error.
pub fn list<E>(mut each: impl FnMut(&RawListed) -> Result<(), E>) -> Result<(), E> {
    SOCKETS.lock().iter().try_for_each(|socket| {
        let state = socket.state.lock();
        let listed = RawListed {
            is_raw: !socket.is_ping(),
            is_v6: !socket.is_v4(),
            protocol: socket.protocol,
            ident: state.ident,
            local: state.local,
            remote: state.peer,
            to_read: state.held as u32,
            lost: state.lost,
            uid: socket.watch.uid,
            inode: socket.watch.inode,
        };
        drop(state);
        each(&listed)
    })
}

impl File for RawFile {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.receive(dst, if nonblock { n::MSG_DONTWAIT } else { 0 }).map(|received| received.len)
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        self.send_bytes(src, None, 0, None)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.common.stat())
    }

    fn readiness(&self) -> Events {
        let state = self.state.lock();
        let mut events = Events::OUT | Events::WRNORM | Events::WRBAND;
        if !state.queue.is_empty() || state.receive_shut {
            events |= Events::IN | Events::RDNORM;
        }
        if state.error.is_some() || !state.reports.is_empty() {
            events |= Events::ERR;
        }
        events
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
            _ => super::interface_ioctl::ioctl(command, argument),
        }
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
        COUNT.store(sockets.len(), Ordering::Relaxed);
        drop(sockets);
        drop(gone);
    }
}

impl Socket for RawFile {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        let local = self.common.to_bind(address)?;
        if !engine().raw_can_be_bound(local.address) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        if self.is_ping() {
            if self.state.lock().ident != 0 {
                return Err(Errno::INVAL);
            }
            self.take_ident(local.port)?;
        }
        self.state.lock().local = local.address;
        Ok(())
    }

    fn connect(&self, address: &SocketAddress, _nonblock: bool) -> Result<(), Errno> {
        if matches!(address, SocketAddress::Unspecified(_)) {
            self.state.lock().peer = None;
            return Ok(());
        }
        let to = self.common.to_reach(address)?.address.or_localhost();
        let mut state = self.state.lock();
        let way = RawWay {
            to,
            from: None,
            link: state.group_link,
            protocol: self.protocol as u8,
            ttl: None,
            tos: 0,
            is_whole: false,
            checksum_at: None,
            may_broadcast: state.may_broadcast,
        };
        let source = engine().raw_source(&way).map_err(errno)?;
        if state.local.is_unspecified() {
            state.local = source;
        }
        state.peer = Some(to);
        drop(state);
        if self.is_ping() && self.state.lock().ident == 0 {
            self.take_ident(0)?;
        }
        Ok(())
    }

    fn listen(&self, _backlog: usize) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn accept(&self, _nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn local_address(&self) -> Result<SocketAddress, Errno> {
        let state = self.state.lock();
        // What Linux keeps where others have their port.
        let port = if self.is_ping() || !self.is_v4() { state.ident } else { self.protocol as u16 };
        Ok(self.common.raise(Endpoint::new(state.local, port)))
    }

    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        let peer = self.state.lock().peer.ok_or(Errno::NOTCONN)?;
        Ok(self.common.raise(Endpoint::new(peer, 0)))
    }

    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&mut Control>,
    ) -> SysResult {
        self.send_bytes(src, to, flags, control.as_deref())
    }

    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if flags & n::MSG_ERRQUEUE != 0 {
            return self.receive_report(dst);
        }
        let (nonblock, peek) = (flags & n::MSG_DONTWAIT != 0, flags & n::MSG_PEEK != 0);
        let deadline = self.common.receive_deadline();
        let next = block_on_events(&self.watch.source, Events::IN, nonblock, deadline, || {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let Some(waiting) = state.queue.front() else {
                return if state.receive_shut { Ok(None) } else { Err(Errno::AGAIN) };
            };
            if peek {
                let (from, about) = (waiting.from, waiting.about);
                return Ok(Some(Waiting { bytes: waiting.bytes.try_to_vec()?, from, about }));
            }
            let waiting = state.queue.pop_front();
            state.held -= waiting.as_ref().map_or(0, |waiting| waiting.bytes.len() + OVERHEAD);
            Ok(waiting)
        })?;
        let Some(Waiting { bytes, from, about }) = next else { return Ok(Received::bytes(0)) };
        let copied = dst.put(&bytes)?;
        Ok(Received {
            from: Some(self.common.raise(Endpoint::new(from, 0))),
            flags: if copied < bytes.len() { n::MSG_TRUNC } else { 0 },
            info: if self.wanted.any() { self.wanted.info(&about) } else { None },
            ..Received::bytes(if flags & n::MSG_TRUNC != 0 { bytes.len() } else { copied })
        })
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        let how = super::common::shutdown_of(how)?;
        let mut state = self.state.lock();
        state.receive_shut |= how != coracle_tcpip::Shutdown::Write;
        let is_connected = state.peer.is_some();
        drop(state);
        self.watch.source.notify(Events::IN | Events::RDHUP | Events::HUP);
        if is_connected { Ok(()) } else { Err(Errno::NOTCONN) }
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let number = name as u32;
        match (level, number) {
            (SOL_RAW | SOL_ICMPV6, _) => return self.set_types(level, number, value),
            (SOL_SOCKET, n::SO_ATTACH_FILTER) => {
                let program = filter::read(value)?;
                let old = self.state.lock().program.replace(program);
                drop(old);
                return Ok(());
            }
            (SOL_SOCKET, n::SO_DETACH_FILTER) => {
                let old = self.state.lock().program.take();
                return old.map(drop).ok_or(Errno::NOENT);
            }
            (SOL_IPV6, _) if self.is_v4() => return Err(Errno::NOPROTOOPT),
            _ => {}
        }
        if let Ok(value) = int(value)
            && let Some(result) = self.wanted.set(level, number, value)
        {
            return result;
        }
        match (level, number) {
            (SOL_IP, n::IP_RECVERR) | (SOL_IPV6, n::IPV6_RECVERR) => {}
            _ => {
                if let Some(result) = self.common.set(level, name, value) {
                    return result;
                }
            }
        }
        match level {
            SOL_IP => self.set_v4(number, int(value)?),
            SOL_IPV6 => self.set_v6(number, value),
            SOL_SOCKET => {
                let value = int(value)?;
                match number {
                    n::SO_BROADCAST => self.state.lock().may_broadcast = value != 0,
                    n::SO_RCVBUF | n::SO_RCVBUFFORCE => {
                        self.state.lock().receive_buffer = buffer_size(value);
                    }
                    n::SO_SNDBUF
                    | n::SO_SNDBUFFORCE
                    | n::SO_REUSEADDR
                    | n::SO_REUSEPORT
                    | n::SO_KEEPALIVE
                    | n::SO_LINGER => return self.common.remember(level, name, value),
                    _ => return Err(Errno::NOPROTOOPT),
                }
                Ok(())
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let number = name as u32;
        if let Some(value) = self.wanted.get(level, number) {
            return answer(value);
        }
        let state = self.state.lock();
        let byte = |value: Option<u8>, usual: i32| answer(value.map_or(usual, i32::from));
        match (level, number) {
            (SOL_RAW | SOL_ICMPV6, _) => {
                self.check_types(level, number)?;
                let words = if level == SOL_RAW { 1 } else { TYPE_WORDS };
                let words = state.refused.map(u32::to_le_bytes)[..words].as_flattened().try_to_vec()?;
                return Ok(words);
            }
            (SOL_IPV6, _) if self.is_v4() => return Err(Errno::NOPROTOOPT),
            (SOL_SOCKET, n::SO_ERROR) => {
                let mut state = state;
                return answer(state.error.take().map_or(0, |error| i32::from(error.number())));
            }
            (SOL_SOCKET, n::SO_ACCEPTCONN) => return answer(0),
            (SOL_SOCKET, n::SO_BROADCAST) => return answer(state.may_broadcast.into()),
            (SOL_SOCKET, n::SO_RCVBUF) => return answer(2 * state.receive_buffer as i32),
            (SOL_IP, n::IP_HDRINCL) if !self.is_ping() => return answer(state.with_header.into()),
            (SOL_IP, n::IP_TTL) => return byte(state.ttl, 64),
            (SOL_IP, n::IP_TOS) => return answer(state.tos.into()),
            (SOL_IP, n::IP_MULTICAST_TTL) => return byte(state.group_ttl, 1),
            (SOL_IP, n::IP_RECVERR) | (SOL_IPV6, n::IPV6_RECVERR) => {
                return answer(state.wants_reports.into());
            }
            (SOL_IPV6, n::IPV6_CHECKSUM) => {
                return answer(state.checksum_at.map_or(-1, |at| at as i32));
            }
            (SOL_IPV6, n::IPV6_UNICAST_HOPS) => return byte(state.ttl, super::options::USUAL_HOPS),
            (SOL_IPV6, n::IPV6_MULTICAST_HOPS) => return byte(state.group_ttl, 1),
            (SOL_IPV6, n::IPV6_TCLASS) => return answer(state.tos.into()),
            _ => {}
        }
        drop(state);
        match (level, number) {
            (SOL_SOCKET, n::SO_SNDBUF) => {
                answer(2 * self.common.recall(level, name, (super::options::BUFFER_MAX / 2) as i32))
            }
            (SOL_SOCKET, n::SO_REUSEADDR | n::SO_REUSEPORT | n::SO_KEEPALIVE)
            | (SOL_IP, n::IP_RETOPTS | n::IP_RECVOPTS) => answer(self.common.recall(level, name, 0)),
            (SOL_SOCKET, n::SO_LINGER) => Ok([0; 8].try_to_vec()?),
            _ => self.common.get(level, name).unwrap_or(Err(Errno::NOPROTOOPT)),
        }
    }

    fn kind(&self) -> (i32, i32, i32) {
        (self.common.family.number(), self.kind as i32, self.protocol)
    }
}
