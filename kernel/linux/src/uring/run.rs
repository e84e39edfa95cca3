//! Submitting requests, and running them until they are complete or have to wait.
use super::{operation, transfer, worker};
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::Events;
use coracle_core::task::long_call;
use coracle_core::task::thread::Thread;
use coracle_ipc::uring::{Request, Ring, State, given, mark, pool};
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};

/// What came of an attempt.
pub enum Outcome {
    /// It is complete: its result and the flags of its completion (IORING_CQE_F_*). `true`: its chain is broken.
    Done(i32, u32, bool),
    /// It waits for one of these events of its file.
    Wait(Events),
    /// The same, but what is there now doesn't count.
    WaitEdge(Events),
    /// It waits for its timer alone, which is set.
    Sleep,
    /// It may have to wait where it runs: on a worker.
    Punt,
    /// A device carries it out.
    AtDevice,
}

impl Outcome {
    /// It is complete, and a negative result breaks the chain.
    pub fn of(result: Result<usize, Errno>) -> Outcome {
        let result = number(result);
        Outcome::Done(result, 0, result < 0)
    }
}

/// A result as a completion has it. Numbers above what fits are cut, as MAX_RW_COUNT does for bytes.
pub fn number(result: Result<usize, Errno>) -> i32 {
    match result {
        Ok(value) => i32::try_from(value).unwrap_or(i32::MAX),
        Err(Errno::RESTARTSYS | Errno::RESTARTNOHAND) => -i32::from(Errno::INTR.number()),
        Err(error) => -i32::from(error.number()),
    }
}

/// How often a request is tried again at once whose file says that it is ready, and yet it must wait.
const TRIES: u32 = 8;

/// Runs a request that comes from a queue: nothing if it was cancelled there.
pub fn run_queued(thread: &Arc<Thread>, request: Arc<Request>, on_worker: bool) {
    if request.moves(State::Queued, State::Running) {
        if !repeats_poll(&request) {
            request.unsubscribe();
        }
        run(thread, &request, on_worker);
        request.ring.begins_at(None);
    }
}

/// Whether it waits for its file all the time, so that it misses no event.
fn repeats_poll(request: &Request) -> bool {
    request.entry.opcode == op::IORING_OP_POLL_ADD as u8 && request.repeats()
}

/// Runs a request whose state is [`State::Running`].
#[inline(never)]
pub fn run(thread: &Arc<Thread>, request: &Arc<Request>, on_worker: bool) {
    let ring = &request.ring;
    if let Some(error) = request.refused() {
        return ring.finish(request, number(Err(error)), 0, true);
    }
    if let Some(result) = request.take_result() {
        return ring.finish(request, number(operation::note_moved(request, result)), 0, result.is_err());
    }
    if request.entry.flags & given::ASYNC != 0
        && !request.has_mark(mark::PUNTED)
        && !operation::never_waits(&request.entry)
    {
        if let Err(error) = transfer::keep(thread, request) {
            return ring.finish(request, number(Err(error)), 0, true);
        }
        return punt(thread, request);
    }
    let mut tries = 0;
    loop {
        if request.has_mark(mark::CANCELLED) {
            request.set_mark(mark::HEEDED);
            return ring.finish(request, number(Err(Errno::CANCELED)), 0, true);
        }
        // Where its file says that it is ready, and it isn't, it waits in the call itself.
        let may_wait = on_worker && (request.has_mark(mark::MAY_WAIT) || tries >= TRIES);
        tries += 1;
        if may_wait {
            request.set_mark(mark::PUNTED);
            request.stops();
        }
        let is_ours = match operation::attempt(thread, request, may_wait) {
            Outcome::Done(result, flags, failed) => return ring.finish(request, result, flags, failed),
            Outcome::AtDevice => {
                request.set_mark(mark::PUNTED);
                return request.stops();
            }
            Outcome::Wait(_) if tries >= TRIES && !on_worker => return punt(thread, request),
            Outcome::Wait(events) => arm(thread, request, Some(events), true),
            Outcome::WaitEdge(events) => arm(thread, request, Some(events), false),
            Outcome::Sleep => arm(thread, request, None, false),
            Outcome::Punt => {
                request.set_mark(mark::MAY_WAIT);
                if !on_worker {
                    return punt(thread, request);
                }
                true
            }
        };
        if !is_ours {
            return request.stops();
        }
        long_call::pause();
    }
}

/// Has a request wait. `looks`: unless its file is ready by now. True: it need not, and the caller still runs it.
fn arm(thread: &Arc<Thread>, request: &Arc<Request>, events: Option<Events>, looks: bool) -> bool {
    let ring = &request.ring;
    limit(request);
    // What it waits for may come before any program's thread looks.
    let ready = worker::ensure(thread);
    if !repeats_poll(request) {
        request.take_mark(mark::WOKEN);
    }
    request.moves(State::Running, State::Armed);
    let open = request.open();
    let subscribed = ready.and_then(|()| match (&open, events) {
        (Some(open), Some(events)) => request.subscribe(open, events),
        _ => Ok(()),
    });
    if let Err(error) = subscribed {
        if request.moves(State::Armed, State::Running) {
            ring.finish(request, number(Err(error)), 0, true);
        }
        return false;
    }
    let is_ready = match (&open, events) {
        (Some(open), Some(events)) if looks => !events.report(open.file.readiness()).is_empty(),
        _ => false,
    };
    let goes_on = is_ready
        || request.has_mark(mark::CANCELLED)
        || request.has_mark(mark::EXPIRED)
        || repeats_poll(request) && request.has_mark(mark::WOKEN);
    let is_ours = goes_on && request.moves(State::Armed, State::Running);
    if is_ours && !repeats_poll(request) {
        request.unsubscribe();
    }
    is_ours
}

/// Has a worker run it.
fn punt(thread: &Arc<Thread>, request: &Arc<Request>) {
    limit(request);
    request.set_mark(mark::PUNTED);
    let ready = worker::ensure(thread);
    request.moves(State::Running, State::Queued);
    request.stops();
    if let Err(error) = ready {
        if request.moves(State::Queued, State::Running) {
            request.ring.finish(request, number(Err(error)), 0, true);
        }
    } else if request.pool.push_punted(request.clone()) {
        // It is done without one more, only later.
        let _ = worker::start(thread);
    }
}

/// Sets the time-out that follows a request in its chain, as it doesn't complete at once.
pub fn limit(request: &Arc<Request>) {
    let next = request.next.lock().clone();
    if let Some(next) = next
        && next.entry.opcode == op::IORING_OP_LINK_TIMEOUT as u8
        && next.moves(State::Queued, State::Running)
    {
        super::timeout::begin_limit(request, &next);
    }
}

/// A chain that is being submitted.
struct Chain {
    first: Arc<Request>,
    last: Arc<Request>,
    drains: bool,
}

/// Takes submissions, at most `count`, and runs each as far as it goes. Returns how many were taken: unless the program wants that
/// (IORING_SETUP_SUBMIT_ALL), none after one that is refused.
pub fn submit(thread: &Arc<Thread>, ring: &Ring, count: u32) -> Result<u32, Errno> {
    let pool = pool::of(&thread.process)?;
    // What comes meanwhile, as by a read into the ring itself, waits for the next call.
    let count = count.min(ring.submissions());
    let mut taken = 0;
    let mut chain: Option<Chain> = None;
    let mut outcome = Ok(());
    while taken < count
        && let Some(entry) = ring.take()
    {
        taken += 1;
        // One with a wrong index is dropped, and counts as taken.
        let Some(entry) = entry else { break };
        let request = match ring.admit(pool, entry) {
            Ok(request) => request,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        let refused = operation::check(ring, &entry).inspect_err(|&error| request.refuse(error)).is_err();
        let is_linked = entry.flags & (given::LINK | given::HARD_LINK) != 0;
        let drains = entry.flags & given::DRAIN != 0;
        let mut current = match chain.take() {
            None => Chain { first: request.clone(), last: request, drains },
            Some(Chain { first, last, drains: earlier }) => {
                *last.next.lock() = Some(request.clone());
                // The chain fails as a whole, before it begins.
                if refused && first.refused().is_none() {
                    first.refuse(Errno::CANCELED);
                }
                Chain { first, last: request, drains: drains || earlier }
            }
        };
        if is_linked {
            chain = Some(current);
        } else {
            current.drains |= drains;
            begin(thread, ring, current);
        }
        if refused && ring.setup & abi::IORING_SETUP_SUBMIT_ALL == 0
            || long_call::pause_unless_killed().is_err()
        {
            break;
        }
    }
    if let Some(chain) = chain {
        begin(thread, ring, chain);
    }
    ring.begins_at(None);
    drain_ready(thread, false);
    match outcome {
        Err(error) if taken <= 1 => Err(error),
        _ => Ok(taken),
    }
}

/// Begins a chain, or lists it behind those that it waits for.
fn begin(thread: &Arc<Thread>, ring: &Ring, chain: Chain) {
    let Chain { first, drains, .. } = chain;
    match ring.begins(&first, drains) {
        Ok(true) if first.moves(State::Queued, State::Running) => run(thread, &first, false),
        // What it waits for may come before any program's thread looks.
        Ok(false) => _ = worker::ensure(thread),
        Ok(true) => {}
        Err(error) => {
            ring.begins_failed();
            ring.finish(&first, number(Err(error)), 0, true);
        }
    }
}

/// Runs what may go on and doesn't wait where it runs. `all`: also what goes on in io_uring_enter(2) alone.
pub fn drain_ready(thread: &Arc<Thread>, all: bool) {
    let Some(pool) = pool::existing(&thread.process) else { return };
    while let Some(request) = pool.pop_ready(all) {
        run_queued(thread, request, false);
        long_call::pause();
    }
}

/// Whether the ring has a thread of its own that looks for submissions.
pub fn has_submitter(ring: &Ring) -> bool {
    ring.setup & abi::IORING_SETUP_SQPOLL != 0
}
