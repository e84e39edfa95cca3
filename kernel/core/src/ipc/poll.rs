//! Readiness: files announce changes; epoll sets and sleeping threads observe them. Nothing is ever scanned for.
use super::epoll::Member;
use crate::errno::Errno;
use crate::task::sched::{self, Wake};
use crate::task::thread::Thread;
use crate::time::wall::Deadline;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicU32, Ordering, fence};
use coracle_hal::time;
use core::mem::ManuallyDrop;

bitflags::bitflags! {
    /// Poll events with Linux's values (poll(2), epoll_ctl(2)).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Events: u32 {
        /// POLLIN
        const IN = 0x1;
        /// POLLPRI
        const PRI = 0x2;
        /// POLLOUT
        const OUT = 0x4;
        /// POLLERR
        const ERR = 0x8;
        /// POLLHUP
        const HUP = 0x10;
        /// POLLNVAL
        const NVAL = 0x20;
        /// POLLRDNORM
        const RDNORM = 0x40;
        /// POLLRDBAND
        const RDBAND = 0x80;
        /// POLLWRNORM
        const WRNORM = 0x100;
        /// POLLWRBAND
        const WRBAND = 0x200;
        /// POLLMSG
        const MSG = 0x400;
        /// POLLRDHUP
        const RDHUP = 0x2000;
    }
}

/// Events that every observer hears of, asked for or not (poll(2)).
pub const ALWAYS: Events = Events::ERR.union(Events::HUP);

impl Events {
    /// What a poll for `self` reports of a file in state `ready`.
    #[inline]
    pub fn report(self, ready: Events) -> Events {
        ready.with_normal() & (self | ALWAYS)
    }
    /// Events that an observer of `self` must hear of: files announce the general bits, not the "normal" and "band" bits
    /// that follow them, and errors and hang-ups whether asked for or not.
    fn heard(self) -> Events {
        let mut heard = self | ALWAYS;
        if self.intersects(Events::RDNORM) {
            heard |= Events::IN;
        }
        if self.intersects(Events::WRNORM | Events::WRBAND) {
            heard |= Events::OUT;
        }
        heard
    }
    /// A file's state with the "normal" bits, which follow IN and OUT.
    #[inline(always)]
    pub fn with_normal(self) -> Events {
        let mut have = self;
        if self.contains(Events::IN) {
            have |= Events::RDNORM;
        }
        if self.contains(Events::OUT) {
            have |= Events::WRNORM;
        }
        have
    }
}

/// Told of events; must be quick, and take no lock that is held while a source is notified.
pub trait Observer: Send + Sync {
    /// `events` happened (edges: they may have passed already).
    fn notify(&self, events: Events);
}

/// A member of an epoll set, as the description that it watches has it.
pub trait Watching: Send + Sync {
    /// Whether it is no longer in its set.
    fn has_left(&self) -> bool;
    /// The description was closed: leaves the set.
    fn forget(self: Arc<Self>);
}

/// Who is told. The two common kinds are called directly.
enum Watcher {
    Thread(Arc<Thread>),
    Member(Arc<Member>),
    Other(Arc<dyn Observer>),
    /// It has unsubscribed, and its entry goes with others of its kind.
    Gone,
}

struct Entry {
    id: u64,
    mask: Events,
    /// One of all exclusive entries is told, not each (EPOLLEXCLUSIVE).
    exclusive: bool,
    watcher: Watcher,
}

struct Entries {
    next_id: u64,
    /// By rising id. Not dropped with the file, when there is none any more: what observes a file keeps it until it has
    /// unsubscribed. So the end of a file leads to that of no observer, which keeps files of its own.
    list: Vec<ManuallyDrop<Entry>>,
    /// How many entries are [`Watcher::Gone`].
    gone: u32,
    /// [`PollSource::wanted`] may have events that no entry wants any more.
    stale: bool,
    /// The exclusive entry that was told last.
    last_told: u64,
}

/// Up to so many entries, one that leaves is taken out at once. In a longer list it stays as [`Watcher::Gone`], so that
/// each of many observers leaves in logarithmic time.
const FEW: usize = 8;

impl Entries {
    fn find(&self, id: u64) -> Option<usize> {
        let index = self.list.binary_search_by_key(&id, |entry| entry.id).ok()?;
        (!matches!(self.list[index].watcher, Watcher::Gone)).then_some(index)
    }
    /// Takes an observer out; the caller drops it.
    fn take(&mut self, index: usize) -> Watcher {
        if self.list.len() <= FEW {
            return ManuallyDrop::into_inner(self.list.remove(index)).watcher;
        }
        let watcher = core::mem::replace(&mut self.list[index].watcher, Watcher::Gone);
        self.list[index].mask = Events::empty();
        self.gone += 1;
        if 2 * self.gone as usize > self.list.len() {
            self.compact();
        }
        watcher
    }
    #[cold]
    #[inline(never)]
    fn compact(&mut self) {
        self.list.retain(|entry| !matches!(entry.watcher, Watcher::Gone));
        self.gone = 0;
    }
    /// Tells one of the exclusive entries that want `events`: they take turns, so that work spreads over the waiters.
    #[cold]
    #[inline(never)]
    fn tell_one(&mut self, events: Events) {
        let turn = self.list.partition_point(|entry| entry.id <= self.last_told);
        let (before, after) = self.list.split_at(turn);
        let told = after.iter().chain(before).find(|entry| {
            entry.exclusive && entry.mask.intersects(events) && {
                match &entry.watcher {
                    Watcher::Member(member) => Member::notify(member, events),
                    _ => false,
                }
            }
        });
        if let Some(told) = told {
            self.last_told = told.id;
        }
    }
}

/// The place in a file where its changes are announced.
///
/// Change the file's state first (under its lock or by an atomic read-modify-write), then notify: an observer subscribes
/// first and looks at the state afterwards, so that one of the two always sees the other.
pub struct PollSource {
    /// Union of the masks of all entries.
    wanted: AtomicU32,
    entries: Mutex<Entries>,
}

impl Default for PollSource {
    fn default() -> Self {
        PollSource::new()
    }
}

impl PollSource {
    /// No observers.
    pub const fn new() -> Self {
        PollSource {
            wanted: AtomicU32::new(0),
            entries: Mutex::new(Entries {
                next_id: 1,
                list: Vec::new(),
                gone: 0,
                stale: false,
                last_told: 0,
            }),
        }
    }
    /// Tells the observers that want any of `events` (ERR and HUP always). Costs a load and a branch without observers.
    #[inline(always)]
    pub fn notify(&self, events: Events) {
        // What is told of was stored before, maybe without a lock; an observer that looked too early must be seen here.
        // It subscribes, in one step that orders memory, before it looks; so must we between storing and looking.
        fence(Ordering::SeqCst);
        if self.wanted.load(Ordering::Relaxed) & events.bits() != 0 {
            self.notify_entries(events);
        }
    }
    fn notify_entries(&self, events: Events) {
        let mut entries = self.entries.lock();
        if entries.stale {
            self.recount(&mut entries);
        }
        let mut exclusive = false;
        for entry in &entries.list {
            if entry.mask.intersects(events) {
                match &entry.watcher {
                    _ if entry.exclusive => exclusive = true,
                    Watcher::Thread(thread) => sched::unpark(thread),
                    Watcher::Member(member) => {
                        Member::notify(member, events);
                    }
                    Watcher::Other(observer) => observer.notify(events),
                    Watcher::Gone => {}
                }
            }
        }
        if exclusive {
            entries.tell_one(events);
        }
    }
    /// Adds an observer; gives an id for [`PollSource::unsubscribe`].
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn subscribe(&self, observer: Arc<dyn Observer>, mask: Events) -> Result<u64, NoMemory> {
        self.add(Watcher::Other(observer), mask, false)
    }
    /// Wakes `thread` at each event of `mask`.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn subscribe_thread(&self, thread: Arc<Thread>, mask: Events) -> Result<u64, NoMemory> {
        self.add(Watcher::Thread(thread), mask, false)
    }
    /// Puts `member` on its set's ready list at each event of `mask`.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub(super) fn subscribe_member(
        &self,
        member: Arc<Member>,
        mask: Events,
        exclusive: bool,
    ) -> Result<u64, NoMemory> {
        self.add(Watcher::Member(member), mask, exclusive)
    }
    fn add(&self, watcher: Watcher, mask: Events, exclusive: bool) -> Result<u64, NoMemory> {
        let mask = mask.heard();
        let mut entries = self.entries.lock();
        // Before the entry is made, whose observer would not be dropped. It is, with the lock released, if this fails.
        entries.list.make_room(1)?;
        let id = entries.next_id;
        entries.next_id += 1;
        entries.list.push_reserved(ManuallyDrop::new(Entry { id, mask, exclusive, watcher }));
        self.wanted.fetch_or(mask.bits(), Ordering::SeqCst);
        Ok(id)
    }
    /// Calls `f` with each member of an epoll set that observes, until it fails.
    pub(super) fn each_member(
        &self,
        mut f: impl FnMut(&Arc<Member>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let entries = self.entries.lock();
        let members = entries.list.iter().filter_map(|entry| match &entry.watcher {
            Watcher::Member(member) => Some(member),
            _ => None,
        });
        members.into_iter().try_for_each(&mut f)
    }
    /// Changes what an observer wants to hear of.
    pub fn set_mask(&self, id: u64, mask: Events) {
        let mut entries = self.entries.lock();
        if let Some(index) = entries.find(id) {
            entries.list[index].mask = mask.heard();
            self.wanted.fetch_or(mask.heard().bits(), Ordering::SeqCst);
        }
        self.count_changed(&mut entries);
    }
    /// Removes it.
    pub fn unsubscribe(&self, id: u64) {
        let mut entries = self.entries.lock();
        let removed = match &entries.list[..] {
            // As a rule one thread waits.
            [only] if only.id == id => {
                self.wanted.store(0, Ordering::SeqCst);
                entries.list.pop().map(|entry| ManuallyDrop::into_inner(entry).watcher)
            }
            _ => self.take(&mut entries, id),
        };
        // The watcher may be the last to hold its file: let go of it with the lock released.
        drop(entries);
        drop(removed);
    }
    /// Takes out one of several observers.
    #[inline(never)]
    fn take(&self, entries: &mut Entries, id: u64) -> Option<Watcher> {
        let removed = entries.find(id).map(|index| entries.take(index));
        self.count_changed(entries);
        removed
    }
    /// An entry has left, or wants less: of a long list, the next notification looks at all entries anyway.
    #[inline(always)]
    fn count_changed(&self, entries: &mut Entries) {
        if entries.list.len() > FEW {
            entries.stale = true;
        } else {
            self.recount(entries);
        }
    }
    fn recount(&self, entries: &mut Entries) {
        if entries.gone > 0 {
            entries.compact();
        }
        entries.stale = false;
        let wanted = entries.list.iter().fold(Events::empty(), |all, entry| all | entry.mask);
        self.wanted.store(wanted.bits(), Ordering::SeqCst);
    }
}

/// Runs `attempt` until it returns something other than EAGAIN, sleeping on `source` in between unless `nonblock`.
/// ERESTARTSYS if a signal came. At the deadline (nanoseconds since boot) EAGAIN, as socket(7) says of SO_RCVTIMEO: an
/// ETIMEDOUT is always one of `attempt`, such as that of a connection whose peer has fallen silent.
pub fn block_on<T>(
    source: &PollSource,
    nonblock: bool,
    deadline_ns: Option<u64>,
    attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    block_on_events(source, Events::all(), nonblock, deadline_ns, attempt)
}

/// [`block_on`] that is only woken by events of `mask` (and ERR and HUP).
pub fn block_on_events<T>(
    source: &PollSource,
    mask: Events,
    nonblock: bool,
    deadline_ns: Option<u64>,
    attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    block_until(source, mask, nonblock, deadline_ns.map(Deadline::Boot), attempt)
}

/// [`block_on_events`] up to a deadline that may follow the real-time clock.
pub fn block_until<T>(
    source: &PollSource,
    mask: Events,
    nonblock: bool,
    deadline: Option<Deadline>,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match attempt() {
        Err(Errno::AGAIN) if !nonblock => {}
        other => return other,
    }
    let mut outcome = Err(Errno::AGAIN);
    let ended = sleep_until(source, mask, deadline, &mut || {
        outcome = attempt();
        !matches!(outcome, Err(Errno::AGAIN))
    });
    ended.and(outcome)
}

/// How often a thread looks that waits without being told, in nanoseconds.
pub const LOOK_EVERY_NS: u64 = 2_000_000;

/// When a thread looks again that waits without being told, or the deadline, if that comes first.
#[cold]
fn next_look(deadline: Option<Deadline>) -> Option<Deadline> {
    let look_ns = time::now_ns() + LOOK_EVERY_NS;
    deadline.filter(|deadline| deadline.boot_ns() <= look_ns).or(Some(Deadline::Boot(look_ns)))
}

/// Sleeps on `source` until `done` returns true or the deadline has passed; ERESTARTSYS if a signal came and `done` still
/// returns false (Linux's `___wait_event`). One copy of the loop for all waiters.
#[inline(never)]
fn sleep_until(
    source: &PollSource,
    mask: Events,
    deadline: Option<Deadline>,
    done: &mut dyn FnMut() -> bool,
) -> Result<(), Errno> {
    // A call that waits must not fail for lack of memory: without a place in the list it looks again from time to time.
    let id = source.subscribe_thread(crate::this::with(Arc::clone), mask).ok();
    let result = loop {
        if done() {
            break Ok(());
        }
        let wake = if id.is_some() { deadline } else { next_look(deadline) };
        match wake.map_or_else(|| sched::park(None, true), |wake| sched::park_until(wake, true)) {
            Wake::Woken => {}
            // What is waited for goes before the signal that came with it, as SIGCHLD does with the end of a child.
            Wake::Interrupted if done() => break Ok(()),
            Wake::Interrupted => break Err(Errno::RESTARTSYS),
            Wake::TimedOut if wake != deadline => {}
            Wake::TimedOut => {
                done();
                break Ok(());
            }
        }
    };
    if let Some(id) = id {
        source.unsubscribe(id);
    }
    result
}

/// Sleeps on `source` until `done` returns true; no signal ends it. `done` is called with no lock held but its own.
#[inline(never)]
pub fn wait_until(source: &PollSource, mask: Events, done: &mut dyn FnMut() -> bool) {
    if done() {
        return;
    }
    let id = source.subscribe_thread(crate::this::with(Arc::clone), mask).ok();
    while !done() {
        sched::park_aside(id.is_none().then(|| time::now_ns() + LOOK_EVERY_NS));
    }
    if let Some(id) = id {
        source.unsubscribe(id);
    }
}
