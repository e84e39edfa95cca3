//! One submission.
use super::pool::Pool;
use super::ring::Ring;
use alloc::sync::{Arc, Weak};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::ipc::poll::{Events, Observer, wait_until};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::KeptPieces;
use coracle_core::net::socket::SocketAddress;
use coracle_core::time::clock;
use coracle_core::time::interval::IntervalTimer;
use coracle_core::time::timer::Timed;
use coracle_core::time::wall::Deadline;
use coracle_fallible::try_arc_cyclic;
use coracle_hal::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use coracle_uring::Entry;
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op};

/// What a request is at. The values are those of [`Request`]'s word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum State {
    /// It waits for its turn: in a chain, behind a barrier, or in its pool's queue.
    Queued,
    /// A thread does what it asks for.
    Running,
    /// It waits for its file or its timer.
    Armed,
    /// Its completion was posted, or is being.
    Done,
}

/// Something that happened to it.
pub mod mark {
    /// Its timer has expired.
    pub const EXPIRED: u32 = 1;
    /// It is to end when the thread that runs it would have it wait.
    pub const CANCELLED: u32 = 2;
    /// Its connection is being made (connect(2), EINPROGRESS).
    pub const CONNECTING: u32 = 4;
    /// It runs on a worker, or a device carries it out: it may run for long.
    pub const PUNTED: u32 = 8;
    /// It waits for those before it (IOSQE_IO_DRAIN), as one of its chain asks for.
    pub const DRAINS: u32 = 32;
    /// It may wait where it runs, on a worker.
    pub const MAY_WAIT: u32 = 128;
    /// Its completion is not posted.
    pub const SILENT: u32 = 64;
    /// Its file has announced an event since it was looked at.
    pub const WOKEN: u32 = 16;
    /// A thread waits until it no longer runs.
    pub const AWAITED: u32 = 256;
    /// It has ended because it was cancelled.
    pub const HEEDED: u32 = 512;
    /// Its completion was posted.
    pub const ENDED: u32 = 1024;
}

/// What a request was given by its address: a vector and the header of a message that had it, or where bytes are sent.
pub struct Kept {
    /// The vector.
    pub pieces: KeptPieces,
    /// The address that bytes are sent to.
    pub to: Option<SocketAddress>,
    /// The words of a `struct msghdr`, and where it is.
    pub header: Option<(usize, [u64; HEADER_WORDS])>,
}

/// Words of a `struct msghdr`.
pub const HEADER_WORDS: usize = 7;

/// A request.
pub struct Request {
    /// Where it came from.
    pub ring: Arc<Ring>,
    /// Whose threads do it.
    pub pool: Arc<Pool>,
    /// Its number in its ring.
    pub number: u64,
    /// What it asks for.
    pub entry: Entry,
    /// Its file, looked up when it was first tried.
    pub file: Mutex<Option<Arc<OpenFile>>>,
    /// What comes back with its result. IORING_POLL_UPDATE_USER_DATA changes it.
    pub user_data: AtomicU64,
    /// The events that a poll waits for. IORING_POLL_UPDATE_EVENTS changes them.
    pub events: AtomicU32,
    /// Bytes that were moved before it had to wait (MSG_WAITALL).
    pub moved: AtomicU32,
    /// [`mark`]s.
    marks: AtomicU32,
    state: AtomicU32,
    /// While it waits for its file.
    subscription: Mutex<Option<u64>>,
    timer: Mutex<Option<IntervalTimer>>,
    /// The next of its chain.
    pub next: Mutex<Option<Arc<Request>>>,
    refused: Mutex<Option<Errno>>,
    /// What it was given by address, as it was when it was first tried (IORING_FEAT_SUBMIT_STABLE).
    pub kept: Mutex<Option<Arc<Kept>>>,
    /// What a device has made of it, until its completion is posted.
    result: Mutex<Option<SysResult>>,
    /// The request that it limits (IORING_OP_LINK_TIMEOUT).
    pub limited: Mutex<Weak<Request>>,
    this: Weak<Request>,
}

/// Whether a request goes on after a completion (io_uring_prep_poll_multishot(3) and its kin).
pub fn repeats(entry: &Entry) -> bool {
    let is = |operation: op| entry.opcode == operation as u8;
    if is(op::IORING_OP_POLL_ADD) {
        return entry.len & abi::IORING_POLL_ADD_MULTI != 0;
    }
    let flag = if is(op::IORING_OP_ACCEPT) {
        abi::IORING_ACCEPT_MULTISHOT
    } else if is(op::IORING_OP_RECV) || is(op::IORING_OP_RECVMSG) {
        abi::IORING_RECV_MULTISHOT
    } else {
        0
    };
    u32::from(entry.priority) & flag != 0
}

impl Request {
    /// Whether its completions count for time-outs that wait for a number of them: those of time-outs don't.
    pub fn counts(&self) -> bool {
        self.entry.opcode != abi::io_uring_op::IORING_OP_TIMEOUT as u8
    }

    /// A request that isn't listed yet. ENOMEM.
    pub fn new(ring: &Arc<Ring>, pool: &Arc<Pool>, number: u64, entry: Entry) -> Result<Arc<Request>, Errno> {
        Ok(try_arc_cyclic(|this| Request {
            ring: ring.clone(),
            pool: pool.clone(),
            number,
            entry,
            file: Mutex::new(None),
            user_data: AtomicU64::new(entry.user_data),
            events: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            marks: AtomicU32::new(0),
            state: AtomicU32::new(State::Queued as u32),
            subscription: Mutex::new(None),
            timer: Mutex::new(None),
            next: Mutex::new(None),
            refused: Mutex::new(None),
            kept: Mutex::new(None),
            result: Mutex::new(None),
            limited: Mutex::new(Weak::new()),
            this: this.clone(),
        })?)
    }

    /// Goes from one state to the next; false if it was in another.
    pub fn moves(&self, from: State, to: State) -> bool {
        self.state.compare_exchange(from as u32, to as u32, SeqCst, SeqCst).is_ok()
    }

    /// See [`repeats`].
    pub fn repeats(&self) -> bool {
        repeats(&self.entry)
    }

    /// Whether it is in this state.
    pub fn is(&self, state: State) -> bool {
        self.state.load(SeqCst) == state as u32
    }

    /// Its place among the requests of its ring.
    pub fn key(&self) -> (u64, u64) {
        (self.user_data.load(SeqCst), self.number)
    }

    /// The first place after it.
    pub fn next_key(&self) -> (u64, u64) {
        (self.user_data.load(SeqCst), self.number + 1)
    }

    /// Its completion is being posted.
    pub fn ends(&self) {
        self.state.store(State::Done as u32, SeqCst);
    }

    /// Sets a [`mark`].
    pub fn set_mark(&self, mark: u32) {
        self.marks.fetch_or(mark, SeqCst);
    }

    /// Takes a [`mark`] back.
    pub fn take_mark(&self, mark: u32) -> bool {
        self.marks.fetch_and(!mark, SeqCst) & mark != 0
    }

    /// Whether a [`mark`] is set.
    pub fn has_mark(&self, mark: u32) -> bool {
        self.marks.load(SeqCst) & mark != 0
    }

    /// It no longer runs, or may run for long from here on, which its state or [`mark::PUNTED`] says by now: wakes the threads that wait for that.
    pub fn stops(&self) {
        if self.take_mark(mark::AWAITED) {
            self.ring.stopped.notify(Events::IN);
        }
    }

    /// Waits while it runs, unless it may run for long. Hold no lock. No thread may wait for a request that itself waits for others so.
    pub fn wait_while_it_runs(&self) {
        wait_until(&self.ring.stopped, Events::IN, &mut || {
            // Set before the state is looked at: one of the two sees the other.
            self.set_mark(mark::AWAITED);
            let is_at_work = self.is(State::Running) || self.is(State::Done);
            self.has_mark(mark::PUNTED | mark::ENDED) || !is_at_work
        });
    }

    /// Whether it waits for those before it.
    pub fn drains(&self) -> bool {
        self.has_mark(mark::DRAINS)
    }

    /// See [`Self::drains`].
    pub fn set_drains(&self, drains: bool) {
        self.set_mark(if drains { mark::DRAINS } else { 0 });
    }

    /// Whether its completion is not posted.
    pub fn is_silent(&self) -> bool {
        self.has_mark(mark::SILENT)
    }

    /// See [`Self::is_silent`].
    pub fn set_silent(&self, is_silent: bool) {
        self.set_mark(if is_silent { mark::SILENT } else { 0 });
    }

    /// Why it was refused when it was submitted: its chain fails before it begins.
    pub fn refused(&self) -> Option<Errno> {
        *self.refused.lock()
    }

    /// See [`Self::refused`].
    pub fn refuse(&self, error: Errno) {
        *self.refused.lock() = Some(error);
    }

    /// Its file, if it was looked up.
    pub fn open(&self) -> Option<Arc<OpenFile>> {
        self.file.lock().clone()
    }

    /// Waits for `events` of its file, unless it does so already: it comes into the pool's queue then, if its state is
    /// [`State::Armed`], and is marked in any case. ENOMEM.
    pub fn subscribe(&self, open: &OpenFile, events: Events) -> Result<(), Errno> {
        let (Some(source), Some(this)) = (open.file.poll_source(), self.this.upgrade()) else {
            return Ok(());
        };
        let mut subscription = self.subscription.lock();
        if subscription.is_none() {
            *subscription = Some(source.subscribe(this, events)?);
        }
        Ok(())
    }

    /// No longer waits for its file.
    pub fn unsubscribe(&self) {
        let id = self.subscription.lock().take();
        if let (Some(id), Some(open)) = (id, self.open())
            && let Some(source) = open.file.poll_source()
        {
            source.unsubscribe(id);
        }
    }

    /// Sets its timer to expire at `first` (`None`: never), and every `interval_ns` from then on unless that is 0. ENOMEM.
    pub fn set_timer(&self, first: Option<Deadline>, interval_ns: u64) -> Result<(), Errno> {
        let mut place = self.timer.lock();
        let mut timer = match place.take() {
            Some(timer) => timer,
            None => IntervalTimer::new()?,
        };
        let set = timer.set(first, interval_ns, &self.this, true);
        *place = Some(timer);
        set
    }

    /// Whether its timer was set.
    pub fn is_set(&self) -> bool {
        self.timer.lock().is_some()
    }

    /// Sets a timer that has expired to its next expiry; false if it has none.
    pub fn restart_timer(&self) -> bool {
        let mut place = self.timer.lock();
        let Some(timer) = &mut *place else { return false };
        timer.restart(clock::monotonic_ns(), 0, &self.this);
        timer.remaining(0).1 != 0
    }

    /// Its timer is not wanted any more.
    pub fn drop_timer(&self) {
        let timer = self.timer.lock().take();
        drop(timer);
    }

    /// What a device has made of it, once.
    pub fn take_result(&self) -> Option<SysResult> {
        self.result.lock().take()
    }

    /// Whether a device has carried it out, and its completion is not posted.
    pub fn has_result(&self) -> bool {
        self.result.lock().is_some()
    }

    /// A device has carried it out, and a thread is to post its completion.
    pub fn device_ended(self: &Arc<Self>, result: SysResult) {
        *self.result.lock() = Some(result);
        if self.moves(State::Running, State::Queued) {
            self.pool.push_ready(self.clone());
        }
    }

    /// Puts it into the queue if it waits.
    fn goes_on(&self) {
        if self.moves(State::Armed, State::Queued)
            && let Some(this) = self.this.upgrade()
        {
            self.pool.push_ready(this);
        }
    }
}

impl Observer for Request {
    fn notify(&self, _events: Events) {
        self.set_mark(mark::WOKEN);
        self.goes_on();
    }
}

impl Timed for Request {
    fn expired(&self, now_ns: u64) {
        let is_over = self.timer.lock().as_mut().is_some_and(|timer| timer.expire(now_ns));
        if is_over {
            self.set_mark(mark::EXPIRED);
            self.goes_on();
        }
    }

    fn clock_was_set(&self) {
        if let Some(timer) = &mut *self.timer.lock() {
            timer.clock_was_set(&self.this, true);
        }
    }
}
