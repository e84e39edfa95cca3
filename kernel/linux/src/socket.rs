//! The socket calls (socket(2) and those it names).
use super::call::Call;
use super::file::vector;
use super::identity::{KEEP, machine_id};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::mm::user;
use coracle_core::mm::user_buf::{KeptPieces, MAX_PIECES, Pieces, UserBuf};
use coracle_core::net::sockaddr::{ADDRESS_MAX, INET_BYTES, INET6_MIN_BYTES};
use coracle_core::net::socket::{
    Arrival, Control, DatagramInfo, PKTINFO_BYTES, PKTINFO6_BYTES, PacketInfo, PacketInfo6, Received, Socket,
    SocketAddress,
};
use coracle_core::task::user_space::Kind;
use coracle_core::task::{long_call, pid_space, signal};
use coracle_core::time::clock;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_ipc::unix;
use coracle_ipc::uring::Ring;
use coracle_net::options::{SOL_IP, SOL_IPV6, SOL_SOCKET, SOL_TCP, SOL_UDP, answer};
use coracle_net::udp::UDP_SEGMENT;
use coracle_system::socket as open;
use core::net::SocketAddr;
use linux_raw_sys::general::{O_CLOEXEC, O_NONBLOCK, O_RDWR, SIGPIPE};
use linux_raw_sys::net as n;

/// SOCK_NONBLOCK and SOCK_CLOEXEC have the values of their O_ twins (socket(2)).
const TYPE_FLAGS: u32 = O_NONBLOCK | O_CLOEXEC;
/// Longest option value that is read or written, and what nearly all fit in.
const SHORT_OPTION: usize = 32;
const OPTION_MAX: usize = 1024;
/// Longest control data (net.core.optmem_max), and most descriptors in it (SCM_MAX_FD).
const CONTROL_MAX: usize = 20480;
const RIGHTS_MAX: usize = 253;
/// SCM_RIGHTS, SCM_CREDENTIALS (unix(7)).
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Level of the options of AF_PACKET.
const SOL_PACKET: i32 = n::SOL_PACKET as i32;
/// Level of control data that concerns IP (ip(7)).
const IPPROTO_IP: u32 = SOL_IP as u32;
const IPPROTO_IPV6: u32 = SOL_IPV6 as u32;
const IPPROTO_UDP: u32 = SOL_UDP as u32;
/// Bytes of `struct cmsghdr`, and its alignment.
const CMSG_HEADER: usize = 16;
const CMSG_ALIGN: usize = 8;
/// `struct msghdr`: its size, and offsets of what recvmsg(2) writes.
const MSGHDR_WORDS: usize = 7;
const MSG_NAMELEN_AT: usize = 8;
const MSG_CONTROLLEN_AT: usize = 40;
const MSG_FLAGS_AT: usize = 48;
/// recvmmsg(2): don't wait after the first message.
const MSG_WAITFORONE: u32 = 0x10000;
/// `struct mmsghdr`: a `msghdr` and the length.
const MMSGHDR_BYTES: usize = 64;
const MMSG_LEN_AT: usize = 56;

/// The open file of a descriptor argument.
#[inline(never)]
fn file(call: &Call, fd: i32) -> Result<Arc<OpenFile>, Errno> {
    call.thread().process.descriptors.look_up(fd)
}

/// The socket behind an open file; ENOTSOCK.
#[inline]
fn socket_of(file: &OpenFile) -> Result<&dyn Socket, Errno> {
    file.file.as_socket().ok_or(Errno::NOTSOCK)
}

/// MSG_* flags of a call, with MSG_DONTWAIT for O_NONBLOCK.
#[inline]
fn effective(file: &OpenFile, flags: u32) -> u32 {
    if file.nonblock() { flags | n::MSG_DONTWAIT } else { flags }
}

fn read_address(addr: usize, len: i32) -> Result<SocketAddress, Errno> {
    let len = usize::try_from(len).ok().filter(|len| *len <= ADDRESS_MAX).ok_or(Errno::INVAL)?;
    let mut bytes = [0; ADDRESS_MAX];
    user::read(&mut bytes[..len], addr)?;
    SocketAddress::parse(&bytes[..len])
}

/// The address that was `given` in `len` bytes, for bind(2), connect(2) or sendto(2) of a socket. The families of the Internet look at
/// its length before they look at its family: EINVAL, not EAFNOSUPPORT, if it is too short.
fn address_for(
    socket: &dyn Socket,
    given: Result<SocketAddress, Errno>,
    len: i32,
) -> Result<SocketAddress, Errno> {
    let least = match socket.kind().0 as u32 {
        n::AF_INET => INET_BYTES,
        n::AF_INET6 => INET6_MIN_BYTES,
        _ => 0,
    };
    match given {
        Err(Errno::AFNOSUPPORT) if socket.kind().0 as u32 == n::AF_VSOCK => Err(Errno::INVAL),
        Ok(_) | Err(Errno::AFNOSUPPORT) if (len as usize) < least => Err(Errno::INVAL),
        // Too short for its own family, but that is another one.
        Err(Errno::INVAL) if least > 0 && (least..=ADDRESS_MAX).contains(&(len as usize)) => {
            Err(Errno::AFNOSUPPORT)
        }
        result => result,
    }
}

/// The address that sendto(2) or sendmsg(2) was given.
fn read_destination(socket: &dyn Socket, addr: usize, len: i32) -> Result<Option<SocketAddress>, Errno> {
    let given = read_address(addr, len);
    if given == Err(Errno::FAULT) || !(0..=ADDRESS_MAX as i32).contains(&len) {
        return given.map(Some);
    }
    let (family, kind, _) = socket.kind();
    match (family as u32, kind as u32) {
        // A connection has its peer (tcp(7)), but MSG_FASTOPEN begins one.
        (n::AF_INET | n::AF_INET6, n::SOCK_STREAM) => Ok(given.ok()),
        (n::AF_INET, _) => address_for(socket, given, len).map(Some),
        (n::AF_INET6, _) => match given {
            Ok(SocketAddress::Unspecified(_)) => Ok(None),
            Ok(SocketAddress::Inet(_) | SocketAddress::Inet6(_)) => given.map(Some),
            _ => Err(Errno::INVAL),
        },
        _ => given.map(Some),
    }
}

/// Writes an address as accept(2) does: as much as fits, and its true length. Nothing if `addr` is null.
fn write_address(addr: usize, len_at: usize, address: Option<&SocketAddress>) -> Result<(), Errno> {
    if addr == 0 {
        return Ok(());
    }
    let room = user::read_u32(len_at)? as i32;
    let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
    let Some(address) = address else { return user::write_u32(len_at, 0) };
    let bytes = address.encode();
    user::write(addr, &bytes[..bytes.len().min(room)])?;
    user::write_u32(len_at, bytes.len() as u32)
}

fn insert(call: &Call, file: Arc<dyn File>, flags: u32) -> Result<i32, Errno> {
    let open = OpenFile::new(file, O_RDWR | flags & O_NONBLOCK)?;
    call.thread().process.descriptors.insert(open, flags & O_CLOEXEC != 0, 0)
}

/// A broken pipe raises SIGPIPE, unless the program said not to (send(2)).
#[inline(always)]
fn with_sigpipe(result: SysResult, flags: u32) -> SysResult {
    if result == Err(Errno::PIPE) && flags & n::MSG_NOSIGNAL == 0 {
        signal::raise(SIGPIPE);
    }
    result
}

/// socket(2)
pub fn socket(call: &Call) -> SysResult {
    let kind = call.u32(1);
    let file = open::socket(call.u32(0), kind & !TYPE_FLAGS, call.i32(2))?;
    insert(call, file, kind).map(|fd| fd as usize)
}

/// socketpair(2)
pub fn socketpair(call: &Call) -> SysResult {
    let kind = call.u32(1);
    match (call.u32(0), call.i32(2)) {
        (n::AF_UNIX, 0 | 1) => {}
        (n::AF_UNIX, _) => return Err(Errno::PROTONOSUPPORT),
        (n::AF_INET | n::AF_INET6 | n::AF_NETLINK | n::AF_VSOCK, _) => return Err(Errno::OPNOTSUPP),
        _ => return Err(Errno::AFNOSUPPORT),
    }
    let (a, b) = coracle_ipc::unix::pair(kind & !TYPE_FLAGS)?;
    let first = insert(call, a, kind)?;
    let result = insert(call, b, kind).and_then(|second| {
        let both = [first.to_le_bytes(), second.to_le_bytes()];
        user::write(call.usize(3), both.as_flattened())
            .inspect_err(|_| drop(call.thread().process.descriptors.remove(second)))
    });
    if result.is_err() {
        drop(call.thread().process.descriptors.remove(first));
    }
    result.map(|()| 0)
}

/// bind(2)
pub fn bind(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let socket = socket_of(&file)?;
    let given = read_address(call.usize(1), call.i32(2));
    socket.bind(&address_for(socket, given, call.i32(2))?).map(|()| 0)
}

/// connect(2)
pub fn connect(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    connect_to(&file, call.usize(1), call.i32(2), file.nonblock())
}

/// Connects to the address of `len` bytes at `addr`; if `nonblock`, EINPROGRESS takes the place of waiting.
pub(super) fn connect_to(file: &OpenFile, addr: usize, len: i32, nonblock: bool) -> SysResult {
    // The address is fetched before the file is known to be a socket.
    let given = read_address(addr, len);
    if given == Err(Errno::FAULT) {
        return Err(Errno::FAULT);
    }
    let socket = socket_of(file)?;
    let address = match given {
        // It ends a connection, whatever follows.
        Ok(SocketAddress::Unspecified(inet)) => SocketAddress::Unspecified(inet),
        // Linux's `__ip6_datagram_connect` looks at this family before it looks at the length.
        Ok(SocketAddress::Inet(inet)) if socket.kind().1 == n::SOCK_DGRAM as i32 => SocketAddress::Inet(inet),
        given => address_for(socket, given, len)?,
    };
    socket.connect(&address, nonblock).map(|()| 0)
}

/// listen(2)
pub fn listen(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    // Read as unsigned: a negative backlog is the greatest there is.
    socket_of(&file)?.listen(call.u32(1) as usize).map(|()| 0)
}

/// accept(2)
pub fn accept(call: &Call) -> SysResult {
    accept_with(call, 0)
}

/// accept4(2)
pub fn accept4(call: &Call) -> SysResult {
    let flags = call.u32(3);
    if flags & !TYPE_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    accept_with(call, flags)
}

fn accept_with(call: &Call, flags: u32) -> SysResult {
    let listener = file(call, call.i32(0))?;
    accept_from(call, &listener, (call.usize(1), call.usize(2)), flags, listener.nonblock())
}

/// Accepts a connection: a new descriptor, and where `addr` and its length are to be written. EAGAIN if `nonblock`.
pub(super) fn accept_from(
    call: &Call,
    listener: &OpenFile,
    (addr, len_at): (usize, usize),
    flags: u32,
    nonblock: bool,
) -> SysResult {
    if flags & !TYPE_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let socket = socket_of(listener)?;
    // A connection that the program can't have stays in the queue.
    call.thread().process.descriptors.check_room()?;
    let (new, peer) = socket.accept(nonblock)?;
    let fd = insert(call, new, flags)?;
    if let Err(error) = write_address(addr, len_at, Some(&peer)) {
        drop(call.thread().process.descriptors.remove(fd));
        return Err(error);
    }
    Ok(fd as usize)
}

/// getsockname(2)
pub fn getsockname(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let address = socket_of(&file)?.local_address()?;
    name(call, &address)
}

/// getpeername(2)
pub fn getpeername(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let address = socket_of(&file)?.peer_address()?;
    name(call, &address)
}

fn name(call: &Call, address: &SocketAddress) -> SysResult {
    if call.usize(1) == 0 {
        return Err(Errno::FAULT);
    }
    // One of the link ends with its hardware address here.
    if let SocketAddress::Packet(link) = address {
        const HEAD_BYTES: usize = 12;
        let bytes = address.encode();
        let room = usize::try_from(user::read_u32(call.usize(2))? as i32).map_err(|_| Errno::INVAL)?;
        let len = HEAD_BYTES + usize::from(link.len);
        user::write(call.usize(1), &bytes[..len.min(room)])?;
        return user::write_u32(call.usize(2), len as u32).map(|()| 0);
    }
    write_address(call.usize(1), call.usize(2), Some(address)).map(|()| 0)
}

#[cold]
fn is_inet_datagram(socket: &dyn Socket) -> bool {
    let (family, kind, _) = socket.kind();
    kind == n::SOCK_DGRAM as i32 && family != n::AF_UNIX as i32
}

/// sendto(2)
#[inline]
pub fn sendto(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let socket = socket_of(&file)?;
    let flags = effective(&file, call.u32(3));
    let to = match (call.usize(4), call.i32(5)) {
        (0, _) => None,
        // An address of no bytes is none, but for datagrams of the Internet, which look at the pointer (EINVAL).
        (_, 0) if !is_inet_datagram(socket) => None,
        (addr, len) => read_destination(socket, addr, len)?,
    };
    let mut src = UserBuf::user(call.usize(1), call.usize(2));
    with_sigpipe(socket.send(&mut src, to.as_ref(), flags, None), flags)
}

/// recvfrom(2)
#[inline]
pub fn recvfrom(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let mut dst = UserBuf::user(call.usize(1), call.usize(2));
    let received = socket_of(&file)?.receive(&mut dst, effective(&file, call.u32(3)))?;
    write_address(call.usize(4), call.usize(5), received.from.as_ref())?;
    Ok(received.len)
}

/// A `struct msghdr` as the program gave it, and where.
struct Message {
    at: usize,
    words: [[u8; 8]; MSGHDR_WORDS],
}

/// What a sender says of itself (unix(7), SCM_CREDENTIALS): its own process and ids, or any with the capabilities for that. EPERM; EINVAL for ids
/// that its user namespace hasn't; ESRCH for a process that there isn't.
fn told_credentials(call: &Call, data: &[u8]) -> Result<(i32, u32, u32), Errno> {
    let (words, []) = data.as_chunks::<4>() else { return Err(Errno::INVAL) };
    let &[pid, uid, gid] = words else { return Err(Errno::INVAL) };
    let uid = machine_id(call, Kind::User, u32::from_le_bytes(uid))?;
    let gid = machine_id(call, Kind::Group, u32::from_le_bytes(gid))?;
    if uid == KEEP || gid == KEEP {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    let pid = i32::from_le_bytes(pid);
    let is_own = pid == pid_space::seen(process.pid);
    let own = process.credentials.lock();
    // The last of the four is the file system's.
    let may = (is_own || own.capabilities.can(capability::SYS_ADMIN))
        && (own.uid[..3].contains(&uid) || own.capabilities.can(capability::SETUID))
        && (own.gid[..3].contains(&gid) || own.capabilities.can(capability::SETGID));
    drop(own);
    if !may {
        return Err(Errno::PERM);
    }
    Ok((pid_space::process(pid).ok_or(Errno::SRCH)?.pid, uid, gid))
}

impl Message {
    /// The header at `at`, not read yet: it is filled where it lies.
    #[inline(always)]
    fn at(at: usize) -> Message {
        Message { at, words: const { [[0; 8]; MSGHDR_WORDS] } }
    }
    /// Reads it: EMSGSIZE if its vector is too long; EFAULT.
    #[inline(never)]
    fn read(&mut self) -> Result<(), Errno> {
        self.read_inline()
    }
    /// [`Message::read`] for what every request does.
    #[inline(always)]
    fn read_inline(&mut self) -> Result<(), Errno> {
        user::read_inline(self.words.as_flattened_mut(), self.at)?;
        if self.vector().1 > MAX_PIECES { Err(Errno::MSGSIZE) } else { Ok(()) }
    }
    #[inline(always)]
    fn word(&self, n: usize) -> usize {
        usize::from_le_bytes(self.words[n])
    }
    /// Address and length of a socket's address.
    #[inline(always)]
    fn name(&self) -> (usize, i32) {
        (self.word(0), self.word(1) as i32)
    }
    /// Address and length of the iovec array.
    #[inline(always)]
    fn vector(&self) -> (usize, usize) {
        (self.word(2), self.word(3))
    }
    /// Address and length of control data.
    #[inline(always)]
    fn control(&self) -> (usize, usize) {
        (self.word(4), self.word(5))
    }

    /// The control data that goes along with the bytes: descriptors (SCM_RIGHTS), and the way of a datagram.
    fn given_control(&self, call: &Call) -> Result<Control, Errno> {
        let mut given = Control::default();
        let rights = &mut given.rights.0;
        let (control, len) = self.control();
        if control == 0 || len < CMSG_HEADER {
            return Ok(given);
        }
        if len > CONTROL_MAX {
            return Err(Errno::NOBUFS);
        }
        let mut bytes = filled(0, len).map_err(|_| Errno::NOBUFS)?;
        user::read(&mut bytes, control)?;
        let mut rest = &bytes[..];
        while let Some(header) = rest.get(..CMSG_HEADER) {
            let word =
                |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let len = word(0) as usize;
            let data = rest.get(CMSG_HEADER..len).ok_or(Errno::INVAL)?;
            match (word(8), word(12)) {
                (n::SOL_SOCKET, SCM_RIGHTS) => {
                    for fd in data.as_chunks::<4>().0 {
                        let right = file(call, i32::from_le_bytes(*fd))?;
                        // A ring has files of its own, and would make cycles that nothing finds (as Linux since 6.7).
                        if right.file.as_any().downcast_ref::<Ring>().is_some() {
                            return Err(Errno::INVAL);
                        }
                        rights.try_push(right)?;
                    }
                }
                (n::SOL_SOCKET, SCM_CREDENTIALS) => given.credentials = Some(told_credentials(call, data)?),
                (n::SOL_SOCKET, _) => return Err(Errno::INVAL),
                (IPPROTO_IP, n::IP_PKTINFO) => {
                    let info: &[u8; PKTINFO_BYTES] = data.try_into().map_err(|_| Errno::INVAL)?;
                    given.packet_info = Some(PacketInfo::decode(info));
                }
                (IPPROTO_IPV6, n::IPV6_PKTINFO) => {
                    let info: &[u8; PKTINFO6_BYTES] = data.try_into().map_err(|_| Errno::INVAL)?;
                    given.packet_info6 = Some(PacketInfo6::decode(info));
                }
                (IPPROTO_IP, n::IP_TTL) => {
                    given.ttl = Some(header_byte(data)?.filter(|ttl| *ttl > 0).ok_or(Errno::INVAL)?);
                }
                // That alone may be a single byte (ip(7)).
                (IPPROTO_IP, n::IP_TOS) => match data {
                    [tos] => given.tos = Some(*tos),
                    _ => given.tos = Some(header_byte(data)?.ok_or(Errno::INVAL)?),
                },
                (IPPROTO_IPV6, n::IPV6_HOPLIMIT) => given.hop_limit = header_byte(data)?,
                (IPPROTO_IPV6, n::IPV6_TCLASS) => given.traffic_class = header_byte(data)?,
                (IPPROTO_UDP, UDP_SEGMENT) => {
                    let bytes: [u8; 2] = data.try_into().map_err(|_| Errno::INVAL)?;
                    given.segment = Some(u16::from_le_bytes(bytes));
                }
                // What else there is of other levels changes the headers of one packet, or nothing here.
                _ => {}
            }
            rest = rest.get(len.next_multiple_of(CMSG_ALIGN)..).unwrap_or(&[]);
        }
        if rights.len() > RIGHTS_MAX {
            return Err(Errno::INVAL);
        }
        Ok(given)
    }

    /// Sends the message whose header is at `at`.
    #[inline(never)]
    fn send(call: &Call, file: &OpenFile, at: usize, flags: u32) -> SysResult {
        let mut message = Message::at(at);
        message.read_inline()?;
        let socket = socket_of(file)?;
        let flags = effective(file, flags);
        let ((_, name_len), (_, control_len)) = (message.name(), message.control());
        if name_len != 0 || control_len != 0 {
            return message.send_with_more(call, socket, flags);
        }
        let (vector, count) = message.vector();
        let mut pieces = Pieces::new();
        let mut src = pieces.read(vector, count)?;
        with_sigpipe(socket.send(&mut src, None, flags, None), flags)
    }
    /// Sends a message that has an address or control data.
    #[cold]
    #[inline(never)]
    fn send_with_more(&self, call: &Call, socket: &dyn Socket, flags: u32) -> SysResult {
        let to = match self.name() {
            (0, _) | (_, 0) => None,
            (addr, len) => read_destination(socket, addr, len)?,
        };
        let mut control = self.given_control(call)?;
        let (at, count) = self.vector();
        let mut pieces = Pieces::new();
        let mut src = vector(&mut pieces, at, count)?;
        with_sigpipe(socket.send(&mut src, to.as_ref(), flags, Some(&mut control)), flags)
    }

    fn receive(&self, call: &Call, file: &OpenFile, flags: u32) -> SysResult {
        let (vector, count) = self.vector();
        let mut pieces = Pieces::new();
        let mut dst = pieces.read(vector, count)?;
        self.receive_into(call, file, effective(file, flags), &mut dst)
    }

    fn receive_into(&self, call: &Call, file: &OpenFile, flags: u32, dst: &mut UserBuf) -> SysResult {
        let received = socket_of(file)?.receive(dst, flags)?;
        let (name_at, name_len) = self.name();
        let len = received.len;
        if name_at != 0 {
            let name = received.from.as_ref().map(SocketAddress::encode).unwrap_or_default();
            let room = usize::try_from(name_len).map_err(|_| Errno::INVAL)?;
            user::write(name_at, &name[..name.len().min(room)])?;
            user::write_u32(self.at.wrapping_add(MSG_NAMELEN_AT), name.len() as u32)?;
        }
        let (control_len, flags) = self.give_control(call, received, flags)?;
        user::write_u64(self.at.wrapping_add(MSG_CONTROLLEN_AT), control_len as u64)?;
        user::write_u32(self.at.wrapping_add(MSG_FLAGS_AT), flags)?;
        Ok(len)
    }

    /// Writes control data that came along; gives its length and the flags to report. The message is taken already, so what
    /// there is no memory for counts as cut off (MSG_CTRUNC), as what there is no room for.
    fn give_control(&self, call: &Call, mut received: Received, flags: u32) -> Result<(usize, u32), Errno> {
        let mut told = received.flags;
        let mut bytes = Vec::new();
        let (control, room) = match self.control() {
            (0, _) => (0, 0),
            given => given,
        };
        let mut add = |level, kind, data: &[u8]| {
            let fits = bytes.len() + CMSG_HEADER + data.len() <= room;
            if !fits || append(&mut bytes, level, kind, data, room).is_err() {
                told |= n::MSG_CTRUNC;
            }
        };
        if let Some(info) = received.info.take() {
            give_info(&info, &mut add);
        }
        if let Some((pid, uid, gid)) = received.credentials {
            let ids = [pid_space::seen(pid) as u32, uid, gid].map(u32::to_le_bytes);
            add(n::SOL_SOCKET, SCM_CREDENTIALS, ids.as_flattened());
        }
        let descriptors = &call.thread().process.descriptors;
        let mut fds = Vec::new();
        let rights = core::mem::take(&mut received.rights.0);
        if !rights.is_empty() {
            let fit = room.saturating_sub(bytes.len() + CMSG_HEADER) / 4;
            let count = fit.min(rights.len());
            // The room is made before: a descriptor that is installed has to be reported.
            let has_room = fds.make_room(count).and_then(|()| bytes.make_room(padded(4 * count))).is_ok();
            let mut all_fit = has_room;
            for file in rights {
                let suspect = unix::suspect(&file);
                all_fit &= fds.len() < fit;
                // It is let go of before it is looked at.
                let put = match all_fit {
                    true => descriptors.insert(file, flags & n::MSG_CMSG_CLOEXEC != 0, 0),
                    false => {
                        drop(file);
                        Err(Errno::MFILE)
                    }
                };
                match put {
                    Ok(fd) => fds.push_reserved(fd),
                    Err(_) => {
                        all_fit = false;
                        told |= n::MSG_CTRUNC;
                        suspect.into_iter().for_each(unix::look);
                    }
                }
            }
            if !fds.is_empty() {
                let numbers = fds.as_slice().iter().flat_map(|fd| fd.to_le_bytes());
                begin(&mut bytes, n::SOL_SOCKET, SCM_RIGHTS, 4 * fds.len())?;
                bytes.try_extend(numbers)?;
                bytes.try_resize(bytes.len().next_multiple_of(CMSG_ALIGN).min(room), 0)?;
            }
        }
        if !bytes.is_empty() {
            user::write(control, &bytes).inspect_err(|_| {
                fds.iter().filter_map(|&fd| descriptors.remove(fd).ok()).for_each(unix::let_go)
            })?;
        }
        Ok((bytes.len(), told | flags & n::MSG_CMSG_CLOEXEC))
    }
}

/// A byte of a header that a control message sets by an `int`; `None` for -1, which leaves it to the socket (RFC 3542, sections 6.3
/// and 6.5). EINVAL.
fn header_byte(data: &[u8]) -> Result<Option<u8>, Errno> {
    match i32::from_le_bytes(data.try_into().map_err(|_| Errno::INVAL)?) {
        -1 => Ok(None),
        number => u8::try_from(number).map(Some).map_err(|_| Errno::INVAL),
    }
}

/// Gives `add` the control messages (level, type and data) that tell of a datagram.
#[inline(never)]
fn give_info(info: &DatagramInfo, add: &mut dyn FnMut(u32, u32, &[u8])) {
    if let Some(arrival) = info.arrival {
        let (kind, time) = match arrival {
            Arrival::Micros(ns) => (n::SCM_TIMESTAMP, clock::to_timeval(ns)),
            Arrival::Nanos(ns) => (n::SCM_TIMESTAMPNS, clock::to_timespec(ns)),
        };
        add(n::SOL_SOCKET, kind, time.map(u64::to_le_bytes).as_flattened());
    }
    if let Some(ns) = info.stamp {
        // The two others are those of hardware.
        let [seconds, nanos] = clock::to_timespec(ns);
        let times = [seconds, nanos, 0, 0, 0, 0].map(u64::to_le_bytes);
        add(n::SOL_SOCKET, n::SCM_TIMESTAMPING, times.as_flattened());
    }
    if let Some(lost) = info.lost {
        add(n::SOL_SOCKET, n::SO_RXQ_OVFL, &lost.to_le_bytes());
    }
    if let Some(info) = info.packet_info {
        add(IPPROTO_IP, n::IP_PKTINFO, &info.encode());
    }
    if let Some(ttl) = info.ttl {
        add(IPPROTO_IP, n::IP_TTL, &u32::from(ttl).to_le_bytes());
    }
    if let Some(tos) = info.tos {
        add(IPPROTO_IP, n::IP_TOS, &[tos]);
    }
    if let Some(info) = info.packet_info6 {
        add(IPPROTO_IPV6, n::IPV6_PKTINFO, &info.encode());
    }
    if let Some(limit) = info.hop_limit {
        add(IPPROTO_IPV6, n::IPV6_HOPLIMIT, &u32::from(limit).to_le_bytes());
    }
    if let Some(class) = info.traffic_class {
        add(IPPROTO_IPV6, n::IPV6_TCLASS, &u32::from(class).to_le_bytes());
    }
    match info.destination {
        Some(SocketAddr::V4(address)) => {
            add(IPPROTO_IP, n::IP_RECVORIGDSTADDR, &SocketAddress::Inet(address).encode());
        }
        Some(SocketAddr::V6(address)) => {
            add(IPPROTO_IPV6, n::IPV6_RECVORIGDSTADDR, &SocketAddress::Inet6(address).encode());
        }
        None => {}
    }
    if let Some((error, is_v6)) = info.error {
        let (level, kind) = if is_v6 { (IPPROTO_IPV6, n::IPV6_RECVERR) } else { (IPPROTO_IP, n::IP_RECVERR) };
        add(level, kind, &error.encode(is_v6));
    }
    if let Some(auxiliary) = info.auxiliary {
        add(n::SOL_PACKET, linux_raw_sys::if_packet::PACKET_AUXDATA, &auxiliary);
    }
}

/// Bytes of control data with so many bytes in it, at most.
const fn padded(len: usize) -> usize {
    CMSG_HEADER + len + CMSG_ALIGN
}

/// Appends control data, padded unless it fills the `room`. ENOMEM: nothing is appended.
fn append(bytes: &mut Vec<u8>, level: u32, kind: u32, data: &[u8], room: usize) -> Result<(), Errno> {
    bytes.make_room(padded(data.len()))?;
    begin(bytes, level, kind, data.len())?;
    bytes.try_extend_from_slice(data)?;
    Ok(bytes.try_resize(bytes.len().next_multiple_of(CMSG_ALIGN).min(room), 0)?)
}

/// Appends a `struct cmsghdr`.
fn begin(bytes: &mut Vec<u8>, level: u32, kind: u32, len: usize) -> Result<(), Errno> {
    bytes.make_room(CMSG_HEADER + len)?;
    bytes.try_extend_from_slice(&((CMSG_HEADER + len) as u64).to_le_bytes())?;
    bytes.try_extend_from_slice(&level.to_le_bytes())?;
    Ok(bytes.try_extend_from_slice(&kind.to_le_bytes())?)
}

/// A `struct msghdr` with its vector, for calls that use it when the program may have changed it.
pub(super) struct KeptMessage<'a> {
    message: Message,
    pieces: &'a KeptPieces,
}

impl KeptMessage<'_> {
    /// The words of the header at `at`, and its vector. EFAULT, EINVAL, EMSGSIZE, ENOMEM.
    pub(super) fn read(at: usize) -> Result<([u64; MSGHDR_WORDS], KeptPieces), Errno> {
        let mut message = Message::at(at);
        message.read()?;
        let (addr, count) = message.vector();
        Ok((message.words.map(u64::from_le_bytes), KeptPieces::read(addr, count)?))
    }

    /// The one whose header was at `at`.
    pub(super) fn new(at: usize, words: [u64; MSGHDR_WORDS], pieces: &KeptPieces) -> KeptMessage<'_> {
        KeptMessage { message: Message { at, words: words.map(u64::to_le_bytes) }, pieces }
    }

    /// Its vector.
    pub(super) fn pieces(&self) -> &KeptPieces {
        self.pieces
    }

    /// Sends it. No SIGPIPE.
    pub(super) fn send(&self, call: &Call, file: &OpenFile, flags: u32) -> SysResult {
        let socket = socket_of(file)?;
        let to = match self.message.name() {
            (0, _) | (_, 0) => None,
            (addr, len) => read_destination(socket, addr, len)?,
        };
        let mut control = self.message.given_control(call)?;
        socket.send(&mut self.pieces.buffer(), to.as_ref(), flags, Some(&mut control))
    }

    /// Receives a message into `len` bytes at `address`: a `struct io_uring_recvmsg_out`, the sender's address and control data in as
    /// much room as the header has, and then the payload. Returns how many bytes that are, and those of the payload. EFAULT where
    /// there is no room.
    pub(super) fn receive_whole(
        &self,
        call: &Call,
        file: &OpenFile,
        flags: u32,
        address: usize,
        len: usize,
    ) -> Result<(usize, usize), Errno> {
        /// Bytes of the structure, and the place of the address of control data in a header.
        const HEAD: usize = 16;
        const CONTROL_WORD: usize = MSG_CONTROLLEN_AT / 8 - 1;
        let (_, name_room) = self.message.name();
        let name_room = usize::try_from(name_room).map_err(|_| Errno::INVAL)?;
        let (_, control_room) = self.message.control();
        let start = HEAD.checked_add(name_room).and_then(|at| at.checked_add(control_room));
        let start = start.filter(|start| *start <= len).ok_or(Errno::FAULT)?;
        let mut dst = UserBuf::user(address + start, len - start);
        let received = socket_of(file)?.receive(&mut dst, flags)?;
        let payload = received.len;
        let from = received.from.as_ref().filter(|_| name_room > 0);
        let name = from.map(SocketAddress::encode).unwrap_or_default();
        let mut words = self.message.words;
        words[CONTROL_WORD] = (address + HEAD + name_room).to_le_bytes();
        let (control, flags) = Message { at: 0, words }.give_control(call, received, flags)?;
        let head = [name.len() as u32, control as u32, payload as u32, flags];
        user::write(address, head.map(u32::to_le_bytes).as_flattened())?;
        user::write(address + HEAD, &name[..name.len().min(name_room)])?;
        Ok((start + payload.min(len - start), payload))
    }

    /// Receives a message into `dst`, and writes what else there is of it where the header says.
    pub(super) fn receive(&self, call: &Call, file: &OpenFile, flags: u32, dst: &mut UserBuf) -> SysResult {
        self.message.receive_into(call, file, flags, dst)
    }
}

/// Sends bytes, without waiting if `flags` say so (MSG_DONTWAIT), to the address of `len` bytes at `addr` (0: none). No SIGPIPE.
pub(super) fn send_bytes(
    file: &OpenFile,
    src: &mut UserBuf,
    (addr, len): (usize, i32),
    flags: u32,
) -> SysResult {
    let socket = socket_of(file)?;
    let to = if addr == 0 { None } else { read_destination(socket, addr, len)? };
    socket.send(src, to.as_ref(), flags, None)
}

/// Receives bytes, without waiting if `flags` say so (MSG_DONTWAIT).
pub(super) fn receive_bytes(file: &OpenFile, dst: &mut UserBuf, flags: u32) -> SysResult {
    Ok(socket_of(file)?.receive(dst, flags)?.len)
}

/// Whether the kernel could send from the program's memory (Linux's SOCK_SUPPORT_ZC). ENOTSOCK, EOPNOTSUPP.
pub(super) fn may_send_zero_copy(file: &OpenFile) -> Result<(), Errno> {
    match socket_of(file)?.kind() {
        (family, _, SOL_TCP | SOL_UDP) if [n::AF_INET, n::AF_INET6].contains(&(family as u32)) => Ok(()),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Whether it has no boundaries between messages.
pub(super) fn is_stream(file: &OpenFile) -> bool {
    file.file.as_socket().is_some_and(|socket| socket.kind().1 == n::SOCK_STREAM as i32)
}

/// How an attempt to connect has ended (SO_ERROR).
pub(super) fn connected(file: &OpenFile) -> SysResult {
    let value = socket_of(file)?.option(SOL_SOCKET, n::SO_ERROR as i32)?;
    match value.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes)) {
        0 => Ok(0),
        number => Err(Errno::new(number as u16)),
    }
}

/// Ends one direction of a connection, or both (shutdown(2)).
pub(super) fn shut(file: &OpenFile, how: u32) -> SysResult {
    socket_of(file)?.shutdown(how).map(|()| 0)
}

/// sendmsg(2)
#[inline]
pub fn sendmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    Message::send(call, &file, call.usize(1), call.u32(2))
}

/// recvmsg(2)
#[inline]
pub fn recvmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let mut message = Message::at(call.usize(1));
    message.read()?;
    message.receive(call, &file, call.u32(2))
}

/// sendmmsg(2)
pub fn sendmmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let flags = call.u32(3);
    each_message(call, |at| Message::send(call, &file, at, flags))
}

/// recvmmsg(2). As on Linux, the time-out is looked at after each datagram.
pub fn recvmmsg(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let mut flags = call.u32(3);
    let wait_for_one = flags & MSG_WAITFORONE != 0;
    flags &= !MSG_WAITFORONE;
    let deadline = match call.usize(4) {
        0 => None,
        at => {
            let [seconds, nanos]: [u64; 2] = user::read_words(at)?;
            if nanos >= 1_000_000_000 {
                return Err(Errno::INVAL);
            }
            let ns = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
            Some(coracle_hal::time::now_ns().saturating_add(ns))
        }
    };
    each_message(call, |at| {
        if deadline.is_some_and(|at| at <= coracle_hal::time::now_ns()) {
            flags |= n::MSG_DONTWAIT;
        }
        let mut message = Message::at(at);
        message.read()?;
        let len = message.receive(call, &file, flags)?;
        if wait_for_one {
            flags |= n::MSG_DONTWAIT;
        }
        Ok(len)
    })
}

/// Calls `f` for the place of each message of an `mmsghdr` array until one fails; gives how many succeeded, or the first's error.
fn each_message(call: &Call, mut f: impl FnMut(usize) -> SysResult) -> SysResult {
    let (base, count) = (call.usize(1), (call.u32(2) as usize).min(MAX_PIECES));
    for index in 0..count {
        let at = base.wrapping_add(index * MMSGHDR_BYTES);
        let done = f(at).and_then(|len| user::write_u32(at.wrapping_add(MMSG_LEN_AT), len as u32));
        match done {
            Ok(()) => {}
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index),
        }
        if index + 1 < count && long_call::pause_unless_killed().is_err() {
            return Ok(index + 1);
        }
    }
    Ok(count)
}

/// shutdown(2)
pub fn shutdown(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    socket_of(&file)?.shutdown(call.u32(1)).map(|()| 0)
}

/// setsockopt(2)
pub fn setsockopt(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let socket = socket_of(&file)?;
    let len = usize::try_from(call.i32(4)).map_err(|_| Errno::INVAL)?.min(OPTION_MAX);
    let mut short = [0; SHORT_OPTION];
    let mut long = Vec::new();
    let value = match short.get_mut(..len) {
        Some(value) => value,
        None => {
            long.try_resize(len, 0)?;
            &mut long[..]
        }
    };
    user::read(value, call.usize(3))?;
    socket.set_option(call.i32(1), call.i32(2), value).map(|()| 0)
}

/// getsockopt(2)
pub fn getsockopt(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    let socket = socket_of(&file)?;
    let (level, name) = (call.i32(1), call.i32(2));
    let room = usize::try_from(user::read_u32(call.usize(4))? as i32).map_err(|_| Errno::INVAL)?;
    let (domain, kind, protocol) = socket.kind();
    let value = match (level, name as u32) {
        (SOL_SOCKET, n::SO_DOMAIN) => answer(domain)?,
        (SOL_SOCKET, n::SO_TYPE) => answer(kind)?,
        (SOL_SOCKET, n::SO_PROTOCOL) => answer(protocol)?,
        (SOL_SOCKET, n::SO_PEERNAME) => socket.peer_address()?.encode().try_to_vec()?,
        // PACKET_HDRLEN is told the version.
        (SOL_PACKET, linux_raw_sys::if_packet::PACKET_HDRLEN) => {
            let given = user::read_u32(call.usize(3))?.to_le_bytes();
            socket.option_with(level, name, &given[..room.min(4)]).ok_or(Errno::NOPROTOOPT)??
        }
        _ => socket.option(level, name)?,
    };
    if let Err(error) = socket.option_read(level, name, value.len(), room) {
        user::write_u32(call.usize(4), value.len() as u32)?;
        return Err(error);
    }
    let len = value.len().min(room);
    user::write(call.usize(3), &value[..len])?;
    user::write_u32(call.usize(4), len as u32)?;
    Ok(0)
}
