//! Contexts of asynchronous input and output (io_setup(2)): the events of requests that are complete, until a thread takes them.
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, block_on, wait_until};
use coracle_core::lock::Mutex;
use coracle_core::task::attachment::Attachment;
use coracle_core::task::process::Process;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use coracle_sorted_map::SortedMap;

/// Requests of all contexts together (fs.aio-max-nr).
pub const MOST_REQUESTS: usize = 65_536;

/// Requests for which contexts have room.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);

/// How many there are (fs.aio-nr).
pub fn requests() -> usize {
    REQUESTS.load(Ordering::Relaxed)
}

/// A context's part of them; given back when dropped.
struct Share(usize);

impl Share {
    fn take(requests: usize) -> Option<Share> {
        let within = |taken: usize| taken.checked_add(requests).filter(|&taken| taken <= MOST_REQUESTS);
        REQUESTS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok().map(|_| Share(requests))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        REQUESTS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// A request that is complete (`struct io_event`).
#[derive(Clone, Copy)]
pub struct Event {
    /// aio_data.
    pub data: u64,
    /// The address of the request.
    pub request: u64,
    /// The result: bytes, or a negative errno.
    pub result: i64,
}

impl Event {
    /// As four words.
    pub fn words(self) -> [u64; 4] {
        [self.data, self.request, self.result as u64, 0]
    }
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    /// Requests that are being carried out: there is room for their events.
    begun: usize,
}

/// A context.
pub struct Context {
    /// Requests at most whose events were not taken.
    room: usize,
    state: Mutex<State>,
    source: PollSource,
    destroyed: AtomicBool,
    _share: Share,
}

impl Context {
    /// A context for that many requests. EAGAIN beyond [`MOST_REQUESTS`]; ENOMEM.
    pub fn new(room: usize) -> Result<Arc<Context>, Errno> {
        let share = Share::take(room).ok_or(Errno::AGAIN)?;
        let mut state = State::default();
        state.events.make_room_for(room)?;
        let (source, destroyed) = (PollSource::new(), AtomicBool::new(false));
        Ok(try_arc(Context { room, state: Mutex::new(state), source, destroyed, _share: share })?)
    }

    /// How many requests it takes.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Begins a request, which [`Self::complete`] or [`Self::give_up`] ends. EAGAIN without room for its event; EINVAL if the context is
    /// destroyed.
    pub fn begin(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        // Looked at with the state locked: io_destroy(2) finds what was begun before.
        if self.destroyed.load(Ordering::SeqCst) {
            return Err(Errno::INVAL);
        }
        if state.events.len() + state.begun >= self.room {
            return Err(Errno::AGAIN);
        }
        state.begun += 1;
        Ok(())
    }

    /// A request was refused.
    pub fn give_up(&self) {
        self.state.lock().begun -= 1;
        self.source.notify(Events::IN);
    }

    /// A request is complete.
    pub fn complete(&self, event: Event) {
        {
            let mut state = self.state.lock();
            state.begun -= 1;
            state.events.push_back_reserved(event);
        }
        self.source.notify(Events::IN);
    }

    /// Waits until `count` events are there. EINVAL if the context is destroyed meanwhile; EAGAIN at the deadline.
    pub fn wait_for(&self, count: usize, nonblock: bool, deadline_ns: Option<u64>) -> Result<(), Errno> {
        block_on(&self.source, nonblock, deadline_ns, || {
            if self.destroyed.load(Ordering::SeqCst) {
                Err(Errno::INVAL)
            } else if self.state.lock().events.len() >= count {
                Ok(())
            } else {
                Err(Errno::AGAIN)
            }
        })
    }

    /// Waits until all requests that were begun are complete: a device may still reach the program's memory, or write what the program has
    /// asked for. No signal ends the wait (Linux's `exit_aio`).
    pub fn wait_for_begun(&self) {
        wait_until(&self.source, Events::IN, &mut || self.state.lock().begun == 0);
    }

    /// The first event.
    pub fn take(&self) -> Option<Event> {
        self.state.lock().events.pop_front()
    }

    /// Puts back an event that could not be written to the program. It is lost if a request has taken its place meanwhile.
    pub fn put_back(&self, event: Event) {
        let mut state = self.state.lock();
        if state.events.len() + state.begun < self.room {
            state.events.push_front_reserved(event);
        }
    }
}

/// The contexts of a process, by their ids.
#[derive(Default)]
pub struct Contexts(Mutex<Listed>);

#[derive(Default)]
struct Listed {
    all: SortedMap<usize, Arc<Context>>,
    /// The one that was asked for last, which most programs ask for again.
    latest: Option<(usize, Arc<Context>)>,
}

impl Contexts {
    /// Lists one. ENOMEM.
    pub fn insert(&self, id: usize, context: Arc<Context>) -> Result<(), Errno> {
        self.0.lock().all.insert(id, context)?;
        Ok(())
    }

    /// The one with this id; EINVAL.
    pub fn get(&self, id: usize) -> Result<Arc<Context>, Errno> {
        let mut listed = self.0.lock();
        if let Some((_, context)) = listed.latest.as_ref().filter(|(latest, _)| *latest == id) {
            return Ok(context.clone());
        }
        let context = listed.all.get(&id).cloned().ok_or(Errno::INVAL)?;
        listed.latest = Some((id, context.clone()));
        Ok(context)
    }

    /// Takes one out, and wakes the threads that wait for its events; EINVAL.
    pub fn remove(&self, id: usize) -> Result<Arc<Context>, Errno> {
        let mut listed = self.0.lock();
        let context = listed.all.remove(&id).ok_or(Errno::INVAL)?;
        listed.latest = None;
        drop(listed);
        context.destroyed.store(true, Ordering::SeqCst);
        context.source.notify(Events::all());
        Ok(context)
    }
}

impl Attachment for Contexts {
    fn new() -> Result<Contexts, NoMemory> {
        Ok(Contexts::default())
    }

    /// Removes all, once what was begun is complete: the memory that they belong to goes.
    fn program_ended(&self) {
        let contexts = core::mem::take(&mut *self.0.lock());
        contexts.all.values().for_each(|context| context.wait_for_begun());
    }
}

/// Those of a process; EINVAL, as for an id that is none, if it has none.
pub fn contexts(process: &Process) -> Result<&Contexts, Errno> {
    process.aio.get().ok_or(Errno::INVAL)
}
