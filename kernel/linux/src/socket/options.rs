//! Options of sockets.
use super::object::{file, socket_of};
use crate::call::Call;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_fallible::prelude::*;
use coracle_net::options::{SOL_SOCKET, answer};
use linux_raw_sys::net as n;

/// Longest option value that is read or written, and what nearly all fit in.
const SHORT_OPTION: usize = 32;
const OPTION_MAX: usize = 1024;
/// Level of the options of AF_PACKET.
const SOL_PACKET: i32 = n::SOL_PACKET as i32;

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
