//! PID namespaces (pid_namespaces(7)): the numbers that the processes and threads of a namespace go by in it, and in those around it.
//!
//! The kernel names a process or thread by its number in the first namespace, the machine's. A process of another namespace has the
//! machine's number translated where a program passes or gets it ([`named`], [`seen`]). A process of the first one has none of this.
use super::namespaces::Namespaces;
use super::process::{self, Process};
use super::signal::{Action, IGNORE, SigInfo, send_to_process};
use super::thread::Thread;
use super::user_space::{UserSpace, next_inode};
use super::{sched, wait};
use crate::errno::Errno;
use crate::ipc::poll::{Events, LOOK_EVERY_NS, PollSource};
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::Ordering::*;
use coracle_hal::time;
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general as abi;

/// Namespaces within each other at most, the first one not counted (Linux's MAX_PID_NS_LEVEL).
pub const LEVELS: usize = 32;
/// The number of a namespace's init process.
const INIT: i32 = 1;
/// Numbers are not given out again below this, but when all others are taken (Linux's RESERVED_PIDS).
const RESERVED: i32 = 300;

/// A PID namespace other than the first.
pub struct PidSpace {
    /// Number of its inode.
    pub id: u32,
    /// The user namespace that it belongs to.
    pub owner: Option<Arc<UserSpace>>,
    parent: Option<Arc<PidSpace>>,
    level: usize,
    numbers: Mutex<Numbers>,
    /// Told when a number is free again.
    left: PollSource,
}

#[derive(Default)]
struct Numbers {
    /// The machine's numbers by those of the namespace, and the other way round.
    machine: SortedMap<i32, i32>,
    inside: SortedMap<i32, i32>,
    /// The machine's numbers of those that are gone, and whose process group or session is not.
    lingering: Vec<i32>,
    last: i32,
    /// Its init process has ended.
    is_closed: bool,
}

impl Numbers {
    /// The next free number. EAGAIN if there is none.
    fn next(&mut self) -> Result<i32, Errno> {
        for _ in 0..process::PID_MAX {
            self.last = if self.last + 1 >= process::PID_MAX { RESERVED } else { self.last + 1 };
            if !self.machine.contains_key(&self.last) {
                return Ok(self.last);
            }
        }
        Err(Errno::AGAIN)
    }
    fn remove(&mut self, machine: i32) {
        if let Some(inside) = self.inside.remove(&machine) {
            self.machine.remove(&inside);
        }
    }
}

impl Drop for PidSpace {
    /// One after the other: they may be many.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut space) = parent.and_then(Arc::into_inner) {
            parent = space.parent.take();
        }
    }
}

/// Whether both are the same namespace; `None` is the first.
pub fn same(a: Option<&Arc<PidSpace>>, b: Option<&Arc<PidSpace>>) -> bool {
    a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
}

/// Whether `space` is `outer`, or lies within it.
pub fn is_within(space: Option<&Arc<PidSpace>>, outer: Option<&Arc<PidSpace>>) -> bool {
    let mut at = space;
    loop {
        if same(at, outer) {
            return true;
        }
        let Some(space) = at else { return false };
        at = space.parent.as_ref();
    }
}

/// Numbers of a thread or process that is being made: they are free again when this goes, unless it was [kept](Self::keep).
pub struct Entry {
    space: Arc<PidSpace>,
    machine: i32,
    /// Its number in its own namespace.
    pub own: i32,
    is_kept: bool,
}

impl Entry {
    /// The thread or process is listed.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_kept {
            self.space.leave(self.machine, false);
        }
    }
}

impl PidSpace {
    /// A namespace in `parent` without processes. ENOSPC if there are too many within each other, ENOMEM.
    pub fn new(parent: Option<Arc<PidSpace>>, owner: Option<Arc<UserSpace>>) -> Result<Arc<PidSpace>, Errno> {
        let level = parent.as_ref().map_or(0, |parent| parent.level) + 1;
        if level > LEVELS {
            return Err(Errno::NOSPC);
        }
        let (id, numbers) = (next_inode(), Mutex::default());
        Ok(try_arc(PidSpace { id, owner, parent, level, numbers, left: PollSource::new() })?)
    }

    /// The namespace in which it was made; `None` is the first.
    pub fn parent(&self) -> Option<&Arc<PidSpace>> {
        self.parent.as_ref()
    }

    /// How many namespaces it is within.
    pub fn level(&self) -> usize {
        self.level
    }

    /// Itself and those around it but for the first, the innermost first.
    pub fn outwards(self: &Arc<Self>) -> impl Iterator<Item = &Arc<PidSpace>> {
        core::iter::successors(Some(self), |space| space.parent.as_ref())
    }

    /// Its number of what is `machine` on the machine; 0 if that is not in it.
    pub fn inside(&self, machine: i32) -> i32 {
        self.numbers.lock().inside.get(&machine).copied().unwrap_or(0)
    }

    /// The machine's number of what is `inside` in it.
    pub fn machine(&self, inside: i32) -> Option<i32> {
        self.numbers.lock().machine.get(&inside).copied()
    }

    /// The first number from `from` on that a process has.
    pub fn next(&self, from: i32) -> Option<i32> {
        let mut at = from;
        loop {
            let next = self.numbers.lock().machine.iter_from(&at).next().map(|(key, value)| (*key, *value));
            let (inside, machine) = next?;
            if process::by_pid(machine).is_some() {
                return Some(inside);
            }
            at = inside.checked_add(1)?;
        }
    }

    /// Whether there is an init process, or was one.
    pub fn has_init(&self) -> bool {
        let numbers = self.numbers.lock();
        numbers.is_closed || numbers.machine.contains_key(&INIT)
    }

    /// The init process, unless it is gone.
    pub fn init(&self) -> Option<Arc<Process>> {
        process::by_pid(self.machine(INIT)?)
    }

    /// Whether its init process has ended.
    pub fn is_closed(&self) -> bool {
        self.numbers.lock().is_closed
    }

    /// Gives what is `machine` on the machine numbers in this namespace and those around it: the ones of `wanted`, the innermost first,
    /// and any others where there are no more of them (clone3(2), `set_tid`). ENOMEM if an init process has ended, or for lack of memory;
    /// EINVAL, EPERM, EEXIST for what is wanted; EAGAIN.
    pub fn enter(self: &Arc<Self>, machine: i32, wanted: &[i32]) -> Result<Entry, Errno> {
        let mut own = 0;
        for (index, space) in self.outwards().enumerate() {
            let entered = space.enter_one(machine, wanted.get(index).copied());
            match entered {
                Ok(number) if index == 0 => own = number,
                Ok(_) => {}
                Err(error) => {
                    self.outwards().take(index).for_each(|space| space.leave_one(machine, false));
                    return Err(error);
                }
            }
        }
        Ok(Entry { space: self.clone(), machine, own, is_kept: false })
    }

    fn enter_one(&self, machine: i32, wanted: Option<i32>) -> Result<i32, Errno> {
        if let Some(wanted) = wanted {
            check_choice(wanted, self.has_init(), self.owner.as_ref())?;
        }
        let mut numbers = self.numbers.lock();
        if numbers.is_closed {
            return Err(Errno::NOMEM);
        }
        let number = match wanted {
            Some(number) if numbers.machine.contains_key(&number) => return Err(Errno::EXIST),
            Some(number) => number,
            None => numbers.next()?,
        };
        numbers.machine.insert(number, machine)?;
        if let Err(error) = numbers.inside.insert(machine, number) {
            numbers.machine.remove(&number);
            return Err(error.into());
        }
        Ok(number)
    }

    /// What was `machine` on the machine is gone. `lingers`: a process group or a session has its number.
    pub fn leave(self: &Arc<Self>, machine: i32, lingers: bool) {
        self.outwards().for_each(|space| space.leave_one(machine, lingers));
    }

    fn leave_one(&self, machine: i32, lingers: bool) {
        let old = {
            let mut numbers = self.numbers.lock();
            // For lack of memory its group has no number any more.
            if !lingers || numbers.lingering.try_push(machine).is_err() {
                numbers.remove(machine);
            }
            core::mem::take(&mut numbers.lingering)
        };
        for leader in old {
            let numbers = || self.numbers.lock();
            if process::leads(leader) {
                let kept = numbers().lingering.try_push(leader);
                if kept.is_ok() {
                    continue;
                }
            }
            numbers().remove(leader);
        }
        self.left.notify(Events::IN);
    }

    /// Whether no process or thread has a number in it but the first `threads`.
    fn is_alone(&self) -> bool {
        let numbers = self.numbers.lock();
        numbers.machine.len() <= numbers.lingering.len() + 1
    }
}

/// Whether the running program may choose a number (clone3(2), `set_tid`) in a namespace of `owner`. EINVAL if it is none, or another than
/// 1 where there is no init process; EPERM.
pub fn check_choice(wanted: i32, has_init: bool, owner: Option<&Arc<UserSpace>>) -> Result<(), Errno> {
    use crate::fs::access::{capability, check_capability_in};
    if !(1..process::PID_MAX).contains(&wanted) || wanted != INIT && !has_init {
        return Err(Errno::INVAL);
    }
    check_capability_in(owner, capability::SYS_ADMIN)
        .or_else(|_| check_capability_in(owner, capability::CHECKPOINT_RESTORE))
}

/// The number that the running program sees of what is `machine` on the machine; 0 if that is not in its namespace.
#[inline]
pub fn seen(machine: i32) -> i32 {
    crate::this::with(|thread| thread.process.sees(machine))
}

/// The machine's number of what the running program calls `number`.
#[inline]
pub fn named(number: i32) -> Option<i32> {
    crate::this::with(|thread| match thread.process.pid_space() {
        None => Some(number),
        Some(space) => space.machine(number),
    })
}

/// The process that the running program calls by this number.
pub fn process(number: i32) -> Option<Arc<Process>> {
    named(number).and_then(process::by_pid)
}

/// The process whose thread, or which itself, the running program calls by this number. Most calls that take a process take any of
/// its threads on Linux.
pub fn process_of(number: i32) -> Option<Arc<Process>> {
    process(number).or_else(|| thread(number).map(|thread| thread.process.clone()))
}

/// The thread that the running program calls by this number.
pub fn thread(number: i32) -> Option<Arc<Thread>> {
    named(number).and_then(process::thread_by_tid)
}

impl Process {
    /// The PID namespace that it is in; `None` is the first.
    #[inline]
    pub fn pid_space(&self) -> Option<&Arc<PidSpace>> {
        self.pids.get()
    }

    /// The PID namespace that its children go to; `None` is the first.
    pub fn pid_space_of_children(&self) -> Option<Arc<PidSpace>> {
        if self.sends_children_away.load(Relaxed) {
            self.namespaces.lock().pids_of_children.clone()
        } else {
            self.pid_space().cloned()
        }
    }

    /// Has its children go to another namespace (unshare(2), setns(2)); `namespaces` are its own, which are changed.
    pub fn send_children_to(&self, space: Option<Arc<PidSpace>>, namespaces: &mut Namespaces) {
        self.sends_children_away.store(!same(space.as_ref(), self.pid_space()), Relaxed);
        namespaces.pids_of_children = space;
    }

    /// Its own number in its namespace (getpid(2)).
    #[inline]
    pub fn own_pid(&self) -> i32 {
        self.own_pid.load(Relaxed)
    }

    /// The number that it sees of what is `machine` on the machine; 0 if that is not in its namespace.
    #[inline]
    pub fn sees(&self, machine: i32) -> i32 {
        match self.pid_space() {
            None => machine,
            Some(space) => space.inside(machine),
        }
    }

    /// Whether it is the init process of a namespace other than the first.
    pub fn is_init(&self) -> bool {
        self.own_pid() == INIT && self.pid_space().is_some()
    }

    /// Puts it, which is in no table yet, into a namespace, with its numbers there.
    pub(super) fn enter_pids(&self, entry: &Entry) {
        self.pids.call_once(|| entry.space.clone());
        self.own_pid.store(entry.own, Relaxed);
        self.sends_children_away.store(false, Relaxed);
        // Signals without a handler don't end it (pid_namespaces(7), "The namespace init process").
        self.is_protected.store(entry.own == INIT, Relaxed);
    }

    /// Whether a signal that it has no handler for leaves it alone: it is an init process, and the signal comes from within its namespace, or
    /// is none that ends or stops a process in any case (Linux's `sig_task_ignored`).
    pub(super) fn is_immune(&self, info: &SigInfo) -> bool {
        if !self.is_protected.load(Relaxed) {
            return false;
        }
        let is_inside = |space: &Arc<PidSpace>| {
            crate::this::is_any() && crate::this::with(|me| space.inside(me.process.pid) != 0)
        };
        let is_forced = info.code == abi::SI_KERNEL as i32 || !self.pid_space().is_some_and(is_inside);
        !(is_forced && matches!(info.signal, abi::SIGKILL | abi::SIGSTOP))
    }
}

/// Ends all processes of the namespace whose init process `init` is, by whose last thread this is called, and waits until they are gone
/// (pid_namespaces(7), "The namespace init process"; Linux's `zap_pid_ns_processes`).
pub(super) fn end_space(init: &Arc<Process>) {
    let Some(space) = init.pid_space() else { return };
    space.numbers.lock().is_closed = true;
    // From here on children that end are not waited for.
    let mut action = init.signals.lock().action(abi::SIGCHLD);
    action = Action { handler: IGNORE, ..action };
    init.signals.lock().set_action(abi::SIGCHLD, action);
    let mut at = INIT + 1;
    while let Some(inside) = space.next(at) {
        at = inside + 1;
        if let Some(other) = space.machine(inside).and_then(process::by_pid) {
            send_to_process(&other, SigInfo::kernel(abi::SIGKILL));
        }
    }
    let me = crate::this::with(Arc::clone);
    let sources = [&space.left, &init.child_events];
    // Without a place in the lists the thread looks again from time to time.
    let places = sources.map(|source| source.subscribe_thread(me.clone(), Events::IN).ok());
    let looks = places.iter().any(Option::is_none);
    loop {
        while let Ok(Some(_)) = wait::wait(init, wait::Which::Any, abi::WEXITED | abi::WNOHANG | abi::__WALL)
        {
        }
        if space.is_alone() {
            break;
        }
        sched::park(looks.then(|| time::now_ns() + LOOK_EVERY_NS), false);
    }
    for (source, place) in sources.into_iter().zip(places) {
        if let Some(place) = place {
            source.unsubscribe(place);
        }
    }
}
