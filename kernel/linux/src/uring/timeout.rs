//! Time-outs: by themselves, and of other requests.
use super::cancel::end;
use super::run::{Outcome, number};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_core::time::clock;
use coracle_core::time::posix_clock::Clock;
use coracle_core::time::wall::Deadline;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_ipc::uring::{Request, State, mark};
use coracle_uring::Entry;
use linux_raw_sys::general as g;
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};

/// The deadline at `address`, a `struct __kernel_timespec`, and its nanoseconds. EINVAL, EFAULT.
fn deadline(address: u64, flags: u32) -> Result<(Deadline, u64), Errno> {
    let clock = match flags & abi::IORING_TIMEOUT_CLOCK_MASK {
        0 => Clock::from_id(g::CLOCK_MONOTONIC as i32),
        abi::IORING_TIMEOUT_BOOTTIME => Clock::from_id(g::CLOCK_BOOTTIME as i32),
        abi::IORING_TIMEOUT_REALTIME => Clock::from_id(g::CLOCK_REALTIME as i32),
        _ => Err(Errno::INVAL),
    }?;
    let ns = clock::timespec_ns(user::read_words(address as usize)?)?;
    Ok(match flags & abi::IORING_TIMEOUT_ABS {
        0 => (Deadline::Boot(clock::monotonic_ns().saturating_add(ns)), ns),
        _ => (clock.deadline(ns), 0),
    })
}

/// Ends after a time, or after a number of completions, if that comes first (IORING_OP_TIMEOUT).
pub fn timeout(request: &Arc<Request>) -> Outcome {
    const KNOWN: u32 = abi::IORING_TIMEOUT_ABS
        | abi::IORING_TIMEOUT_CLOCK_MASK
        | abi::IORING_TIMEOUT_ETIME_SUCCESS
        | abi::IORING_TIMEOUT_MULTISHOT;
    let entry = &request.entry;
    let repeats = entry.what_flags & abi::IORING_TIMEOUT_MULTISHOT != 0;
    if entry.buffer != 0
        || entry.len != 1
        || entry.file_index != 0
        || entry.what_flags & !KNOWN != 0
        || repeats && entry.what_flags & abi::IORING_TIMEOUT_ABS != 0
    {
        return Outcome::of(Err(Errno::INVAL));
    }
    if request.take_mark(mark::EXPIRED) {
        return expired(request, repeats);
    }
    if request.is_set() {
        return Outcome::Sleep;
    }
    let begun = deadline(entry.address, entry.what_flags).and_then(|(deadline, ns)| {
        if entry.offset != 0 && !repeats {
            request.ring.count(request, entry.offset)?;
        }
        request.set_timer(Some(deadline), if repeats { ns.max(1) } else { 0 })
    });
    match begun {
        Ok(()) => Outcome::Sleep,
        Err(error) => Outcome::of(Err(error)),
    }
}

fn expired(request: &Arc<Request>, repeats: bool) -> Outcome {
    let entry = &request.entry;
    let result = number(Err(Errno::TIME));
    if repeats {
        // As often as the program says (0: for ever).
        let times = u64::from(request.moved.fetch_add(1, SeqCst)) + 1;
        let goes_on = (entry.offset == 0 || times < entry.offset) && request.restart_timer();
        if goes_on && request.ring.post_more(request, result, 0) {
            return Outcome::Sleep;
        }
    }
    Outcome::Done(result, 0, entry.what_flags & abi::IORING_TIMEOUT_ETIME_SUCCESS == 0)
}

/// Ends or changes a time-out (IORING_OP_TIMEOUT_REMOVE).
pub fn remove(request: &Arc<Request>) -> Outcome {
    Outcome::of(change(request))
}

fn change(request: &Arc<Request>) -> SysResult {
    let entry = &request.entry;
    let updates = entry.what_flags & abi::IORING_TIMEOUT_UPDATE_MASK != 0;
    if entry.buffer != 0 || entry.len != 0 || entry.file_index != 0 || (!updates && entry.what_flags != 0) {
        return Err(Errno::INVAL);
    }
    const KNOWN: u32 =
        abi::IORING_TIMEOUT_UPDATE_MASK | abi::IORING_TIMEOUT_ABS | abi::IORING_TIMEOUT_CLOCK_MASK;
    if entry.what_flags & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    let deadline = updates.then(|| deadline(entry.offset, entry.what_flags)).transpose()?;
    let kind = match entry.what_flags & abi::IORING_LINK_TIMEOUT_UPDATE {
        0 => op::IORING_OP_TIMEOUT,
        _ => op::IORING_OP_LINK_TIMEOUT,
    } as u8;
    let is_it = |other: &Request| other.entry.opcode == kind && other.number != request.number;
    let timeout = request.ring.find((0, 0), Some(entry.address), &is_it).ok_or(Errno::NOENT)?;
    let Some((deadline, _)) = deadline else {
        return end(&timeout).map(|()| 0);
    };
    if !timeout.is(State::Armed) {
        return Err(Errno::ALREADY);
    }
    timeout.set_timer(Some(deadline), 0).map(|()| 0)
}

/// Whether an entry says how long a request may take. EINVAL.
pub fn check_limit(entry: &Entry) -> Result<(), Errno> {
    const KNOWN: u32 =
        abi::IORING_TIMEOUT_ABS | abi::IORING_TIMEOUT_CLOCK_MASK | abi::IORING_TIMEOUT_ETIME_SUCCESS;
    let is_wrong = entry.len != 1
        || entry.offset != 0
        || entry.buffer != 0
        || entry.file_index != 0
        || entry.what_flags & !KNOWN != 0;
    if is_wrong { Err(Errno::INVAL) } else { Ok(()) }
}

/// Sets the time-out of `limited`, the request before it in its chain (IORING_OP_LINK_TIMEOUT). It is running.
pub fn begin_limit(limited: &Arc<Request>, timeout: &Arc<Request>) {
    let entry = &timeout.entry;
    *timeout.limited.lock() = Arc::downgrade(limited);
    // One that can't be set never expires: it ends with what it was to limit.
    let _ = deadline(entry.address, entry.what_flags)
        .and_then(|(deadline, _)| timeout.set_timer(Some(deadline), 0));
    timeout.moves(State::Running, State::Armed);
    if timeout.has_mark(mark::EXPIRED) && timeout.moves(State::Armed, State::Queued) {
        timeout.pool.push_ready(timeout.clone());
    }
}

/// The time-out of another request has expired: that is cancelled.
pub fn limit_expired(request: &Arc<Request>) -> Outcome {
    let limited = request.limited.lock().upgrade();
    match limited {
        // By itself it limits nothing.
        None if !request.has_mark(mark::EXPIRED) => Outcome::of(Err(Errno::INVAL)),
        None => Outcome::of(Err(Errno::NOENT)),
        // To have expired is no failure.
        Some(limited) => {
            let error = end(&limited).err().unwrap_or(Errno::TIME);
            Outcome::Done(number(Err(error)), 0, false)
        }
    }
}
