//! Locks with priority inheritance in the program's memory (futex(2), "Priority-inheritance futexes").
//!
//! The word is 0, or holds the id of the thread that has the lock, with FUTEX_WAITERS if it has to be unlocked here. A thread that waits
//! lists itself first and sets that bit then, by an exchange that fails if the word has changed meanwhile; an unlock takes a waiter from
//! the list before it exchanges the word, and looks at the list again after it has set the word to 0. So one of the two sees the other.
//! The owner runs with the priority of the most urgent waiter.
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
    let key = Key::new(addr, private)?;
    let me = crate::this::with(Arc::clone);
    let own = me.own_tid() as u32;
    // An owner that ended with the lock.
    let mut ended = 0;
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
    waiter.bitset.store(0, Relaxed);
    waiter.owner.store(holder.tid(), Relaxed);
    waiter.granted.store(false, Relaxed);
    waiter.woken.store(false, Relaxed);
    *waiter.key.lock() = key;
    holder.waiter.is_owner.store(true, SeqCst);
    TABLE[key.bucket()].lock().push(waiter.clone());
    let rank = rank_of(waiter);
    if rank > holder.rank() {
        sched::raise(holder, rank);
    }
    let marked = user::compare_exchange_u32(addr, value, value | FUTEX_WAITERS);
    let outcome = match marked {
        // One that ends from here on finds us in the list.
        Ok(found) if found == value && process::thread_by_tid(holder.tid()).is_some() => {
            sleep(waiter, deadline)
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    if !waiter.woken.load(Acquire) && !remove(waiter) {
        // Another thread has taken us out, and is about to say for what.
        while !waiter.woken.load(Acquire) {
            sched::yield_now();
        }
    }
    if waiter.granted.load(Acquire) {
        return Ok(true);
    }
    if outcome.is_err() && waiter.woken.load(Acquire) {
        // The wake-up was for whichever thread comes next.
        if let Some(next) = take_first(key) {
            wake(&next, false);
        }
    }
    outcome.map(|()| false)
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
