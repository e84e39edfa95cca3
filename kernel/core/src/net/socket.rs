//! The operations of every socket (socket(7)), whatever its family.
use crate::errno::{Errno, SysResult};
use crate::fs::descriptors;
use crate::fs::file::{File, OpenFile};
use crate::ipc::poll::{Events, PollSource, block_on_events};
use crate::mm::user_buf::UserBuf;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use linux_raw_sys::net::{MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL};

/// st_mode of a socket.
pub const SOCKET_MODE: u32 = linux_raw_sys::general::S_IFSOCK | 0o777;
/// The longest name of an AF_UNIX socket: sun_path (unix(7)).
const UNIX_NAME_MAX: usize = 108;

/// The name of an AF_UNIX socket.
pub type UnixName = heapless::Vec<u8, UNIX_NAME_MAX>;

/// An address of the link (`struct sockaddr_ll`, packet(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkAddress {
    /// The Ethernet type.
    pub protocol: u16,
    /// Number of the interface; 0: any.
    pub interface: u32,
    /// ARPHRD_*.
    pub hardware: u16,
    /// PACKET_HOST and so on.
    pub kind: u8,
    /// Bytes of the hardware address.
    pub len: u8,
    /// The hardware address.
    pub address: [u8; 8],
}

/// A socket address of any family we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// AF_UNSPEC, with the address of AF_INET that it would be if the bytes are enough for one.
    Unspecified(Option<SocketAddrV4>),
    /// AF_INET.
    Inet(SocketAddrV4),
    /// AF_INET6.
    Inet6(SocketAddrV6),
    /// AF_UNIX: a path, an abstract name (first byte 0), or empty (unnamed).
    Unix(UnixName),
    /// AF_PACKET.
    Packet(LinkAddress),
    /// AF_VSOCK.
    Vsock {
        /// The machine.
        cid: u32,
        /// The port.
        port: u32,
    },
    /// AF_NETLINK.
    Netlink {
        /// Port id; 0 is the kernel.
        port: u32,
        /// Multicast groups.
        groups: u32,
    },
}

/// Descriptors that are passed along (SCM_RIGHTS, unix(7)).
#[derive(Default)]
pub struct Rights(pub Vec<Arc<OpenFile>>);

impl Drop for Rights {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            core::mem::take(&mut self.0).into_iter().for_each(descriptors::let_go());
        }
    }
}

/// The route of a received datagram or of one to send (IP_PKTINFO, ip(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    /// Number of the interface; 0 for sending: whichever is right.
    pub interface: u32,
    /// The local address; unspecified for sending: that of the socket or of the interface.
    pub local: Ipv4Addr,
    /// The destination in the header (not used for sending).
    pub destination: Ipv4Addr,
}

/// Bytes of `struct in_pktinfo` (ip(7)): interface, local address, destination.
pub const PKTINFO_BYTES: usize = 12;

impl PacketInfo {
    /// From the program's bytes.
    pub fn decode(bytes: &[u8; PKTINFO_BYTES]) -> PacketInfo {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        PacketInfo {
            interface: u32::from_le_bytes(word(0)),
            local: Ipv4Addr::from(word(4)),
            destination: Ipv4Addr::from(word(8)),
        }
    }

    /// As the program reads it.
    pub fn encode(&self) -> [u8; PKTINFO_BYTES] {
        let mut bytes = [0; PKTINFO_BYTES];
        bytes[..4].copy_from_slice(&self.interface.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.local.octets());
        bytes[8..].copy_from_slice(&self.destination.octets());
        bytes
    }
}

/// Bytes of `struct in6_pktinfo` (RFC 3542, section 6.1): address and interface.
pub const PKTINFO6_BYTES: usize = 20;

/// The same in the addresses of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo6 {
    /// Its destination; for sending: its source address, or unspecified.
    pub address: Ipv6Addr,
    /// Number of the interface; 0 for sending: whichever is right.
    pub interface: u32,
}

impl PacketInfo6 {
    /// From the program's bytes.
    pub fn decode(bytes: &[u8; PKTINFO6_BYTES]) -> PacketInfo6 {
        let (mut address, mut interface) = ([0; 16], [0; 4]);
        address.copy_from_slice(&bytes[..16]);
        interface.copy_from_slice(&bytes[16..]);
        PacketInfo6 { address: Ipv6Addr::from(address), interface: u32::from_le_bytes(interface) }
    }

    /// As the program reads it.
    pub fn encode(&self) -> [u8; PKTINFO6_BYTES] {
        let mut bytes = [0; PKTINFO6_BYTES];
        bytes[..16].copy_from_slice(&self.address.octets());
        bytes[16..].copy_from_slice(&self.interface.to_le_bytes());
        bytes
    }
}

/// When a datagram came, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// To be reported in microseconds (SO_TIMESTAMP).
    Micros(u64),
    /// To be reported in nanoseconds (SO_TIMESTAMPNS).
    Nanos(u64),
}

/// An error of a datagram, or what else an error queue tells of (`struct sock_extended_err`, ip(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// Its number.
    pub errno: u32,
    /// SO_EE_ORIGIN_*.
    pub origin: u8,
    /// Type and code of an ICMP message.
    pub kind: u8,
    /// See `kind`.
    pub code: u8,
    /// What depends on the origin: the MTU of a path, the first of some numbers.
    pub info: u32,
    /// The same: the last of these.
    pub data: u32,
    /// Its origin.
    pub offender: Option<IpAddr>,
}

impl ExtendedError {
    /// As the program reads it, with the address behind it, which is one of AF_INET6 if `is_v6`.
    pub fn encode(&self, is_v6: bool) -> heapless::Vec<u8, 44> {
        use linux_raw_sys::net::{AF_INET, AF_INET6};
        let mut bytes = heapless::Vec::new();
        // All is shorter than the vector: pushing does not fail.
        let mut put = |part: &[u8]| {
            let _ = bytes.extend_from_slice(part);
        };
        put(&self.errno.to_le_bytes());
        put(&[self.origin, self.kind, self.code, 0]);
        put(&self.info.to_le_bytes());
        put(&self.data.to_le_bytes());
        let family = |family: u32| (family as u16).to_le_bytes();
        match self.offender {
            Some(IpAddr::V4(address)) if !is_v6 => {
                put(&family(AF_INET));
                put(&[0; 2]);
                put(&address.octets());
                put(&[0; 8]);
            }
            None if !is_v6 => put(&[0; 16]),
            None => put(&[0; 28]),
            Some(address) => {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                put(&family(AF_INET6));
                put(&[0; 6]);
                put(&address.octets());
                put(&[0; 4]);
            }
        }
        bytes
    }
}

/// Bytes of `struct tpacket_auxdata` (packet(7)).
pub const AUXDATA_BYTES: usize = 20;

/// What recvmsg(2) returns of a datagram beside its bytes, as far as the program has asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatagramInfo {
    /// When it came (SO_TIMESTAMP, SO_TIMESTAMPNS).
    pub arrival: Option<Arrival>,
    /// When it came, for SO_TIMESTAMPING, in nanoseconds since 1970.
    pub stamp: Option<u64>,
    /// Datagrams that were lost before it (SO_RXQ_OVFL).
    pub lost: Option<u32>,
    /// Where it arrived (IP_PKTINFO).
    pub packet_info: Option<PacketInfo>,
    /// IP_RECVTTL.
    pub ttl: Option<u8>,
    /// IP_RECVTOS.
    pub tos: Option<u8>,
    /// Where it was sent to (IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR).
    pub destination: Option<SocketAddr>,
    /// Where it arrived (IPV6_RECVPKTINFO).
    pub packet_info6: Option<PacketInfo6>,
    /// IPV6_RECVHOPLIMIT.
    pub hop_limit: Option<u8>,
    /// IPV6_RECVTCLASS.
    pub traffic_class: Option<u8>,
    /// What a message of the error queue is about, and whether the socket's addresses are those of IPv6.
    pub error: Option<(ExtendedError, bool)>,
    /// PACKET_AUXDATA.
    pub auxiliary: Option<[u8; AUXDATA_BYTES]>,
}

/// Control data of sendmsg(2).
#[derive(Default)]
pub struct Control {
    /// Descriptors to pass along, taken out if they were sent.
    pub rights: Rights,
    /// The process, user and group that sent it, as its sender says (SCM_CREDENTIALS).
    pub credentials: Option<(i32, u32, u32)>,
    /// The route that a datagram is to take.
    pub packet_info: Option<PacketInfo>,
    /// The same (IPV6_PKTINFO).
    pub packet_info6: Option<PacketInfo6>,
    /// Bytes of each datagram that a larger one is cut into (UDP_SEGMENT).
    pub segment: Option<u16>,
    /// The time to live of an IPv4 packet (IP_TTL).
    pub ttl: Option<u8>,
    /// Its type of service (IP_TOS).
    pub tos: Option<u8>,
    /// The hop limit of an IPv6 packet (IPV6_HOPLIMIT).
    pub hop_limit: Option<u8>,
    /// Its traffic class (IPV6_TCLASS).
    pub traffic_class: Option<u8>,
}

/// What recvmsg(2) found.
pub struct Received {
    /// Bytes copied (with MSG_TRUNC: the datagram's length).
    pub len: usize,
    /// Who sent it.
    pub from: Option<SocketAddress>,
    /// MSG_TRUNC, MSG_CTRUNC, MSG_EOR as found.
    pub flags: u32,
    /// Passed descriptors (SCM_RIGHTS).
    pub rights: Rights,
    /// Sender's pid, uid, gid if SO_PASSCRED is on.
    pub credentials: Option<(i32, u32, u32)>,
    /// What else there is of a datagram.
    pub info: Option<Box<DatagramInfo>>,
}

impl Received {
    /// `len` bytes without anything beside them.
    #[inline]
    pub fn bytes(len: usize) -> Received {
        Received { len, from: None, flags: 0, rights: Rights::default(), credentials: None, info: None }
    }
}

/// recvmsg(2) by a socket whose `source` tells of what comes: `receive` takes what there is (EAGAIN: nothing), and adds it to what was found. A
/// stream waits for all of the buffer with MSG_WAITALL, unless descriptors came, or an end or a time-out does.
#[inline]
pub fn receive_waiting(
    source: &PollSource,
    deadline: Option<u64>,
    is_stream: bool,
    (dst, flags): (&mut UserBuf, u32),
    mut receive: impl FnMut(&mut UserBuf, &mut Received) -> Result<(), Errno>,
) -> Result<Received, Errno> {
    let nonblock = flags & MSG_DONTWAIT != 0;
    let all = flags & MSG_WAITALL != 0 && is_stream && flags & MSG_PEEK == 0;
    let mut found = Received::bytes(0);
    loop {
        let before = found.len;
        let got = block_on_events(source, Events::IN, nonblock, deadline, || receive(dst, &mut found));
        match got {
            Ok(()) => {}
            Err(_) if found.len > 0 => break,
            Err(error) => return Err(error),
        }
        if !all || dst.remaining() == 0 || found.len == before || !found.rights.0.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// A time-out of a socket (SO_RCVTIMEO, SO_SNDTIMEO) in nanoseconds, of a `struct timeval`; 0: none. EINVAL; EDOM, as on Linux.
pub fn timeout_ns(value: &[u8]) -> Result<u64, Errno> {
    let [seconds, micros, ..] = value.as_chunks::<8>().0 else { return Err(Errno::INVAL) };
    let (seconds, micros) = (i64::from_le_bytes(*seconds), i64::from_le_bytes(*micros));
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::DOM);
    }
    Ok((seconds.max(0) as u64).saturating_mul(1_000_000_000).saturating_add(micros as u64 * 1000))
}

/// Such a time-out as a `struct timeval`. ENOMEM.
pub fn timeout_value(ns: u64) -> Result<Vec<u8>, Errno> {
    let words = [ns / 1_000_000_000, ns % 1_000_000_000 / 1000].map(u64::to_le_bytes);
    Ok(words.as_flattened().try_to_vec()?)
}

/// The socket calls.
#[allow(missing_docs)]
pub trait Socket: File {
    /// Sends bytes of the image ([`UserBuf::of_image`]) from where they lie, as write(2) does otherwise. `None`: it can't, and nothing
    /// was sent.
    fn send_image(&self, src: &mut UserBuf, nonblock: bool) -> Option<SysResult> {
        let _ = (src, nonblock);
        None
    }
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno>;
    fn connect(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno>;
    fn listen(&self, backlog: usize) -> Result<(), Errno>;
    /// A new connection as a file, and its peer.
    fn accept(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno>;
    fn local_address(&self) -> Result<SocketAddress, Errno>;
    fn peer_address(&self) -> Result<SocketAddress, Errno>;
    /// `control`: control messages that accompany the bytes. `flags`: MSG_*; MSG_DONTWAIT is set here also for O_NONBLOCK. EPIPE
    /// without SIGPIPE: the caller sends that.
    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&mut Control>,
    ) -> SysResult;
    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno>;
    /// `how`: SHUT_RD, SHUT_WR, SHUT_RDWR.
    fn shutdown(&self, how: u32) -> Result<(), Errno>;
    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno>;
    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno>;
    /// Whether control data may say when a packet is to leave (SO_TXTIME).
    fn takes_departures(&self) -> bool {
        false
    }
    /// The program has room for `room` of the `len` bytes of an option that [`Self::option`] returned. EINVAL if it must have
    /// all.
    fn option_read(&self, _level: i32, _name: i32, _len: usize, _room: usize) -> Result<(), Errno> {
        Ok(())
    }
    /// The value of an option that depends on what the program has put where the value is to go. `None`: it is none of these.
    fn option_with(&self, _level: i32, _name: i32, _given: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
        None
    }
    /// (domain, type, protocol) for SO_DOMAIN, SO_TYPE, SO_PROTOCOL.
    fn kind(&self) -> (i32, i32, i32);
}
