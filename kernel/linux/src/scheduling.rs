//! How threads are scheduled: policies and priorities (sched_setscheduler(2)), nice values (setpriority(2)), classes of input and
//! output (ioprio_set(2)).
use super::call::Call;
use super::thread::{thread_or_none, thread_or_self};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user;
use coracle_core::task::pid_space;
use coracle_core::task::process;
use coracle_core::task::slice;
use coracle_core::task::thread::Thread;
use coracle_hal::sync::atomic::Ordering::*;
use coracle_sched_policy::{Limits, Scheduling, priorities};
use linux_raw_sys::general as abi;

/// sched_get_priority_min(2).
pub fn sched_get_priority_min(call: &Call) -> SysResult {
    Ok(priorities(call.u32(0))?.0 as usize)
}

/// sched_get_priority_max(2).
pub fn sched_get_priority_max(call: &Call) -> SysResult {
    Ok(priorities(call.u32(0))?.1 as usize)
}

/// EINVAL without a structure, as the calls of scheduling say it (sched_setscheduler(2), "ERRORS").
fn check_pointer(addr: usize) -> Result<(), Errno> {
    if addr == 0 { Err(Errno::INVAL) } else { Ok(()) }
}

/// RLIMIT_NICE and RLIMIT_RTPRIO of the process of `thread`.
fn limits_of(thread: &Thread) -> Limits {
    let limits = &thread.process.limits;
    Limits { nice: limits.soft(abi::RLIMIT_NICE), priority: limits.soft(abi::RLIMIT_RTPRIO) }
}

/// Whether the caller's effective user id is the effective or the real one of `thread`'s process.
pub(super) fn is_of_same_user(call: &Call, thread: &Thread) -> bool {
    if call.thread().process.pid == thread.process.pid {
        return true;
    }
    let own = call.thread().process.credentials.lock().uid[1];
    thread.process.credentials.lock().uid[..2].contains(&own)
}

/// Schedules `thread` as `new`, if that is possible and the caller may. EINVAL, EPERM.
fn change(call: &Call, thread: &Arc<Thread>, new: Scheduling) -> SysResult {
    new.check()?;
    let old = thread.scheduling();
    let may = if is_of_same_user(call, thread) {
        old.check_change(new, limits_of(thread)).map_err(Errno::from)
    } else {
        Err(Errno::PERM)
    };
    may.or_else(|_| check_capability(capability::SYS_NICE))?;
    thread.set_scheduling(new);
    Ok(0)
}

/// sched_getscheduler(2).
pub fn sched_getscheduler(call: &Call) -> SysResult {
    let own = thread_or_self(call, call.i32(0))?.scheduling();
    let reset = if own.reset_on_fork { abi::SCHED_RESET_ON_FORK } else { 0 };
    Ok((own.policy | reset) as usize)
}

/// sched_setscheduler(2).
pub fn sched_setscheduler(call: &Call) -> SysResult {
    if call.i32(1) < 0 {
        return Err(Errno::INVAL);
    }
    check_pointer(call.usize(2))?;
    if call.i32(0) < 0 {
        return Err(Errno::INVAL);
    }
    let priority = user::read_u32(call.usize(2))?;
    let thread = thread_or_self(call, call.i32(0))?;
    let policy = call.u32(1) & !abi::SCHED_RESET_ON_FORK;
    let reset_on_fork = policy != call.u32(1);
    change(call, &thread, Scheduling { policy, priority, reset_on_fork, ..thread.scheduling() })
}

/// sched_getparam(2).
pub fn sched_getparam(call: &Call) -> SysResult {
    check_pointer(call.usize(1))?;
    let thread = thread_or_self(call, call.i32(0))?;
    user::write_u32(call.usize(1), thread.scheduling().priority)?;
    Ok(0)
}

/// sched_setparam(2).
pub fn sched_setparam(call: &Call) -> SysResult {
    check_pointer(call.usize(1))?;
    if call.i32(0) < 0 {
        return Err(Errno::INVAL);
    }
    let priority = user::read_u32(call.usize(1))?;
    let thread = thread_or_self(call, call.i32(0))?;
    change(call, &thread, Scheduling { priority, ..thread.scheduling() })
}

/// sched_rr_get_interval(2): the slice, 0 under SCHED_FIFO.
pub fn sched_rr_get_interval(call: &Call) -> SysResult {
    let own = thread_or_self(call, call.i32(0))?.scheduling();
    let slice_ns = if own.policy == abi::SCHED_FIFO { 0 } else { own.slice_ns(slice::SLICE_NS) };
    user::write_words(call.usize(1), &[0, slice_ns])?;
    Ok(0)
}

/// Sizes of `struct sched_attr`: as it was first, and with the bounds of utilisation, which nothing here uses.
const ATTR_LEN_FIRST: usize = 48;
const ATTR_LEN: usize = 56;

/// sched_getattr(2).
pub fn sched_getattr(call: &Call) -> SysResult {
    let len = call.usize(2);
    if call.usize(1) == 0
        || call.i32(0) < 0
        || !(ATTR_LEN_FIRST..=PAGE_SIZE).contains(&len)
        || call.u32(3) != 0
    {
        return Err(Errno::INVAL);
    }
    let own = thread_or_self(call, call.i32(0))?.scheduling();
    let len = len.min(ATTR_LEN);
    let mut bytes = [0; ATTR_LEN];
    let flags = if own.reset_on_fork { abi::SCHED_FLAG_RESET_ON_FORK } else { 0 };
    let nice = if own.priority == 0 { own.nice } else { 0 };
    bytes[0..4].copy_from_slice(&(len as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&own.policy.to_le_bytes());
    bytes[8..16].copy_from_slice(&u64::from(flags).to_le_bytes());
    bytes[16..20].copy_from_slice(&nice.to_le_bytes());
    bytes[20..24].copy_from_slice(&own.priority.to_le_bytes());
    user::write(call.usize(1), &bytes[..len])?;
    Ok(0)
}

/// sched_setattr(2). SCHED_DEADLINE is refused as a policy that there isn't.
pub fn sched_setattr(call: &Call) -> SysResult {
    let attr = call.usize(1);
    if attr == 0 || call.i32(0) < 0 || call.u32(2) != 0 {
        return Err(Errno::INVAL);
    }
    let bytes = read_attr(attr)?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (policy, flags, nice, priority) = (word(4), word(8), word(16) as i32, word(20));
    let known = abi::SCHED_FLAG_RESET_ON_FORK | abi::SCHED_FLAG_KEEP_POLICY | abi::SCHED_FLAG_KEEP_PARAMS;
    if (policy as i32) < 0 || flags & !known != 0 || word(12) != 0 {
        return Err(Errno::INVAL);
    }
    let thread = thread_or_self(call, call.i32(0))?;
    let old = thread.scheduling();
    let mut new = Scheduling { policy, priority, ..old }.with_nice(nice);
    new.reset_on_fork = flags & abi::SCHED_FLAG_RESET_ON_FORK != 0;
    if flags & abi::SCHED_FLAG_KEEP_POLICY != 0 {
        (new.policy, new.reset_on_fork) = (old.policy, old.reset_on_fork);
    }
    if flags & abi::SCHED_FLAG_KEEP_PARAMS != 0 {
        (new.priority, new.nice) = (old.priority, old.nice);
    }
    if !matches!(new.policy, abi::SCHED_NORMAL | abi::SCHED_BATCH) {
        new.nice = old.nice;
    }
    change(call, &thread, new)
}

/// Reads a `struct sched_attr` of any size. E2BIG, with the size that is known here, for one that has more than that.
fn read_attr(attr: usize) -> Result<[u8; ATTR_LEN], Errno> {
    let len = match user::read_u32(attr)? as usize {
        0 => ATTR_LEN_FIRST,
        len => len,
    };
    let too_big = || {
        let _ = user::write_u32(attr, ATTR_LEN as u32);
        Errno::TOOBIG
    };
    if !(ATTR_LEN_FIRST..=PAGE_SIZE).contains(&len) {
        return Err(too_big());
    }
    let mut bytes = [0; ATTR_LEN];
    user::read(&mut bytes[..len.min(ATTR_LEN)], attr)?;
    for at in ATTR_LEN..len {
        let mut byte = [0];
        user::read(&mut byte, attr + at)?;
        if byte != [0] {
            return Err(too_big());
        }
    }
    Ok(bytes)
}

/// getpriority(2) returns 20 minus the nice value.
const NICE_OFFSET: i32 = 20;

/// Calls `with` for each thread that `which` and `who` of setpriority(2) and ioprio_set(2) select: one thread, the first threads of the
/// processes of a group, or those of a user. `which` counts from 0. EINVAL; ESRCH if there is none.
fn for_each(
    call: &Call,
    which: u32,
    who: i32,
    mut with: impl FnMut(&Arc<Thread>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    const OF_PROCESS: u32 = abi::PRIO_PROCESS;
    let me = &call.thread().process;
    let mut found = false;
    let mut outcome = Ok(());
    let mut all = |process: &Arc<process::Process>| {
        let threads = process.threads.lock();
        let first = threads.first().cloned();
        drop(threads);
        if let Some(thread) = first {
            found = true;
            outcome = with(&thread).and(outcome);
        }
    };
    match which {
        OF_PROCESS => return with(&thread_or_none(call, who)?),
        abi::PRIO_PGRP => {
            let group = if who == 0 { Some(me.group.load(Relaxed)) } else { pid_space::named(who) };
            group.into_iter().flat_map(process::of_group).for_each(|process| all(&process));
        }
        abi::PRIO_USER => {
            let user = if who == 0 { me.user() } else { who as u32 };
            process::all().filter(|process| process.user() == user).for_each(|process| all(&process));
        }
        _ => return Err(Errno::INVAL),
    }
    if found { outcome } else { Err(Errno::SRCH) }
}

/// getpriority(2): 20 minus the lowest nice value.
pub fn getpriority(call: &Call) -> SysResult {
    let mut lowest = i32::MAX;
    for_each(call, call.u32(0), call.i32(1), |thread| {
        lowest = lowest.min(thread.scheduling().nice);
        Ok(())
    })?;
    Ok((NICE_OFFSET - lowest) as usize)
}

/// setpriority(2).
pub fn setpriority(call: &Call) -> SysResult {
    let nice = call.i32(2);
    for_each(call, call.u32(0), call.i32(1), |thread| {
        let privileged = || check_capability(capability::SYS_NICE);
        if !is_of_same_user(call, thread) {
            privileged()?;
        }
        let old = thread.scheduling();
        let may = old.check_nice(nice, limits_of(thread)).map_err(Errno::from);
        may.or_else(|_| privileged()).map_err(|_| Errno::ACCES)?;
        thread.set_scheduling(old.with_nice(nice));
        Ok(())
    })?;
    Ok(0)
}

/// Bits of a class in a priority of input and output (ioprio_set(2)).
const CLASS_SHIFT: u32 = 13;
/// The classes, and the levels of those that have some.
const CLASS_NONE: u32 = 0;
const CLASS_REAL_TIME: u32 = 1;
const CLASS_BEST_EFFORT: u32 = 2;
const CLASS_IDLE: u32 = 3;
const LEVELS: u32 = 8;
/// The bits of a level.
const LEVEL: u32 = 7;

/// ioprio_get(2): the best of those selected. Without a class of its own, a thread has one by its nice value.
pub fn ioprio_get(call: &Call) -> SysResult {
    let which = call.u32(0).wrapping_sub(1);
    let mut best = u32::MAX;
    for_each(call, which, call.i32(1), |thread| {
        let own = thread.io_priority.load(Relaxed);
        let class = own >> CLASS_SHIFT;
        // A thread alone shows what was set; compared with others, what it means (Linux's `get_task_ioprio`).
        let shown = if class == CLASS_NONE && which != abi::PRIO_PROCESS {
            CLASS_BEST_EFFORT << CLASS_SHIFT | (LEVELS / 2)
        } else {
            own
        };
        best = best.min(shown);
        Ok(())
    })?;
    Ok(best as usize)
}

/// ioprio_set(2). It is kept; disks are given requests in the order in which they come.
pub fn ioprio_set(call: &Call) -> SysResult {
    let priority = call.u32(2);
    let level = priority & ((1 << CLASS_SHIFT) - 1);
    match priority >> CLASS_SHIFT {
        CLASS_REAL_TIME => {
            check_capability(capability::SYS_NICE).or_else(|_| check_capability(capability::SYS_ADMIN))?;
        }
        CLASS_BEST_EFFORT | CLASS_IDLE => {}
        CLASS_NONE if level & LEVEL == 0 => {}
        _ => return Err(Errno::INVAL),
    }
    for_each(call, call.u32(0).wrapping_sub(1), call.i32(1), |thread| {
        if !is_of_same_user(call, thread) {
            check_capability(capability::SYS_NICE)?;
        }
        thread.io_priority.store(priority, Relaxed);
        Ok(())
    })?;
    Ok(0)
}
