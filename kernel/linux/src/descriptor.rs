//! Descriptors: closing and duplicating them, fcntl(2), and what is made without a path.
use super::call::Call;
use super::file::{any_file, open_file};
use super::seals;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::fs::leases;
use coracle_core::fs::locks::{self, Kind};
use coracle_core::fs::notify;
use coracle_core::fs::signal_io::Owner;
use coracle_core::ipc::eventfd::EventFd;
use coracle_core::ipc::pipe::{Pipe, PipeEnd};
use coracle_core::mm::user;
use coracle_core::task::later;
use coracle_core::task::{pid_space, process};
use coracle_fallible::{Text, try_arc, try_arc_bytes};
use coracle_fs::memory::{MemoryFile, Node, SecretFile};
use coracle_ipc::unix;
use coracle_system::root::nameless_fs;
use coracle_vfs_core::locks::Lock;
use linux_raw_sys::general::*;

/// Flags that F_SETFL changes.
const SETTABLE: u32 = O_APPEND | O_DIRECT | O_NOATIME | O_NONBLOCK;
/// close_range(2): close nothing, mark for exec.
const CLOSE_RANGE_CLOEXEC: u32 = 4;
/// close_range(2): in a table of the process's own.
const CLOSE_RANGE_UNSHARE: u32 = 2;
/// Longest name that memfd_create(2) takes.
const MEMFD_NAME_MAX: usize = 249;
/// Set in fcntl's answer as the size of files is always 64 bits (O_LARGEFILE, invisible to 64-bit programs but told).
const LARGEFILE: u32 = 0o100000;

/// A new description for `file`, and a descriptor for it: O_CLOEXEC and O_NONBLOCK count of `flags`.
pub fn install(call: &Call, file: Arc<dyn File>, flags: u32) -> SysResult {
    let open = OpenFile::new(file, flags & !O_CLOEXEC)?;
    let fd = call.thread().process.descriptors.insert(open, flags & O_CLOEXEC != 0, 0)?;
    Ok(fd as usize)
}

/// A descriptor was closed: lets go of its description, and of what that brings along.
fn closed(call: &Call, open: Arc<OpenFile>) {
    open.descriptor_closed(call.thread().process.pid);
    // The descriptor was the last one, unless another call uses the description at this moment.
    if Arc::strong_count(&open) == 1 {
        open.file.linger();
    }
    coracle_core::fs::notify::closed(&open);
    unix::let_go(open);
    later::settle();
    coracle_core::fs::notify::settle();
}

/// close(2).
pub fn close(call: &Call) -> SysResult {
    let open = call.thread().process.descriptors.remove(call.i32(0))?;
    closed(call, open);
    Ok(0)
}
/// close_range(2).
pub fn close_range(call: &Call) -> SysResult {
    let (first, last, flags) = (call.u32(0), call.u32(1), call.u32(2));
    if first > last || flags & !(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) != 0 {
        return Err(Errno::INVAL);
    }
    let descriptors = &call.thread().process.descriptors;
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        descriptors.unshare()?;
    }
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        descriptors.mark_range(first, last);
    } else {
        descriptors.remove_range(first, last, |open| closed(call, open));
    }
    Ok(0)
}
/// dup(2).
pub fn dup(call: &Call) -> SysResult {
    let open = any_file(call, 0)?;
    Ok(call.thread().process.descriptors.insert(open, false, 0)? as usize)
}
fn dup_to(call: &Call, close_on_exec: bool) -> SysResult {
    let open = any_file(call, 0)?;
    let to = call.i32(1);
    if let Some(old) = call.thread().process.descriptors.replace(to, open, close_on_exec)? {
        closed(call, old);
    }
    Ok(to as usize)
}
/// dup2(2).
pub fn dup2(call: &Call) -> SysResult {
    if call.i32(0) == call.i32(1) {
        return any_file(call, 0).map(|_| call.usize(1));
    }
    dup_to(call, false)
}
/// dup3(2).
pub fn dup3(call: &Call) -> SysResult {
    let flags = call.u32(2);
    if flags & !O_CLOEXEC != 0 || call.i32(0) == call.i32(1) {
        return Err(Errno::INVAL);
    }
    dup_to(call, flags & O_CLOEXEC != 0)
}

/// Since Linux 6.12.
const F_CREATED_QUERY: u32 = F_LINUX_SPECIFIC_BASE + 4;

/// fcntl(2).
pub fn fcntl(call: &Call) -> SysResult {
    let open = any_file(call, 0)?;
    let (fd, argument) = (call.i32(0), call.u32(2));
    let descriptors = &call.thread().process.descriptors;
    let command = call.u32(1);
    let needs_file = !matches!(command, F_DUPFD | F_DUPFD_CLOEXEC | F_GETFD | F_SETFD | F_GETFL);
    if needs_file && open.flags() & O_PATH != 0 {
        return Err(Errno::BADF);
    }
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            if argument >= descriptors.limit() {
                return Err(Errno::INVAL);
            }
            Ok(descriptors.insert(open, command == F_DUPFD_CLOEXEC, argument as i32)? as usize)
        }
        F_GETFD => Ok(if descriptors.is_close_on_exec(fd)? { FD_CLOEXEC as usize } else { 0 }),
        F_SETFD => {
            descriptors.set_close_on_exec(fd, argument & FD_CLOEXEC != 0)?;
            Ok(0)
        }
        F_GETFL => {
            let large = if open.seekable { LARGEFILE } else { 0 };
            Ok((open.flags() | large) as usize)
        }
        F_SETFL => {
            // Where no signals are sent, the flag is not kept either.
            open.set_asynchronous(fd, argument & FASYNC != 0)?;
            if let Some(end) = open.file.as_any().downcast_ref::<PipeEnd>() {
                end.set_packets(argument & O_DIRECT != 0);
            }
            let kept = open.flags() & !SETTABLE;
            open.flags.store(kept | argument & SETTABLE, coracle_hal::sync::atomic::Ordering::Relaxed);
            Ok(0)
        }
        F_SETLK | F_SETLKW | F_GETLK | F_OFD_SETLK | F_OFD_SETLKW | F_OFD_GETLK => {
            record_lock(call, &open, command)
        }
        F_GETPIPE_SZ => Ok(pipe_of(&open)?.capacity()),
        F_SETPIPE_SZ => pipe_of(&open)?.set_capacity(argument as usize),
        F_GET_SEALS => Ok(seals::content(&open.file).ok_or(Errno::INVAL)?.seals() as usize),
        F_ADD_SEALS => seals::add(&open, argument).map(|()| 0),
        F_GETOWN => Ok(owner_number(&open) as usize),
        F_SETOWN => open.set_owner(owner_of_number(argument as i32)?).map(|()| 0),
        F_GETOWN_EX => {
            let (kind, id) = open.signal_io.owner().id();
            let id = pid_space::seen(id);
            user::write_u64(call.usize(2), u64::from(kind) | u64::from(id as u32) << 32).map(|()| 0)
        }
        F_SETOWN_EX => {
            let [kind, id] = halves(user::read_u64(call.usize(2))?);
            let id = if id == 0 { Some(0) } else { pid_space::named(id as i32) };
            // No id of the machine, where there is none: a type that is unknown is the first error.
            open.set_owner(Owner::new(kind, id.unwrap_or(process::PID_MAX))?).map(|()| 0)
        }
        F_CREATED_QUERY => Ok(usize::from(open.created.load(coracle_hal::sync::atomic::Ordering::Relaxed))),
        F_GETSIG => Ok(open.signal_io.signal() as usize),
        F_NOTIFY => notify::request(&open, call.thread().process.pid, fd, argument).map(|()| 0),
        F_SETLEASE => leases::set(&open, fd, argument).map(|()| 0),
        F_GETLEASE => leases::get(&open).map(|kind| kind as usize),
        F_SETSIG => open.signal_io.set_signal(argument).map(|()| 0),
        _ => Err(Errno::INVAL),
    }
}

/// The owner of F_SETOWN: a process, or a group by its negative, as the program calls them. EINVAL, ESRCH.
pub(super) fn owner_of_number(number: i32) -> Result<Owner, Errno> {
    let machine = match number {
        i32::MIN | 0 => number,
        1.. => pid_space::named(number).ok_or(Errno::SRCH)?,
        _ => -pid_space::named(-number).ok_or(Errno::SRCH)?,
    };
    Owner::from_number(machine)
}

/// As F_GETOWN returns it: a group as its negative.
pub(super) fn owner_number(open: &OpenFile) -> i32 {
    let number = open.signal_io.owner().number();
    if number < 0 { -pid_space::seen(-number) } else { pid_space::seen(number) }
}

/// The members of a `struct f_owner_ex`: type and id.
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

fn pipe_of(open: &Arc<OpenFile>) -> Result<&Arc<Pipe>, Errno> {
    open.file.as_any().downcast_ref::<PipeEnd>().map(PipeEnd::pipe).ok_or(Errno::BADF)
}
/// `struct flock` on x86-64: l_type and l_whence, l_start, l_len, l_pid.
const FLOCK_SIZE: usize = 32;

fn record_lock(call: &Call, open: &Arc<OpenFile>, command: u32) -> SysResult {
    let addr = call.usize(2);
    let mut bytes = [0; FLOCK_SIZE];
    user::read(&mut bytes, addr)?;
    let short = |at: usize| i16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| i64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
    let (kind, start, len, pid) = (short(0) as u32, long(8), long(16), long(24) as i32);
    let base = match short(2) as u32 {
        SEEK_SET => 0,
        SEEK_CUR => *open.position.lock() as i64,
        SEEK_END => open.file.size() as i64,
        _ => return Err(Errno::INVAL),
    };
    let start = base.checked_add(start).ok_or(Errno::OVERFLOW)?;
    let (first, last) = match len {
        0 => (start, i64::MAX),
        1.. => (start, start.checked_add(len - 1).ok_or(Errno::OVERFLOW)?),
        _ => (start.checked_add(len).ok_or(Errno::INVAL)?, start - 1),
    };
    if first < 0 {
        return Err(Errno::INVAL);
    }
    let last = if len == 0 { u64::MAX } else { last as u64 };
    let first = first as u64;
    let own = matches!(command, F_OFD_SETLK | F_OFD_SETLKW | F_OFD_GETLK);
    if own && pid != 0 {
        return Err(Errno::INVAL);
    }
    let owner =
        if own { locks::description_owner(open) } else { locks::process_owner(call.thread().process.pid) };
    let lock = Lock { owner, first, last, exclusive: kind == F_WRLCK, pid: call.thread().process.pid };
    if matches!(command, F_GETLK | F_OFD_GETLK) {
        let found = match kind {
            F_RDLCK | F_WRLCK => locks::conflict(open, Kind::Record, &lock)?,
            // The description's own locks are asked for.
            F_UNLCK if command == F_OFD_GETLK => locks::held(open, Kind::Record, owner, first, last)?,
            _ => return Err(Errno::INVAL),
        };
        match found {
            None => bytes[0..2].copy_from_slice(&(F_UNLCK as u16).to_le_bytes()),
            Some(held) => {
                let kind = if held.exclusive { F_WRLCK } else { F_RDLCK };
                let len = if held.last == u64::MAX { 0 } else { held.last - held.first + 1 };
                // Odd owners are descriptions, which have no pid.
                let pid = if held.owner & 1 == 0 { pid_space::seen((held.owner >> 1) as i32) } else { -1 };
                bytes[0..2].copy_from_slice(&(kind as u16).to_le_bytes());
                bytes[2..4].copy_from_slice(&(SEEK_SET as u16).to_le_bytes());
                bytes[8..16].copy_from_slice(&held.first.to_le_bytes());
                bytes[16..24].copy_from_slice(&len.to_le_bytes());
                bytes[24..28].copy_from_slice(&pid.to_le_bytes());
            }
        }
        user::write(addr, &bytes)?;
        return Ok(0);
    }
    match kind {
        F_RDLCK => open.check_readable()?,
        F_WRLCK => open.check_writable()?,
        F_UNLCK => {
            locks::clear(open, Kind::Record, owner, first, last)?;
            return Ok(0);
        }
        _ => return Err(Errno::INVAL),
    }
    locks::set(open, Kind::Record, lock, matches!(command, F_SETLKW | F_OFD_SETLKW))?;
    Ok(0)
}

/// flock(2).
pub fn flock(call: &Call) -> SysResult {
    let open = open_file(call, 0)?;
    let operation = call.u32(1);
    if operation & LOCK_MAND != 0 {
        // Mandatory share locks are gone from Linux, which takes the call and does nothing.
        return Ok(0);
    }
    let owner = locks::description_owner(&open);
    let exclusive = match operation & !LOCK_NB {
        LOCK_SH => false,
        LOCK_EX => true,
        LOCK_UN => {
            locks::clear(&open, Kind::Whole, owner, 0, u64::MAX)?;
            return Ok(0);
        }
        _ => return Err(Errno::INVAL),
    };
    let lock = Lock { owner, first: 0, last: u64::MAX, exclusive, pid: call.thread().process.pid };
    locks::set(&open, Kind::Whole, lock, operation & LOCK_NB == 0)?;
    Ok(0)
}

fn make_pipe(call: &Call, flags: u32) -> SysResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::INVAL);
    }
    let (reader, writer) = Pipe::pair()?;
    let descriptors = &call.thread().process.descriptors;
    let status = flags & O_NONBLOCK;
    let close_on_exec = flags & O_CLOEXEC != 0;
    // It is the writer that makes packets.
    let packets = flags & O_DIRECT;
    writer.set_packets(packets != 0);
    // Both are descriptions from here on: letting go of one closes it.
    let (reader, writer) =
        (OpenFile::new(reader, O_RDONLY | status)?, OpenFile::new(writer, O_WRONLY | status | packets)?);
    let a = descriptors.insert(reader, close_on_exec, 0)?;
    let result = descriptors.insert(writer, close_on_exec, 0).and_then(|b| {
        let pair = a as u64 | (b as u64) << 32;
        user::write_u64(call.usize(0), pair).inspect_err(|_| drop(descriptors.remove(b)))
    });
    if let Err(error) = result {
        drop(descriptors.remove(a));
        return Err(error);
    }
    Ok(0)
}
/// pipe(2).
pub fn pipe(call: &Call) -> SysResult {
    make_pipe(call, 0)
}
/// pipe2(2).
pub fn pipe2(call: &Call) -> SysResult {
    let flags = call.u32(1);
    make_pipe(call, flags)
}

/// eventfd(2).
pub fn eventfd(call: &Call) -> SysResult {
    install(call, EventFd::new(call.u32(0), false)?, O_RDWR)
}
/// eventfd2(2).
pub fn eventfd2(call: &Call) -> SysResult {
    let flags = call.u32(1);
    if flags & !(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    install(call, EventFd::new(call.u32(0), flags & EFD_SEMAPHORE != 0)?, O_RDWR | flags & !EFD_SEMAPHORE)
}

/// memfd_create(2).
pub fn memfd_create(call: &Call) -> SysResult {
    let flags = call.u32(1);
    const BOTH: u32 = MFD_NOEXEC_SEAL | MFD_EXEC;
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | BOTH) != 0 || flags & BOTH == BOTH {
        return Err(Errno::INVAL);
    }
    let name = user::read_string(call.usize(0), MEMFD_NAME_MAX + 1, Errno::INVAL)?;
    let mode = if flags & MFD_NOEXEC_SEAL != 0 { 0o666 } else { 0o777 };
    let node = Node::nameless_file(nameless_fs()?, mode)?;
    if flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) != 0
        && let Some(content) = node.content()
    {
        content.remove_seals(F_SEAL_SEAL);
        if flags & MFD_NOEXEC_SEAL != 0 {
            content.add_seals(F_SEAL_EXEC)?;
        }
    }
    let mut label = Text::new();
    label.push(b"memfd:")?;
    label.push(&name)?;
    let label = try_arc_bytes(label.as_bytes())?;
    let close_on_exec = if flags & MFD_CLOEXEC != 0 { O_CLOEXEC } else { 0 };
    install(call, try_arc(MemoryFile::nameless(node, label)?)?, O_RDWR | close_on_exec)
}

/// memfd_secret(2).
pub fn memfd_secret(call: &Call) -> SysResult {
    let flags = call.u32(0);
    if flags & !O_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    install(call, SecretFile::new(nameless_fs()?)?, O_RDWR | flags)
}
