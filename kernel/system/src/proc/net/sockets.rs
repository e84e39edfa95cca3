//! /proc/net/tcp, udp and unix: all sockets.
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::task::long_call;
use coracle_core::task::namespaces::own_network;
use coracle_core::task::process;
use coracle_fallible::{NoMemory, Text};
use coracle_fs::synthetic::Piece;
use coracle_hal::time::now_ns;
use coracle_ipc::unix::{self, UnixSocket};
use coracle_net::netlink::NetlinkFile;
use coracle_net::{engine, packet, raw};
use coracle_sorted_map::SortedMap;
use coracle_tcpip::{Address, Endpoint, Pending, State, TcpListed, UdpListed};

/// The header of /proc/net/raw.
const RAW: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
/// The header of /proc/net/raw6.
const RAW6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
const TCP_HEADER: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const TCP6_HEADER: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const UDP_HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";
const UNIX_HEADER: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n";
/// Columns of a line of TCP and UDP over IPv4 (Linux's `seq_setwidth`).
const TCP_WIDTH: usize = 149;
const UDP_WIDTH: usize = 127;
/// Nanoseconds of a tick of /proc (`sysconf(_SC_CLK_TCK)`).
const TICK_NS: u64 = 10_000_000;
/// A position in a list: where it goes on, and how many sockets came before.
const COUNT_SHIFT: u32 = 40;
/// Linux's number for a threshold of slow start that was never found.
const NO_THRESHOLD: i32 = -1;
/// Bytes of a threshold that was never found: as large as any window.
const THRESHOLD_MAX: u64 = 1 << 30;
/// Descriptors that are looked at between two pauses.
const AT_ONCE: i32 = 64;

/// The other end of a socket that has none.
const NO_END: Endpoint = Endpoint::new(Address::ANY_V6, 0);

/// A family of addresses, with a file of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ip {
    /// AF_INET.
    V4,
    /// AF_INET6.
    V6,
}

impl Ip {
    /// Writes an end as these files have it: the address in words of 32 bits of the machine, and the port.
    fn end(self, end: Endpoint, text: &mut Text) -> Result<(), NoMemory> {
        let octets = end.address.octets();
        // An address of IPv4 is the last word of the one of IPv6 that stands for it.
        let words = if self == Ip::V4 { &octets[12..] } else { &octets[..] };
        for word in words.chunks_exact(4) {
            write!(text, "{:08X}", u32::from_le_bytes([word[0], word[1], word[2], word[3]]))?;
        }
        write!(text, ":{:04X} ", end.port)
    }

    fn width(self, width: usize) -> usize {
        if self == Ip::V4 { width } else { 0 }
    }
}

/// What a line has behind its ends.
struct Line {
    state: u8,
    to_send: u32,
    to_read: u32,
    pending: Pending,
    deadline_ns: u64,
    retransmits: u32,
    uid: u32,
    probes: u32,
    inode: u64,
    references: u32,
}

impl Line {
    fn write(&self, text: &mut Text) -> Result<(), NoMemory> {
        let Line { state, to_send, to_read, retransmits, uid, probes, inode, references, .. } = self;
        let pending = self.pending as u8;
        let ticks = match self.deadline_ns {
            u64::MAX => 0,
            at => at.saturating_sub(now_ns()) / TICK_NS,
        };
        write!(
            text,
            "{state:02X} {to_send:08X}:{to_read:08X} {pending:02X}:{ticks:08X} {retransmits:08X} {uid:5} {probes:8} {inode} {references} 0000000000000000"
        )
    }
}

/// Ends a line that has so many columns at least.
fn end_line(text: &mut Text, begin: usize, width: usize) -> Result<(), NoMemory> {
    while text.len() - begin < width {
        text.push(b" ")?;
    }
    text.push(b"\n")
}

fn tcp_line(
    ip: Ip,
    number: u64,
    own: &TcpListed,
    owner: (u64, u32),
    text: &mut Text,
) -> Result<(), NoMemory> {
    let begin = text.len();
    write!(text, "{number:4}: ")?;
    ip.end(own.local, text)?;
    ip.end(if own.state == State::Listen { NO_END } else { own.remote }, text)?;
    let is_record = own.flow.is_none() && own.state != State::Listen;
    let line = Line {
        state: own.state as u8,
        to_send: if own.state == State::Listen { 0 } else { own.to_send },
        to_read: own.to_read,
        pending: own.pending,
        deadline_ns: own.deadline,
        retransmits: own.retransmits,
        uid: owner.1,
        probes: own.probes,
        inode: owner.0,
        references: u32::from(!is_record) + u32::from(own.pending != Pending::Nothing),
    };
    line.write(text)?;
    if !is_record {
        let (mut timeout, mut window, mut threshold) = (100, 10, 0);
        if let Some(flow) = &own.flow {
            timeout = u64::from(flow.info.rto) * 1000 / TICK_NS;
            window = flow.info.congestion_window;
            let (segments, mss) = (flow.info.slow_start_threshold, flow.info.send_mss);
            let is_known = u64::from(segments + 1) * u64::from(mss) < THRESHOLD_MAX;
            threshold = if is_known { segments as i32 } else { NO_THRESHOLD };
        }
        // What is acknowledged late by: ticks, and whether the program replies to what it reads.
        let is_interactive = u8::from(own.flow.is_some_and(|flow| flow.is_interactive));
        write!(text, " {timeout} {} {is_interactive} {window} {threshold}", 4 * is_interactive)?;
    }
    end_line(text, begin, ip.width(TCP_WIDTH))
}

/// /proc/net/tcp and tcp6.
pub fn tcp(ip: Ip, from: u64, text: &mut Text) -> Piece {
    let (mut number, position) = (from >> COUNT_SHIFT, from & ((1 << COUNT_SHIFT) - 1));
    if from == 0 {
        match ip {
            Ip::V4 => writeln!(text, "{TCP_HEADER:<TCP_WIDTH$}")?,
            Ip::V6 => text.push(TCP6_HEADER.as_bytes())?,
        }
    }
    let mut result = Ok(());
    let next = engine().tcp_list(position, &mut |own, watch| {
        if own.is_v6 == (ip == Ip::V6) && result.is_ok() {
            // Nobody has a socket that the program has closed, or not accepted.
            let owner = watch.filter(|_| !own.is_orphan).map_or((0, 0), |watch| (watch.inode, watch.uid));
            result = tcp_line(ip, number, own, owner, text);
            number += 1;
        }
    })?;
    result?;
    Ok(next.map(|next| number << COUNT_SHIFT | next))
}

fn udp_line(ip: Ip, own: &UdpListed, owner: (u64, u32), text: &mut Text) -> Result<(), NoMemory> {
    let begin = text.len();
    // Linux numbers the lines by place in its table, which is by port.
    write!(text, "{:5}: ", own.local.port)?;
    ip.end(own.local, text)?;
    ip.end(own.remote.unwrap_or(NO_END), text)?;
    let state = if own.remote.is_some() { State::Established } else { State::Closed };
    let line = Line {
        state: state as u8,
        to_send: 0,
        to_read: own.to_read,
        pending: Pending::Nothing,
        deadline_ns: u64::MAX,
        retransmits: 0,
        uid: owner.1,
        probes: 0,
        inode: owner.0,
        references: 2,
    };
    line.write(text)?;
    write!(text, " {}", own.dropped)?;
    end_line(text, begin, ip.width(UDP_WIDTH))
}

/// /proc/net/udp and udp6, or udplite and udplite6.
pub fn udp(ip: Ip, is_lite: bool, from: u64, text: &mut Text) -> Piece {
    if from == 0 {
        match ip {
            Ip::V4 => writeln!(text, "{UDP_HEADER:<UDP_WIDTH$}")?,
            Ip::V6 => text.push(RAW6.as_bytes())?,
        }
    }
    let mut result = Ok(());
    let next = engine().udp_list(is_lite, from, &mut |own, watch| {
        if own.is_v6 == (ip == Ip::V6) && result.is_ok() {
            result = udp_line(ip, own, (watch.inode, watch.uid), text);
        }
    });
    result?;
    next.map_err(|_| Errno::NOMEM)
}

/// Calls `each` for the file of each descriptor of each process. EINTR, ENOMEM.
fn for_each_file(mut each: impl FnMut(&Arc<dyn File>) -> Result<(), NoMemory>) -> Result<(), Errno> {
    for process in process::all() {
        let mut next = 0;
        while let Some(fd) = process.descriptors.next_from(next) {
            if let Ok(open) = process.descriptors.get(fd) {
                each(&open.file)?;
            }
            next = fd + 1;
            if next % AT_ONCE == 0 {
                long_call::pause_unless_killed()?;
            }
        }
    }
    Ok(())
}

/// All AF_UNIX sockets of the running program's network namespace that a process has, and those that have names, by their inode numbers. EINTR, ENOMEM.
pub fn unix_sockets() -> Result<SortedMap<u64, Arc<UnixSocket>>, Errno> {
    let mut all = SortedMap::new();
    let net = own_network();
    for socket in unix::bound()?.into_iter().filter(|socket| socket.network() == net) {
        all.insert(socket.inode(), socket)?;
    }
    for_each_file(|file| match unix::of(file) {
        Some(socket) if socket.network() == net => all.insert(socket.inode(), socket).map(|_| ()),
        _ => Ok(()),
    })?;
    Ok(all)
}

/// What is listed of a netlink socket.
pub struct NetlinkListed {
    /// SOCK_RAW or SOCK_DGRAM.
    pub kind: u32,
    /// NETLINK_*.
    pub protocol: u32,
    /// Its port id.
    pub port: u32,
}

/// All netlink sockets that a process has, by their inode numbers. EINTR, ENOMEM.
pub fn netlink_sockets() -> Result<SortedMap<u64, NetlinkListed>, Errno> {
    let mut all = SortedMap::new();
    for_each_file(|file| match file.as_any().downcast_ref::<NetlinkFile>() {
        Some(own) => {
            let listed =
                NetlinkListed { kind: own.socket_type(), protocol: own.protocol(), port: own.port_id() };
            all.insert(own.inode(), listed).map(|_| ())
        }
        None => Ok(()),
    })?;
    Ok(all)
}

/// /proc/net/raw, raw6, icmp and icmp6: sockets for ping, or raw ones.
pub fn raw(ip: Ip, is_raw: bool, text: &mut Text) -> Piece {
    match ip {
        Ip::V4 if is_raw => text.push(RAW.as_bytes())?,
        Ip::V4 => writeln!(text, "{UDP_HEADER:<UDP_WIDTH$}")?,
        Ip::V6 => text.push(RAW6.as_bytes())?,
    }
    raw::list(|own| {
        if own.is_raw != is_raw || own.is_v6 != (ip == Ip::V6) {
            return Ok(());
        }
        let begin = text.len();
        // Linux numbers them by protocol or identifier, which takes the place of the port.
        let port = if is_raw { own.protocol as u16 } else { own.ident };
        write!(text, "{port:4}: ")?;
        ip.end(Endpoint::new(own.local, port), text)?;
        ip.end(own.remote.map_or(NO_END, |remote| Endpoint::new(remote, 0)), text)?;
        let state = if own.remote.is_some() { State::Established } else { State::Closed };
        let line = Line {
            state: state as u8,
            to_send: 0,
            to_read: own.to_read,
            pending: Pending::Nothing,
            deadline_ns: u64::MAX,
            retransmits: 0,
            uid: own.uid,
            probes: 0,
            inode: own.inode,
            references: 2,
        };
        line.write(text)?;
        write!(text, " {}", own.lost)?;
        end_line(text, begin, if is_raw { 0 } else { ip.width(UDP_WIDTH) })
    })?;
    Ok(None)
}

/// /proc/net/packet.
pub fn packet(text: &mut Text) -> Piece {
    text.push(b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n")?;
    packet::list(|own| {
        let packet::PacketListed { kind, protocol, interface, to_read, uid, inode } = own;
        let runs = u8::from(*protocol != 0);
        writeln!(
            text,
            "0000000000000000 2      {kind:<4} {protocol:04x}   {interface:<5} {runs} {to_read:<6} {uid:<6} {inode:<6}"
        )
    })?;
    Ok(None)
}

/// /proc/net/netlink.
pub fn netlink(text: &mut Text) -> Piece {
    text.push(b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n")?;
    for (inode, own) in netlink_sockets()?.iter() {
        writeln!(
            text,
            "0000000000000000 {:<3} {:<10} 00000000 0        0        0     2        0        {inode:<8}",
            own.protocol, own.port
        )?;
    }
    Ok(None)
}

/// /proc/net/unix.
pub fn unix(text: &mut Text) -> Piece {
    text.push(UNIX_HEADER)?;
    for socket in unix_sockets()?.values() {
        socket.describe(text)?;
    }
    Ok(None)
}
