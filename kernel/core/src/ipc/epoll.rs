//! epoll(7). Files announce readiness and put themselves on the set's ready list; waiting looks at nothing else, so idle
//! members cost nothing.
use super::epoll_nesting;
use super::poll::{ALWAYS, Events, PollSource, Watching};
use crate::arch::epoll_event;
use crate::errno::{Errno, SysResult};
use crate::fs::file::{File, OpenFile, is_short_for};
use crate::fs::stat;
use crate::mm::user_buf::UserBuf;
use crate::task::sched::{self, Wake};
use crate::task::thread::Thread;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc, try_arc_cyclic};
use coracle_hal::frame;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use coracle_hal::sync::{Mutex, MutexGuard};
use core::any::Any;
use linux_raw_sys::general::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, stat as Stat};

/// Edge-triggered (EPOLLET).
const EDGE: u32 = 1 << 31;
/// Reported once, then disabled (EPOLLONESHOT).
const ONE_SHOT: u32 = 1 << 30;
/// EPOLLWAKEUP: accepted, nothing sleeps here.
const WAKEUP: u32 = 1 << 29;
/// One of the sets that watch the file is told (EPOLLEXCLUSIVE).
const EXCLUSIVE: u32 = 1 << 28;
/// The bits that are not events.
const FLAGS: u32 = EDGE | ONE_SHOT | WAKEUP | EXCLUSIVE;
/// What may accompany EPOLLEXCLUSIVE.
const EXCLUSIVE_ALLOWED: u32 = (FLAGS & !ONE_SHOT)
    | Events::IN.bits()
    | Events::OUT.bits()
    | Events::RDNORM.bits()
    | Events::WRNORM.bits()
    | Events::ERR.bits()
    | Events::HUP.bits();
/// Threads that a set has room for as it is made, to wait in it at once.
const WAITERS: usize = 4;
/// Events copied to the program at a time: few, as most calls report one and each has to clear the room for all.
const BATCH: usize = 5;

/// One watched file.
pub struct Member {
    fd: i32,
    file: Arc<dyn File>,
    /// The description, to tell members of the same number apart: never followed.
    description: usize,
    data: AtomicU64,
    /// Events to be reported, ERR and HUP among them, with EDGE and ONE_SHOT; without any: disabled by ONE_SHOT.
    interest: AtomicU32,
    exclusive: bool,
    /// It is among the incoming, or in the scan.
    queued: AtomicBool,
    /// No longer in the set.
    dead: AtomicBool,
    subscription: AtomicU64,
    ready: Arc<Ready>,
    set: Weak<Epoll>,
    _counted: Counted,
}

/// Members of all sets.
static MEMBERS: AtomicUsize = AtomicUsize::new(0);

/// Counts a member as long as it is there.
struct Counted;

impl Counted {
    /// ENOSPC if there are as many as may be, one for each frame of memory (epoll(7), max_user_watches), or memory is short.
    fn new() -> Result<Counted, Errno> {
        let count = MEMBERS.fetch_add(1, Ordering::Relaxed);
        let counted = Counted;
        if count >= frame::counts().1 || is_short_for(count) { Err(Errno::NOSPC) } else { Ok(counted) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        MEMBERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What members reach of their set.
struct Ready {
    state: Mutex<ReadyState>,
    /// Observers of the set itself: poll on it, and sets that it is a member of.
    source: PollSource,
}

struct ReadyState {
    /// Members that announced something since they were last looked for.
    incoming: Vec<Arc<Member>>,
    /// Threads asleep in epoll_wait; each event wakes one, the last that came.
    waiters: Vec<Arc<Thread>>,
}

/// The members that may be ready, in the order to look at them, as who looks through them has them: those that the last
/// look had no room for, level-triggered ones that it reported, and what came since. Its lock is held while a look lasts,
/// so that nobody takes a set for idle whose members are just in other hands.
type Scan = Vec<Arc<Member>>;

impl ReadyState {
    /// Adds what came to what is to be looked at.
    #[inline(always)]
    fn hand_over(&mut self, scan: &mut Scan) {
        if scan.is_empty() {
            core::mem::swap(scan, &mut self.incoming);
        } else if !self.incoming.is_empty() {
            // The scan has room for all members twice, see `Epoll::make_room_for`.
            let _ = scan.try_append(&mut self.incoming);
        }
    }
    /// The running thread no longer sleeps.
    #[cold]
    #[inline(never)]
    fn stop_waiting(&mut self) {
        crate::this::with(|me| self.waiters.retain(|waiter| !Arc::ptr_eq(waiter, me)));
    }
}

impl Ready {
    #[inline(always)]
    fn push(&self, member: &Arc<Member>) {
        let waiter = {
            let mut state = self.state.lock();
            // Room was made when the member was added. A set that was closed since has none, and reports nothing.
            if state.incoming.len() < state.incoming.capacity() {
                state.incoming.push_reserved(member.clone());
            }
            state.waiters.pop()
        };
        if let Some(thread) = waiter {
            sched::unpark(&thread);
        }
        self.source.notify(Events::IN);
    }
    /// Ends a look. What is left is for another waiter, if there is one.
    #[inline(always)]
    fn end(&self, scan: MutexGuard<Scan>, mut state: MutexGuard<ReadyState>) {
        let waiter = if scan.is_empty() && state.incoming.is_empty() { None } else { state.waiters.pop() };
        drop(state);
        drop(scan);
        if let Some(thread) = waiter {
            sched::unpark(&thread);
        }
    }
}

impl Member {
    /// `events` happened at the file; false if the set isn't interested.
    #[inline(always)]
    pub(super) fn notify(this: &Arc<Member>, events: Events) -> bool {
        let interest = this.interest.load(Ordering::Relaxed);
        if interest & events.bits() == 0 {
            return false;
        }
        if !this.queued.swap(true, Ordering::AcqRel) {
            this.ready.push(this);
        }
        true
    }
    /// What would be reported now.
    #[inline(always)]
    fn poll(&self) -> Events {
        if self.dead.load(Ordering::Relaxed) {
            return Events::empty();
        }
        let interest = Events::from_bits_retain(self.interest.load(Ordering::Relaxed));
        interest & self.file.readiness().with_normal()
    }
    /// Queues it if it is ready already.
    fn check(this: &Arc<Member>) {
        let events = this.poll();
        if !events.is_empty() {
            Member::notify(this, events);
        }
    }
    fn detach(&self) {
        self.dead.store(true, Ordering::Relaxed);
        if let Some(source) = self.file.poll_source() {
            source.unsubscribe(self.subscription.load(Ordering::Relaxed));
        }
    }
}

impl Watching for Member {
    fn has_left(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }
    fn forget(self: Arc<Self>) {
        let removed = self.set.upgrade().and_then(|set| set.members.lock().take(&self));
        if removed.is_some() {
            self.detach();
        }
    }
}

/// Members by descriptor number.
#[derive(Default)]
struct Members {
    by_fd: Vec<Option<Arc<Member>>>,
    /// Members whose number now refers to another description, but whose own lives on through a duplicate.
    others: Vec<Arc<Member>>,
    /// How many there are.
    count: usize,
}

impl Members {
    fn find(&self, fd: i32, description: usize) -> Option<&Arc<Member>> {
        match self.by_fd.get(fd as usize) {
            Some(Some(member)) if member.description == description => Some(member),
            _ => self.others.iter().find(|member| member.fd == fd && member.description == description),
        }
    }
    fn add(&mut self, member: Arc<Member>) -> Result<(), Errno> {
        let index = member.fd as usize;
        if index >= self.by_fd.len() {
            self.by_fd.make_room(index + 1 - self.by_fd.len())?;
            while self.by_fd.len() <= index {
                self.by_fd.push_reserved(None);
            }
        }
        self.others.make_room(1)?;
        if let Some(old) = self.by_fd[index].replace(member) {
            self.others.push_reserved(old);
        }
        self.count += 1;
        Ok(())
    }
    fn take(&mut self, member: &Arc<Member>) -> Option<Arc<Member>> {
        if let Some(slot) = self.by_fd.get_mut(member.fd as usize)
            && slot.as_ref().is_some_and(|found| Arc::ptr_eq(found, member))
        {
            self.count -= 1;
            return slot.take();
        }
        let index = self.others.iter().position(|found| Arc::ptr_eq(found, member))?;
        self.count -= 1;
        Some(self.others.swap_remove(index))
    }
    fn all(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.by_fd.iter().flatten().chain(&self.others)
    }
}

/// An epoll set.
pub struct Epoll {
    ready: Arc<Ready>,
    scan: Mutex<Scan>,
    members: Mutex<Members>,
    this: Weak<Epoll>,
}

impl Epoll {
    /// The identity of the description that a member watches: of those with this descriptor number, the one with this place among them
    /// (kcmp(2), KCMP_EPOLL_TFD).
    pub fn description(&self, fd: i32, place: usize) -> Option<usize> {
        let members = self.members.lock();
        members.all().filter(|member| member.fd == fd).nth(place).map(|member| member.description)
    }
    /// An empty set. ENOMEM.
    pub fn new() -> Result<Arc<Epoll>, Errno> {
        let mut waiters = Vec::new();
        waiters.make_room(WAITERS)?;
        let ready = try_arc(Ready {
            state: Mutex::new(ReadyState { incoming: Vec::new(), waiters }),
            source: PollSource::new(),
        })?;
        Ok(try_arc_cyclic(|this| Epoll {
            ready,
            scan: Mutex::new(Scan::new()),
            members: Mutex::new(Members::default()),
            this: this.clone(),
        })?)
    }

    /// epoll_ctl(2).
    pub fn control(
        &self,
        operation: u32,
        fd: i32,
        open: &Arc<OpenFile>,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let description = open.identity();
        match operation {
            EPOLL_CTL_ADD => self.add(fd, open, description, events, data),
            EPOLL_CTL_MOD => {
                let member = self.members.lock().find(fd, description).cloned().ok_or(Errno::NOENT)?;
                if member.exclusive || events & EXCLUSIVE != 0 {
                    return Err(Errno::INVAL);
                }
                member.data.store(data, Ordering::Relaxed);
                member.interest.store(events & !WAKEUP | ALWAYS.bits(), Ordering::SeqCst);
                if let Some(source) = member.file.poll_source() {
                    let mask = Events::from_bits_truncate(events);
                    source.set_mask(member.subscription.load(Ordering::Relaxed), mask);
                }
                Member::check(&member);
                Ok(())
            }
            EPOLL_CTL_DEL => {
                let removed = {
                    let mut members = self.members.lock();
                    let member = members.find(fd, description).cloned().ok_or(Errno::NOENT)?;
                    members.take(&member)
                };
                if let Some(member) = removed {
                    member.detach();
                    open.remove_watcher(Arc::as_ptr(&member).cast());
                }
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn add(
        &self,
        fd: i32,
        open: &Arc<OpenFile>,
        description: usize,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let source = open.file.poll_source().ok_or(Errno::PERM)?;
        let counted = Counted::new()?;
        let exclusive = events & EXCLUSIVE != 0;
        if exclusive && events & !EXCLUSIVE_ALLOWED != 0 {
            return Err(Errno::INVAL);
        }
        let inner = open.file.as_epoll();
        if exclusive && inner.is_some() {
            return Err(Errno::INVAL);
        }
        let _nesting = match (self.this.upgrade(), inner.and_then(|inner| inner.this.upgrade())) {
            (Some(outer), Some(inner)) => Some(epoll_nesting::check(&outer, &inner)?),
            _ => None,
        };
        let member = try_arc(Member {
            fd,
            file: open.file.clone(),
            description,
            data: AtomicU64::new(data),
            interest: AtomicU32::new(events & !(WAKEUP | EXCLUSIVE) | ALWAYS.bits()),
            exclusive,
            queued: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            subscription: AtomicU64::new(0),
            ready: self.ready.clone(),
            set: self.this.clone(),
            _counted: counted,
        })?;
        {
            let mut members = self.members.lock();
            if members.find(fd, description).is_some() {
                return Err(Errno::EXIST);
            }
            self.make_room_for(members.count + 1)?;
            members.add(member.clone())?;
        }
        let mask = Events::from_bits_truncate(events);
        let added = open.add_watcher(member.clone()).and_then(|()| {
            let id = source.subscribe_member(member.clone(), mask, exclusive)?;
            member.subscription.store(id, Ordering::Relaxed);
            Ok(())
        });
        if let Err(error) = added {
            self.members.lock().take(&member);
            member.dead.store(true, Ordering::Relaxed);
            open.remove_watcher(Arc::as_ptr(&member).cast());
            return Err(error.into());
        }
        Member::check(&member);
        Ok(())
    }

    /// Makes room for `count` members in the lists that they put themselves on, which then must not fail.
    fn make_room_for(&self, count: usize) -> Result<(), NoMemory> {
        // One that is looked at may come again meanwhile.
        const TWICE: usize = 2;
        let make_room =
            |list: &mut Vec<Arc<Member>>| list.make_room((TWICE * count).saturating_sub(list.len()));
        let mut scan = self.scan.lock();
        make_room(&mut scan)?;
        make_room(&mut self.ready.state.lock().incoming)
    }

    /// Adds the sets among its members to `sets`.
    pub(super) fn watched(&self, sets: &mut Vec<Arc<Epoll>>) -> Result<(), Errno> {
        let members = self.members.lock();
        let inner = members.all().filter_map(|member| member.file.as_epoll()?.this.upgrade());
        inner.into_iter().try_for_each(|set| Ok(sets.try_push(set)?))
    }

    /// Adds the sets that it is a member of to `sets`.
    pub(super) fn watching(&self, sets: &mut Vec<Arc<Epoll>>) -> Result<(), Errno> {
        self.ready.source.each_member(|member| match member.set.upgrade() {
            Some(set) => Ok(sets.try_push(set)?),
            None => Ok(()),
        })
    }

    /// epoll_wait(2): up to `max` events to `dst`, which has room for them. `deadline`: nanoseconds since boot; 0 to look
    /// once; `None` to wait for ever. EINTR if a signal came first.
    #[inline]
    pub fn wait(&self, dst: &mut UserBuf, max: usize, deadline: Option<u64>) -> SysResult {
        let mut batch = [0; BATCH * epoll_event::SIZE];
        let (mut slept, mut wake) = (false, Wake::Woken);
        loop {
            let sleeps = wake == Wake::Woken;
            let (done, left) = self.collect(dst, max, usize::MAX, &mut batch, slept, sleeps)?;
            if left > 0 {
                return Ok(self.collect_rest(dst, (done, left), max, &mut batch));
            }
            if done > 0 {
                return Ok(done);
            }
            match wake {
                Wake::Woken => (slept, wake) = (true, sched::park(deadline, true)),
                Wake::TimedOut => return Ok(0),
                Wake::Interrupted => return Err(Errno::INTR),
            }
        }
    }

    /// Goes on where pages of the program's array had to be resolved: `done` events are reported, and `left` members were not
    /// looked at. Gives how many events are reported in all; an error ends that, and is the next call's.
    #[cold]
    #[inline(never)]
    fn collect_rest(
        &self,
        dst: &mut UserBuf,
        (mut done, mut left): (usize, usize),
        max: usize,
        batch: &mut [u8; BATCH * epoll_event::SIZE],
    ) -> usize {
        while left > 0 && done < max {
            let Ok((more, rest)) = self.collect(dst, max - done, left, batch, false, false) else { break };
            done += more;
            left = rest;
        }
        done
    }

    /// Reports what is ready: looks once at each member that may be, `limit` at most. Level-triggered members that were ready are
    /// looked at again by the next call. If nothing is, and the thread then `sleeps`, it is among the waiters when this returns; it
    /// may still be if it `slept`. Gives how many were reported, and, if a page of `dst` had to be resolved, how many members were
    /// not looked at for that: the next call looks at them first.
    #[inline(always)]
    fn collect(
        &self,
        dst: &mut UserBuf,
        max: usize,
        limit: usize,
        batch: &mut [u8; BATCH * epoll_event::SIZE],
        slept: bool,
        sleeps: bool,
    ) -> Result<(usize, usize), Errno> {
        let mut left = 0;
        let mut reported = 0;
        // What of the batch is filled, and what of that the program has.
        let (mut filled, mut copied);
        let mut scan = self.scan.lock();
        let mut state = self.ready.state.lock();
        if slept && !state.waiters.is_empty() {
            state.stop_waiting();
        }
        let (scan, mut state) = loop {
            state.hand_over(&mut scan);
            drop(state);
            // Of the first `looked`, which were looked at, the first `again` are to be looked at again.
            let (mut again, mut looked) = (0, 0);
            loop {
                (filled, copied) = (0, 0);
                while filled < batch.len()
                    && reported < max
                    && looked < limit
                    && let Some(member) = scan.get(looked)
                {
                    let member: &Member = member;
                    looked += 1;
                    // Cleared before looking: what happens from here on queues it anew.
                    member.queued.store(false, Ordering::SeqCst);
                    let events = member.poll();
                    if events.is_empty() {
                        continue;
                    }
                    let event = &mut batch[filled..filled + epoll_event::SIZE];
                    event[..4].copy_from_slice(&events.bits().to_le_bytes());
                    event[epoll_event::DATA..]
                        .copy_from_slice(&member.data.load(Ordering::Relaxed).to_le_bytes());
                    filled += epoll_event::SIZE;
                    reported += 1;
                    let interest = member.interest.load(Ordering::Relaxed);
                    if interest & ONE_SHOT != 0 {
                        member.interest.store(interest & FLAGS, Ordering::Relaxed);
                    } else if interest & EDGE == 0 && !member.queued.swap(true, Ordering::AcqRel) {
                        scan.swap(again, looked - 1);
                        again += 1;
                    }
                }
                if filled > 0 {
                    copied = dst.put_nofault(&batch[..filled]);
                }
                // Also less than there was, if a page is to be resolved, which is done without the lock.
                if copied < batch.len() {
                    break;
                }
            }
            if looked < scan.len() {
                if copied < filled {
                    left = limit.min(scan.len()) - looked;
                }
                again += put_off(&mut scan, looked);
            }
            cut(&mut scan, again);
            state = self.ready.state.lock();
            if reported > 0 || !sleeps || state.incoming.is_empty() {
                break (scan, state);
            }
        };
        if reported == 0 && sleeps {
            state.waiters.try_push(crate::this::with(Arc::clone))?;
            return Ok((0, 0));
        }
        self.ready.end(scan, state);
        if copied < filled {
            let before = dst.done();
            if let Err(error) = put_all(dst, &batch[copied..filled]) {
                // What the program has whole counts.
                let written = copied + dst.done() - before;
                let whole = reported - filled / epoll_event::SIZE + written / epoll_event::SIZE;
                return if whole > 0 { Ok((whole, 0)) } else { Err(error) };
            }
        }
        Ok((reported, left))
    }
}

/// Moves the first `looked` behind the others, which were not looked at; gives the number of those.
#[cold]
#[inline(never)]
fn put_off(list: &mut Scan, looked: usize) -> usize {
    #[inline(never)]
    fn reverse(part: &mut [Arc<Member>]) {
        part.reverse();
    }
    let left = list.len() - looked;
    reverse(list);
    reverse(&mut list[..left]);
    reverse(&mut list[left..]);
    left
}

/// Drops all but the first `len`.
#[inline(always)]
fn cut(list: &mut Scan, len: usize) {
    while list.len() > len {
        list.pop();
    }
}

#[inline]
fn put_all(dst: &mut UserBuf, bytes: &[u8]) -> Result<(), Errno> {
    if dst.put(bytes)? < bytes.len() { Err(Errno::FAULT) } else { Ok(()) }
}

impl File for Epoll {
    fn keeps_position(&self) -> bool {
        false
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat::anonymous())
    }
    /// IN if a member is ready. Those that no longer are leave the list.
    fn readiness(&self) -> Events {
        // Who looks through the set now will find what there is; waiting for him could be in a circle, across sets.
        let Some(mut scan) = self.scan.try_lock() else { return Events::IN | Events::RDNORM };
        self.ready.state.lock().hand_over(&mut scan);
        let mut looked = 0;
        let mut ready = false;
        while !ready && let Some(member) = scan.get(looked) {
            member.queued.store(false, Ordering::SeqCst);
            ready = !member.poll().is_empty();
            if !ready || member.queued.swap(true, Ordering::AcqRel) {
                looked += 1;
            }
        }
        if looked > 0 {
            let left = put_off(&mut scan, looked);
            cut(&mut scan, left);
        }
        self.ready.end(scan, self.ready.state.lock());
        if ready { Events::IN | Events::RDNORM } else { Events::empty() }
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.ready.source)
    }
    fn as_epoll(&self) -> Option<&Epoll> {
        Some(self)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[eventpoll]")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn closed(&self) {
        let members = core::mem::take(&mut *self.members.lock());
        for member in members.all() {
            member.detach();
        }
        let scan = core::mem::take(&mut *self.scan.lock());
        let incoming = core::mem::take(&mut self.ready.state.lock().incoming);
        drop((scan, incoming));
    }
}
