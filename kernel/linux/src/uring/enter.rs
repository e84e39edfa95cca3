//! io_uring_enter(2).
use super::run::{drain_ready, has_submitter, submit};
use super::worker;
use crate::call::Call;
use crate::poll::with_mask;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::ipc::poll::{Events, block_until};
use coracle_core::mm::user;
use coracle_core::task::thread::Thread;
use coracle_core::time::posix_clock;
use coracle_core::time::wall::Deadline;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_ipc::uring::{Ring, pool};
use coracle_uring::at;
use linux_raw_sys::io_uring as abi;

/// Flags that are known.
const KNOWN: u32 = abi::IORING_ENTER_GETEVENTS
    | abi::IORING_ENTER_SQ_WAKEUP
    | abi::IORING_ENTER_SQ_WAIT
    | abi::IORING_ENTER_EXT_ARG;

/// Bytes of `struct io_uring_getevents_arg`.
const ARGUMENT_BYTES: usize = 24;

/// The ring behind a descriptor. EBADF, EOPNOTSUPP.
pub fn ring_of(open: &OpenFile) -> Result<&Ring, Errno> {
    open.file.as_any().downcast_ref::<Ring>().ok_or(Errno::OPNOTSUPP)
}

/// io_uring_enter(2).
pub fn io_uring_enter(call: &Call) -> SysResult {
    let (count, least, flags) = (call.u32(1), call.u32(2), call.u32(3));
    if flags & !KNOWN != 0 {
        return Err(Errno::INVAL);
    }
    let open = call.thread().process.descriptors.get(call.i32(0))?;
    let ring = ring_of(&open)?;
    if !ring.enabled.load(SeqCst) {
        return Err(Errno::new(linux_raw_sys::errno::EBADFD as u16));
    }
    let thread = call.thread();
    let is_kept = ring.setup & abi::IORING_SETUP_DEFER_TASKRUN != 0;
    if !has_submitter(ring) && (count > 0 || is_kept && flags & abi::IORING_ENTER_GETEVENTS != 0) {
        ring.check_issuer(thread.tid())?;
    }
    let mut submitted = 0;
    if has_submitter(ring) {
        ring.flush();
        if flags & abi::IORING_ENTER_SQ_WAKEUP != 0 {
            ring.asked.notify(Events::IN);
        }
        if flags & abi::IORING_ENTER_SQ_WAIT != 0 {
            wait_for_room(ring)?;
        }
        submitted = count;
    } else if count > 0 {
        ring.begin_submitting()?;
        let result = submit(thread, ring, count);
        ring.end_submitting();
        submitted = result?;
        if submitted != count {
            return Ok(submitted as usize);
        }
    }
    if flags & abi::IORING_ENTER_GETEVENTS == 0 {
        return Ok(submitted as usize);
    }
    let waited = wait(call, ring, least, flags & abi::IORING_ENTER_EXT_ARG != 0);
    match waited {
        _ if submitted > 0 => Ok(submitted as usize),
        Err(Errno::RESTARTSYS) => Err(Errno::INTR),
        result => result,
    }
}

/// Waits until the ring of submissions has room (IORING_ENTER_SQ_WAIT).
fn wait_for_room(ring: &Ring) -> Result<(), Errno> {
    let Some(source) = File::poll_source(ring) else { return Ok(()) };
    let has_room = || ring.submissions() < ring.memory.layout().entries;
    block_until(source, Events::OUT, false, None, || if has_room() { Ok(()) } else { Err(Errno::AGAIN) })
}

/// Waits until `least` completions are there, and runs what may go on meanwhile.
fn wait(call: &Call, ring: &Ring, least: u32, extended: bool) -> SysResult {
    let (mut mask, mut mask_len, mut deadline) = (call.usize(4), call.usize(5), None);
    if extended {
        if call.usize(5) != ARGUMENT_BYTES {
            return Err(Errno::INVAL);
        }
        let [at, len, time] = user::read_words(call.usize(4))?;
        (mask, mask_len) = (at as usize, len as u32 as usize);
        deadline = posix_clock::read_relative_deadline(time as usize)?;
    }
    with_mask(call, mask, mask_len, || {
        let least = least.min(ring.memory.layout().completions);
        wait_for(call.thread(), ring, least, deadline)
    })
}

fn wait_for(thread: &Arc<Thread>, ring: &Ring, least: u32, deadline_ns: Option<u64>) -> SysResult {
    let pool = pool::of(&thread.process)?;
    let Some(source) = File::poll_source(ring) else { return Ok(0) };
    // Completions that the program has taken since count, too.
    let head = ring.memory.load(at::CQ_HEAD);
    let timeouts = ring.timeouts();
    let is_there = || {
        let moved = ring.memory.load(at::CQ_HEAD).wrapping_sub(head);
        ring.completions().saturating_add(moved) >= least || ring.timeouts() != timeouts
    };
    // Without a place in the list it leaves what is ready to workers.
    let listed = pool.begin_waiting(thread);
    if listed.is_err() {
        worker::ensure(thread)?;
    }
    let result = block_until(source, Events::IN, false, deadline_ns.map(Deadline::Boot), || {
        ring.clear_pending();
        drain_ready(thread, true);
        ring.flush();
        if is_there() { Ok(0) } else { Err(Errno::AGAIN) }
    });
    pool.end_waiting(thread);
    match result {
        // What is there is worth more than the reason why there isn't more.
        Err(_) if ring.completions() > 0 => Ok(0),
        Err(Errno::AGAIN) => Err(Errno::TIME),
        other => other,
    }
}
