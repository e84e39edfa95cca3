//! What requests ask for: one line for each operation (IORING_OP_*).
//!
//! Those on paths are done by the functions of the system calls that they are like, with arguments from the submission.
use super::run::Outcome;
use super::{buffers, cancel, timeout, transfer};
use crate::call::Call;
use crate::{attributes, descriptor, epoll, file, memory, path, socket};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::ipc::poll::Events;
use coracle_core::mm::user;
use coracle_core::task::thread::Thread;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_ipc::uring::{Request, Ring, given};
use coracle_uring::{Completion, Entry};
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};

/// A function of a system call.
type Handler = fn(&Call) -> SysResult;

/// Operations that programs may use (io_uring_register(2), IORING_REGISTER_PROBE).
pub const SUPPORTED: [op; 45] = [
    op::IORING_OP_NOP,
    op::IORING_OP_READV,
    op::IORING_OP_WRITEV,
    op::IORING_OP_FSYNC,
    op::IORING_OP_READ_FIXED,
    op::IORING_OP_WRITE_FIXED,
    op::IORING_OP_POLL_ADD,
    op::IORING_OP_POLL_REMOVE,
    op::IORING_OP_SYNC_FILE_RANGE,
    op::IORING_OP_SENDMSG,
    op::IORING_OP_RECVMSG,
    op::IORING_OP_TIMEOUT,
    op::IORING_OP_TIMEOUT_REMOVE,
    op::IORING_OP_ACCEPT,
    op::IORING_OP_ASYNC_CANCEL,
    op::IORING_OP_LINK_TIMEOUT,
    op::IORING_OP_CONNECT,
    op::IORING_OP_FALLOCATE,
    op::IORING_OP_OPENAT,
    op::IORING_OP_CLOSE,
    op::IORING_OP_FILES_UPDATE,
    op::IORING_OP_STATX,
    op::IORING_OP_READ,
    op::IORING_OP_WRITE,
    op::IORING_OP_FADVISE,
    op::IORING_OP_MADVISE,
    op::IORING_OP_SEND,
    op::IORING_OP_RECV,
    op::IORING_OP_OPENAT2,
    op::IORING_OP_EPOLL_CTL,
    op::IORING_OP_SPLICE,
    op::IORING_OP_PROVIDE_BUFFERS,
    op::IORING_OP_REMOVE_BUFFERS,
    op::IORING_OP_TEE,
    op::IORING_OP_SHUTDOWN,
    op::IORING_OP_RENAMEAT,
    op::IORING_OP_UNLINKAT,
    op::IORING_OP_MKDIRAT,
    op::IORING_OP_SYMLINKAT,
    op::IORING_OP_LINKAT,
    op::IORING_OP_MSG_RING,
    op::IORING_OP_SOCKET,
    op::IORING_OP_SEND_ZC,
    op::IORING_OP_SENDMSG_ZC,
    op::IORING_OP_FTRUNCATE,
];

/// The operation of an entry, if it is there.
fn operation(entry: &Entry) -> Option<op> {
    SUPPORTED.into_iter().find(|&known| known as u32 == u32::from(entry.opcode))
}

/// Whether it is over at once, so that no worker need do it.
pub fn never_waits(entry: &Entry) -> bool {
    matches!(
        operation(entry),
        None | Some(
            op::IORING_OP_NOP
                | op::IORING_OP_POLL_ADD
                | op::IORING_OP_POLL_REMOVE
                | op::IORING_OP_TIMEOUT
                | op::IORING_OP_TIMEOUT_REMOVE
                | op::IORING_OP_LINK_TIMEOUT
                | op::IORING_OP_ASYNC_CANCEL
                // What is named by paths and structures is looked at while these are as they were submitted.
                | op::IORING_OP_OPENAT
                | op::IORING_OP_OPENAT2
                | op::IORING_OP_STATX
                | op::IORING_OP_RENAMEAT
                | op::IORING_OP_UNLINKAT
                | op::IORING_OP_MKDIRAT
                | op::IORING_OP_SYMLINKAT
                | op::IORING_OP_LINKAT
                | op::IORING_OP_EPOLL_CTL
                | op::IORING_OP_CONNECT
                | op::IORING_OP_FILES_UPDATE
        )
    )
}

/// Whether it is done on a file.
fn has_file(operation: op) -> bool {
    matches!(
        operation,
        op::IORING_OP_READV
            | op::IORING_OP_WRITEV
            | op::IORING_OP_READ_FIXED
            | op::IORING_OP_WRITE_FIXED
            | op::IORING_OP_FSYNC
            | op::IORING_OP_POLL_ADD
            | op::IORING_OP_SYNC_FILE_RANGE
            | op::IORING_OP_SENDMSG
            | op::IORING_OP_RECVMSG
            | op::IORING_OP_ACCEPT
            | op::IORING_OP_CONNECT
            | op::IORING_OP_FALLOCATE
            | op::IORING_OP_READ
            | op::IORING_OP_WRITE
            | op::IORING_OP_FADVISE
            | op::IORING_OP_SEND
            | op::IORING_OP_RECV
            | op::IORING_OP_SHUTDOWN
            | op::IORING_OP_MSG_RING
            | op::IORING_OP_SEND_ZC
            | op::IORING_OP_SENDMSG_ZC
            | op::IORING_OP_FTRUNCATE
    )
}

/// Whether an attempt does not wait, but where it is marked so (`mark::PUNTED`), and cancels no other.
pub fn is_brief(request: &Request) -> bool {
    match operation(&request.entry) {
        Some(op::IORING_OP_POLL_ADD | op::IORING_OP_TIMEOUT) => true,
        // Where a file has positions, an attempt may wait for its disk.
        Some(operation) if has_file(operation) => request.open().is_none_or(|open| !open.seekable),
        _ => false,
    }
}

/// A file that an entry names by `fd`: a registered one if `fixed`.
pub fn named_file(thread: &Thread, ring: &Ring, fd: i32, fixed: bool) -> Result<Arc<OpenFile>, Errno> {
    if !fixed {
        return thread.process.descriptors.usable(fd);
    }
    let registered = ring.registered.lock();
    registered.files.get(fd as usize).cloned().flatten().ok_or(Errno::BADF)
}

/// Looks its file up, once.
pub fn file_of(thread: &Thread, request: &Request) -> Result<Arc<OpenFile>, Errno> {
    if let Some(open) = request.open() {
        return Ok(open);
    }
    let fixed = request.entry.flags & given::FIXED_FILE != 0;
    let open = named_file(thread, &request.ring, request.entry.fd, fixed)?;
    *request.file.lock() = Some(open.clone());
    Ok(open)
}

/// Reports what a device has read or written to those that watch the file (inotify(7)), and returns its result.
pub fn note_moved(request: &Request, result: SysResult) -> SysResult {
    match (request.open(), operation(&request.entry)) {
        (Some(open), Some(op::IORING_OP_READ | op::IORING_OP_READV | op::IORING_OP_READ_FIXED)) => {
            open.note_read(result)
        }
        (Some(open), _) => open.note_write(result),
        _ => result,
    }
}

/// Whether an entry may be submitted to `ring`; what is wrong with it if not (as Linux's `io_init_req` and the `prep` functions say). EINVAL,
/// EACCES, EOPNOTSUPP.
pub fn check(ring: &Ring, entry: &Entry) -> Result<(), Errno> {
    const KNOWN_FLAGS: u8 = (given::SKIP_SUCCESS << 1) - 1;
    let operation = operation(entry).ok_or(Errno::INVAL)?;
    if entry.flags & !KNOWN_FLAGS != 0 || entry.personality != 0 {
        return Err(Errno::INVAL);
    }
    if entry.flags & given::SKIP_SUCCESS != 0 {
        ring.silent.store(true, SeqCst);
    }
    if entry.flags & given::DRAIN != 0 && ring.silent.load(SeqCst) {
        return Err(Errno::OPNOTSUPP);
    }
    if entry.flags & given::BUFFER_SELECT != 0 && !buffers::may_select(operation) {
        return Err(Errno::OPNOTSUPP);
    }
    let moves_bytes = transfer::reads_or_writes(operation);
    let takes_priority = moves_bytes
        || matches!(
            operation,
            op::IORING_OP_SENDMSG
                | op::IORING_OP_RECVMSG
                | op::IORING_OP_SEND
                | op::IORING_OP_RECV
                | op::IORING_OP_ACCEPT
                | op::IORING_OP_READV
        )
        || transfer::tells_of_buffer(operation);
    if entry.priority != 0 && !takes_priority {
        return Err(Errno::INVAL);
    }
    if moves_bytes && entry.priority != 0 {
        check_priority(entry.priority)?;
    }
    if transfer::tells_of_buffer(operation) && (entry.address3 != 0 || entry.flags & given::SKIP_SUCCESS != 0)
    {
        return Err(Errno::INVAL);
    }
    if operation == op::IORING_OP_ACCEPT {
        transfer::check_accept(entry)?;
    }
    if operation == op::IORING_OP_LINK_TIMEOUT {
        super::timeout::check_limit(entry)?;
    }
    if ring.setup & abi::IORING_SETUP_IOPOLL != 0 {
        return match operation {
            op::IORING_OP_NOP
            | op::IORING_OP_PROVIDE_BUFFERS
            | op::IORING_OP_REMOVE_BUFFERS
            | op::IORING_OP_FILES_UPDATE
            | op::IORING_OP_CLOSE
            | op::IORING_OP_MSG_RING => Ok(()),
            _ if moves_bytes => Ok(()),
            _ => Err(Errno::INVAL),
        };
    }
    Ok(())
}

/// A class and a level of ioprio_set(2). EINVAL, EPERM for the real-time class (which needs CAP_SYS_NICE).
fn check_priority(priority: u16) -> Result<(), Errno> {
    const CLASS_SHIFT: u16 = 13;
    const NONE: u16 = 0;
    const IDLE: u16 = 3;
    const LEVEL: u16 = 7;
    match (priority >> CLASS_SHIFT, priority & ((1 << CLASS_SHIFT) - 1)) {
        (NONE, 0) => Ok(()),
        (NONE, _) => Err(Errno::INVAL),
        (1..=IDLE, level) if level & LEVEL == level => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Tries once. `may_wait`: it runs on a worker, which may wait for it.
pub fn attempt(thread: &Arc<Thread>, request: &Arc<Request>, may_wait: bool) -> Outcome {
    let Some(operation) = operation(&request.entry) else { return Outcome::of(Err(Errno::INVAL)) };
    let open = match has_file(operation) {
        true => match file_of(thread, request) {
            Ok(open) => Some(open),
            Err(error) => return Outcome::of(Err(error)),
        },
        false => None,
    };
    let arguments = [0; 6];
    Call::with_arguments(thread, 0, arguments, |call| match &open {
        Some(open) => on_file(call, request, operation, open, may_wait),
        None => without_file(call, request, operation, may_wait),
    })
}

/// Does what waits at most for disks: on a worker.
fn on_worker(may_wait: bool, f: impl FnOnce() -> SysResult) -> Outcome {
    if may_wait { Outcome::of(f()) } else { Outcome::Punt }
}

/// What is done on a file.
#[inline(never)]
fn on_file(
    call: &Call,
    request: &Arc<Request>,
    operation: op,
    open: &Arc<OpenFile>,
    may_wait: bool,
) -> Outcome {
    let entry = &request.entry;
    if request.ring.setup & abi::IORING_SETUP_IOPOLL != 0 && transfer::reads_or_writes(operation) {
        // No file can be polled for the end of what it does.
        return Outcome::of(Err(Errno::OPNOTSUPP));
    }
    match operation {
        op::IORING_OP_READV
        | op::IORING_OP_READ_FIXED
        | op::IORING_OP_READ
        | op::IORING_OP_WRITEV
        | op::IORING_OP_WRITE_FIXED
        | op::IORING_OP_WRITE => transfer::read_or_write(call.thread(), request, operation, open, may_wait),
        op::IORING_OP_SEND | op::IORING_OP_RECV | op::IORING_OP_SENDMSG | op::IORING_OP_RECVMSG => {
            transfer::send_or_receive(call, request, operation, open, may_wait)
        }
        op::IORING_OP_SEND_ZC | op::IORING_OP_SENDMSG_ZC => {
            transfer::send_zero_copy(call, request, operation, open, may_wait)
        }
        op::IORING_OP_ACCEPT => transfer::accept(call, request, open, may_wait),
        op::IORING_OP_CONNECT => transfer::connect(request, open, may_wait),
        op::IORING_OP_POLL_ADD => cancel::poll_add(request, open),
        op::IORING_OP_FSYNC if entry.what_flags & !abi::IORING_FSYNC_DATASYNC != 0 => {
            Outcome::of(Err(Errno::INVAL))
        }
        op::IORING_OP_FSYNC => on_worker(may_wait, || {
            let data_only = entry.what_flags & abi::IORING_FSYNC_DATASYNC != 0;
            file::sync_open(open, data_only)
        }),
        op::IORING_OP_SYNC_FILE_RANGE => on_worker(may_wait, || {
            let end = if entry.len == 0 { u64::MAX } else { entry.offset.saturating_add(entry.len.into()) };
            open.file.write_back(entry.offset, end).map(|()| 0)
        }),
        op::IORING_OP_FALLOCATE => on_worker(may_wait, || {
            file::allocate_open(open, entry.len, entry.offset as i64, entry.address as i64)
        }),
        op::IORING_OP_FTRUNCATE => on_worker(may_wait, || file::truncate_open(open, entry.offset as i64)),
        op::IORING_OP_FADVISE => {
            on_worker(may_wait, || file::advise_open(open, entry.offset, entry.len.into(), entry.what_flags))
        }
        op::IORING_OP_SHUTDOWN => Outcome::of(socket::shut(open, entry.len)),
        op::IORING_OP_MSG_RING => Outcome::of(message(request, open)),
        _ => Outcome::of(Err(Errno::INVAL)),
    }
}

/// Calls a function of a system call with these arguments.
fn like(call: &Call, handler: Handler, arguments: [u64; 6]) -> SysResult {
    Call::with_arguments(call.thread(), 0, arguments, handler)
}

/// A descriptor as an argument.
fn fd(fd: i32) -> u64 {
    fd as i64 as u64
}

/// What is done on paths, on memory, or on other requests.
#[inline(never)]
fn without_file(call: &Call, request: &Arc<Request>, operation: op, may_wait: bool) -> Outcome {
    let entry = &request.entry;
    let (len, flags) = (u64::from(entry.len), u64::from(entry.what_flags));
    let Entry { address, offset, .. } = *entry;
    match operation {
        op::IORING_OP_NOP => Outcome::of(Ok(0)),
        op::IORING_OP_POLL_REMOVE => cancel::poll_remove(request),
        op::IORING_OP_ASYNC_CANCEL => cancel::cancel(call.thread(), request),
        op::IORING_OP_TIMEOUT => timeout::timeout(request),
        op::IORING_OP_TIMEOUT_REMOVE => timeout::remove(request),
        op::IORING_OP_LINK_TIMEOUT => timeout::limit_expired(request),
        op::IORING_OP_OPENAT => Outcome::of(
            like(call, path::openat, [fd(entry.fd), address, flags, len, 0, 0])
                .and_then(|fd| placed(call, request, fd)),
        ),
        op::IORING_OP_OPENAT2 => Outcome::of(
            like(call, path::openat2, [fd(entry.fd), address, offset, len, 0, 0])
                .and_then(|fd| placed(call, request, fd)),
        ),
        op::IORING_OP_SOCKET => Outcome::of(
            like(call, socket::socket, [fd(entry.fd), offset, len, 0, 0, 0])
                .and_then(|fd| placed(call, request, fd)),
        ),
        op::IORING_OP_CLOSE if entry.file_index != 0 => Outcome::of(take_away(request)),
        op::IORING_OP_CLOSE => Outcome::of(close(call, entry.fd)),
        op::IORING_OP_FILES_UPDATE => Outcome::of(super::register::update_files(
            call.thread(),
            &request.ring,
            offset as u32,
            address as usize,
            entry.len,
        )),
        op::IORING_OP_STATX => {
            Outcome::of(like(call, attributes::statx, [fd(entry.fd), address, flags, len, offset, 0]))
        }
        op::IORING_OP_MADVISE => Outcome::of(like(call, memory::madvise, [address, len, flags, 0, 0, 0])),
        op::IORING_OP_EPOLL_CTL => {
            Outcome::of(like(call, epoll::epoll_ctl, [fd(entry.fd), len, offset, address, 0, 0]))
        }
        op::IORING_OP_SPLICE | op::IORING_OP_TEE => on_worker(may_wait, || splice(call, request, operation)),
        op::IORING_OP_PROVIDE_BUFFERS => Outcome::of(buffers::provide(request)),
        op::IORING_OP_REMOVE_BUFFERS => Outcome::of(buffers::remove(request)),
        op::IORING_OP_RENAMEAT => {
            Outcome::of(like(call, path::renameat2, [fd(entry.fd), address, len, offset, flags, 0]))
        }
        op::IORING_OP_UNLINKAT => {
            Outcome::of(like(call, path::unlinkat, [fd(entry.fd), address, flags, 0, 0, 0]))
        }
        op::IORING_OP_MKDIRAT => {
            Outcome::of(like(call, path::mkdirat, [fd(entry.fd), address, len, 0, 0, 0]))
        }
        op::IORING_OP_SYMLINKAT => {
            Outcome::of(like(call, path::symlinkat, [address, fd(entry.fd), offset, 0, 0, 0]))
        }
        op::IORING_OP_LINKAT => {
            Outcome::of(like(call, path::linkat, [fd(entry.fd), address, len, offset, flags, 0]))
        }
        _ => Outcome::of(Err(Errno::INVAL)),
    }
}

/// close(2) of a descriptor that isn't a ring's: EBADF.
fn close(call: &Call, number: i32) -> SysResult {
    let open = call.thread().process.descriptors.get(number)?;
    if super::enter::ring_of(&open).is_ok() {
        return Err(Errno::BADF);
    }
    drop(open);
    like(call, descriptor::close, [fd(number), 0, 0, 0, 0, 0])
}

/// Moves a new descriptor to the place of a registered file, if the entry names one (`file_index`), and returns what it comes
/// to.
pub fn placed(call: &Call, request: &Request, fd: usize) -> SysResult {
    let index = request.entry.file_index;
    if index == 0 {
        return Ok(fd);
    }
    let open = call.thread().process.descriptors.remove(fd as i32)?;
    place(&request.ring, index, open)
}

/// Makes a file the registered one of place `index` of `ring`, counted from 1, or of any place (IORING_FILE_INDEX_ALLOC), which is
/// then returned. ENXIO: there are no places; EINVAL: not this one; ENFILE: none is free.
fn place(ring: &Ring, index: u32, open: Arc<OpenFile>) -> SysResult {
    const ANY: u32 = abi::IORING_FILE_INDEX_ALLOC as u32;
    let mut registered = ring.registered.lock();
    let place = match index {
        ANY => registered.files.iter().position(Option::is_none).ok_or(Errno::NFILE),
        _ if registered.files.is_empty() => Err(Errno::NXIO),
        1.. if index as usize <= registered.files.len() => Ok(index as usize - 1),
        _ => Err(Errno::INVAL),
    };
    let before = match place {
        Ok(place) => registered.files[place].replace(open),
        Err(_) => Some(open),
    };
    drop(registered);
    drop(before);
    place.map(|place| if index == ANY { place } else { 0 })
}

/// Gives up a registered file (IORING_OP_CLOSE with a place).
fn take_away(request: &Request) -> SysResult {
    if request.entry.fd != 0 {
        return Err(Errno::INVAL);
    }
    let place = request.entry.file_index as usize - 1;
    let taken = {
        let mut registered = request.ring.registered.lock();
        if registered.files.is_empty() {
            return Err(Errno::NXIO);
        }
        registered.files.get_mut(place).ok_or(Errno::INVAL)?.take()
    };
    taken.map(|_| 0).ok_or(Errno::BADF)
}

/// splice(2) and tee(2). Offsets of -1 stand for none.
fn splice(call: &Call, request: &Request, operation: op) -> SysResult {
    const FIXED_INPUT: u32 = abi::SPLICE_F_FD_IN_FIXED;
    let entry = &request.entry;
    let input = named_file(
        call.thread(),
        &request.ring,
        entry.file_index as i32,
        entry.what_flags & FIXED_INPUT != 0,
    )?;
    let output = named_file(call.thread(), &request.ring, entry.fd, entry.flags & given::FIXED_FILE != 0)?;
    let (len, flags) = (entry.len as usize, entry.what_flags & !FIXED_INPUT);
    file::check_splice_flags(flags)?;
    if operation == op::IORING_OP_TEE {
        if entry.address != 0 || entry.offset != 0 {
            return Err(Errno::INVAL);
        }
        return file::tee_open(&input, &output, len, flags);
    }
    let at = |offset: u64| (offset != u64::MAX).then_some(offset);
    file::splice_open((&input, at(entry.address)), (&output, at(entry.offset)), len, flags)
}

/// Posts a completion to another ring (IORING_OP_MSG_RING), or makes a registered file one of that ring too (IORING_MSG_SEND_FD).
fn message(request: &Arc<Request>, open: &OpenFile) -> SysResult {
    const BADFD: Errno = Errno::new(linux_raw_sys::errno::EBADFD as u16);
    const SEND_FD: u64 = abi::io_uring_msg_ring_flags::IORING_MSG_SEND_FD as u64;
    let entry = &request.entry;
    let has = |flag| entry.what_flags & flag != 0;
    let ring = open.file.as_any().downcast_ref::<Ring>().ok_or(BADFD)?;
    let known = abi::IORING_MSG_RING_CQE_SKIP | abi::IORING_MSG_RING_FLAGS_PASS;
    if entry.buffer != 0 || entry.what_flags & !known != 0 || entry.address > SEND_FD {
        return Err(Errno::INVAL);
    }
    let sends_file = entry.address == SEND_FD;
    if sends_file && (entry.len != 0 || core::ptr::eq(ring, &*request.ring)) {
        return Err(Errno::INVAL);
    }
    if !ring.enabled.load(SeqCst) {
        return Err(BADFD);
    }
    let mut result = entry.len as usize;
    if sends_file {
        let sent = request.ring.registered.lock().files.get(entry.address3 as usize).cloned().flatten();
        result = place(ring, entry.file_index, sent.ok_or(Errno::BADF)?)?;
    }
    if !sends_file || !has(abi::IORING_MSG_RING_CQE_SKIP) {
        let passes = !sends_file && has(abi::IORING_MSG_RING_FLAGS_PASS);
        let flags = if passes { entry.file_index } else { 0 };
        ring.post(Completion { user_data: entry.offset, result: result as i32, flags }, true);
        ring.announce();
    }
    Ok(if sends_file { result } else { 0 })
}

/// Events that a poll asks for, from the word of a submission.
pub fn poll_events(word: u32) -> Events {
    Events::from_bits_truncate(word)
}

/// A vector or a buffer of the program. EFAULT if it can't be its memory.
pub fn check_buffer(address: u64, len: u32) -> Result<(usize, usize), Errno> {
    user::check_range(address as usize, len as usize)?;
    Ok((address as usize, len as usize))
}
