//! AF_NETLINK sockets of NETLINK_ROUTE (rtnetlink(7)): they report the links, addresses and routes.
//! getifaddrs(3) and Go use them.
use super::interface_ioctl::{
    CARD_INDEX, IFF_BROADCAST, InterfaceAddress, InterfaceInfo, NAME_BYTES, interfaces, ipv6_addresses,
};
use super::netlink_change::{Change, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE};
use super::netlink_diag;
use super::options::{SOL_SOCKET, answer};
use super::stack::wait_configured;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, PollSource, block_on};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::SOCKET_MODE;
use coracle_core::net::socket::{Control, Received, Socket, SocketAddress};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::frame::{self, Watermark};
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use core::any::Any;
use core::net::{Ipv4Addr, Ipv6Addr};
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::net as n;

/// Bytes of `struct nlmsghdr`, and what all parts are aligned to (netlink(7)).
const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const ALIGN: usize = 4;
/// Message types.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
/// Message flags.
const NLM_F_ACK: u16 = 4;
const NLM_F_MULTI: u16 = 2;
const NLM_F_DUMP: u16 = 0x300;
/// Attributes of links, addresses and routes (linux/rtnetlink.h, if_link.h, if_addr.h).
const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;
const IFLA_STATS: u16 = 7;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_STATS64: u16 = 23;
/// Counters of `struct rtnl_link_stats` and `struct rtnl_link_stats64` (linux/if_link.h), of which the latter has one more.
const COUNTERS: usize = 24;
const COUNTERS_64: usize = COUNTERS + 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
/// IFA_F_PERMANENT.
const PERMANENT: u8 = 0x80;
/// RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST.
const UNIVERSE: u8 = 0;
const LINK: u8 = 253;
const HOST: u8 = 254;
/// RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST.
const MAIN_TABLE: u8 = 254;
const BY_BOOT: u8 = 3;
/// RTPROT_KERNEL: it came with an address.
const BY_KERNEL: u8 = 2;
const UNICAST: u8 = 1;
/// Requests of more bytes than this are refused; valid requests are far smaller.
const REQUEST_MAX: usize = 4096;
/// Most bytes of one datagram of a dump: what fits the buffers that programs offer (glibc's and Go's: a page).
const DATAGRAM_BYTES: usize = 4000;
/// The same for lists of sockets, whose readers have room for 32 KiB (ss).
const DIAGNOSIS_BYTES: usize = 16 << 10;
/// Datagrams that may wait to be read: about as many small ones as Linux's receive buffer holds.
const ANSWERS_MAX: usize = 256;

/// A netlink socket.
pub struct NetlinkFile {
    kind: u32,
    protocol: u32,
    inode: u64,
    /// Our port id; 0 until it is bound.
    port: AtomicU32,
    answers: Mutex<VecDeque<Vec<u8>>>,
    source: PollSource,
}

impl NetlinkFile {
    /// A socket of this type (SOCK_RAW or SOCK_DGRAM: they behave alike), and of this protocol (NETLINK_*).
    ///
    /// # Errors
    /// ENOBUFS.
    pub fn new(kind: u32, protocol: u32) -> Result<Arc<NetlinkFile>, Errno> {
        let file = NetlinkFile {
            kind,
            protocol,
            inode: coracle_core::fs::stat::next_inode(),
            port: AtomicU32::new(0),
            answers: Mutex::new(VecDeque::new()),
            source: PollSource::new(),
        };
        try_arc(file).map_err(|_| Errno::NOBUFS)
    }

    /// SOCK_RAW or SOCK_DGRAM.
    pub fn socket_type(&self) -> u32 {
        self.kind
    }

    /// NETLINK_*.
    pub fn protocol(&self) -> u32 {
        self.protocol
    }

    /// Its port id; 0 before it has one.
    pub fn port_id(&self) -> u32 {
        self.port.load(Ordering::Relaxed)
    }

    /// Its number, in `socket:[…]` and st_ino.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Our port id; a socket that isn't bound gets one of its own.
    fn port(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0x8000_0000);
        match self.port.load(Ordering::Relaxed) {
            0 => {
                let new = NEXT.fetch_add(1, Ordering::Relaxed);
                match self.port.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => new,
                    Err(other) => other,
                }
            }
            port => port,
        }
    }

    /// Answers the messages of one datagram: all of them or, without memory or with too many unread, none.
    fn request(&self, mut bytes: &[u8]) -> Result<(), NoMemory> {
        let mut out = Dump::new(self.port());
        while let Some(request) = Request::parse(bytes) {
            if self.protocol == netlink_diag::PROTOCOL {
                out.limit = DIAGNOSIS_BYTES;
                diagnose(&mut out, &request)?;
            } else {
                match (request.kind, request.flags & NLM_F_DUMP == NLM_F_DUMP) {
                    (RTM_GETLINK, true) => {
                        interfaces().iter().try_for_each(|i| link(&mut out, &request, i))?;
                        out.end(&request, false)?;
                    }
                    (RTM_GETLINK, false) => match request.change().meant() {
                        Ok(own) => {
                            link(&mut out, &request, &own)?;
                            out.end(&request, true)?;
                        }
                        Err(error) => out.error(&request, error)?,
                    },
                    (RTM_GETADDR, true) => {
                        if request.is_for(n::AF_INET) {
                            interfaces()
                                .iter()
                                .try_for_each(|interface| address(&mut out, &request, interface))?;
                        }
                        if request.is_for(n::AF_INET6) {
                            ipv6_addresses()
                                .iter()
                                .try_for_each(|own| address_v6(&mut out, &request, own))?;
                        }
                        out.end(&request, false)?;
                    }
                    (RTM_GETROUTE, true) => {
                        if request.is_for(n::AF_INET) {
                            routes(&mut out, &request)?;
                        }
                        if request.is_for(n::AF_INET6) {
                            routes_v6(&mut out, &request)?;
                        }
                        out.end(&request, false)?;
                    }
                    // Below NLMSG_MIN_TYPE: control messages, of which a request needs none.
                    (0..16, _) => {}
                    _ => match request.change().apply() {
                        Ok(()) => out.end(&request, true)?,
                        Err(error) => out.error(&request, error)?,
                    },
                }
            }
            let len = request.len.next_multiple_of(ALIGN).min(bytes.len());
            bytes = &bytes[len..];
        }
        let new = out.finish()?;
        if !new.is_empty() {
            let mut answers = self.answers.lock();
            let len = answers.len() + new.len();
            if len > ANSWERS_MAX {
                return Err(NoMemory);
            }
            answers.make_room_for(len)?;
            new.into_iter().for_each(|answer| answers.push_back_reserved(answer));
            drop(answers);
            self.source.notify(Events::IN | Events::RDNORM);
        }
        Ok(())
    }

    /// A datagram of the kernel's for the program, which is lost if as many as may wait do, or if there is no memory.
    pub fn deliver(&self, datagram: Vec<u8>) {
        let mut answers = self.answers.lock();
        if answers.len() < ANSWERS_MAX && answers.try_push_back(datagram).is_ok() {
            drop(answers);
            self.source.notify(Events::IN | Events::RDNORM);
        }
    }
}

/// A request's header, and its body.
struct Request<'a> {
    len: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
    header: &'a [u8],
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Request<'a>> {
        let header = bytes.get(..HEADER_BYTES)?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let len = word(0) as usize;
        let body = bytes.get(HEADER_BYTES..len)?;
        Some(Request { len, kind: half(4), flags: half(6), sequence: word(8), header, body })
    }

    /// Whether addresses of `family` are among those requested.
    fn is_for(&self, family: u32) -> bool {
        let requested = self.body.first().map_or(n::AF_UNSPEC, |family| u32::from(*family));
        requested == n::AF_UNSPEC || requested == family
    }

    fn change(&self) -> Change<'a> {
        Change { kind: self.kind, flags: self.flags, body: self.body }
    }
}

/// The answers to a datagram, cut into datagrams.
struct Dump {
    port: u32,
    /// Bytes of a datagram, at most.
    limit: usize,
    done: Vec<Vec<u8>>,
    current: Vec<u8>,
}

impl Dump {
    fn new(port: u32) -> Self {
        Dump { port, limit: DATAGRAM_BYTES, done: Vec::new(), current: Vec::new() }
    }

    /// Adds a message: its fixed part, then its attributes.
    fn message(
        &mut self,
        request: &Request,
        kind: u16,
        flags: u16,
        body: &[u8],
        attributes: &[(u16, &[u8])],
    ) -> Result<(), NoMemory> {
        let aligned = |len: usize| len.next_multiple_of(ALIGN);
        // All fixed parts are whole words. The padding counts as a part of the message, behind the last attribute, too
        // (rtnetlink(3)): parsers step over it.
        let len = attributes.iter().fold(HEADER_BYTES + body.len(), |len, (_, value)| {
            len + aligned(ATTRIBUTE_HEADER_BYTES + value.len())
        });
        if self.current.len() + len > self.limit {
            self.cut()?;
        }
        let message = &mut self.current;
        message.make_room(len)?;
        message.try_extend_from_slice(&(len as u32).to_le_bytes())?;
        message.try_extend_from_slice(&kind.to_le_bytes())?;
        message.try_extend_from_slice(&flags.to_le_bytes())?;
        message.try_extend_from_slice(&request.sequence.to_le_bytes())?;
        message.try_extend_from_slice(&self.port.to_le_bytes())?;
        message.try_extend_from_slice(body)?;
        for (kind, value) in attributes {
            let len = (ATTRIBUTE_HEADER_BYTES + value.len()) as u16;
            message.try_extend_from_slice(&len.to_le_bytes())?;
            message.try_extend_from_slice(&kind.to_le_bytes())?;
            message.try_extend_from_slice(value)?;
            message.try_resize(aligned(message.len()), 0)?;
        }
        Ok(())
    }

    /// Ends the current datagram.
    fn cut(&mut self) -> Result<(), NoMemory> {
        self.done.try_push(core::mem::take(&mut self.current))
    }

    /// Ends the answer to a request; `single`: it was for one object, and needs no end but an acknowledgement.
    fn end(&mut self, request: &Request, single: bool) -> Result<(), NoMemory> {
        if !single {
            self.message(request, NLMSG_DONE, NLM_F_MULTI, &0i32.to_le_bytes(), &[])
        } else if request.flags & NLM_F_ACK != 0 {
            self.result(request, 0)
        } else {
            Ok(())
        }
    }

    fn error(&mut self, request: &Request, error: Errno) -> Result<(), NoMemory> {
        self.result(request, -i32::from(error.number()))
    }

    fn result(&mut self, request: &Request, code: i32) -> Result<(), NoMemory> {
        let mut body = [0; size_of::<i32>() + HEADER_BYTES];
        let (result, header) = body.split_at_mut(size_of::<i32>());
        result.copy_from_slice(&code.to_le_bytes());
        header.copy_from_slice(request.header);
        self.message(request, NLMSG_ERROR, 0, &body, &[])
    }

    fn finish(mut self) -> Result<Vec<Vec<u8>>, NoMemory> {
        if !self.current.is_empty() {
            self.cut()?;
        }
        Ok(self.done)
    }
}

/// Beyond the last family of sockets.
const AF_MAX: u32 = 46;

/// Answers a query of NETLINK_SOCK_DIAG.
fn diagnose(out: &mut Dump, request: &Request) -> Result<(), NoMemory> {
    // Below NLMSG_MIN_TYPE: control messages.
    if request.kind < 16 {
        return Ok(());
    }
    if request.kind != netlink_diag::BY_FAMILY {
        return out.error(request, Errno::INVAL);
    }
    match request.body.first().map(|family| u32::from(*family)) {
        Some(n::AF_INET | n::AF_INET6 | n::AF_UNIX | n::AF_PACKET | n::AF_NETLINK) => {}
        Some(0..AF_MAX) => return out.error(request, Errno::NOENT),
        _ => return out.error(request, Errno::INVAL),
    }
    let is_dump = request.flags & NLM_F_DUMP == NLM_F_DUMP;
    let query = netlink_diag::Query { body: request.body, is_dump };
    let result = netlink_diag::diagnose()(&query, &mut |body, attributes| {
        out.message(request, netlink_diag::BY_FAMILY, NLM_F_MULTI, body, attributes)
    });
    match result {
        Ok(()) => out.end(request, false),
        Err(Errno::NOMEM) => Err(NoMemory),
        // The end of a list tells how it ended.
        Err(error) if is_dump => {
            let code = -i32::from(error.number());
            out.message(request, NLMSG_DONE, NLM_F_MULTI, &code.to_le_bytes(), &[])
        }
        Err(error) => out.error(request, error),
    }
}

fn multi(request: &Request) -> u16 {
    if request.flags & NLM_F_DUMP == NLM_F_DUMP { NLM_F_MULTI } else { 0 }
}

/// The interface's name with the zero at its end.
fn name(interface: &InterfaceInfo) -> heapless::Vec<u8, NAME_BYTES> {
    interface.name.bytes().chain([0]).take(NAME_BYTES).collect()
}

/// What came in over an interface and what went out, as `struct rtnl_link_stats64`.
fn statistics(interface: &InterfaceInfo) -> [u64; COUNTERS_64] {
    let [received, sent] = interface.traffic();
    let mut counters = [0; COUNTERS_64];
    counters[..8].copy_from_slice(&[
        received.packets,
        sent.packets,
        received.bytes,
        sent.bytes,
        received.errors,
        sent.errors,
        received.drops,
        sent.drops,
    ]);
    counters
}

/// RTM_NEWLINK: `struct ifinfomsg` and attributes.
fn link(out: &mut Dump, request: &Request, interface: &InterfaceInfo) -> Result<(), NoMemory> {
    let mut body = [0; 16];
    body[2..4].copy_from_slice(&interface.hardware.to_le_bytes());
    body[4..8].copy_from_slice(&interface.index.to_le_bytes());
    body[8..12].copy_from_slice(&interface.flags.to_le_bytes());
    let name = name(interface);
    let broadcast = if interface.flags & IFF_BROADCAST != 0 { [0xff; 6] } else { [0; 6] };
    let counters = statistics(interface);
    let (mut wide, mut narrow) = ([0; 8 * COUNTERS_64], [0; 4 * COUNTERS]);
    for (place, counter) in wide.as_chunks_mut().0.iter_mut().zip(counters) {
        *place = counter.to_le_bytes();
    }
    // The older form has the lower halves.
    for (place, counter) in narrow.as_chunks_mut().0.iter_mut().zip(counters) {
        *place = (counter as u32).to_le_bytes();
    }
    let attributes: [(u16, &[u8]); 8] = [
        (IFLA_IFNAME, &name),
        (IFLA_TXQLEN, &interface.queue_length().to_le_bytes()),
        (IFLA_OPERSTATE, &[interface.operational()]),
        (IFLA_MTU, &interface.mtu.to_le_bytes()),
        (IFLA_STATS64, &wide),
        (IFLA_STATS, &narrow),
        (IFLA_ADDRESS, &interface.mac),
        (IFLA_BROADCAST, &broadcast),
    ];
    // What has no Ethernet addresses tells none.
    let count = attributes.len() - if interface.is_tunnel() { 2 } else { 0 };
    out.message(request, RTM_NEWLINK, multi(request), &body, &attributes[..count])
}

/// RTM_NEWADDR: `struct ifaddrmsg` and attributes.
fn address(out: &mut Dump, request: &Request, interface: &InterfaceInfo) -> Result<(), NoMemory> {
    let Some((ip, prefix_len)) = interface.address else { return Ok(()) };
    let scope = if ip.is_loopback() { HOST } else { UNIVERSE };
    let mut body = [n::AF_INET as u8, prefix_len, PERMANENT, scope, 0, 0, 0, 0];
    body[4..].copy_from_slice(&interface.index.to_le_bytes());
    let label = name(interface);
    let octets = ip.octets();
    let other = interface.peer.unwrap_or(ip).octets();
    let broadcast = interface.broadcast().map(|ip| ip.octets());
    let flags = u32::from(PERMANENT).to_le_bytes();
    let all: [Option<(u16, &[u8])>; 5] = [
        Some((IFA_ADDRESS, &other)),
        Some((IFA_LOCAL, &octets)),
        broadcast.as_ref().map(|broadcast| (IFA_BROADCAST, &broadcast[..])),
        Some((IFA_LABEL, &label)),
        Some((IFA_FLAGS, &flags)),
    ];
    let attributes: heapless::Vec<_, 5> = all.into_iter().flatten().collect();
    out.message(request, RTM_NEWADDR, NLM_F_MULTI, &body, &attributes)
}

/// RTM_NEWADDR of an address of IPv6.
fn address_v6(out: &mut Dump, request: &Request, own: &InterfaceAddress) -> Result<(), NoMemory> {
    let scope = match own.address {
        Ipv6Addr::LOCALHOST => HOST,
        address if address.is_unicast_link_local() => LINK,
        _ => UNIVERSE,
    };
    let mut body = [n::AF_INET6 as u8, own.prefix_len, own.flags, scope, 0, 0, 0, 0];
    body[4..].copy_from_slice(&own.index.to_le_bytes());
    let octets = own.address.octets();
    let flags = u32::from(own.flags).to_le_bytes();
    let attributes: [(u16, &[u8]); 2] = [(IFA_ADDRESS, &octets), (IFA_FLAGS, &flags)];
    out.message(request, RTM_NEWADDR, NLM_F_MULTI, &body, &attributes)
}

/// RTM_NEWROUTE of IPv6: the networks of the link, and the default routes.
fn routes_v6(out: &mut Dump, request: &Request) -> Result<(), NoMemory> {
    let (prefixes, routers) = super::engine().ipv6_routes();
    let table = u32::from(MAIN_TABLE).to_le_bytes();
    let card = CARD_INDEX.to_le_bytes();
    let mut route = |len: u8, kind: u16, address: Ipv6Addr| {
        let body = [n::AF_INET6 as u8, len, 0, 0, MAIN_TABLE, BY_BOOT, UNIVERSE, UNICAST, 0, 0, 0, 0];
        let octets = address.octets();
        let attributes: [(u16, &[u8]); 3] = [(RTA_TABLE, &table), (kind, &octets), (RTA_OIF, &card)];
        out.message(request, RTM_NEWROUTE, NLM_F_MULTI, &body, &attributes)
    };
    prefixes.iter().try_for_each(|(prefix, len)| route(*len, RTA_DST, *prefix))?;
    routers.iter().try_for_each(|router| route(0, RTA_GATEWAY, *router))
}

/// RTM_NEWROUTE: the networks of tunnels, and the routes that were added.
fn static_routes(out: &mut Dump, request: &Request) -> Result<(), NoMemory> {
    let table = u32::from(MAIN_TABLE).to_le_bytes();
    super::netlink_change::for_each_route(&mut |shown| {
        let scope = if shown.gateway.is_some() { UNIVERSE } else { LINK };
        let (len, by) = (shown.prefix_len, if shown.is_of_kernel { BY_KERNEL } else { BY_BOOT });
        let body = [n::AF_INET as u8, len, 0, 0, MAIN_TABLE, by, scope, UNICAST, 0, 0, 0, 0];
        let (network, interface) = (shown.network.octets(), shown.interface.to_le_bytes());
        let gateway = shown.gateway.map(|gateway| gateway.octets());
        let source = shown.source.map(|source| source.octets());
        let all: [Option<(u16, &[u8])>; 5] = [
            Some((RTA_TABLE, &table)),
            (len > 0).then_some((RTA_DST, &network)),
            source.as_ref().map(|source| (RTA_PREFSRC, &source[..])),
            gateway.as_ref().map(|gateway| (RTA_GATEWAY, &gateway[..])),
            Some((RTA_OIF, &interface)),
        ];
        let attributes: heapless::Vec<_, 5> = all.into_iter().flatten().collect();
        out.message(request, RTM_NEWROUTE, NLM_F_MULTI, &body, &attributes)
    })
}

/// RTM_NEWROUTE: the network of the card, and the default route.
fn routes(out: &mut Dump, request: &Request) -> Result<(), NoMemory> {
    static_routes(out, request)?;
    let Some(config) = super::engine().ipv4() else { return Ok(()) };
    let body =
        |len: u8, scope: u8| [n::AF_INET as u8, len, 0, 0, MAIN_TABLE, BY_BOOT, scope, UNICAST, 0, 0, 0, 0];
    let table = u32::from(MAIN_TABLE).to_le_bytes();
    let card = CARD_INDEX.to_le_bytes();
    let source = config.address.octets();
    if let Some(gateway) = config.gateway {
        let gateway = gateway.octets();
        let attributes: [(u16, &[u8]); 3] = [(RTA_TABLE, &table), (RTA_GATEWAY, &gateway), (RTA_OIF, &card)];
        out.message(request, RTM_NEWROUTE, NLM_F_MULTI, &body(0, UNIVERSE), &attributes)?;
    }
    let network = Ipv4Addr::from(u32::from(config.address) & config.mask()).octets();
    let attributes: [(u16, &[u8]); 4] =
        [(RTA_TABLE, &table), (RTA_DST, &network), (RTA_PREFSRC, &source), (RTA_OIF, &card)];
    out.message(request, RTM_NEWROUTE, NLM_F_MULTI, &body(config.prefix_len, LINK), &attributes)
}

impl File for NetlinkFile {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        // As for all sockets read(2) of no bytes takes nothing (Linux's `sock_read_iter`).
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.receive(dst, if nonblock { n::MSG_DONTWAIT } else { 0 }).map(|received| received.len)
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        self.send(src, None, 0, None)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(coracle_core::fs::stat::nameless(SOCKET_MODE, self.inode))
    }

    fn readiness(&self) -> Events {
        let writable = Events::OUT | Events::WRNORM | Events::WRBAND;
        if self.answers.lock().is_empty() { writable } else { writable | Events::IN | Events::RDNORM }
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        write!(text, "socket:[{}]", self.inode)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Socket for NetlinkFile {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        match address {
            // Groups announce changes, and there are none to announce.
            SocketAddress::Netlink { port, .. } => {
                self.port.store(*port, Ordering::Relaxed);
                self.port();
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn connect(&self, address: &SocketAddress, _nonblock: bool) -> Result<(), Errno> {
        match address {
            SocketAddress::Netlink { port: 0, .. } | SocketAddress::Unspecified(_) => Ok(()),
            SocketAddress::Netlink { .. } => Err(Errno::CONNREFUSED),
            _ => Err(Errno::INVAL),
        }
    }

    fn listen(&self, _backlog: usize) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn accept(&self, _nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn local_address(&self) -> Result<SocketAddress, Errno> {
        Ok(SocketAddress::Netlink { port: self.port.load(Ordering::Relaxed), groups: 0 })
    }

    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        Ok(SocketAddress::Netlink { port: 0, groups: 0 })
    }

    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        _flags: u32,
        _control: Option<&mut Control>,
    ) -> SysResult {
        match to {
            None | Some(SocketAddress::Netlink { port: 0, .. }) => {}
            Some(SocketAddress::Netlink { .. }) => return Err(Errno::CONNREFUSED),
            Some(_) => return Err(Errno::INVAL),
        }
        let len = src.remaining();
        if len > REQUEST_MAX {
            return Err(Errno::MSGSIZE);
        }
        let mut bytes = coracle_fallible::filled(0, len).map_err(|_| Errno::NOBUFS)?;
        src.take(&mut bytes)?;
        // The answer depends on our address.
        wait_configured()?;
        // Answers that are not read are what the kernel holds for programs.
        if frame::is_below(Watermark::High) {
            return Err(Errno::NOBUFS);
        }
        self.request(&bytes).map_err(|_| Errno::NOBUFS)?;
        Ok(len)
    }

    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        let peek = flags & n::MSG_PEEK != 0;
        let message = block_on(&self.source, flags & n::MSG_DONTWAIT != 0, None, || {
            let mut answers = self.answers.lock();
            let answer = answers.front().ok_or(Errno::AGAIN)?;
            if peek {
                return Ok(answer.try_to_vec()?);
            }
            answers.pop_front().ok_or(Errno::AGAIN)
        })?;
        let copied = dst.put(&message)?;
        Ok(Received {
            from: Some(SocketAddress::Netlink { port: 0, groups: 0 }),
            flags: if copied < message.len() { n::MSG_TRUNC } else { 0 },
            ..Received::bytes(if flags & n::MSG_TRUNC != 0 { message.len() } else { copied })
        })
    }

    fn shutdown(&self, _how: u32) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }

    fn set_option(&self, level: i32, _name: i32, _value: &[u8]) -> Result<(), Errno> {
        /// Buffers, and what SOL_NETLINK has: hints that change nothing here.
        const SOL_NETLINK: i32 = 270;
        if level == SOL_SOCKET || level == SOL_NETLINK { Ok(()) } else { Err(Errno::NOPROTOOPT) }
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        match (level, name as u32) {
            (SOL_SOCKET, n::SO_ERROR | n::SO_ACCEPTCONN) => answer(0),
            (SOL_SOCKET, n::SO_RCVBUF | n::SO_SNDBUF) => answer(super::options::BUFFER_MAX as i32),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn kind(&self) -> (i32, i32, i32) {
        (n::AF_NETLINK as i32, self.kind as i32, self.protocol as i32)
    }
}
