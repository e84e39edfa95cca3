//! Sending and receiving bytes.
use super::address::{is_inet_datagram, read_destination, write_address};
use super::object::{effective, file, socket_of, with_sigpipe};
use crate::call::Call;
use coracle_core::errno::SysResult;
use coracle_core::mm::user_buf::UserBuf;

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
