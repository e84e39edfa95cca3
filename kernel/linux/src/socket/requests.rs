//! What requests of io_uring do on sockets.
use super::address::read_destination;
use super::object::socket_of;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::SocketAddress;
use coracle_net::options::{SOL_SOCKET, SOL_TCP, SOL_UDP};
use linux_raw_sys::net as n;

/// The address of `len` bytes at `addr` that a send is to go to. ENOTSOCK, EFAULT, EINVAL.
pub(crate) fn destination(file: &OpenFile, addr: usize, len: i32) -> Result<Option<SocketAddress>, Errno> {
    read_destination(socket_of(file)?, addr, len)
}

/// Sends bytes, without waiting if `flags` say so (MSG_DONTWAIT), to that address. No SIGPIPE.
pub(crate) fn send_bytes(
    file: &OpenFile,
    src: &mut UserBuf,
    to: Option<&SocketAddress>,
    flags: u32,
) -> SysResult {
    socket_of(file)?.send(src, to, flags, None)
}

/// Receives bytes, without waiting if `flags` say so (MSG_DONTWAIT).
pub(crate) fn receive_bytes(file: &OpenFile, dst: &mut UserBuf, flags: u32) -> SysResult {
    Ok(socket_of(file)?.receive(dst, flags)?.len)
}

/// Whether the kernel could send from the program's memory (Linux's SOCK_SUPPORT_ZC). ENOTSOCK, EOPNOTSUPP.
pub(crate) fn may_send_zero_copy(file: &OpenFile) -> Result<(), Errno> {
    match socket_of(file)?.kind() {
        (family, _, SOL_TCP | SOL_UDP) if [n::AF_INET, n::AF_INET6].contains(&(family as u32)) => Ok(()),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Whether it has no boundaries between messages.
pub(crate) fn is_stream(file: &OpenFile) -> bool {
    file.file.as_socket().is_some_and(|socket| socket.kind().1 == n::SOCK_STREAM as i32)
}

/// How an attempt to connect has ended (SO_ERROR).
pub(crate) fn connected(file: &OpenFile) -> SysResult {
    let value = socket_of(file)?.option(SOL_SOCKET, n::SO_ERROR as i32)?;
    match value.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes)) {
        0 => Ok(0),
        number => Err(Errno::new(number as u16)),
    }
}

/// Ends one direction of a connection, or both (shutdown(2)).
pub(crate) fn shut(file: &OpenFile, how: u32) -> SysResult {
    socket_of(file)?.shutdown(how).map(|()| 0)
}
