//! Threads: identity, thread pointer, scheduling, prctl(2).
use super::call::Call;
use crate::errno::{Errno, SysResult};
use crate::mm::user;
use crate::task::thread::NAME_LEN;
use crate::task::{process, run_queue, sched, slice};
use alloc::sync::Arc;
use coracle_hal::{cpu, task};
use core::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;
use linux_raw_sys::prctl as pr;

const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;
/// Lowest and highest nice value, as getpriority(2) tells them: 20 minus the value.
const NICE_OFFSET: i32 = 20;
const NICE_MAX: i32 = 19;

/// gettid(2).
pub fn gettid(call: &Call) -> SysResult {
    Ok(call.thread().tid() as usize)
}

/// set_tid_address(2).
pub fn set_tid_address(call: &Call) -> SysResult {
    call.thread().clear_child_tid.store(call.usize(0), Relaxed);
    Ok(call.thread().tid() as usize)
}

/// arch_prctl(2). In unikernel mode GS stays the kernel's: a base for it is kept, but has no effect, so it is refused.
pub fn arch_prctl(call: &Call) -> SysResult {
    let task = &call.thread().task;
    match call.u32(0) {
        ARCH_SET_FS if task.set_fs_base(call.raw(1)) => Ok(0),
        ARCH_SET_FS => Err(Errno::PERM),
        ARCH_GET_FS => user::write_u64(call.usize(1), task.fs_base()).map(|()| 0),
        ARCH_SET_GS if task::ring() == task::Ring::Unikernel && call.raw(1) != 0 => Err(Errno::INVAL),
        ARCH_SET_GS if task.set_gs_base(call.raw(1)) => Ok(0),
        ARCH_SET_GS => Err(Errno::PERM),
        ARCH_GET_GS => user::write_u64(call.usize(1), task.gs_base()).map(|()| 0),
        _ => Err(Errno::INVAL),
    }
}

/// rseq(2): not offered; C libraries do without.
pub fn rseq(_: &Call) -> SysResult {
    Err(Errno::NOSYS)
}

/// sched_yield(2).
pub fn sched_yield(_: &Call) -> SysResult {
    sched::yield_now();
    Ok(0)
}

fn thread_or_self(call: &Call, tid: i32) -> Result<Arc<crate::task::thread::Thread>, Errno> {
    match tid {
        0 => Ok(call.thread().clone()),
        _ if tid < 0 => Err(Errno::INVAL),
        _ => process::thread_by_tid(tid).ok_or(Errno::SRCH),
    }
}

/// As [`thread_or_self`], where Linux looks for a negative id, too, and finds none: ESRCH.
fn thread_or_none(call: &Call, tid: i32) -> Result<Arc<crate::task::thread::Thread>, Errno> {
    if tid < 0 { Err(Errno::SRCH) } else { thread_or_self(call, tid) }
}

/// sched_getaffinity(2). Gives the bytes written.
pub fn sched_getaffinity(call: &Call) -> SysResult {
    const MASK_LEN: usize = 8;
    let len = call.usize(1);
    if len < MASK_LEN || !len.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    let thread = thread_or_none(call, call.i32(0))?;
    user::write_u64(call.usize(2), thread.sched.affinity() & run_queue::all_cpus())?;
    Ok(MASK_LEN)
}

/// sched_setaffinity(2).
pub fn sched_setaffinity(call: &Call) -> SysResult {
    let thread = thread_or_none(call, call.i32(0))?;
    let mut bytes = [0; 8];
    let len = call.usize(1).min(8);
    user::read(&mut bytes[..len], call.usize(2))?;
    let cpus = u64::from_le_bytes(bytes) & run_queue::all_cpus();
    if cpus == 0 {
        return Err(Errno::INVAL);
    }
    sched::set_affinity(&thread, cpus);
    Ok(0)
}

/// getcpu(2).
pub fn getcpu(call: &Call) -> SysResult {
    if call.usize(0) != 0 {
        user::write_u32(call.usize(0), cpu::id() as u32)?;
    }
    if call.usize(1) != 0 {
        user::write_u32(call.usize(1), 0)?;
    }
    Ok(0)
}

/// Policies and their priorities: SCHED_OTHER, BATCH and IDLE have 0, FIFO and RR have 1 to 99.
fn priorities(policy: u32) -> Result<(u32, u32), Errno> {
    match policy {
        abi::SCHED_NORMAL | abi::SCHED_BATCH | abi::SCHED_IDLE => Ok((0, 0)),
        abi::SCHED_FIFO | abi::SCHED_RR => Ok((1, 99)),
        _ => Err(Errno::INVAL),
    }
}

/// sched_get_priority_min(2).
pub fn sched_get_priority_min(call: &Call) -> SysResult {
    priorities(call.u32(0)).map(|(low, _)| low as usize)
}

/// sched_get_priority_max(2).
pub fn sched_get_priority_max(call: &Call) -> SysResult {
    priorities(call.u32(0)).map(|(_, high)| high as usize)
}

/// A policy and a priority in one word.
fn pack(policy: u32, priority: u32) -> u32 {
    policy | priority << 8
}

/// EINVAL without a structure, as the calls of scheduling say it (sched_setscheduler(2), "ERRORS").
fn check_scheduling_pointer(addr: usize) -> Result<(), Errno> {
    if addr == 0 { Err(Errno::INVAL) } else { Ok(()) }
}

/// sched_getscheduler(2).
pub fn sched_getscheduler(call: &Call) -> SysResult {
    Ok((thread_or_self(call, call.i32(0))?.policy.load(Relaxed) & 0xff) as usize)
}

/// sched_setscheduler(2): the policy is kept and told, and has no effect.
pub fn sched_setscheduler(call: &Call) -> SysResult {
    check_scheduling_pointer(call.usize(2))?;
    let thread = thread_or_self(call, call.i32(0))?;
    let policy = call.u32(1) & !abi::SCHED_RESET_ON_FORK;
    let priority = user::read_u32(call.usize(2))?;
    let (low, high) = priorities(policy)?;
    if !(low..=high).contains(&priority) {
        return Err(Errno::INVAL);
    }
    thread.policy.store(pack(policy, priority), Relaxed);
    Ok(0)
}

/// sched_getparam(2).
pub fn sched_getparam(call: &Call) -> SysResult {
    check_scheduling_pointer(call.usize(1))?;
    let thread = thread_or_self(call, call.i32(0))?;
    user::write_u32(call.usize(1), thread.policy.load(Relaxed) >> 8)?;
    Ok(0)
}

/// sched_setparam(2).
pub fn sched_setparam(call: &Call) -> SysResult {
    check_scheduling_pointer(call.usize(1))?;
    let thread = thread_or_self(call, call.i32(0))?;
    let policy = thread.policy.load(Relaxed) & 0xff;
    let priority = user::read_u32(call.usize(1))?;
    let (low, high) = priorities(policy)?;
    if !(low..=high).contains(&priority) {
        return Err(Errno::INVAL);
    }
    thread.policy.store(pack(policy, priority), Relaxed);
    Ok(0)
}

/// sched_rr_get_interval(2).
pub fn sched_rr_get_interval(call: &Call) -> SysResult {
    thread_or_self(call, call.i32(0))?;
    user::write_words(call.usize(1), &[0, slice::SLICE_NS])?;
    Ok(0)
}

/// sched_getattr(2).
pub fn sched_getattr(call: &Call) -> SysResult {
    const ATTR_LEN: usize = 48;
    let thread = thread_or_self(call, call.i32(0))?;
    if call.usize(2) < ATTR_LEN || call.u32(3) != 0 {
        return Err(Errno::INVAL);
    }
    let policy = thread.policy.load(Relaxed);
    let mut bytes = [0; ATTR_LEN];
    bytes[0..4].copy_from_slice(&(ATTR_LEN as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(policy & 0xff).to_le_bytes());
    bytes[16..20].copy_from_slice(&thread.nice.load(Relaxed).to_le_bytes());
    bytes[20..24].copy_from_slice(&(policy >> 8).to_le_bytes());
    user::write(call.usize(1), &bytes)?;
    Ok(0)
}

/// getpriority(2) of a process (a thread, as on Linux); gives 20 minus the nice value.
pub fn getpriority(call: &Call) -> SysResult {
    if call.u32(0) > abi::PRIO_USER {
        return Err(Errno::INVAL);
    }
    let thread = match call.u32(0) {
        abi::PRIO_PROCESS => thread_or_none(call, call.i32(1))?,
        _ => call.thread().clone(),
    };
    Ok((NICE_OFFSET - thread.nice.load(Relaxed)) as usize)
}

/// setpriority(2): the value is kept and told, and has no effect.
pub fn setpriority(call: &Call) -> SysResult {
    if call.u32(0) > abi::PRIO_USER {
        return Err(Errno::INVAL);
    }
    let thread = match call.u32(0) {
        abi::PRIO_PROCESS => thread_or_none(call, call.i32(1))?,
        _ => call.thread().clone(),
    };
    thread.nice.store(call.i32(2).clamp(-NICE_OFFSET, NICE_MAX), Relaxed);
    Ok(0)
}

/// ioprio_get(2): no class.
pub fn ioprio_get(_: &Call) -> SysResult {
    Ok(0)
}

/// ioprio_set(2): accepted.
pub fn ioprio_set(_: &Call) -> SysResult {
    Ok(0)
}

/// prctl(2).
pub fn prctl(call: &Call) -> SysResult {
    let process = &call.thread().process;
    let value = call.usize(1);
    match call.u32(0) {
        pr::PR_SET_NAME => {
            let mut name = [0; NAME_LEN];
            let len = match user::read_string(value, NAME_LEN, Errno::INVAL) {
                Ok(text) => {
                    name[..text.len()].copy_from_slice(&text);
                    text.len()
                }
                Err(Errno::INVAL) => {
                    user::read(&mut name, value)?;
                    NAME_LEN
                }
                Err(error) => return Err(error),
            };
            call.thread().set_name(&name[..len]);
            Ok(0)
        }
        pr::PR_GET_NAME => {
            let name = *call.thread().name.lock();
            user::write(value, &name).map(|()| 0)
        }
        pr::PR_SET_PDEATHSIG if value <= 64 => {
            process.parent_death_signal.store(value as u32, Relaxed);
            Ok(0)
        }
        pr::PR_GET_PDEATHSIG => user::write_u32(value, process.parent_death_signal.load(Relaxed)).map(|()| 0),
        pr::PR_SET_DUMPABLE if value <= 1 => {
            process.dumpable.store(value as u32, Relaxed);
            Ok(0)
        }
        pr::PR_GET_DUMPABLE => Ok(process.dumpable.load(Relaxed) as usize),
        pr::PR_SET_NO_NEW_PRIVS if value == 1 => {
            process.no_new_privileges.store(true, Relaxed);
            Ok(0)
        }
        pr::PR_GET_NO_NEW_PRIVS => Ok(usize::from(process.no_new_privileges.load(Relaxed))),
        pr::PR_SET_CHILD_SUBREAPER => {
            process.set_subreaper(value != 0);
            Ok(0)
        }
        pr::PR_GET_CHILD_SUBREAPER => {
            user::write_u32(value, u32::from(process.subreaper.load(Relaxed))).map(|()| 0)
        }
        // Capabilities stay over a change of ids; nothing is ever taken away here.
        pr::PR_SET_KEEPCAPS if value <= 1 => Ok(0),
        pr::PR_GET_KEEPCAPS => Ok(0),
        pr::PR_CAPBSET_READ if value <= 40 => Ok(1),
        pr::PR_CAPBSET_DROP if value <= 40 => Ok(0),
        pr::PR_CAP_AMBIENT => Ok(0),
        pr::PR_GET_SECCOMP => Ok(0),
        pr::PR_SET_TIMERSLACK => {
            let [current, default] = &call.thread().sched.timer_slack_ns;
            current.store(if value == 0 { default.load(Relaxed) } else { value as u64 }, Relaxed);
            Ok(0)
        }
        pr::PR_GET_TIMERSLACK => Ok(call.thread().sched.timer_slack_ns[0].load(Relaxed) as usize),
        pr::PR_SET_THP_DISABLE | pr::PR_GET_THP_DISABLE => Ok(0),
        pr::PR_SET_VMA => Ok(0),
        pr::PR_GET_TSC => user::write_u32(value, pr::PR_TSC_ENABLE).map(|()| 0),
        pr::PR_SET_MM | pr::PR_MCE_KILL => Err(Errno::PERM),
        _ => Err(Errno::INVAL),
    }
}
