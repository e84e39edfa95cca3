//! Requests that move bytes, or make connections.
use super::buffers::{self, Taken};
use super::operation::{check_buffer, file_of, placed};
use super::run::{Outcome, limit, number};
use super::worker;
use crate::call::Call;
use crate::file::{begins, check_rw_flags, read_with, write_with};
use crate::socket::{self, KeptMessage};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{Ending, OpenFile};
use coracle_core::fs::notify;
use coracle_core::ipc::poll::Events;
use coracle_core::mm::user::Access;
use coracle_core::mm::user_buf::{KeptPieces, MAX_PIECES, UserBuf};
use coracle_core::net::socket::SocketAddress;
use coracle_core::task::thread::Thread;
use coracle_fallible::{try_arc, try_box};
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_ipc::uring::{Kept, Request, given, mark, repeats};
use coracle_uring::{Completion, Entry};
use linux_raw_sys::general as g;
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};
use linux_raw_sys::net as n;

/// The offset that stands for the position of the file.
const AT_POSITION: u64 = u64::MAX;

/// Waits for its file if there is something to wait for.
fn wait_for(open: &OpenFile, events: Events, may_wait: bool) -> Outcome {
    if may_wait || open.file.poll_source().is_none() {
        Outcome::of(Err(Errno::AGAIN))
    } else {
        Outcome::Wait(events)
    }
}

/// Whether an operation reads or writes a file.
pub fn reads_or_writes(operation: op) -> bool {
    matches!(
        operation,
        op::IORING_OP_READ
            | op::IORING_OP_WRITE
            | op::IORING_OP_READV
            | op::IORING_OP_WRITEV
            | op::IORING_OP_READ_FIXED
            | op::IORING_OP_WRITE_FIXED
    )
}

/// What a request was given by address: what it keeps since it was first tried, or else what is there now. EINVAL, EFAULT, EMSGSIZE,
/// ENOMEM.
fn kept(request: &Request, is_message: bool) -> Result<Arc<Kept>, Errno> {
    let before = request.kept.lock().clone();
    if let Some(kept) = before {
        return Ok(kept);
    }
    let (address, count) = (request.entry.address as usize, request.entry.len as usize);
    let kept = if is_message {
        let (words, pieces) = KeptMessage::read(address)?;
        Kept { pieces, header: Some((address, words)), to: None }
    } else if count > MAX_PIECES {
        return Err(Errno::INVAL);
    } else {
        Kept { pieces: KeptPieces::read(address, count)?, header: None, to: None }
    };
    let kept = try_arc(kept)?;
    *request.kept.lock() = Some(kept.clone());
    Ok(kept)
}

/// Where a send goes that names an address: kept since it was first tried, or else what is there now. EFAULT, EINVAL, ENOMEM.
fn destination(request: &Request, open: &OpenFile) -> Result<Option<SocketAddress>, Errno> {
    let entry = &request.entry;
    // No lock is held, because the program's memory is looked at.
    let kept = request.kept.lock().clone();
    match kept {
        Some(kept) => Ok(kept.to.clone()),
        None if entry.offset == 0 => Ok(None),
        None => socket::destination(open, entry.offset as usize, i32::from(entry.file_index as u16)),
    }
}

/// Keeps that, before the send waits.
fn keep_destination(request: &Request, open: &OpenFile) -> Result<(), Errno> {
    if request.entry.offset == 0 || request.kept.lock().is_some() {
        return Ok(());
    }
    let to = destination(request, open)?;
    let kept = try_arc(Kept { pieces: KeptPieces::read(0, 0)?, header: None, to })?;
    *request.kept.lock() = Some(kept);
    Ok(())
}

/// Keeps what a request was given by address, before it is left to a worker. An error in what only its file could tell is left to its
/// first try.
pub fn keep(thread: &Thread, request: &Request) -> Result<(), Errno> {
    let is = |operation: op| request.entry.opcode == operation as u8;
    if (is(op::IORING_OP_SEND) || is(op::IORING_OP_SEND_ZC))
        && let Ok(open) = file_of(thread, request)
    {
        return keep_destination(request, &open);
    }
    let is_message = is(op::IORING_OP_SENDMSG) || is(op::IORING_OP_SENDMSG_ZC) || is(op::IORING_OP_RECVMSG);
    if is_message || is(op::IORING_OP_READV) || is(op::IORING_OP_WRITEV) {
        kept(request, is_message)?;
    }
    Ok(())
}

/// Reads or writes.
pub fn read_or_write(
    thread: &Arc<Thread>,
    request: &Arc<Request>,
    operation: op,
    open: &Arc<OpenFile>,
    may_wait: bool,
) -> Outcome {
    let entry = &request.entry;
    let reads = matches!(operation, op::IORING_OP_READ | op::IORING_OP_READV | op::IORING_OP_READ_FIXED);
    if let Err(error) = check_rw_flags(entry.what_flags) {
        return Outcome::of(Err(error));
    }
    // A vector says itself how long its parts are.
    let is_vector = matches!(operation, op::IORING_OP_READV | op::IORING_OP_WRITEV);
    let taken = match buffers::take(request, entry.address, if is_vector { 0 } else { entry.len }) {
        Ok(taken) => taken,
        Err(error) => return Outcome::of(Err(error)),
    };
    let vector = match is_vector.then(|| kept(request, false)).transpose() {
        Ok(vector) => vector,
        Err(error) => return taken.done(request, Err(error), true),
    };
    let buffer = match (operation, &vector) {
        // One piece says how much of a provided buffer is wanted.
        (_, Some(vector)) if taken.is_provided() => match vector.pieces.first_len() {
            (len, 1) => Ok(UserBuf::user(taken.address, (taken.len as usize).min(len))),
            _ => Err(Errno::INVAL),
        },
        (_, Some(vector)) => Ok(vector.pieces.buffer()),
        (op::IORING_OP_READ_FIXED | op::IORING_OP_WRITE_FIXED, None) => {
            buffers::registered(request).map(|(address, len)| UserBuf::user(address, len))
        }
        _ => check_buffer(taken.address as u64, taken.len).map(|(address, len)| UserBuf::user(address, len)),
    };
    let mut bytes = match buffer {
        Ok(bytes) => bytes,
        Err(error) => return taken.done(request, Err(error), true),
    };
    let wanted = bytes.remaining();
    if !taken.is_provided() && open.seekable && begins(open, reads, entry.what_flags) {
        match begin(thread, request, open, &mut bytes, reads) {
            Ok(true) => return Outcome::AtDevice,
            Ok(false) => {}
            Err(error) => return taken.done(request, Err(error), true),
        }
    }
    let result = if reads {
        read(request, open, &mut bytes, may_wait)
    } else {
        write(request, open, &mut bytes, may_wait)
    };
    if result == Err(Errno::AGAIN) && entry.what_flags & g::RWF_NOWAIT == 0 && !open.seekable {
        taken.put_back(request);
        return wait_for(open, if reads { Events::IN } else { Events::OUT }, may_wait);
    }
    taken.done(request, result, result.is_ok_and(|moved| moved < wanted))
}

/// Where a request reads or writes; `None`: at the position.
fn offset(request: &Request) -> Result<Option<u64>, Errno> {
    match request.entry.offset {
        AT_POSITION => Ok(None),
        offset => i64::try_from(offset).map(|offset| Some(offset as u64)).map_err(|_| Errno::INVAL),
    }
}

/// Told of the end of a request that a device carries out.
struct AtDevice {
    request: Arc<Request>,
    /// A thread posts the completion: in io_uring_enter(2) alone (IORING_SETUP_DEFER_TASKRUN), or because watches of files report it.
    is_posted_later: bool,
}

impl Ending for AtDevice {
    fn ended(&self, result: SysResult) {
        let request = &self.request;
        if self.is_posted_later {
            request.device_ended(result);
        } else {
            request.ring.finish(request, number(result), 0, result.is_err());
        }
        request.pool.left_device();
    }
}

/// Has a device move all bytes, if it can.
fn begin(
    thread: &Arc<Thread>,
    request: &Arc<Request>,
    open: &Arc<OpenFile>,
    bytes: &mut UserBuf,
    reads: bool,
) -> Result<bool, Errno> {
    let Some(offset) = offset(request)? else { return Ok(false) };
    let access = if reads {
        open.check_readable()?;
        Access::Write
    } else {
        open.check_writable()?;
        Access::Read
    };
    let mut is_counted = false;
    let begun = open.begin(bytes, offset, access, &mut || {
        let is_posted_later = request.ring.setup & abi::IORING_SETUP_DEFER_TASKRUN != 0 || notify::is_on();
        let ending = try_box(AtDevice { request: request.clone(), is_posted_later })?;
        // What follows goes on when no thread of the program may look.
        if is_posted_later || request.entry.flags & (given::LINK | given::HARD_LINK) != 0 {
            worker::ensure(thread)?;
        }
        request.pool.goes_to_device();
        is_counted = true;
        // Before the device has it, which may be fast.
        limit(request);
        Ok(ending)
    });
    match begun {
        Ok(true) => request.ring.begins_at(Some(open)),
        _ if is_counted => request.pool.left_device(),
        _ => {}
    }
    begun
}

fn read(request: &Request, open: &OpenFile, dst: &mut UserBuf, may_wait: bool) -> SysResult {
    if open.seekable {
        return read_with(open, dst, offset(request)?, request.entry.what_flags);
    }
    open.check_readable()?;
    open.note_read(open.file.read(dst, 0, !may_wait))
}

fn write(request: &Request, open: &OpenFile, src: &mut UserBuf, may_wait: bool) -> SysResult {
    if open.seekable {
        return write_with(open, src, offset(request)?, request.entry.what_flags);
    }
    open.check_writable()?;
    open.note_write(open.file.write(src, 0, !may_wait))
}

/// Sends or receives, bytes or a message.
pub fn send_or_receive(
    call: &Call,
    request: &Arc<Request>,
    operation: op,
    open: &OpenFile,
    may_wait: bool,
) -> Outcome {
    let entry = &request.entry;
    const KNOWN: u16 = (abi::IORING_RECVSEND_POLL_FIRST | abi::IORING_RECV_MULTISHOT) as u16;
    let sends = !matches!(operation, op::IORING_OP_RECV | op::IORING_OP_RECVMSG);
    let is_fixed = tells_of_buffer(operation) && has(entry, abi::IORING_RECVSEND_FIXED_BUF);
    let repeats = request.repeats();
    let selects = entry.flags & given::BUFFER_SELECT != 0;
    if !tells_of_buffer(operation) && entry.priority & !KNOWN != 0
        || sends && has(entry, abi::IORING_RECV_MULTISHOT)
        || repeats && (!selects || entry.what_flags & n::MSG_WAITALL != 0)
    {
        return Outcome::of(Err(Errno::INVAL));
    }
    let events = if sends { Events::OUT } else { Events::IN };
    let waits_first = entry.priority & abi::IORING_RECVSEND_POLL_FIRST as u16 != 0;
    if waits_first && events.report(open.file.readiness()).is_empty() && !may_wait {
        return wait_for(open, events, may_wait);
    }
    let is_message = !matches!(operation, op::IORING_OP_SEND | op::IORING_OP_SEND_ZC | op::IORING_OP_RECV);
    let is_stream = socket::is_stream(open);
    let given = match is_message.then(|| kept(request, true)).transpose() {
        Ok(given) => given,
        Err(error) => return Outcome::of(Err(error)),
    };
    let message = given
        .as_ref()
        .and_then(|given| given.header.map(|(at, words)| KeptMessage::new(at, words, &given.pieces)));
    let all_of_message = is_message && is_stream && entry.what_flags & n::MSG_WAITALL != 0;
    if all_of_message && !may_wait {
        return Outcome::Punt;
    }
    loop {
        let is_nowait = entry.what_flags & n::MSG_DONTWAIT != 0;
        let cleared = if all_of_message { 0 } else { n::MSG_WAITALL };
        let flags = entry.what_flags & !cleared | n::MSG_NOSIGNAL;
        let flags = if may_wait { flags } else { flags | n::MSG_DONTWAIT };
        let taken = match buffers::take(request, entry.address, if is_message { 0 } else { entry.len }) {
            Ok(taken) => taken,
            Err(error) => return Outcome::of(Err(error)),
        };
        let moved = request.moved.load(SeqCst);
        let all = match is_fixed {
            true => buffers::registered(request),
            false => check_buffer(taken.address as u64, taken.len),
        };
        let rest = all
            .map(|(address, len)| UserBuf::user(address + moved as usize, len - (moved as usize).min(len)));
        // The last of several: its stream has ended.
        let mut is_last = false;
        let result = match (sends, &message) {
            (true, Some(message)) => message.send(call, open, flags),
            (false, Some(message)) if repeats => match message.pieces().first_len() {
                (_, 2..) => Err(Errno::INVAL),
                (len, _) => {
                    let len = if len == 0 { taken.len as usize } else { len.min(taken.len as usize) };
                    message.receive_whole(call, open, flags, taken.address, len).map(|(all, payload)| {
                        is_last = payload == 0;
                        all
                    })
                }
            },
            (_, Some(message)) if taken.is_provided() => match message.pieces().first_len() {
                (0, 0 | 1) => {
                    message.receive(call, open, flags, &mut UserBuf::user(taken.address, taken.len as usize))
                }
                (len, 1) => message.receive(
                    call,
                    open,
                    flags,
                    &mut UserBuf::user(taken.address, len.min(taken.len as usize)),
                ),
                _ => Err(Errno::INVAL),
            },
            (_, Some(message)) => message.receive(call, open, flags, &mut message.pieces().buffer()),
            (true, None) => rest.and_then(|mut src| {
                let to = destination(request, open)?;
                socket::send_bytes(open, &mut src, to.as_ref(), flags)
            }),
            (_, None) => rest.and_then(|mut dst| socket::receive_bytes(open, &mut dst, flags)),
        };
        let wants_all = entry.what_flags & n::MSG_WAITALL != 0 && !is_message && is_stream;
        match result {
            Err(Errno::AGAIN) if !is_nowait => {
                taken.put_back(request);
                if sends
                    && !is_message
                    && let Err(error) = keep_destination(request, open)
                {
                    return Outcome::of(Err(error));
                }
                return wait_for(open, events, may_wait);
            }
            Ok(more @ 1..) if wants_all && moved as usize + more < taken.len as usize => {
                request.moved.store(moved + more as u32, SeqCst);
            }
            Ok(more @ 1..) if repeats && !is_last => {
                let flags = taken.use_up();
                if !request.ring.post_more(request, more as i32, flags) {
                    return Outcome::Done(more as i32, flags, false);
                }
                if request.has_mark(mark::CANCELLED) {
                    return Outcome::of(Err(Errno::CANCELED));
                }
            }
            // What was moved before counts.
            Err(_) if moved > 0 => return taken.done(request, Ok(moved as usize), true),
            result => {
                let total = result.map(|more| moved as usize + more);
                let is_short = wants_all && total.is_ok_and(|total| total < taken.len as usize);
                return taken.done(request, total, is_short);
            }
        }
    }
}

/// Whether a flag of a send or a receive is given.
fn has(entry: &Entry, flag: u32) -> bool {
    entry.priority & flag as u16 != 0
}

/// Whether an operation tells by a second completion that its buffer may be used again.
pub fn tells_of_buffer(operation: op) -> bool {
    matches!(operation, op::IORING_OP_SEND_ZC | op::IORING_OP_SENDMSG_ZC)
}

/// Whether an entry may send without a copy. EINVAL; EOPNOTSUPP but for TCP and UDP.
fn check_zero_copy(entry: &Entry, operation: op, open: &OpenFile) -> Result<(), Errno> {
    const KNOWN: u32 =
        abi::IORING_RECVSEND_POLL_FIRST | abi::IORING_RECVSEND_FIXED_BUF | abi::IORING_SEND_ZC_REPORT_USAGE;
    let is_fixed = has(entry, abi::IORING_RECVSEND_FIXED_BUF);
    let is_message = operation == op::IORING_OP_SENDMSG_ZC;
    if entry.priority & !(KNOWN as u16) != 0
        || is_message && (is_fixed || entry.offset != 0 || entry.file_index != 0)
    {
        return Err(Errno::INVAL);
    }
    socket::may_send_zero_copy(open)
}

/// Sends, and tells when the buffer may be used again: that is at once, because the bytes are copied. It tells so also where nothing
/// was sent.
pub fn send_zero_copy(
    call: &Call,
    request: &Arc<Request>,
    operation: op,
    open: &OpenFile,
    may_wait: bool,
) -> Outcome {
    let outcome = match check_zero_copy(&request.entry, operation, open) {
        Ok(()) => send_or_receive(call, request, operation, open, may_wait),
        Err(error) => Outcome::of(Err(error)),
    };
    let Outcome::Done(result, flags, failed) = outcome else { return outcome };
    let user_data = request.user_data.load(SeqCst);
    request.ring.post(Completion { user_data, result, flags: flags | abi::IORING_CQE_F_MORE }, true);
    let reports = has(&request.entry, abi::IORING_SEND_ZC_REPORT_USAGE) && result >= 0;
    let usage = if reports { abi::IORING_NOTIF_USAGE_ZC_COPIED.cast_signed() } else { 0 };
    Outcome::Done(usage, abi::IORING_CQE_F_NOTIF, failed)
}

/// Whether an entry may accept connections. EINVAL.
pub fn check_accept(entry: &Entry) -> Result<(), Errno> {
    let repeats = repeats(entry);
    let is_placed = entry.file_index != 0;
    let is_wrong = entry.priority & !(abi::IORING_ACCEPT_MULTISHOT as u16) != 0
        || entry.len != 0
        || entry.buffer != 0
        || is_placed && entry.what_flags & g::O_CLOEXEC != 0
        || repeats && is_placed && entry.file_index != abi::IORING_FILE_INDEX_ALLOC as u32;
    if is_wrong { Err(Errno::INVAL) } else { Ok(()) }
}

/// Accepts a connection, or all that come.
pub fn accept(call: &Call, request: &Arc<Request>, open: &OpenFile, may_wait: bool) -> Outcome {
    let entry = &request.entry;
    let repeats = request.repeats();
    let name = (entry.address as usize, entry.offset as usize);
    loop {
        let accepted = socket::accept_from(call, open, name, entry.what_flags, !may_wait)
            .and_then(|fd| placed(call, request, fd));
        match accepted {
            Err(Errno::AGAIN) => return wait_for(open, Events::IN, may_wait),
            Ok(fd) if repeats => {
                if !request.ring.post_more(request, number(Ok(fd)), 0) {
                    return Outcome::of(Ok(fd));
                }
                if request.has_mark(mark::CANCELLED) {
                    return Outcome::of(Err(Errno::CANCELED));
                }
            }
            result => return Outcome::of(result),
        }
    }
}

/// Connects.
pub fn connect(request: &Request, open: &OpenFile, may_wait: bool) -> Outcome {
    let entry = &request.entry;
    if entry.len != 0 || entry.buffer != 0 || entry.what_flags != 0 || entry.file_index != 0 {
        return Outcome::of(Err(Errno::INVAL));
    }
    if request.has_mark(mark::CONNECTING) {
        return Outcome::of(socket::connected(open));
    }
    match socket::connect_to(open, entry.address as usize, entry.offset as i32, !may_wait) {
        Err(Errno::INPROGRESS) => {
            request.set_mark(mark::CONNECTING);
            wait_for(open, Events::OUT, false)
        }
        // No room in the queue of a listener (AF_UNIX): a worker waits for it.
        Err(Errno::AGAIN) if !may_wait => Outcome::Punt,
        result => Outcome::of(result),
    }
}

impl Taken {
    /// The request is complete.
    fn done(self, request: &Request, result: SysResult, is_short: bool) -> Outcome {
        let flags = match result {
            Ok(1..) => self.use_up(),
            _ => {
                self.put_back(request);
                0
            }
        };
        let result = number(result);
        Outcome::Done(result, flags, result < 0 || is_short)
    }
}
