//! The lists of sockets of NETLINK_SOCK_DIAG (sock_diag(7)), as ss(8) asks for them.
//!
//! A socket's cookie is its inode number.
use super::proc::{netlink_sockets, unix_sockets};
use coracle_core::errno::Errno;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::time::now_ns;
use coracle_net::give_diagnose;
use coracle_net::netlink_diag::{Answer, Query};
use coracle_net::tcp_options::{INFO_BYTES, encode_info as tcp_info};
use coracle_net::{engine, packet, raw};
use coracle_tcpip::{Endpoint, Pending, State, TcpListed};
use linux_raw_sys::net as n;

/// `struct inet_diag_req_v2`: its length, and places in it.
const INET_QUERY_BYTES: usize = 56;
const EXTENSIONS_AT: usize = 2;
const STATES_AT: usize = 4;
/// Attributes of answers about inet sockets (linux/inet_diag.h).
const MEMORY: u16 = 1;
const INFO: u16 = 2;
const CONGESTION: u16 = 4;
const SOCKET_MEMORY: u16 = 7;
const SHUTDOWN: u16 = 8;
/// Of AF_UNIX (linux/unix_diag.h).
const UNIX_NAME: u16 = 0;
const UNIX_PEER: u16 = 2;
const UNIX_QUEUES: u16 = 4;
const UNIX_SHOW_AT: usize = 12;
/// Of AF_PACKET (linux/packet_diag.h), and of AF_NETLINK (linux/netlink_diag.h).
const PACKET_INFO: u16 = 0;
const PACKET_UID: u16 = 5;
const PACKET_MEMORY: u16 = 6;
const NETLINK_MEMORY: u16 = 0;
/// A query for the netlink sockets of all protocols (NDIAG_PROTO_ALL).
const ALL_PROTOCOLS: u8 = 255;
/// IPPROTO_RAW: a query for all raw sockets.
const RAW: u8 = 255;
/// Where `struct tcp_info` has the segments that are not acknowledged.
const UNACKED_AT: usize = 24;
/// Words of `struct sock_memory` (SK_MEMINFO_VARS).
const MEMORY_WORDS: usize = 9;

give_diagnose!(diagnose);

/// Answers a query. ENOENT for a family that has no such list, EINVAL, ENOMEM.
fn diagnose(query: &Query<'_>, answer: &mut Answer<'_>) -> Result<(), Errno> {
    let [family, protocol, ..] = *query.body else { return Err(Errno::INVAL) };
    if !query.is_dump {
        return Err(Errno::OPNOTSUPP);
    }
    match u32::from(family) {
        n::AF_INET | n::AF_INET6 => inet(query, answer, u32::from(family) == n::AF_INET6, protocol),
        n::AF_UNIX => unix(query, answer),
        n::AF_PACKET => packets(answer),
        n::AF_NETLINK => netlinks(answer, protocol),
        _ => Err(Errno::INVAL),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

/// A socket's fields of `struct inet_diag_msg`.
struct Inet {
    is_v6: bool,
    state: u8,
    timer: u8,
    retransmits: u8,
    local: Endpoint,
    remote: Option<Endpoint>,
    expires_ms: u32,
    to_read: u32,
    to_send: u32,
    owner: (u64, u32),
}

impl Inet {
    /// One of datagrams, which has no timers and sends at once.
    fn datagrams(is_v6: bool, ends: (Endpoint, Option<Endpoint>), to_read: u32, owner: (u64, u32)) -> Inet {
        let (local, remote) = ends;
        let state = if remote.is_some() { State::Established } else { State::Closed } as u8;
        Inet {
            is_v6,
            state,
            timer: 0,
            retransmits: 0,
            local,
            remote,
            expires_ms: 0,
            to_read,
            to_send: 0,
            owner,
        }
    }
    fn encode(&self) -> [u8; 72] {
        let mut bytes = [0; 72];
        bytes[0] = if self.is_v6 { n::AF_INET6 } else { n::AF_INET } as u8;
        bytes[1..4].copy_from_slice(&[self.state, self.timer, self.retransmits]);
        let remote = self.remote.unwrap_or(Endpoint::new(self.local.address, 0));
        bytes[4..6].copy_from_slice(&self.local.port.to_be_bytes());
        bytes[6..8].copy_from_slice(&remote.port.to_be_bytes());
        for (end, at) in [(Some(self.local), 8), (self.remote, 24)] {
            let Some(end) = end else { continue };
            let octets = end.address.octets();
            if self.is_v6 {
                bytes[at..at + 16].copy_from_slice(&octets);
            } else {
                bytes[at..at + 4].copy_from_slice(&octets[12..]);
            }
        }
        bytes[44..52].copy_from_slice(&self.owner.0.to_le_bytes());
        let words = [self.expires_ms, self.to_read, self.to_send, self.owner.1, self.owner.0 as u32];
        bytes[52..].copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
        bytes
    }
}

/// The fields of `struct sock_memory`: what waits, in bytes, and the bounds.
fn memory(to_read: u32, to_send: u32, buffer: u32) -> [[u8; 4]; MEMORY_WORDS] {
    [to_read, buffer, to_send, buffer, 0, to_send, 0, 0, 0].map(u32::to_le_bytes)
}

fn inet(query: &Query<'_>, answer: &mut Answer<'_>, is_v6: bool, protocol: u8) -> Result<(), Errno> {
    if query.body.len() < INET_QUERY_BYTES {
        return Err(Errno::INVAL);
    }
    let (extensions, states) = (query.body[EXTENSIONS_AT], word(query.body, STATES_AT));
    let wants = |state: u8| states & 1 << state != 0;
    let has = |attribute: u16| extensions & 1 << (attribute - 1) != 0;
    let mut result = Ok(());
    match protocol {
        coracle_tcpip::protocol::TCP => {
            let mut next = Some(0);
            while let Some(from) = next {
                next = engine().tcp_list(from, &mut |own, watch| {
                    if own.is_v6 == is_v6 && wants(own.state as u8) && result.is_ok() {
                        let owner =
                            watch.filter(|_| !own.is_orphan).map_or((0, 0), |watch| (watch.inode, watch.uid));
                        result = tcp(answer, own, owner, &has);
                    }
                })?;
                result?;
            }
        }
        protocol @ (coracle_tcpip::protocol::UDP | coracle_tcpip::protocol::UDP_LITE) => {
            let is_lite = protocol == coracle_tcpip::protocol::UDP_LITE;
            let mut next = Some(0);
            while let Some(from) = next {
                let listed = engine().udp_list(is_lite, from, &mut |own, watch| {
                    let (ends, owner) = ((own.local, own.remote), (watch.inode, watch.uid));
                    let about = Inet::datagrams(own.is_v6, ends, own.to_read, owner);
                    if own.is_v6 == is_v6 && wants(about.state) && result.is_ok() {
                        result = datagrams(answer, &about, &has);
                    }
                });
                next = listed.map_err(|_| Errno::NOMEM)?;
                result?;
            }
        }
        RAW => {
            raw::list(|own| {
                // The protocol takes the place of the port.
                let local = Endpoint::new(own.local, own.protocol as u16);
                let remote = own.remote.map(|address| Endpoint::new(address, 0));
                let about = Inet::datagrams(own.is_v6, (local, remote), own.to_read, (own.inode, own.uid));
                if own.is_v6 != is_v6 || !own.is_raw || !wants(about.state) {
                    return Ok(());
                }
                datagrams(answer, &about, &has)
            })?;
        }
        _ => return Err(Errno::NOENT),
    }
    Ok(())
}

/// A socket of UDP, or a raw one.
fn datagrams(answer: &mut Answer<'_>, about: &Inet, has: &dyn Fn(u16) -> bool) -> Result<(), NoMemory> {
    let words = [about.to_read, 0, 0, 0].map(u32::to_le_bytes);
    let sizes = memory(about.to_read, 0, coracle_net::options::BUFFER_MAX as u32);
    let all: [(u16, &[u8]); 3] =
        [(SHUTDOWN, &[0]), (MEMORY, words.as_flattened()), (SOCKET_MEMORY, sizes.as_flattened())];
    emit(answer, about, &all, has)
}

fn tcp(
    answer: &mut Answer<'_>,
    own: &TcpListed,
    owner: (u64, u32),
    has: &dyn Fn(u16) -> bool,
) -> Result<(), NoMemory> {
    let is_listener = own.state == State::Listen;
    let expires_ms = match own.deadline {
        u64::MAX => 0,
        at => (at.saturating_sub(now_ns()) / 1_000_000) as u32,
    };
    let retransmits = if own.pending == Pending::Retransmission { own.retransmits } else { own.probes };
    let about = Inet {
        is_v6: own.is_v6,
        state: own.state as u8,
        timer: own.pending as u8,
        retransmits: retransmits as u8,
        local: own.local,
        remote: (!is_listener).then_some(own.remote),
        expires_ms,
        to_read: own.to_read,
        to_send: own.to_send,
        owner,
    };
    let (to_read, to_send) = if is_listener { (0, 0) } else { (own.to_read, own.to_send) };
    let words = [to_read, to_send, 0, to_send].map(u32::to_le_bytes);
    let sizes = memory(to_read, to_send, own.flow.as_ref().map_or(0, |flow| flow.send_buffer));
    let info = own.flow.as_ref().map(|flow| tcp_info(&flow.info));
    // Of records of connections nothing more is known.
    if own.flow.is_none() && !is_listener {
        return emit(answer, &about, &[], has);
    }
    // Of a listener: its state, the connections that wait, and how many may.
    let mut listener = [0; INFO_BYTES];
    listener[0] = own.state as u8;
    listener[UNACKED_AT..UNACKED_AT + 8]
        .copy_from_slice([own.to_read, own.to_send].map(u32::to_le_bytes).as_flattened());
    let info = info.as_ref().map_or(&listener[..], |info| &info[..]);
    let all: [(u16, &[u8]); 5] = [
        (SHUTDOWN, &[0]),
        (MEMORY, words.as_flattened()),
        (SOCKET_MEMORY, sizes.as_flattened()),
        (INFO, info),
        (CONGESTION, b"cubic\0"),
    ];
    emit(answer, &about, &all, has)
}

/// Gives those of the attributes that were asked for and have a value.
fn emit(
    answer: &mut Answer<'_>,
    about: &Inet,
    all: &[(u16, &[u8])],
    has: &dyn Fn(u16) -> bool,
) -> Result<(), NoMemory> {
    let wanted: heapless::Vec<_, 5> = all
        .iter()
        .copied()
        .filter(|(kind, value)| !value.is_empty() && (*kind == SHUTDOWN || has(*kind)))
        .collect();
    answer(&about.encode(), &wanted)
}

fn unix(query: &Query<'_>, answer: &mut Answer<'_>) -> Result<(), Errno> {
    /// Bits of what is to be shown: the name, the peer, what waits.
    const SHOW: [u32; 3] = [1, 1 << 2, 1 << 4];
    let (states, show) = (word(query.body, STATES_AT), word(query.body, UNIX_SHOW_AT));
    for socket in unix_sockets()?.values() {
        let mut name = Text::new();
        let own = socket.listed(&mut name)?;
        let state = match (own.backlog, own.is_connected) {
            (Some(_), _) => State::Listen,
            (None, true) => State::Established,
            (None, false) => State::Closed,
        } as u8;
        if states & 1 << state == 0 {
            continue;
        }
        let mut body = [0; 16];
        body[..3].copy_from_slice(&[n::AF_UNIX as u8, own.kind as u8, state]);
        body[4..8].copy_from_slice(&(socket.inode() as u32).to_le_bytes());
        body[8..].copy_from_slice(&socket.inode().to_le_bytes());
        // An abstract name begins with a zero here.
        let mut bytes = coracle_fallible::filled(0, name.as_bytes().len())?;
        bytes.copy_from_slice(name.as_bytes());
        if bytes.first() == Some(&b'@') {
            bytes[0] = 0;
        }
        let peer = (own.peer as u32).to_le_bytes();
        let queues = [own.to_read as u32, own.backlog.unwrap_or(own.to_send) as u32].map(u32::to_le_bytes);
        let all: [(u16, u32, &[u8]); 3] = [
            (UNIX_NAME, SHOW[0], &bytes),
            (UNIX_PEER, SHOW[1], if own.peer == 0 { &[] } else { &peer }),
            (UNIX_QUEUES, SHOW[2], queues.as_flattened()),
        ];
        let wanted: heapless::Vec<_, 3> = all
            .into_iter()
            .filter(|(_, bit, value)| show & bit != 0 && !value.is_empty())
            .map(|(kind, _, value)| (kind, value))
            .collect();
        answer(&body, &wanted)?;
    }
    Ok(())
}

fn packets(answer: &mut Answer<'_>) -> Result<(), Errno> {
    packet::list(|own| {
        let mut body = [0; 16];
        body[..2].copy_from_slice(&[n::AF_PACKET as u8, own.kind as u8]);
        body[2..4].copy_from_slice(&own.protocol.to_le_bytes());
        body[4..8].copy_from_slice(&(own.inode as u32).to_le_bytes());
        body[8..].copy_from_slice(&own.inode.to_le_bytes());
        let info = [own.interface, 0, 0, 0, 0, 0].map(u32::to_le_bytes);
        let sizes = memory(own.to_read, 0, coracle_net::options::BUFFER_MAX as u32);
        let all: [(u16, &[u8]); 3] = [
            (PACKET_INFO, info.as_flattened()),
            (PACKET_UID, &own.uid.to_le_bytes()),
            (PACKET_MEMORY, sizes.as_flattened()),
        ];
        answer(&body, &all)
    })
    .map_err(Errno::from)
}

fn netlinks(answer: &mut Answer<'_>, protocol: u8) -> Result<(), Errno> {
    for (inode, own) in netlink_sockets()?.iter() {
        if protocol != ALL_PROTOCOLS && u32::from(protocol) != own.protocol {
            continue;
        }
        let mut body = [0; 28];
        let (kind, number) = (own.kind, own.protocol);
        body[..4].copy_from_slice(&[n::AF_NETLINK as u8, kind as u8, number as u8, State::Closed as u8]);
        body[4..8].copy_from_slice(&own.port.to_le_bytes());
        body[16..20].copy_from_slice(&(*inode as u32).to_le_bytes());
        body[20..].copy_from_slice(&inode.to_le_bytes());
        let sizes = memory(0, 0, coracle_net::options::BUFFER_MAX as u32);
        answer(&body, &[(NETLINK_MEMORY, sizes.as_flattened())])?;
    }
    Ok(())
}
