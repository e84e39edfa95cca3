//! futex(2) and the lists of robust futexes.
use super::call::Call;
use crate::errno::{Errno, SysResult};
use crate::mm::user;
use crate::task::{futex, process};
use crate::time::clock;
use crate::time::wall::Deadline;
use core::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// sizeof(struct robust_list_head).
const ROBUST_LIST_HEAD_LEN: usize = 24;

/// futex(2). The priority-inheriting operations are refused as Linux does without CONFIG_FUTEX_PI (ENOSYS).
pub fn futex(call: &Call) -> SysResult {
    let (addr, operation, value) = (call.usize(0), call.u32(1), call.u32(2));
    let command = operation & !(abi::FUTEX_PRIVATE_FLAG | abi::FUTEX_CLOCK_REALTIME);
    let private = operation & abi::FUTEX_PRIVATE_FLAG != 0;
    let realtime = operation & abi::FUTEX_CLOCK_REALTIME != 0;
    if realtime && !matches!(command, abi::FUTEX_WAIT | abi::FUTEX_WAIT_BITSET) {
        return Err(Errno::NOSYS);
    }
    // A count of less than one wakes one thread all the same.
    let count = (value as i32).max(1) as usize;
    let second_count = (call.i64(3) as i32).max(0) as usize;
    match command {
        abi::FUTEX_WAIT | abi::FUTEX_WAIT_BITSET => {
            let bitset = if command == abi::FUTEX_WAIT { futex::ANY } else { call.u32(5) };
            let deadline = match call.usize(3) {
                0 => None,
                at => {
                    let time = clock::read_timespec(at)?;
                    Some(match (command, realtime) {
                        (abi::FUTEX_WAIT, _) => Deadline::Boot(clock::monotonic_ns().saturating_add(time)),
                        (_, true) => Deadline::Wall(time),
                        (_, false) => Deadline::Boot(time),
                    })
                }
            };
            futex::wait(addr, private, value, bitset, deadline).map(|()| 0).map_err(|error| match error {
                // A relative time-out would start anew.
                Errno::RESTARTSYS if deadline.is_some() && command == abi::FUTEX_WAIT => Errno::INTR,
                other => other,
            })
        }
        abi::FUTEX_WAKE => futex::wake(addr, private, count, futex::ANY),
        abi::FUTEX_WAKE_BITSET => futex::wake(addr, private, count, call.u32(5)),
        abi::FUTEX_REQUEUE | abi::FUTEX_CMP_REQUEUE => {
            if (value as i32) < 0 || (call.i64(3) as i32) < 0 {
                return Err(Errno::INVAL);
            }
            let expected = (command == abi::FUTEX_CMP_REQUEUE).then(|| call.u32(5));
            let (woken, moved) =
                futex::requeue(addr, call.usize(4), private, value as usize, second_count, expected)?;
            // Both count the moved ones, whatever the manual says of FUTEX_REQUEUE.
            Ok(woken + moved)
        }
        abi::FUTEX_WAKE_OP => futex::wake_op(addr, call.usize(4), private, count, second_count, call.u32(5)),
        _ => Err(Errno::NOSYS),
    }
}

/// set_robust_list(2).
pub fn set_robust_list(call: &Call) -> SysResult {
    if call.usize(1) != ROBUST_LIST_HEAD_LEN {
        return Err(Errno::INVAL);
    }
    call.thread().robust_list.store(call.usize(0), Relaxed);
    Ok(0)
}

/// get_robust_list(2).
pub fn get_robust_list(call: &Call) -> SysResult {
    let thread = match call.i32(0) {
        0 => call.thread().clone(),
        tid => process::thread_by_tid(tid).ok_or(Errno::SRCH)?,
    };
    user::write_u64(call.usize(1), thread.robust_list.load(Relaxed) as u64)?;
    user::write_u64(call.usize(2), ROBUST_LIST_HEAD_LEN as u64)?;
    Ok(0)
}
