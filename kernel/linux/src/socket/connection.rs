//! Making sockets and connections.
use super::address::{address_for, name, read_address, write_address};
use super::object::{TYPE_FLAGS, file, insert, socket_of};
use crate::call::Call;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::mm::user;
use coracle_core::net::socket::SocketAddress;
use coracle_system::socket as open;
use linux_raw_sys::net as n;

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
pub(crate) fn connect_to(file: &OpenFile, addr: usize, len: i32, nonblock: bool) -> SysResult {
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
pub(crate) fn accept_from(
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

/// shutdown(2)
pub fn shutdown(call: &Call) -> SysResult {
    let file = file(call, call.i32(0))?;
    socket_of(&file)?.shutdown(call.u32(1)).map(|()| 0)
}
