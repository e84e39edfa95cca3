//! A ring: its file, its requests, and its completions.
use super::buffers::Group;
use super::memory::Memory;
use super::pool::Pool;
use super::request::{Request, State, mark};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::fs::stat;
use coracle_core::ipc::eventfd::EventFd;
use coracle_core::ipc::poll::{Events, PollSource, block_on};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc_cyclic};
use coracle_hal::frame::Frame;
use coracle_hal::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use coracle_sorted_map::SortedMap;
use coracle_uring::{Completion, Entry, Layout, at};
use core::any::Any;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::io_uring as abi;

/// IOSQE_* as bits.
pub mod given {
    use linux_raw_sys::io_uring::io_uring_sqe_flags_bit as bit;
    /// The file is a registered one.
    pub const FIXED_FILE: u8 = 1 << bit::IOSQE_FIXED_FILE_BIT as u8;
    /// It begins when all before it are complete.
    pub const DRAIN: u8 = 1 << bit::IOSQE_IO_DRAIN_BIT as u8;
    /// The next one begins when it has succeeded.
    pub const LINK: u8 = 1 << bit::IOSQE_IO_LINK_BIT as u8;
    /// The next one begins when it is complete.
    pub const HARD_LINK: u8 = 1 << bit::IOSQE_IO_HARDLINK_BIT as u8;
    /// It is not tried by the thread that submits it.
    pub const ASYNC: u8 = 1 << bit::IOSQE_ASYNC_BIT as u8;
    /// It takes a provided buffer.
    pub const BUFFER_SELECT: u8 = 1 << bit::IOSQE_BUFFER_SELECT_BIT as u8;
    /// Success is not told.
    pub const SKIP_SUCCESS: u8 = 1 << bit::IOSQE_CQE_SKIP_SUCCESS_BIT as u8;
}

/// What was registered (io_uring_register(2)).
#[derive(Default)]
pub struct Registered {
    /// Files by their places.
    pub files: Vec<Option<Arc<OpenFile>>>,
    /// Addresses and lengths of buffers.
    pub buffers: Vec<(usize, usize)>,
    /// An eventfd that is told of completions; true: of those alone that the submitting thread doesn't see.
    pub event_fd: Option<(Arc<OpenFile>, bool)>,
    /// Groups of provided buffers.
    pub groups: SortedMap<u16, Group>,
}

#[derive(Default)]
struct Queue {
    /// The kernel's index in the ring of submissions.
    sq_head: u32,
    /// The kernel's index in the ring of completions.
    cq_tail: u32,
    /// Completions for which the ring had no room.
    overflow: VecDeque<Completion>,
    /// Requests that are not complete, by what comes back with their results, and their numbers.
    pending: SortedMap<(u64, u64), Arc<Request>>,
    next_number: u64,
    /// Chains that have begun.
    begun: usize,
    /// Those that have begun are waited for by all that come later.
    barrier: bool,
    /// Chains that wait for those before them (IOSQE_IO_DRAIN).
    deferred: VecDeque<Arc<Request>>,
    /// Completions so far, but those of time-outs.
    counted: u64,
    /// Completions of time-outs so far.
    timeouts: u64,
    /// Time-outs that end with a number of completions.
    counting: Vec<(u64, Arc<Request>)>,
}

impl Queue {
    /// Counts a completion: `counts`: of another request than a time-out.
    fn count(&mut self, counts: bool) {
        self.counted += u64::from(counts);
        self.timeouts += u64::from(!counts);
    }
}

/// A ring.
pub struct Ring {
    /// Its memory.
    pub memory: Memory,
    /// IORING_SETUP_* bits.
    pub setup: u32,
    /// What was registered.
    pub registered: Mutex<Registered>,
    /// The only thread that may submit (IORING_SETUP_SINGLE_ISSUER); 0: none yet.
    pub issuer: AtomicI32,
    /// It takes submissions (IORING_SETUP_R_DISABLED, IORING_REGISTER_ENABLE_RINGS).
    pub enabled: AtomicBool,
    queue: Mutex<Queue>,
    source: PollSource,
    /// A thread is submitting.
    busy: AtomicBool,
    free: PollSource,
    /// Told of requests that no longer run, where a thread waits for that.
    pub stopped: PollSource,
    /// What the thread waits for that looks for submissions itself (IORING_SETUP_SQPOLL).
    pub asked: PollSource,
    /// A submission wanted no completion (IOSQE_CQE_SKIP_SUCCESS): none can be a barrier from then on, as on Linux.
    pub silent: AtomicBool,
    /// Its eventfd is to be told.
    owed: AtomicBool,
    /// The file at whose device transfers were begun that the device need not have seen.
    at_work: Mutex<Option<Arc<OpenFile>>>,
    /// The program has no descriptor of it any more.
    gone: AtomicBool,
    this: Weak<Ring>,
}

/// The index of a place at or after `tail` for which completions are left.
fn room(memory: &Memory, tail: u32) -> u32 {
    memory.layout().completions.saturating_sub(tail.wrapping_sub(memory.load(at::CQ_HEAD)))
}

impl Ring {
    /// An empty one. ENOMEM.
    pub fn new(layout: Layout, setup: u32) -> Result<Arc<Ring>, Errno> {
        let memory = Memory::new(layout)?;
        Ok(try_arc_cyclic(|this| Ring {
            memory,
            setup,
            registered: Mutex::new(Registered::default()),
            issuer: AtomicI32::new(0),
            enabled: AtomicBool::new(setup & abi::IORING_SETUP_R_DISABLED == 0),
            queue: Mutex::new(Queue::default()),
            source: PollSource::new(),
            busy: AtomicBool::new(false),
            free: PollSource::new(),
            stopped: PollSource::new(),
            asked: PollSource::new(),
            silent: AtomicBool::new(false),
            owed: AtomicBool::new(false),
            at_work: Mutex::new(None),
            gone: AtomicBool::new(false),
            this: this.clone(),
        })?)
    }

    /// EEXIST if another thread is its only issuer.
    pub fn check_issuer(&self, tid: i32) -> Result<(), Errno> {
        if self.setup & abi::IORING_SETUP_SINGLE_ISSUER == 0 {
            return Ok(());
        }
        match self.issuer.compare_exchange(0, tid, SeqCst, SeqCst) {
            Err(issuer) if issuer != tid => Err(Errno::EXIST),
            _ => Ok(()),
        }
    }

    /// EEXIST if another thread is its only issuer, and there is one.
    pub fn check_registrar(&self, tid: i32) -> Result<(), Errno> {
        let issuer = self.issuer.load(SeqCst);
        let is_single = self.setup & abi::IORING_SETUP_SINGLE_ISSUER != 0;
        if is_single && issuer != 0 && issuer != tid { Err(Errno::EXIST) } else { Ok(()) }
    }

    /// Begins to submit, alone; EINTR if a signal comes first. [`Self::end_submitting`] ends it.
    pub fn begin_submitting(&self) -> Result<(), Errno> {
        block_on(&self.free, false, None, || match self.busy.swap(true, SeqCst) {
            true => Err(Errno::AGAIN),
            false => Ok(()),
        })
    }

    /// See [`Self::begin_submitting`].
    pub fn end_submitting(&self) {
        self.busy.swap(false, SeqCst);
        self.free.notify(Events::IN);
    }

    /// Whether the program has closed it.
    pub fn is_gone(&self) -> bool {
        self.gone.load(SeqCst)
    }

    /// Submissions that wait to be taken. None if the program's index is none that it can have: [`Self::take`] takes none either.
    pub fn submissions(&self) -> u32 {
        self.waiting(self.queue.lock().sq_head)
    }

    fn waiting(&self, head: u32) -> u32 {
        let waiting = self.memory.load(at::SQ_TAIL).wrapping_sub(head);
        if waiting <= self.memory.layout().entries { waiting } else { 0 }
    }

    /// Takes the next submission. `None`: there is none; `Some(None)`: its index names none, and it is dropped.
    pub fn take(&self) -> Option<Option<Entry>> {
        let mut queue = self.queue.lock();
        let head = queue.sq_head;
        if self.waiting(head) == 0 {
            return None;
        }
        let entry = self.memory.entry(head);
        queue.sq_head = head.wrapping_add(1);
        self.memory.store(at::SQ_HEAD, queue.sq_head);
        if entry.is_none() {
            self.memory.store(at::SQ_DROPPED, self.memory.load(at::SQ_DROPPED).wrapping_add(1));
        }
        Some(entry)
    }

    /// Makes a request of a submission, and lists it. ENOMEM.
    #[inline(never)]
    pub fn admit(&self, pool: &Arc<Pool>, entry: Entry) -> Result<Arc<Request>, Errno> {
        let ring = self.this.upgrade().ok_or(Errno::NXIO)?;
        pool.reserve(&ring)?;
        let listed = {
            let mut queue = self.queue.lock();
            let number = queue.next_number;
            queue.next_number += 1;
            Request::new(&ring, pool, number, entry).and_then(|request| {
                Ok(queue.pending.insert((entry.user_data, number), request.clone()).map(|_| request)?)
            })
        };
        listed.inspect_err(|_| pool.unreserve())
    }

    /// A chain is submitted. True: it begins now; else it waits for those before it.
    pub fn begins(&self, first: &Arc<Request>, drains: bool) -> Result<bool, Errno> {
        let mut queue = self.queue.lock();
        if ((drains || queue.barrier) && queue.begun > 0) || !queue.deferred.is_empty() {
            first.set_drains(drains);
            let len = queue.deferred.len();
            queue.deferred.make_room_for(len + 1)?;
            queue.deferred.push_back_reserved(first.clone());
            return Ok(false);
        }
        queue.begun += 1;
        queue.barrier = drains;
        Ok(true)
    }

    /// A chain ends that could not be listed: it counts as begun, for [`Self::finish`].
    pub fn begins_failed(&self) {
        self.queue.lock().begun += 1;
    }

    /// How many completions wait for the program, with those that have no room.
    pub fn completions(&self) -> u32 {
        let queue = self.queue.lock();
        queue.cq_tail.wrapping_sub(self.memory.load(at::CQ_HEAD)).saturating_add(queue.overflow.len() as u32)
    }

    /// Completions of time-outs so far: they end any wait.
    pub fn timeouts(&self) -> u64 {
        self.queue.lock().timeouts
    }

    /// Moves completions to the ring for which it has room by now.
    pub fn flush(&self) {
        let mut queue = self.queue.lock();
        if queue.overflow.is_empty() {
            return;
        }
        while room(&self.memory, queue.cq_tail) > 0
            && let Some(completion) = queue.overflow.pop_front()
        {
            self.put(&mut queue, completion);
        }
        if queue.overflow.is_empty() {
            self.memory.change(at::SQ_FLAGS, 0, abi::IORING_SQ_CQ_OVERFLOW);
        }
    }

    fn put(&self, queue: &mut Queue, completion: Completion) {
        self.memory.write_completion(queue.cq_tail, completion);
        queue.cq_tail = queue.cq_tail.wrapping_add(1);
        self.memory.store(at::CQ_TAIL, queue.cq_tail);
    }

    /// Posts a completion. What the ring has no room for is kept; what there is no memory for is counted as lost.
    pub fn post(&self, completion: Completion, counts: bool) {
        let mut queue = self.queue.lock();
        if self.put_if_room(&mut queue, completion, counts) {
            return;
        }
        queue.count(counts);
        let len = queue.overflow.len();
        if queue.overflow.make_room_for(len + 1).is_ok() {
            queue.overflow.push_back_reserved(completion);
            self.memory.change(at::SQ_FLAGS, abi::IORING_SQ_CQ_OVERFLOW, 0);
        } else {
            let lost = self.memory.load(at::CQ_OVERFLOW).wrapping_add(1);
            self.memory.store(at::CQ_OVERFLOW, lost);
        }
    }

    /// Posts a completion of a request that goes on. False: the ring has no room, so that it must end with this completion (as on
    /// Linux: what a request without an end comes to would be kept without one).
    pub fn post_more(&self, request: &Request, result: i32, flags: u32) -> bool {
        let user_data = request.user_data.load(SeqCst);
        let completion = Completion { user_data, result, flags: flags | abi::IORING_CQE_F_MORE };
        let is_put = self.put_if_room(&mut self.queue.lock(), completion, request.counts());
        if is_put {
            self.announce();
        }
        is_put
    }

    fn put_if_room(&self, queue: &mut Queue, completion: Completion, counts: bool) -> bool {
        let has_room = queue.overflow.is_empty() && room(&self.memory, queue.cq_tail) > 0;
        if has_room {
            queue.count(counts);
            self.put(queue, completion);
        }
        has_room
    }

    /// The file at whose device transfers are begun is this one from here on: the device of the one before sees its.
    pub fn begins_at(&self, open: Option<&Arc<OpenFile>>) {
        let mut at_work = self.at_work.lock();
        let is_same = match (&*at_work, open) {
            (Some(before), Some(open)) => Arc::ptr_eq(before, open),
            (before, open) => before.is_none() && open.is_none(),
        };
        if is_same {
            return;
        }
        let before = core::mem::replace(&mut *at_work, open.cloned());
        drop(at_work);
        if let Some(before) = before {
            before.file.show_begun();
        }
    }

    /// Tells those who wait that the ring of submissions has room.
    pub fn announce_room(&self) {
        self.source.notify(Events::OUT);
    }

    /// Says in the ring that the program gets completions by asking for them (IORING_SETUP_TASKRUN_FLAG).
    pub fn set_pending(&self) {
        if self.setup & abi::IORING_SETUP_TASKRUN_FLAG != 0 {
            self.memory.change(at::SQ_FLAGS, abi::IORING_SQ_TASKRUN, 0);
        }
    }

    /// The program has asked.
    pub fn clear_pending(&self) {
        if self.setup & abi::IORING_SETUP_TASKRUN_FLAG != 0 {
            self.memory.change(at::SQ_FLAGS, 0, abi::IORING_SQ_TASKRUN);
        }
    }

    /// Completions are to come when the program asks for them; a worker tells the eventfd.
    pub fn owe_announcement(&self) {
        self.owed.store(true, SeqCst);
    }

    /// Tells the eventfd what is owed to it.
    pub fn pay_announcement(&self) {
        if self.owed.swap(false, SeqCst) {
            self.tell_event_fd();
        }
    }

    /// Tells those who wait that completions were posted.
    pub fn announce(&self) {
        self.source.notify(Events::IN);
        self.tell_event_fd();
    }

    fn tell_event_fd(&self) {
        let event_fd = self.registered.lock().event_fd.clone();
        if let Some((open, _)) = event_fd
            && self.memory.load(at::CQ_FLAGS) & abi::IORING_CQ_EVENTFD_DISABLED == 0
        {
            open.file.as_any().downcast_ref().into_iter().for_each(EventFd::signal);
        }
    }

    /// Ends a request that the caller runs, or has taken over: posts its completion, and lets what waits for it go on. `failed`:
    /// the rest of its chain is cancelled.
    pub fn finish(&self, request: &Arc<Request>, result: i32, flags: u32, failed: bool) {
        let mut failed = failed;
        self.end_one(request, result, flags, failed);
        // The rest of a chain that fails is silent if the one that failed would have been.
        let is_silent = request.entry.flags & given::SKIP_SUCCESS != 0;
        // Taken by its own statement: the lock is let go at its end.
        let mut next = request.next.lock().take();
        let mut before = request.clone();
        while let Some(one) = next {
            next = one.next.lock().take();
            if one.entry.opcode == abi::io_uring_op::IORING_OP_LINK_TIMEOUT as u8 {
                // It has not come to its end, or has brought that about and says so itself.
                if one.moves(State::Armed, State::Done) || one.moves(State::Queued, State::Done) {
                    self.end_one(&one, refused_or_cancelled(&one), 0, false);
                }
            } else if failed && before.entry.flags & given::HARD_LINK == 0 {
                if one.moves(State::Queued, State::Done) {
                    let result = refused_or_cancelled(&one);
                    one.set_silent(is_silent);
                    self.end_one(&one, result, 0, !is_silent);
                }
            } else {
                *one.next.lock() = next.take();
                if one.is(State::Queued) {
                    one.pool.push_ready(one.clone());
                    self.announce();
                    return self.expire_counting();
                }
                // It was cancelled before its turn.
                failed = true;
                next = one.next.lock().take();
            }
            before = one;
        }
        self.announce();
        self.chain_ended();
        self.expire_counting();
    }

    /// Takes one off the list, and posts its completion unless the program does not want it. `failed`: it wants that in any case.
    fn end_one(&self, request: &Arc<Request>, result: i32, flags: u32, failed: bool) {
        request.ends();
        request.unsubscribe();
        request.drop_timer();
        let open = request.file.lock().take();
        drop(open);
        let listed = self.queue.lock().pending.remove(&request.key());
        request.pool.release(request, true);
        drop(listed);
        let is_silent = request.entry.flags & given::SKIP_SUCCESS != 0 || request.is_silent();
        if !is_silent || failed {
            let user_data = request.user_data.load(SeqCst);
            self.post(Completion { user_data, result, flags }, request.counts());
        }
        request.set_mark(mark::ENDED);
        request.stops();
    }

    /// A chain has ended: begins those that waited for it.
    fn chain_ended(&self) {
        self.queue.lock().begun -= 1;
        loop {
            let first = {
                let mut queue = self.queue.lock();
                let begun = queue.begun;
                queue.barrier &= begun > 0;
                let waits = queue.barrier;
                if queue.deferred.front().is_none_or(|first| (first.drains() || waits) && begun > 0) {
                    return;
                }
                queue.begun += 1;
                let first = queue.deferred.pop_front();
                queue.barrier = first.as_ref().is_some_and(|first| first.drains());
                first
            };
            let Some(first) = first else { return };
            if first.is(State::Queued) {
                first.pool.push_ready(first.clone());
            } else {
                self.queue.lock().begun -= 1;
            }
        }
    }

    /// Has a time-out end with the `count`-th completion from now on. ENOMEM.
    pub fn count(&self, request: &Arc<Request>, count: u64) -> Result<(), Errno> {
        let mut queue = self.queue.lock();
        let at = queue.counted + count;
        Ok(queue.counting.try_push((at, request.clone()))?)
    }

    /// Ends the time-outs that waited for completions which were posted.
    #[inline(never)]
    fn expire_counting(&self) {
        loop {
            let due = {
                let mut queue = self.queue.lock();
                queue.counting.retain(|(_, request)| !request.is(State::Done));
                let counted = queue.counted;
                queue.counting.iter().position(|(at, _)| *at <= counted).map(|at| queue.counting.remove(at).1)
            };
            let Some(due) = due else { return };
            // A time-out has no chain that its own end could make long.
            if due.moves(State::Armed, State::Done) {
                self.end_one(&due, 0, 0, false);
                let next = due.next.lock().take();
                if let Some(next) = next.filter(|next| next.is(State::Queued)) {
                    next.pool.push_ready(next.clone());
                } else {
                    self.chain_ended();
                }
                self.announce();
            }
        }
    }

    /// Cancels a request. EALREADY: it runs, and ends when it would have to wait; ENOENT: it has ended, or a device has.
    pub fn cancel(&self, request: &Arc<Request>) -> Result<(), Errno> {
        if request.has_result() {
            return Err(Errno::NOENT);
        }
        let ends_here =
            || request.moves(State::Armed, State::Done) || request.moves(State::Queued, State::Done);
        // Tried again after the mark is set: one that began to wait meanwhile may not have seen it.
        let has_ended = ends_here() || {
            request.set_mark(mark::CANCELLED);
            ends_here()
        };
        if has_ended {
            self.finish(request, cancelled(), 0, true);
            return Ok(());
        }
        if request.is(State::Done) {
            return Err(Errno::NOENT);
        }
        // One that goes on after a completion sees the mark before it waits again. On Linux the thread that has submitted it runs it, and
        // never finds it running.
        if request.repeats() && !request.has_mark(mark::PUNTED) { Ok(()) } else { Err(Errno::ALREADY) }
    }

    /// The first request that isn't complete from `key` on (what comes back with its result, and its number), of all or with
    /// this `user_data`, that `wanted` takes.
    pub fn find(
        &self,
        key: (u64, u64),
        user_data: Option<u64>,
        wanted: &dyn Fn(&Request) -> bool,
    ) -> Option<Arc<Request>> {
        let queue = self.queue.lock();
        let from = user_data.map_or(key, |data| key.max((data, 0)));
        let is_one = |data: u64| user_data.is_none_or(|only| only == data);
        let mut listed = queue.pending.iter_from(&from).take_while(|((data, _), _)| is_one(*data));
        listed.find(|(_, request)| wanted(request)).map(|(_, request)| request.clone())
    }

    /// Changes what comes back with the result of a request. ENOMEM.
    pub fn set_user_data(&self, request: &Request, user_data: u64) -> Result<(), Errno> {
        let mut queue = self.queue.lock();
        let Some(listed) = queue.pending.remove(&request.key()) else { return Ok(()) };
        request.user_data.store(user_data, SeqCst);
        queue.pending.insert(request.key(), listed)?;
        Ok(())
    }

    /// Cancels all requests, or those of one process.
    pub fn cancel_all(&self, pool: Option<&Arc<Pool>>) {
        let is_one = |request: &Request| pool.is_none_or(|pool| Arc::ptr_eq(&request.pool, pool));
        let mut key = (0, 0);
        while let Some(request) = self.find(key, None, &is_one) {
            key = request.next_key();
            let _ = self.cancel(&request);
        }
    }
}

/// What a cancelled request comes to.
fn cancelled() -> i32 {
    -i32::from(Errno::CANCELED.number())
}

/// The same for one that was refused when it was submitted.
fn refused_or_cancelled(request: &Request) -> i32 {
    request.refused().map_or(cancelled(), |error| -i32::from(error.number()))
}

impl File for Ring {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat::anonymous())
    }
    fn read(&self, _dst: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        Err(Errno::INVAL)
    }
    fn readiness(&self) -> Events {
        let mut events = Events::empty();
        events.set(Events::IN, self.completions() > 0);
        events.set(Events::OUT, self.submissions() < self.memory.layout().entries);
        events
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }
    fn page(&self, index: u64, _for_write: bool) -> Result<Frame, Errno> {
        self.memory.page(index)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[io_uring]")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn closed(&self) {
        self.gone.store(true, SeqCst);
        self.asked.notify(Events::IN);
        self.cancel_all(None);
        let registered = core::mem::take(&mut *self.registered.lock());
        drop(registered);
    }
}
