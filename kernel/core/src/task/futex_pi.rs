//! Locks with priority inheritance in the program's memory (futex(2), "Priority-inheritance futexes").
//!
//! The word is 0, or holds the id of the thread that has the lock, with FUTEX_WAITERS if it has to be unlocked here. A thread that waits
//! lists itself first and sets that bit then, by an exchange that fails if the word has changed meanwhile; an unlock takes a waiter from
//! the list before it exchanges the word, and looks at the list again after it has set the word to 0. So one of the two sees the other.
//! The owner runs with the priority of the most urgent waiter.
//!
//! A thread that waits for a condition (FUTEX_WAIT_REQUEUE_PI) is moved from the condition's word to the lock's by the thread that finds
//! the condition true, which does for it what a waiter does for itself. While it is moved it is in no list for a moment.
use super::futex::{Key, TABLE, Waiter, remove, sleep};
use super::thread::Thread;
use super::{long_call, pid_space, process, sched};
use crate::errno::Errno;
use crate::mm::user;
use crate::time::wall::Deadline;
use alloc::sync::{Arc, Weak};
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};

fn thread_of(waiter: &Waiter) -> Option<Arc<Thread>> {
    waiter.thread.get().and_then(Weak::upgrade)
}

fn rank_of(waiter: &Waiter) -> u32 {
    thread_of(waiter).map_or(0, |thread| thread.rank())
}

fn waits_for(waiter: &Waiter, key: Key) -> bool {
    waiter.bitset.load(Relaxed) == 0 && *waiter.key.lock() == key
}

/// Has a waiter that is in no list go on.
fn wake(waiter: &Waiter, granted: bool) {
    waiter.granted.store(granted, Relaxed);
    waiter.woken.store(true, Release);
    if let Some(thread) = thread_of(waiter) {
        sched::unpark(&thread);
    }
}

/// Takes the most urgent waiter for the word of `key` out of the list.
fn take_first(key: Key) -> Option<Arc<Waiter>> {
    let mut bucket = TABLE[key.bucket()].lock();
    let mut highest = None;
    bucket.for_each(|waiter| {
        if waits_for(waiter, key) {
            highest = highest.max(Some(rank_of(waiter)));
        }
    });
    let highest = highest?;
    // A rank that falls meanwhile is no reason to take none.
    let first = bucket.take(u64::MAX, |waiter| waits_for(waiter, key) && rank_of(waiter) >= highest);
    first.or_else(|| bucket.take(u64::MAX, |waiter| waits_for(waiter, key)))
}

/// `owner` has the lock of `key` now: those that wait for it wait for this thread, and it runs with their priority.
fn adopt(key: Key, owner: &Arc<Thread>) {
    let mut highest = 0;
    TABLE[key.bucket()].lock().for_each(|waiter| {
        if waits_for(waiter, key) {
            owner.waiter.is_owner.store(true, Relaxed);
            waiter.owner.store(owner.tid(), Relaxed);
            highest = highest.max(rank_of(waiter));
        }
    });
    if highest > owner.rank() {
        sched::raise(owner, highest);
    }
}

/// Locks the word at `addr` (FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI). EDEADLK, ESRCH for an owner that there isn't, EAGAIN if it only tries,
/// ETIMEDOUT, EFAULT; ERESTARTSYS.
pub fn lock(addr: usize, private: bool, deadline: Option<Deadline>, tries: bool) -> Result<(), Errno> {
    lock_after(addr, private, deadline, tries, 0)
}

/// The same; `ended` is an owner that is known to have ended with the lock.
fn lock_after(
    addr: usize,
    private: bool,
    deadline: Option<Deadline>,
    tries: bool,
    mut ended: u32,
) -> Result<(), Errno> {
    let key = Key::new(addr, private)?;
    let me = crate::this::with(Arc::clone);
    let own = me.own_tid() as u32;
    loop {
        let value = user::load_u32(addr)?;
        let owner = value & FUTEX_TID_MASK;
        if owner == own {
            return Err(Errno::DEADLK);
        }
        if owner == 0 || owner == ended {
            let died = if owner == 0 { value & FUTEX_OWNER_DIED } else { FUTEX_OWNER_DIED };
            let locked = own | died | value & FUTEX_WAITERS;
            if user::compare_exchange_u32(addr, value, locked)? == value {
                if value & FUTEX_WAITERS != 0 {
                    adopt(key, &me);
                }
                return Ok(());
            }
            continue;
        }
        if tries {
            return Err(Errno::AGAIN);
        }
        let holder = pid_space::thread(owner as i32).ok_or(Errno::SRCH)?;
        if wait(&me.waiter, key, addr, value, &holder, deadline)? {
            return Ok(());
        }
        if pid_space::thread(owner as i32).is_none() {
            ended = owner;
        }
        long_call::pause_unless_killed()?;
    }
}

/// Waits until `holder` gives the lock away. False if the word has to be looked at again.
fn wait(
    waiter: &Arc<Waiter>,
    key: Key,
    addr: usize,
    value: u32,
    holder: &Arc<Thread>,
    deadline: Option<Deadline>,
) -> Result<bool, Errno> {
    waiter.granted.store(false, Relaxed);
    waiter.woken.store(false, Relaxed);
    let outcome = match enlist(waiter, key, addr, value, holder).1 {
        Ok(true) => sleep(waiter, deadline),
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    leave(waiter);
    if waiter.granted.load(Acquire) {
        return Ok(true);
    }
    pass_on(waiter, key, outcome.is_err());
    outcome.map(|()| false)
}

/// Lists `waiter`, which is in no list, for the lock of `key`, whose word at `addr` holds `value`, and marks the word. False if the word has
/// changed, or `holder`, the thread that had the lock, has ended. The number is that of its place in the list.
fn enlist(
    waiter: &Arc<Waiter>,
    key: Key,
    addr: usize,
    value: u32,
    holder: &Arc<Thread>,
) -> (u64, Result<bool, Errno>) {
    waiter.bitset.store(0, Relaxed);
    waiter.owner.store(holder.tid(), Relaxed);
    *waiter.key.lock() = key;
    holder.waiter.is_owner.store(true, SeqCst);
    let number = {
        let mut bucket = TABLE[key.bucket()].lock();
        bucket.push(waiter.clone());
        waiter.number.load(Relaxed)
    };
    let rank = rank_of(waiter);
    if rank > holder.rank() {
        sched::raise(holder, rank);
    }
    let found = user::compare_exchange_u32(addr, value, value | FUTEX_WAITERS);
    // One that ends from here on finds the waiter in the list.
    (number, found.map(|found| found == value && process::thread_by_tid(holder.tid()).is_some()))
}

/// The running thread, of `waiter`, waits no longer: it is in no list, or woken.
fn leave(waiter: &Arc<Waiter>) {
    // Another thread may have taken it out, and is about to say for what, or to list it elsewhere.
    while !waiter.woken.load(Acquire) && !remove(waiter) {
        sched::yield_now();
    }
}

/// A wake-up without the lock that came to a wait that has `failed` was for whichever thread comes next.
fn pass_on(waiter: &Waiter, key: Key, failed: bool) {
    if failed
        && waiter.woken.load(Acquire)
        && let Some(next) = take_first(key)
    {
        wake(&next, false);
    }
}

/// Waits, while the word at `addr` is `expected`, to be moved to the lock at `target`, and for that (FUTEX_WAIT_REQUEUE_PI). EAGAIN, EINVAL,
/// ETIMEDOUT, EFAULT, EDEADLK, ESRCH; ERESTARTNOINTR before the move, EAGAIN for a signal after it.
pub fn wait_requeue(
    addr: usize,
    private: bool,
    expected: u32,
    deadline: Option<Deadline>,
    target: usize,
) -> Result<(), Errno> {
    let (to, from) = (Key::new(target, private)?, Key::new(addr, private)?);
    if from == to {
        return Err(Errno::INVAL);
    }
    let waiter = crate::this::with(|thread| thread.waiter.clone());
    waiter.bitset.store(super::futex::ANY, Relaxed);
    waiter.granted.store(false, Relaxed);
    waiter.woken.store(false, Relaxed);
    *waiter.key.lock() = from;
    *waiter.target.lock() = to;
    waiter.requeues.store(true, Relaxed);
    TABLE[from.bucket()].lock().push(waiter.clone());
    let outcome = match user::load_u32(addr) {
        Ok(found) if found == expected => sleep(&waiter, deadline),
        Ok(_) => Err(Errno::AGAIN),
        Err(error) => Err(error),
    };
    leave(&waiter);
    waiter.requeues.store(false, Relaxed);
    if waiter.granted.load(Acquire) {
        return Ok(());
    }
    if waiter.bitset.load(Relaxed) != 0 {
        return Err(match outcome {
            Err(Errno::RESTARTSYS) => Errno::RESTARTNOINTR,
            Err(error) => error,
            Ok(()) => Errno::AGAIN,
        });
    }
    pass_on(&waiter, to, outcome.is_err());
    let locked = outcome.and_then(|()| {
        let owner = user::load_u32(target)? & FUTEX_TID_MASK;
        let ended = if pid_space::thread(owner as i32).is_none() { owner } else { 0 };
        lock_after(target, private, deadline, false, ended)
    });
    // The condition's word has changed: the call can't be started again.
    locked.map_err(|error| if error == Errno::RESTARTSYS { Errno::AGAIN } else { error })
}

/// Has the most urgent thread that waits for the word at `from`, if it is `expected`, take the lock at `to`, or wait for it, and moves
/// `move_count` others (FUTEX_CMP_REQUEUE_PI). Returns how many. EAGAIN, EINVAL, EDEADLK, ESRCH, EFAULT.
pub fn requeue(
    from: usize,
    to: usize,
    private: bool,
    move_count: usize,
    expected: u32,
) -> Result<usize, Errno> {
    let (from_key, to_key) = (Key::new(from, private)?, Key::new(to, private)?);
    if from_key == to_key {
        return Err(Errno::INVAL);
    }
    if user::load_u32(from)? != expected {
        return Err(Errno::AGAIN);
    }
    let mut done = 0;
    while done <= move_count {
        let Some((waiter, is_for_lock)) = first_of(from_key, to_key) else { break };
        if !is_for_lock {
            return Err(Errno::INVAL);
        }
        match move_to_lock(&waiter, from_key, to, to_key, move_count > 0) {
            Ok(moved) => done += usize::from(moved),
            Err(error) => return Err(error),
        }
        long_call::pause_unless_killed()?;
    }
    Ok(done)
}

/// The most urgent waiter for the word of `key`, of whichever kind, and whether it waits to be moved to the lock of `target`.
fn first_of(key: Key, target: Key) -> Option<(Arc<Waiter>, bool)> {
    let mut first: Option<(Arc<Waiter>, bool)> = None;
    TABLE[key.bucket()].lock().for_each(|waiter| {
        let is_before = |(first, _): &(Arc<Waiter>, bool)| rank_of(waiter) > rank_of(first);
        if *waiter.key.lock() == key && first.as_ref().is_none_or(is_before) {
            first = Some((waiter.clone(), waits_to_move(waiter, target)));
        }
    });
    first
}

/// Whether a waiter, whose list is locked, waits to be moved to the lock of `target`.
fn waits_to_move(waiter: &Waiter, target: Key) -> bool {
    waiter.requeues.load(Relaxed) && *waiter.target.lock() == target
}

/// Moves a waiter of FUTEX_WAIT_REQUEUE_PI to the lock at `to`, or gives it that lock. False if that is to be tried again.
fn move_to_lock(
    waiter: &Arc<Waiter>,
    from_key: Key,
    to: usize,
    to_key: Key,
    more_follow: bool,
) -> Result<bool, Errno> {
    let value = user::load_u32(to)?;
    let owner = value & FUTEX_TID_MASK;
    let thread = thread_of(waiter);
    let own = thread.as_ref().map_or(0, |thread| pid_space::seen(thread.tid()) as u32);
    // What `value` says is an error only while it holds.
    let fail = |error| if user::load_u32(to)? == value { Err(error) } else { Ok(false) };
    let holder = match owner {
        0 => None,
        owner => match pid_space::thread(owner as i32) {
            None => return fail(Errno::SRCH),
            holder => holder,
        },
    };
    // It may have left meanwhile, and come back to wait in another way.
    let in_list = |other: &Arc<Waiter>| {
        Arc::ptr_eq(other, waiter) && *other.key.lock() == from_key && waits_to_move(other, to_key)
    };
    if TABLE[from_key.bucket()].lock().take(u64::MAX, in_list).is_none() {
        return Ok(false);
    }
    let put_back = || {
        waiter.bitset.store(super::futex::ANY, Relaxed);
        *waiter.key.lock() = from_key;
        TABLE[from_key.bucket()].lock().push(waiter.clone());
    };
    if owner == own {
        put_back();
        return fail(Errno::DEADLK);
    }
    let Some(holder) = holder else {
        let waiters = if more_follow { FUTEX_WAITERS } else { value & FUTEX_WAITERS };
        let locked = own | value & FUTEX_OWNER_DIED | waiters;
        let found = user::compare_exchange_u32(to, value, locked);
        if found != Ok(value) {
            put_back();
            return found.map(|_| false);
        }
        if let Some(thread) = thread.filter(|_| waiters != 0) {
            adopt(to_key, &thread);
        }
        wake(waiter, true);
        return Ok(true);
    };
    let (number, listed) = enlist(waiter, to_key, to, value, &holder);
    // One that has left may be in a list again, for a later wait.
    let in_place = |other: &Arc<Waiter>| Arc::ptr_eq(other, waiter) && other.number.load(Relaxed) == number;
    if listed == Ok(true) || TABLE[to_key.bucket()].lock().take(u64::MAX, in_place).is_none() {
        return Ok(true);
    }
    put_back();
    listed
}

/// Unlocks the word at `addr` (FUTEX_UNLOCK_PI): the most urgent waiter has it then. EPERM for a thread that does not have it; EFAULT.
pub fn unlock(addr: usize, private: bool) -> Result<(), Errno> {
    let key = Key::new(addr, private)?;
    let me = crate::this::with(Arc::clone);
    let own = me.own_tid() as u32;
    let value = user::load_u32(addr)?;
    if value & FUTEX_TID_MASK != own {
        return Err(Errno::PERM);
    }
    let next = take_first(key);
    let next_thread = next.as_deref().and_then(thread_of);
    let new = next_thread.as_ref().map_or(0, |thread| pid_space::seen(thread.tid()) as u32 | FUTEX_WAITERS);
    let mut value = value;
    let outcome = loop {
        match user::compare_exchange_u32(addr, value, new) {
            Ok(found) if found == value => break Ok(()),
            Ok(found) if found & FUTEX_TID_MASK == own => value = found,
            Ok(_) => break Err(Errno::PERM),
            Err(error) => break Err(error),
        }
    };
    me.raise(0);
    match (next, next_thread) {
        (Some(waiter), Some(thread)) => {
            if outcome.is_ok() {
                adopt(key, &thread);
            }
            wake(&waiter, outcome.is_ok());
        }
        (Some(waiter), None) => wake(&waiter, false),
        // One that was listed after we looked.
        (None, _) => {
            if let Some(late) = take_first(key) {
                wake(&late, false);
            }
        }
    }
    outcome
}

/// A thread has ended: those that wait for its locks look at the words again.
pub fn owner_ended(thread: &Thread) {
    if !thread.waiter.is_owner.load(SeqCst) {
        return;
    }
    for bucket in &TABLE {
        loop {
            let of_thread = |waiter: &Arc<Waiter>| {
                waiter.bitset.load(Relaxed) == 0 && waiter.owner.load(Relaxed) == thread.tid()
            };
            let found = bucket.lock().take(u64::MAX, of_thread);
            let Some(waiter) = found else { break };
            wake(&waiter, false);
        }
    }
}
