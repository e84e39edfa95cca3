//! What a socket is, and the list of all.
use crate::address::Family;
use crate::ancillary::{Arrived, Wanted};
use crate::common::Common;
use crate::interface::Watch;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_bpf::Program;
use coracle_core::errno::Errno;
use coracle_core::fs::access::capability;
use coracle_core::lock::Mutex;
use coracle_core::net::socket::SocketAddress;
use coracle_core::task::namespaces::check_network_capability;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use coracle_tcpip::{Address, Endpoint, Link, Report};
use linux_raw_sys::net as n;

/// Levels of the filters of ICMP's types (raw(7), RFC 3542), each of which has one option of this number.
pub(super) const SOL_ICMPV6: i32 = 58;
/// Types of echo requests and replies.
pub(super) const ECHO_REQUEST: u8 = 8;
pub(super) const ECHO_REQUEST_V6: u8 = 128;
/// Header of an echo message, where its checksum is, and where its identifier.
pub(super) const IDENT_AT: usize = 4;
/// What a packet that waits counts for beside its bytes.
pub(super) const OVERHEAD: usize = 256;
/// Words of a filter of ICMPv6's types.
pub(super) const TYPE_WORDS: usize = 8;
/// IPPROTO_RAW: the program makes the IP header, and receives nothing.
const PROTOCOL_RAW: i32 = 255;
/// Header of an echo message, where its checksum is, and where its identifier.
const CHECKSUM_AT: usize = 2;

/// All open ones, in the order in which they were made.
pub(super) static SOCKETS: Mutex<Vec<Arc<RawFile>>> = Mutex::new(Vec::new());
/// How many they are.
pub(super) static COUNT: AtomicUsize = AtomicUsize::new(0);

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
pub(super) struct Waiting {
    pub(super) bytes: Vec<u8>,
    pub(super) from: Address,
    pub(super) about: Arrived,
}

pub(super) struct State {
    /// Identifier of a socket for ping; 0: none yet.
    pub(super) ident: u16,
    pub(super) local: Address,
    pub(super) peer: Option<Address>,
    pub(super) queue: VecDeque<Waiting>,
    pub(super) held: usize,
    pub(super) lost: u32,
    pub(super) reports: VecDeque<Report>,
    pub(super) error: Option<Errno>,
    pub(super) receive_buffer: usize,
    pub(super) program: Option<Program>,
    /// Types of ICMP that are not taken; of ICMPv6 all words count.
    pub(super) refused: [u32; TYPE_WORDS],
    /// The program makes the IP header.
    pub(super) with_header: bool,
    pub(super) checksum_at: Option<usize>,
    pub(super) wants_reports: bool,
    pub(super) may_broadcast: bool,
    pub(super) ttl: Option<u8>,
    pub(super) group_ttl: Option<u8>,
    pub(super) tos: u8,
    pub(super) group_link: Option<Link>,
    pub(super) receive_shut: bool,
}

/// A raw socket, or one for ping.
pub struct RawFile {
    pub(super) common: Common,
    pub(super) watch: Watch,
    /// SOCK_RAW or SOCK_DGRAM.
    pub(super) kind: u32,
    pub(super) protocol: i32,
    pub(super) wanted: Wanted,
    pub(super) state: Mutex<State>,
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
            check_network_capability(capability::NET_RAW)?;
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
            receive_buffer: crate::options::BUFFER_MAX,
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

    /// Whether it is of a network namespace.
    pub(super) fn is_in(&self, space: u32) -> bool {
        self.common.home.device().space() == space
    }

    pub(super) fn is_ping(&self) -> bool {
        self.kind == n::SOCK_DGRAM
    }

    pub(super) fn is_v4(&self) -> bool {
        self.common.family == Family::V4
    }

    /// The engine's address of one that the program names. `None`: it names none. EINVAL, EAFNOSUPPORT.
    pub(super) fn lower(&self, address: &SocketAddress) -> Result<Endpoint, Errno> {
        match (self.common.family, address) {
            (Family::V4, SocketAddress::Unspecified(Some(inet))) => Ok((*inet).into()),
            _ => self.common.family.lower(address),
        }
    }

    /// A socket for ping gets an identifier: this one, or any that is free. EADDRINUSE.
    pub(super) fn take_ident(&self, wanted: u16) -> Result<(), Errno> {
        let sockets = SOCKETS.lock();
        let is_free = |ident: u16| {
            ident != 0
                && !sockets.iter().any(|other| {
                    other.is_ping()
                        && !core::ptr::eq(&**other, self)
                        && other.common.family == self.common.family
                        && other.is_in(self.common.home.device().space())
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

/// Lists the sockets of the running program's network namespace up to the first error.
pub fn list<E>(mut each: impl FnMut(&RawListed) -> Result<(), E>) -> Result<(), E> {
    let space = crate::engine().device().space();
    SOCKETS.lock().iter().filter(|socket| socket.is_in(space)).try_for_each(|socket| {
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
