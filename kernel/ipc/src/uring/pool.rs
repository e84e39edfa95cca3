//! What a process's requests wait for: its threads.
use super::request::Request;
use super::ring::Ring;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, wait_until};
use coracle_core::lock::Mutex;
use coracle_core::task::attachment::Attachment;
use coracle_core::task::process::Process;
use coracle_core::task::sched;
use coracle_core::task::thread::Thread;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use linux_raw_sys::io_uring as abi;

/// Workers at most. A request that must wait where it runs waits for one of them.
const MOST_WORKERS: usize = 8;

#[derive(Default)]
struct Queues {
    /// Requests that may go on, and don't wait where they run.
    ready: VecDeque<Arc<Request>>,
    /// Requests that may wait where they run.
    punted: VecDeque<Arc<Request>>,
    /// Requests for which the queues have room.
    listed: usize,
    /// Of rings whose requests go on in io_uring_enter(2) alone (IORING_SETUP_DEFER_TASKRUN).
    kept: VecDeque<Arc<Request>>,
    /// Threads that wait for completions, and run what is ready.
    waiting: Vec<Arc<Thread>>,
    workers: usize,
    idle: usize,
    /// Eventfds of rings are to be told of what such requests come to.
    is_owed: bool,
    /// Rings with requests of the process.
    rings: Vec<Weak<Ring>>,
}

/// The requests of a process that may go on.
#[derive(Default)]
pub struct Pool {
    queues: Mutex<Queues>,
    /// Told of requests for workers.
    pub workers: PollSource,
    /// Requests that a device carries out.
    at_devices: AtomicUsize,
    /// Told when there are none any more.
    settled: PollSource,
}

impl Pool {
    /// Makes room for one more request, of `ring`. ENOMEM.
    pub fn reserve(&self, ring: &Arc<Ring>) -> Result<(), Errno> {
        let mut queues = self.queues.lock();
        let most = queues.listed + 1;
        queues.ready.make_room_for(most)?;
        queues.punted.make_room_for(most)?;
        queues.kept.make_room_for(most)?;
        if !queues.rings.iter().any(|known| known.as_ptr() == Arc::as_ptr(ring)) {
            queues.rings.retain(|known| known.strong_count() > 0);
            queues.rings.try_push(Arc::downgrade(ring))?;
        }
        queues.listed = most;
        Ok(())
    }

    /// A request for which room was made was not listed after all.
    pub fn unreserve(&self) {
        self.queues.lock().listed -= 1;
    }

    /// A request has ended, which may still be in a queue.
    pub fn release(&self, request: &Arc<Request>, may_be_queued: bool) {
        let mut queues = self.queues.lock();
        queues.listed -= 1;
        if may_be_queued {
            queues.ready.retain(|other| !Arc::ptr_eq(other, request));
            queues.punted.retain(|other| !Arc::ptr_eq(other, request));
            queues.kept.retain(|other| !Arc::ptr_eq(other, request));
        }
    }

    /// Adds a request that may go on.
    pub fn push_ready(&self, request: Arc<Request>) {
        let mut queues = self.queues.lock();
        let is_kept = request.ring.setup & abi::IORING_SETUP_DEFER_TASKRUN != 0;
        let is_owed = is_kept && request.ring.registered.lock().event_fd.is_some();
        if is_kept {
            request.ring.set_pending();
        }
        if is_owed {
            request.ring.owe_announcement();
        }
        match is_kept {
            true => queues.kept.push_back_reserved(request),
            false => queues.ready.push_back_reserved(request),
        }
        queues.waiting.iter().for_each(sched::unpark);
        let is_taken = is_kept && !is_owed || !queues.waiting.is_empty();
        queues.is_owed |= is_owed;
        drop(queues);
        if !is_taken {
            self.workers.notify(Events::IN);
        }
    }

    /// Adds a request for a worker. True if there should be one more.
    pub fn push_punted(&self, request: Arc<Request>) -> bool {
        let wants_more = {
            let mut queues = self.queues.lock();
            queues.punted.push_back_reserved(request);
            queues.idle < queues.punted.len() && queues.workers < MOST_WORKERS
        };
        self.workers.notify(Events::IN);
        wants_more
    }

    /// A device begins to carry out a request.
    pub fn goes_to_device(&self) {
        self.at_devices.fetch_add(1, SeqCst);
    }

    /// A device has ended one, or did not take it.
    pub fn left_device(&self) {
        if self.at_devices.fetch_sub(1, SeqCst) == 1 {
            self.settled.notify(Events::IN);
        }
    }

    /// The next that doesn't wait where it runs. `all`: also one that goes on in io_uring_enter(2) alone.
    pub fn pop_ready(&self, all: bool) -> Option<Arc<Request>> {
        let mut queues = self.queues.lock();
        let kept = if all { queues.kept.pop_front() } else { None };
        kept.or_else(|| queues.ready.pop_front())
    }

    /// The next for a worker.
    pub fn pop(&self) -> Option<Arc<Request>> {
        let mut queues = self.queues.lock();
        queues.ready.pop_front().or_else(|| queues.punted.pop_front())
    }

    /// Tells eventfds what is owed to them.
    pub fn pay_announcements(&self) {
        let count = {
            let mut queues = self.queues.lock();
            if core::mem::take(&mut queues.is_owed) { queues.rings.len() } else { 0 }
        };
        for place in 0..count {
            // No lock is held when they are told.
            let ring = self.queues.lock().rings.get(place).and_then(Weak::upgrade);
            if let Some(ring) = ring {
                ring.pay_announcement();
            }
        }
    }

    /// Whether there is one for a worker.
    pub fn has_work(&self) -> bool {
        let queues = self.queues.lock();
        queues.is_owed || !queues.ready.is_empty() || !queues.punted.is_empty()
    }

    /// `thread` begins to wait for completions. ENOMEM.
    pub fn begin_waiting(&self, thread: &Arc<Thread>) -> Result<(), Errno> {
        Ok(self.queues.lock().waiting.try_push(thread.clone())?)
    }

    /// It no longer does; what it would have run is left to others.
    pub fn end_waiting(&self, thread: &Arc<Thread>) {
        let place = |waiting: &Vec<Arc<Thread>>| waiting.iter().position(|other| Arc::ptr_eq(other, thread));
        let listed = {
            let mut queues = self.queues.lock();
            place(&queues.waiting).map(|place| queues.waiting.swap_remove(place))
        };
        drop(listed);
        if self.has_work() {
            self.workers.notify(Events::IN);
        }
    }

    /// Whether it has a worker.
    pub fn has_worker(&self) -> bool {
        self.queues.lock().workers > 0
    }

    /// Counts a worker that is about to start; false if there are enough.
    pub fn add_worker(&self) -> bool {
        let mut queues = self.queues.lock();
        let has_room = queues.workers < MOST_WORKERS;
        queues.workers += usize::from(has_room);
        has_room
    }

    /// A worker has ended, or did not start.
    pub fn remove_worker(&self) {
        self.queues.lock().workers -= 1;
    }

    /// A worker has nothing to do for long: whether it may end. The last one stays while requests may need it.
    pub fn may_leave(&self) -> bool {
        let mut queues = self.queues.lock();
        let may =
            queues.ready.is_empty() && queues.punted.is_empty() && (queues.workers > 1 || queues.listed == 0);
        if may {
            queues.workers -= 1;
        }
        may
    }

    /// A worker has nothing to do, or has again.
    pub fn set_idle(&self, is_idle: bool) {
        let mut queues = self.queues.lock();
        queues.idle = if is_idle { queues.idle + 1 } else { queues.idle - 1 };
    }

    /// Cancels all requests, and waits for those that a device carries out: it may still reach the program's memory, or write what the
    /// program has asked for.
    fn clear(self: &Arc<Self>) {
        let rings = core::mem::take(&mut self.queues.lock().rings);
        let cancel = || rings.iter().filter_map(Weak::upgrade).for_each(|ring| ring.cancel_all(Some(self)));
        cancel();
        wait_until(&self.settled, Events::IN, &mut || self.at_devices.load(SeqCst) == 0);
        {
            // No thread tells of what was done.
            let queues = self.queues.lock();
            queues.ready.iter().chain(&queues.kept).for_each(|request| _ = request.take_result());
        }
        cancel();
        let (ready, punted, kept) = {
            let mut queues = self.queues.lock();
            let queues = &mut *queues;
            (
                core::mem::take(&mut queues.ready),
                core::mem::take(&mut queues.punted),
                core::mem::take(&mut queues.kept),
            )
        };
        drop((ready, punted, kept));
    }
}

/// A process's own pool.
struct Own(Arc<Pool>);

impl Attachment for Own {
    fn new() -> Result<Own, NoMemory> {
        Ok(Own(try_arc(Pool::default())?))
    }

    fn program_ended(&self) {
        self.0.clear();
    }
}

/// The pool of a process, made if it has none. ENOMEM.
pub fn of(process: &Process) -> Result<&Arc<Pool>, Errno> {
    process.uring.get_or_make().map_err(Errno::from)?.map(|Own(pool)| pool).ok_or(Errno::NOMEM)
}

/// The pool of a process, if it has one.
pub fn existing(process: &Process) -> Option<&Arc<Pool>> {
    process.uring.get().map(|Own(pool)| pool)
}
