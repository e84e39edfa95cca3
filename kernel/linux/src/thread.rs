//! Threads: identity, thread pointer, the CPUs that they run on, prctl(2).
use super::call::Call;
use super::scheduling::is_of_same_user;
use super::seccomp;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user;
use coracle_core::task::thread::NAME_LEN;
use coracle_core::task::{perf, pid_space, rseq, run_queue, sched};
use coracle_hal::sync::atomic::Ordering::*;
use coracle_hal::{cpu, task};
use linux_raw_sys::prctl as pr;

const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;
const ARCH_GET_GS: u32 = 0x1004;
/// In rseq(2)'s flags.
const RSEQ_FLAG_UNREGISTER: u32 = 1;

/// gettid(2).
pub fn gettid(call: &Call) -> SysResult {
    Ok(call.thread().own_tid() as usize)
}

/// set_tid_address(2).
pub fn set_tid_address(call: &Call) -> SysResult {
    call.thread().clear_child_tid.store(call.usize(0), Relaxed);
    Ok(call.thread().own_tid() as usize)
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

/// rseq(2).
pub fn rseq(call: &Call) -> SysResult {
    let (thread, area, len, signature) = (call.thread(), call.usize(0), call.u32(1), call.u32(3));
    match call.u32(2) {
        0 => rseq::register(thread, area, len, signature)?,
        RSEQ_FLAG_UNREGISTER => rseq::unregister(thread, area, len, signature)?,
        _ => return Err(Errno::INVAL),
    }
    Ok(0)
}

/// sched_yield(2).
pub fn sched_yield(_: &Call) -> SysResult {
    sched::yield_now();
    Ok(0)
}

pub(super) fn thread_or_self(
    call: &Call,
    tid: i32,
) -> Result<Arc<coracle_core::task::thread::Thread>, Errno> {
    match tid {
        0 => Ok(call.thread().clone()),
        _ if tid < 0 => Err(Errno::INVAL),
        _ => pid_space::thread(tid).ok_or(Errno::SRCH),
    }
}

/// As [`thread_or_self`], where Linux looks for a negative id, too, and finds none: ESRCH.
pub(super) fn thread_or_none(
    call: &Call,
    tid: i32,
) -> Result<Arc<coracle_core::task::thread::Thread>, Errno> {
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

/// sched_setaffinity(2). EPERM for another user's thread, without CAP_SYS_NICE.
pub fn sched_setaffinity(call: &Call) -> SysResult {
    let thread = thread_or_none(call, call.i32(0))?;
    let mut bytes = [0; 8];
    let len = call.usize(1).min(8);
    user::read(&mut bytes[..len], call.usize(2))?;
    if !is_of_same_user(call, &thread) {
        check_capability(capability::SYS_NICE)?;
    }
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

/// What is to happen to a thread in whose memory the machine found an error (prctl(2), PR_MCE_KILL). It is kept, inherited and told: no such error
/// reaches a program here. EINVAL.
fn set_failure_policy(call: &Call) -> SysResult {
    let policy = match [1, 2, 3, 4].map(|n| call.usize(n)) {
        [action, 0, 0, 0] if action == pr::PR_MCE_KILL_CLEAR as usize => pr::PR_MCE_KILL_DEFAULT,
        [action, policy, 0, 0]
            if action == pr::PR_MCE_KILL_SET as usize && policy <= pr::PR_MCE_KILL_DEFAULT as usize =>
        {
            policy as u32
        }
        _ => return Err(Errno::INVAL),
    };
    call.thread().sched.failure_policy.store(policy as u8, Relaxed);
    Ok(0)
}

/// Checks a name for memory (prctl(2), PR_SET_VMA), which is not kept: /proc/PID/maps shows none. EINVAL, EFAULT.
fn name_mapping(call: &Call) -> SysResult {
    /// ANON_VMA_NAME_MAX_LEN, with the zero at its end.
    const LONGEST: usize = 80;
    let (kind, start, name) = (call.usize(1), call.usize(2), call.usize(4));
    if kind != pr::PR_SET_VMA_ANON_NAME as usize || start % PAGE_SIZE != 0 {
        return Err(Errno::INVAL);
    }
    if name == 0 {
        return Ok(0);
    }
    let text = user::read_string(name, LONGEST, Errno::INVAL)?;
    let is_allowed = |byte: &u8| matches!(byte, b' '..=b'~') && !b"\\`$[]".contains(byte);
    if text.iter().all(is_allowed) { Ok(0) } else { Err(Errno::INVAL) }
}

/// prctl(2).
pub fn prctl(call: &Call) -> SysResult {
    if let Some(result) = super::identity::prctl(call) {
        return result;
    }
    let process = &call.thread().process;
    let value = call.usize(1);
    let rest_is_zero = |from: usize| (from..5).all(|n| call.raw(n) == 0);
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
        pr::PR_SET_NO_NEW_PRIVS if value == 1 && rest_is_zero(2) => {
            process.no_new_privileges.store(true, Relaxed);
            Ok(0)
        }
        pr::PR_GET_NO_NEW_PRIVS if rest_is_zero(1) => {
            Ok(usize::from(process.no_new_privileges.load(Relaxed)))
        }
        pr::PR_SET_CHILD_SUBREAPER => {
            process.set_subreaper(value != 0);
            Ok(0)
        }
        pr::PR_GET_CHILD_SUBREAPER => {
            user::write_u32(value, u32::from(process.subreaper.load(Relaxed))).map(|()| 0)
        }
        pr::PR_GET_SECCOMP => Ok(call.thread().filters.mode()),
        pr::PR_SET_SECCOMP => seccomp::set_mode(call, value, call.usize(2)),
        pr::PR_SET_TIMERSLACK => {
            let [current, default] = &call.thread().sched.timer_slack_ns;
            current.store(if value == 0 { default.load(Relaxed) } else { value as u64 }, Relaxed);
            Ok(0)
        }
        pr::PR_GET_TIMERSLACK => Ok(call.thread().sched.timer_slack_ns[0].load(Relaxed) as usize),
        pr::PR_SET_THP_DISABLE if rest_is_zero(2) => {
            process.no_huge_pages.store(value != 0, Relaxed);
            Ok(0)
        }
        pr::PR_GET_THP_DISABLE if rest_is_zero(1) => Ok(usize::from(process.no_huge_pages.load(Relaxed))),
        // Only statistical timing.
        pr::PR_GET_TIMING => Ok(pr::PR_TIMING_STATISTICAL as usize),
        pr::PR_SET_TIMING if value == pr::PR_TIMING_STATISTICAL as usize => Ok(0),
        pr::PR_GET_TID_ADDRESS => {
            user::write_u64(value, call.thread().clear_child_tid.load(Relaxed) as u64).map(|()| 0)
        }
        pr::PR_SET_VMA => name_mapping(call),
        pr::PR_GET_TSC => user::write_u32(value, pr::PR_TSC_ENABLE).map(|()| 0),
        pr::PR_SET_MM => Err(Errno::PERM),
        pr::PR_MCE_KILL => set_failure_policy(call),
        pr::PR_MCE_KILL_GET if rest_is_zero(1) => {
            Ok(call.thread().sched.failure_policy.load(Relaxed) as usize)
        }
        toggle @ (pr::PR_TASK_PERF_EVENTS_DISABLE | pr::PR_TASK_PERF_EVENTS_ENABLE) => {
            perf::turn_all(call.thread(), toggle == pr::PR_TASK_PERF_EVENTS_ENABLE);
            Ok(0)
        }
        _ => Err(Errno::INVAL),
    }
}
