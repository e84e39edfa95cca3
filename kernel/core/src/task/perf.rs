//! Counters of what threads do (perf_event_open(2)): the events that software sees. Nothing is counted for them: an event is the
//! difference of what the kernel counts of a thread anyway, so that it costs nothing while it counts.
use super::sched;
use super::thread::Thread;
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::fs::stat::{Stat, anonymous};
use crate::ipc::poll::{Events, PollSource};
use crate::lock::Mutex;
use crate::mm::user;
use crate::mm::user_buf::UserBuf;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use core::any::Any;

/// PERF_COUNT_SW_*: those that are counted. Others up to [`KINDS`] never happen here: faults that are emulated, or taken for an
/// address that is not aligned, those that wait for a disk, and switches of control groups.
const CPU_CLOCK: u64 = 0;
const TASK_CLOCK: u64 = 1;
const PAGE_FAULTS: u64 = 2;
const SWITCHES: u64 = 3;
const MIGRATIONS: u64 = 4;
const MINOR_FAULTS: u64 = 5;
/// Kinds that there are.
pub const KINDS: u64 = 12;

/// Bits of `struct perf_event_attr`.
pub mod bit {
    /// It does not count until it is enabled.
    pub const DISABLED: u64 = 1 << 0;
    /// Children count, too.
    pub const INHERIT: u64 = 1 << 1;
    /// What the program does by itself does not count.
    pub const EXCLUDE_USER: u64 = 1 << 4;
    /// What happens in the kernel does not.
    pub const EXCLUDE_KERNEL: u64 = 1 << 5;
    /// It is enabled when the thread executes a program.
    pub const ENABLE_ON_EXEC: u64 = 1 << 12;
}

/// PERF_FORMAT_*: what is read beside the value.
const TIME_ENABLED: u64 = 1;
const TIME_RUNNING: u64 = 2;
const ID: u64 = 4;
const GROUP: u64 = 8;
const LOST: u64 = 16;
/// All of them.
pub const FORMATS: u64 = TIME_ENABLED | TIME_RUNNING | ID | GROUP | LOST;

/// PERF_EVENT_IOC_*.
const ENABLE: u32 = 0x2400;
const DISABLE: u32 = 0x2401;
const REFRESH: u32 = 0x2402;
const RESET: u32 = 0x2403;
const SET_PERIOD: u32 = 0x4008_2404;
const GET_ID: u32 = 0x8008_2407;
/// In the argument: all of the group are meant.
const WHOLE_GROUP: usize = 1;

/// The right to count (/proc/sys/kernel/perf_event_paranoid): from 2 on, what happens in the kernel needs CAP_PERFMON.
pub static PARANOID: AtomicU32 = AtomicU32::new(2);

/// What perf_event_open(2) asks for.
#[derive(Clone, Copy)]
pub struct Attributes {
    /// PERF_COUNT_SW_*.
    pub kind: u64,
    /// PERF_FORMAT_*.
    pub format: u64,
    /// [`bit`]s.
    pub bits: u64,
}

/// A count, and the nanoseconds of CPU time in which it was counted.
type Reading = [u64; 2];

/// A thread that is counted.
struct Share {
    thread: Arc<Thread>,
    /// Its reading when it last began to count, if it does.
    from: Option<Reading>,
}

#[derive(Default)]
struct State {
    /// As the program wants it.
    is_enabled: bool,
    /// It counts: its group's leader is enabled, too.
    counts: bool,
    /// What was counted by threads that count no longer.
    done: Reading,
    shares: Vec<Share>,
}

/// An event.
pub struct PerfEvent {
    id: u64,
    attributes: Attributes,
    leader: Option<Arc<PerfEvent>>,
    /// The others of the group that this one leads.
    members: Mutex<Vec<Weak<PerfEvent>>>,
    state: Mutex<State>,
    /// Nothing is ever told here: there is no ring of samples.
    source: PollSource,
}

/// Held while events are enabled and disabled, so that those of a group follow their leader.
static CHANGING: Mutex<()> = Mutex::new(());

impl State {
    /// Adds to what is done, from what it was to what it is.
    fn add(&mut self, from: Reading, to: Reading) {
        for (sum, (from, to)) in self.done.iter_mut().zip(from.into_iter().zip(to)) {
            *sum += to.saturating_sub(from);
        }
    }
}

impl PerfEvent {
    /// A new one that counts a thread, in the group of `leader` if there is one. ESRCH if the thread has ended, ENOMEM.
    pub fn new(
        attributes: Attributes,
        thread: &Arc<Thread>,
        leader: Option<Arc<PerfEvent>>,
    ) -> Result<Arc<PerfEvent>, Errno> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let is_enabled = attributes.bits & bit::DISABLED == 0;
        let event = try_arc(PerfEvent {
            id: IDS.fetch_add(1, Relaxed),
            attributes,
            leader,
            members: Mutex::new(Vec::new()),
            state: Mutex::new(State { is_enabled, ..State::default() }),
            source: PollSource::new(),
        })?;
        if let Some(leader) = &event.leader {
            leader.members.lock().try_push(Arc::downgrade(&event))?;
        }
        event.count(thread, true).inspect_err(|_| event.let_go())?;
        let _changing = CHANGING.lock();
        event.update();
        drop(_changing);
        Ok(event)
    }

    /// The event of an open file.
    pub fn of(file: Arc<dyn File>) -> Option<Arc<PerfEvent>> {
        let file: Arc<dyn Any + Send + Sync> = file;
        file.downcast().ok()
    }

    /// Whether it leads its group, and children count for it as for one with these bits.
    pub fn may_lead(&self, bits: u64) -> bool {
        self.leader.is_none() && (self.attributes.bits ^ bits) & bit::INHERIT == 0
    }

    /// Whether it counts this thread.
    pub fn counts(&self, thread: &Arc<Thread>) -> bool {
        self.state.lock().shares.iter().any(|share| Arc::ptr_eq(&share.thread, thread))
    }

    /// Counts a thread, too: from here on, or if it is new from its beginning.
    fn count(self: &Arc<Self>, thread: &Arc<Thread>, is_running: bool) -> Result<(), Errno> {
        if !thread.counted.add(self.clone())? {
            return Err(Errno::SRCH);
        }
        let mut state = self.state.lock();
        let first = if is_running { self.reading(thread) } else { Reading::default() };
        let from = state.counts.then_some(first);
        Ok(state.shares.try_push(Share { thread: thread.clone(), from })?)
    }

    fn reading(&self, thread: &Thread) -> Reading {
        let ns = sched::cpu_time_ns(thread);
        let Attributes { kind, bits, .. } = self.attributes;
        // Threads are switched in the kernel, and what faults is the program.
        let (kernel, program) = (bits & bit::EXCLUDE_KERNEL == 0, bits & bit::EXCLUDE_USER == 0);
        let value = match kind {
            CPU_CLOCK | TASK_CLOCK => ns,
            PAGE_FAULTS | MINOR_FAULTS if program => thread.faults.load(Relaxed),
            SWITCHES if kernel => thread.sched.switches.iter().map(|count| count.load(Relaxed)).sum(),
            MIGRATIONS if kernel => thread.sched.migrations.load(Relaxed).into(),
            _ => 0,
        };
        [value, ns]
    }

    /// Begins or ends to count, as it and its leader are enabled. [`CHANGING`] is held.
    fn update(&self) {
        let is_led = self.leader.as_ref().is_none_or(|leader| leader.state.lock().is_enabled);
        let mut state = self.state.lock();
        state.counts = is_led && state.is_enabled;
        for index in 0..state.shares.len() {
            let share = &state.shares[index];
            let now = self.reading(&share.thread);
            match share.from {
                Some(from) if !state.counts => {
                    state.add(from, now);
                    state.shares[index].from = None;
                }
                None if state.counts => state.shares[index].from = Some(now),
                _ => {}
            }
        }
    }

    /// Another member of the group that it leads.
    fn member(&self, index: usize) -> Option<Arc<PerfEvent>> {
        self.members.lock().get(index)?.upgrade()
    }

    /// Runs `step` for it and the members of the group that it leads.
    fn for_group(&self, step: &mut dyn FnMut(&PerfEvent) -> Result<(), Errno>) -> Result<(), Errno> {
        step(self)?;
        let count = self.members.lock().len();
        (0..count).filter_map(|index| self.member(index)).try_for_each(|member| step(&member))
    }

    fn enable(&self, is_enabled: bool) {
        self.state.lock().is_enabled = is_enabled;
        // This can't fail: only steps do.
        let _ = self.for_group(&mut |event| {
            event.update();
            Ok(())
        });
    }

    fn reset(&self) {
        let mut state = self.state.lock();
        state.done[0] = 0;
        for share in &mut state.shares {
            let now = self.reading(&share.thread);
            // The time goes on.
            share.from = share.from.map(|from| [now[0], from[1]]);
        }
    }

    /// What it has counted.
    fn value(&self) -> Reading {
        let state = self.state.lock();
        let mut sum = State { done: state.done, ..State::default() };
        for share in &state.shares {
            if let Some(from) = share.from {
                sum.add(from, self.reading(&share.thread));
            }
        }
        sum.done
    }

    /// What read(2) returns. ENOMEM.
    fn words(&self) -> Result<Vec<u64>, Errno> {
        let format = self.attributes.format;
        let mut words = Vec::new();
        let times = |words: &mut Vec<u64>, time| {
            let wanted = [TIME_ENABLED, TIME_RUNNING].into_iter().filter(|bit| format & bit != 0);
            wanted.into_iter().try_for_each(|_| words.try_push(time))
        };
        let about = |words: &mut Vec<u64>, event: &PerfEvent| -> Result<(), NoMemory> {
            if format & ID != 0 {
                words.try_push(event.id)?;
            }
            // Only samples are lost.
            if format & LOST != 0 { words.try_push(0) } else { Ok(()) }
        };
        if format & GROUP == 0 {
            let [value, time] = self.value();
            words.try_push(value)?;
            times(&mut words, time)?;
            about(&mut words, self)?;
            return Ok(words);
        }
        // Any of a group tells of all of it.
        let leader = self.leader.as_deref().unwrap_or(self);
        words.try_push(0)?;
        times(&mut words, leader.value()[1])?;
        let mut count = 0;
        leader.for_group(&mut |event| {
            count += 1;
            words.try_push(event.value()[0])?;
            Ok(about(&mut words, event)?)
        })?;
        words[0] = count;
        Ok(words)
    }

    /// Counts nothing any more.
    fn let_go(&self) {
        let shares = core::mem::take(&mut self.state.lock().shares);
        for share in &shares {
            share.thread.counted.remove(|own| core::ptr::addr_eq(Arc::as_ptr(own), self));
        }
        let Some(leader) = &self.leader else { return };
        let mut members = leader.members.lock();
        members.retain(|member| !core::ptr::eq(member.as_ptr(), self));
    }

    /// A thread that it counts has ended.
    fn thread_ended(&self, thread: &Arc<Thread>) {
        let share = {
            let mut state = self.state.lock();
            let found = state.shares.iter().position(|share| Arc::ptr_eq(&share.thread, thread));
            let Some(share) = found.map(|index| state.shares.swap_remove(index)) else { return };
            if let Some(from) = share.from {
                state.add(from, self.reading(thread));
            }
            share
        };
        drop(share);
    }
}

fn turn_on(event: &PerfEvent) {
    event.enable(true);
}

fn turn_off(event: &PerfEvent) {
    event.enable(false);
}

/// The events that count a thread.
fn of_thread(thread: &Thread) -> impl Iterator<Item = Arc<PerfEvent>> {
    (0..).map_while(|index| thread.counted.get(index)).filter_map(|counter| counter.downcast().ok())
}

/// Takes a thread out of the events that counted it. `is_over`: it has ended.
fn forget(thread: &Arc<Thread>, is_over: bool) {
    let counters = thread.counted.take(is_over);
    let events = counters.into_iter().filter_map(|counter| counter.downcast::<PerfEvent>().ok());
    events.for_each(|event| event.thread_ended(thread));
}

/// A thread has a child, which does not run yet: events that count children count it, as far as there is memory for that.
pub fn inherit(child: &Arc<Thread>, parent: &Thread) {
    for event in of_thread(parent).filter(|event| event.attributes.bits & bit::INHERIT != 0) {
        let _ = event.count(child, false);
    }
}

/// A thread executes a program: events that waited for that count. If the program has further rights, none does any more.
pub fn executed(thread: &Arc<Thread>, has_more_rights: bool) {
    if has_more_rights {
        return forget(thread, false);
    }
    for event in of_thread(thread).filter(|event| event.attributes.bits & bit::ENABLE_ON_EXEC != 0) {
        let _changing = CHANGING.lock();
        event.enable(true);
    }
}

/// Enables or disables all events that count a thread (prctl(2), PR_TASK_PERF_EVENTS_ENABLE).
pub fn turn_all(thread: &Thread, on: bool) {
    let change = if on { turn_on } else { turn_off };
    for event in of_thread(thread) {
        let _changing = CHANGING.lock();
        change(&event);
    }
}

/// A thread ends.
pub fn ended(thread: &Arc<Thread>) {
    forget(thread, true);
}

impl File for PerfEvent {
    fn read(&self, dst: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        let words = self.words()?;
        if dst.remaining() < words.len() * size_of::<u64>() {
            return Err(Errno::NOSPC);
        }
        words.iter().try_for_each(|word| dst.put_all(&word.to_le_bytes()))?;
        Ok(words.len() * size_of::<u64>())
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        let change: fn(&PerfEvent) = match command {
            ENABLE => turn_on,
            DISABLE => turn_off,
            RESET => PerfEvent::reset,
            GET_ID => return user::write_u64(argument, self.id).map(|()| 0),
            // Nothing is sampled.
            REFRESH | SET_PERIOD => return Err(Errno::INVAL),
            _ => return Err(Errno::NOTTY),
        };
        if argument & WHOLE_GROUP == 0 {
            let _changing = CHANGING.lock();
            change(self);
            return Ok(0);
        }
        let leader = self.leader.as_deref().unwrap_or(self);
        leader.for_group(&mut |event| {
            let _changing = CHANGING.lock();
            change(event);
            Ok(())
        })?;
        Ok(0)
    }

    fn keeps_position(&self) -> bool {
        false
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(anonymous())
    }

    fn readiness(&self) -> Events {
        // There is no ring that could be filled.
        Events::HUP
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }

    fn reopen(&self, _flags: u32) -> Option<Result<Arc<dyn File>, Errno>> {
        Some(Err(Errno::NXIO))
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[perf_event]")
    }

    fn closed(&self) {
        self.let_go();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
