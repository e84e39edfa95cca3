//! Addresses, as the calls get them from a program and give them.
use crate::call::Call;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_core::net::sockaddr::{ADDRESS_MAX, INET_BYTES, INET6_MIN_BYTES};
use coracle_core::net::socket::{Socket, SocketAddress};
use linux_raw_sys::net as n;

/// The address of `len` bytes at `addr`. EINVAL, EFAULT, EAFNOSUPPORT.
pub(super) fn read_address(addr: usize, len: i32) -> Result<SocketAddress, Errno> {
    let len = usize::try_from(len).ok().filter(|len| *len <= ADDRESS_MAX).ok_or(Errno::INVAL)?;
    let mut bytes = [0; ADDRESS_MAX];
    user::read(&mut bytes[..len], addr)?;
    SocketAddress::parse(&bytes[..len])
}

/// The address that was `given` in `len` bytes, for bind(2), connect(2) or sendto(2) of a socket. The families of the Internet look at
/// its length before they look at its family: EINVAL, not EAFNOSUPPORT, if it is too short.
pub(super) fn address_for(
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
pub(super) fn read_destination(
    socket: &dyn Socket,
    addr: usize,
    len: i32,
) -> Result<Option<SocketAddress>, Errno> {
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
pub(super) fn write_address(
    addr: usize,
    len_at: usize,
    address: Option<&SocketAddress>,
) -> Result<(), Errno> {
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

/// Writes the address that getsockname(2) or getpeername(2) asks for. EFAULT.
pub(super) fn name(call: &Call, address: &SocketAddress) -> SysResult {
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

/// Whether it is a socket for datagrams of the Internet.
#[cold]
pub(super) fn is_inet_datagram(socket: &dyn Socket) -> bool {
    let (family, kind, _) = socket.kind();
    kind == n::SOCK_DGRAM as i32 && family != n::AF_UNIX as i32
}
