//! Polls, and requests that end others.
use super::operation::{named_file, poll_events};
use super::run::Outcome;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::ipc::poll::Events;
use coracle_core::task::thread::Thread;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_ipc::uring::{Request, State, mark};
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};

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
    let repeats = entry.len & abi::IORING_POLL_ADD_MULTI != 0;
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
        return request.ring.cancel(&poll).map(|()| 0);
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

/// Cancels requests (IORING_OP_ASYNC_CANCEL): one that tells of itself by a number, all on a file, or any.
pub fn cancel(thread: &Thread, request: &Arc<Request>) -> Outcome {
    Outcome::of(cancel_matching(thread, request))
}

fn cancel_matching(thread: &Thread, request: &Arc<Request>) -> SysResult {
    let entry = &request.entry;
    let flags = entry.what_flags;
    let has = |flag| flags & flag != 0;
    const KNOWN: u32 = abi::IORING_ASYNC_CANCEL_ALL
        | abi::IORING_ASYNC_CANCEL_FD
        | abi::IORING_ASYNC_CANCEL_ANY
        | abi::IORING_ASYNC_CANCEL_FD_FIXED
        | abi::IORING_ASYNC_CANCEL_USERDATA
        | abi::IORING_ASYNC_CANCEL_OP;
    if flags & !KNOWN != 0
        || entry.offset != 0
        || has(abi::IORING_ASYNC_CANCEL_ANY) && has(abi::IORING_ASYNC_CANCEL_FD)
        || (!has(abi::IORING_ASYNC_CANCEL_OP) && entry.len != 0)
    {
        return Err(Errno::INVAL);
    }
    let by_file = has(abi::IORING_ASYNC_CANCEL_FD);
    let open = match by_file {
        true => Some(named_file(thread, request, entry.fd, has(abi::IORING_ASYNC_CANCEL_FD_FIXED))?),
        false => None,
    };
    let by_data = has(abi::IORING_ASYNC_CANCEL_USERDATA)
        || flags & (abi::IORING_ASYNC_CANCEL_FD | abi::IORING_ASYNC_CANCEL_ANY | abi::IORING_ASYNC_CANCEL_OP)
            == 0;
    let wanted = |other: &Request| {
        other.number != request.number
            && (!has(abi::IORING_ASYNC_CANCEL_OP) || u32::from(other.entry.opcode) == entry.len)
            && open.as_ref().is_none_or(|open| other.open().is_some_and(|other| Arc::ptr_eq(open, &other)))
    };
    let wants_all = has(abi::IORING_ASYNC_CANCEL_ALL) || has(abi::IORING_ASYNC_CANCEL_ANY);
    let (mut key, mut cancelled, mut last) = ((0, 0), 0, Err(Errno::NOENT));
    let only = by_data.then_some(entry.address);
    while let Some(other) = request.ring.find(key, only, &wanted) {
        key = other.next_key();
        last = request.ring.cancel(&other);
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
