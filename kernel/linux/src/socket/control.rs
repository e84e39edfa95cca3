//! Control data of messages (cmsg(3)).
use super::message::Message;
use super::object::file;
use crate::call::Call;
use crate::identity::{KEEP, machine_id};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::access::capability;
use coracle_core::mm::user;
use coracle_core::net::socket::{
    Arrival, Control, DatagramInfo, PKTINFO_BYTES, PKTINFO6_BYTES, PacketInfo, PacketInfo6, Received, Socket,
    SocketAddress,
};
use coracle_core::task::pid_space;
use coracle_core::task::user_space::Kind;
use coracle_core::time::clock;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_ipc::unix;
use coracle_ipc::uring::Ring;
use coracle_net::options::{SOL_IP, SOL_IPV6, SOL_UDP};
use coracle_net::udp::UDP_SEGMENT;
use core::net::SocketAddr;
use linux_raw_sys::net as n;

/// Longest control data (net.core.optmem_max), and most descriptors in it (SCM_MAX_FD).
const CONTROL_MAX: usize = 20480;
const RIGHTS_MAX: usize = 253;
/// SCM_RIGHTS, SCM_CREDENTIALS (unix(7)).
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Level of control data that concerns IP (ip(7)).
const IPPROTO_IP: u32 = SOL_IP as u32;
const IPPROTO_IPV6: u32 = SOL_IPV6 as u32;
const IPPROTO_UDP: u32 = SOL_UDP as u32;
/// Bytes of `struct cmsghdr`, and its alignment.
const CMSG_HEADER: usize = 16;
const CMSG_ALIGN: usize = 8;

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
    /// The control data that goes along with the bytes: descriptors (SCM_RIGHTS), and the way of a datagram.
    pub(super) fn given_control(&self, call: &Call, socket: &dyn Socket) -> Result<Control, Errno> {
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
                // The time has no effect without a queueing discipline that uses it (tc-etf(8)).
                (n::SOL_SOCKET, n::SO_TXTIME)
                    if data.len() == size_of::<u64>() && socket.takes_departures() => {}
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

    /// Writes control data that came along; gives its length and the flags to report. The message is taken already, so what
    /// there is no memory for counts as cut off (MSG_CTRUNC), as what there is no room for.
    pub(super) fn give_control(
        &self,
        call: &Call,
        mut received: Received,
        flags: u32,
    ) -> Result<(usize, u32), Errno> {
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
