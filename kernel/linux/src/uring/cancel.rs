//! Polls, and requests that end others.
use super::operation::{is_brief, named_file, poll_events};
use super::run::Outcome;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::ipc::poll::{Events, block_until};
use coracle_core::mm::user;
use coracle_core::task::thread::Thread;
use coracle_core::time::wall::Deadline;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_hal::time::now_ns;
use coracle_ipc::uring::{Request, Ring, State, mark};
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};

/// Nanoseconds of a second.
const NS_PER_SECOND: u64 = 1_000_000_000;

/// Waits for events of a file, once or again and again (IORING_POLL_ADD_MULTI).
pub fn poll_add(request: &Arc<Request>, open: &OpenFile) -> Outcome {
    let entry = &request.entry;
    if entry.offset != 0
        || entry.address != 0
        || entry.buffer != 0
        || entry.len & !abi::IORING_POLL_ADD_MULTI != 0
    {
        return Outcome::of(Err(Errno::INVAL));
    }
    if request.events.load(SeqCst) == 0 {
        request.events.store(entry.what_flags, SeqCst);
    }
    let wanted = poll_events(request.events.load(SeqCst));
    let repeats = request.repeats();
    if repeats && let Err(error) = request.subscribe(open, wanted) {
        return Outcome::of(Err(error));
    }
    // What comes from here on is looked at again.
    let is_woken = request.take_mark(mark::WOKEN);
    let found = wanted.report(open.file.readiness());
    if found.is_empty() {
        return if open.file.poll_source().is_some() { Outcome::Wait(wanted) } else { Outcome::Sleep };
    }
    if !repeats {
        return Outcome::Done(found.bits() as i32, 0, false);
    }
    // An edge: what is ready now is told once, and again when the file says so.
    let is_new = request.moved.swap(found.bits(), SeqCst) != found.bits() || is_woken;
    if is_new && !request.ring.post_more(request, found.bits() as i32, 0) {
        return Outcome::Done(found.bits() as i32, 0, false);
    }
    Outcome::WaitEdge(wanted)
}

/// Ends or changes a poll (IORING_OP_POLL_REMOVE).
pub fn poll_remove(request: &Arc<Request>) -> Outcome {
    Outcome::of(change_poll(request))
}

fn change_poll(request: &Arc<Request>) -> SysResult {
    let entry = &request.entry;
    const CHANGES: u32 = abi::IORING_POLL_UPDATE_EVENTS | abi::IORING_POLL_UPDATE_USER_DATA;
    if entry.len & !(CHANGES | abi::IORING_POLL_ADD_MULTI) != 0 || entry.buffer != 0 {
        return Err(Errno::INVAL);
    }
    if entry.len & CHANGES == 0 && (entry.offset != 0 || entry.len != 0) {
        return Err(Errno::INVAL);
    }
    let is_poll = |other: &Request| other.entry.opcode == op::IORING_OP_POLL_ADD as u8;
    let poll = request.ring.find((0, 0), Some(entry.address), &is_poll).ok_or(Errno::NOENT)?;
    if entry.len & CHANGES == 0 {
        return end(&poll).map(|()| 0);
    }
    if !poll.moves(State::Armed, State::Queued) {
        return Err(Errno::ALREADY);
    }
    if entry.len & abi::IORING_POLL_UPDATE_EVENTS != 0 {
        poll.events.store(entry.what_flags, SeqCst);
    }
    if entry.len & abi::IORING_POLL_UPDATE_USER_DATA != 0 {
        request.ring.set_user_data(&poll, entry.offset)?;
    }
    // It is looked at anew, with what it waits for now.
    poll.unsubscribe();
    poll.moved.store(Events::empty().bits(), SeqCst);
    poll.pool.push_ready(poll.clone());
    Ok(0)
}

/// Cancels a request. One that is being tried, and does not wait there, ends or begins to wait soon, which the caller waits for. (On Linux
/// such a request is tried under the ring's lock, and no cancellation finds it running.) EALREADY: it may run for long; ENOENT: it has ended.
///
/// Those that are waited for cancel none, so that no two wait for each other.
#[inline(never)]
pub fn end(request: &Arc<Request>) -> Result<(), Errno> {
    loop {
        match request.ring.cancel(request) {
            Err(Errno::ALREADY) if is_brief(request) && !request.has_mark(mark::PUNTED) => {
                request.wait_while_it_runs();
            }
            // The thread that ran it has seen that it is to end, and this is the first to hear of that.
            Err(Errno::NOENT) if request.take_mark(mark::HEEDED) => return Ok(()),
            result => return result,
        }
    }
}

/// Cancels requests (IORING_OP_ASYNC_CANCEL): one that tells of itself by a number, all on a file, or any.
pub fn cancel(thread: &Thread, request: &Arc<Request>) -> Outcome {
    let entry = &request.entry;
    if entry.offset != 0 {
        return Outcome::of(Err(Errno::INVAL));
    }
    let which =
        Which { flags: entry.what_flags, user_data: entry.address, fd: entry.fd, operation: entry.len };
    Outcome::of(cancel_matching(thread, &request.ring, &which, Some(request.number)))
}

/// Cancels requests, and waits for the end of those that run (io_uring_register(2), IORING_REGISTER_SYNC_CANCEL, `struct
/// io_uring_sync_cancel_reg`). ETIME.
pub fn cancel_and_wait(thread: &Thread, ring: &Ring, at: usize, count: u32) -> SysResult {
    /// Words of the structure.
    const WORDS: usize = 8;
    /// Both words of a time that does not end.
    const NEVER: u64 = u64::MAX;
    /// Where the operation's number ends in its word.
    const OPERATION_BITS: u32 = 8;
    if count != 1 || at == 0 {
        return Err(Errno::INVAL);
    }
    let [user_data, file, seconds, nanoseconds, operation, reserved @ ..]: [u64; WORDS] =
        user::read_words(at)?;
    if operation >> OPERATION_BITS != 0 || reserved != [0; 3] {
        return Err(Errno::INVAL);
    }
    let (fd, flags) = (file as i32, (file >> 32) as u32);
    let which = Which { flags, user_data, fd, operation: operation as u32 };
    let first = cancel_matching(thread, ring, &which, None);
    let Some(source) = File::poll_source(ring).filter(|_| first == Err(Errno::ALREADY)) else { return first };
    let ends = (seconds, nanoseconds) != (NEVER, NEVER);
    let time_ns = seconds.saturating_mul(NS_PER_SECOND).saturating_add(nanoseconds);
    let deadline = ends.then(|| Deadline::Boot(now_ns().saturating_add(time_ns)));
    let ended = block_until(source, Events::IN, false, deadline, || {
        match cancel_matching(thread, ring, &which, None) {
            Err(Errno::ALREADY) => Err(Errno::AGAIN),
            result => result,
        }
    });
    match ended {
        Ok(_) | Err(Errno::NOENT) => Ok(0),
        Err(Errno::AGAIN) => Err(Errno::TIME),
        other => other,
    }
}

/// Which requests are cancelled.
struct Which {
    /// IORING_ASYNC_CANCEL_*.
    flags: u32,
    user_data: u64,
    fd: i32,
    operation: u32,
}

/// Cancels those of a ring but for the one of number `own`; returns how many, where several may be. ENOENT, EALREADY.
fn cancel_matching(thread: &Thread, ring: &Ring, which: &Which, own: Option<u64>) -> SysResult {
    let flags = which.flags;
    let has = |flag| flags & flag != 0;
    const KNOWN: u32 = abi::IORING_ASYNC_CANCEL_ALL
        | abi::IORING_ASYNC_CANCEL_FD
        | abi::IORING_ASYNC_CANCEL_ANY
        | abi::IORING_ASYNC_CANCEL_FD_FIXED
        | abi::IORING_ASYNC_CANCEL_USERDATA
        | abi::IORING_ASYNC_CANCEL_OP;
    if flags & !KNOWN != 0
        || has(abi::IORING_ASYNC_CANCEL_ANY) && has(abi::IORING_ASYNC_CANCEL_FD)
        || (!has(abi::IORING_ASYNC_CANCEL_OP) && which.operation != 0)
    {
        return Err(Errno::INVAL);
    }
    let by_file = has(abi::IORING_ASYNC_CANCEL_FD);
    let open = match by_file {
        true => Some(named_file(thread, ring, which.fd, has(abi::IORING_ASYNC_CANCEL_FD_FIXED))?),
        false => None,
    };
    let by_data = has(abi::IORING_ASYNC_CANCEL_USERDATA)
        || flags & (abi::IORING_ASYNC_CANCEL_FD | abi::IORING_ASYNC_CANCEL_ANY | abi::IORING_ASYNC_CANCEL_OP)
            == 0;
    let wanted = |other: &Request| {
        Some(other.number) != own
            && (!has(abi::IORING_ASYNC_CANCEL_OP) || u32::from(other.entry.opcode) == which.operation)
            && open.as_ref().is_none_or(|open| other.open().is_some_and(|other| Arc::ptr_eq(open, &other)))
    };
    let wants_all = has(abi::IORING_ASYNC_CANCEL_ALL) || has(abi::IORING_ASYNC_CANCEL_ANY);
    let (mut key, mut cancelled, mut last) = ((0, 0), 0, Err(Errno::NOENT));
    let only = by_data.then_some(which.user_data);
    while let Some(other) = ring.find(key, only, &wanted) {
        key = other.next_key();
        last = end(&other);
        cancelled += usize::from(last.is_ok());
        if !wants_all {
            return last.map(|()| 0);
        }
    }
    match (wants_all, last) {
        (true, _) => Ok(cancelled),
        (false, last) => last.map(|()| 0),
    }
}
