//! futex(2) and the lists of robust futexes.
use super::call::Call;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_core::task::{futex, futex_pi, look_into, pid_space};
use coracle_core::time::posix_clock::Clock;
use coracle_core::time::wall::Deadline;
use coracle_core::time::{clock, posix_clock};
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// sizeof(struct robust_list_head).
const ROBUST_LIST_HEAD_LEN: usize = 24;

/// futex(2).
pub fn futex(call: &Call) -> SysResult {
    let (addr, operation, value) = (call.usize(0), call.u32(1), call.u32(2));
    let command = operation & !(abi::FUTEX_PRIVATE_FLAG | abi::FUTEX_CLOCK_REALTIME);
    let private = operation & abi::FUTEX_PRIVATE_FLAG != 0;
    let realtime = operation & abi::FUTEX_CLOCK_REALTIME != 0;
    if realtime
        && !matches!(
            command,
            abi::FUTEX_WAIT | abi::FUTEX_WAIT_BITSET | abi::FUTEX_LOCK_PI2 | abi::FUTEX_WAIT_REQUEUE_PI
        )
    {
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
                    let time = posix_clock::read_timespec(at)?;
                    Some(match (command, realtime) {
                        (abi::FUTEX_WAIT, _) => Deadline::Boot(clock::monotonic_ns().saturating_add(time)),
                        _ => absolute(realtime, time),
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
        abi::FUTEX_LOCK_PI | abi::FUTEX_LOCK_PI2 => {
            let deadline = match call.usize(3) {
                0 => None,
                at => {
                    let time = posix_clock::read_timespec(at)?;
                    let wall = realtime || command == abi::FUTEX_LOCK_PI;
                    Some(absolute(wall, time))
                }
            };
            futex_pi::lock(addr, private, deadline, false).map(|()| 0)
        }
        abi::FUTEX_WAIT_REQUEUE_PI => {
            let deadline = match call.usize(3) {
                0 => None,
                at => Some(absolute(realtime, posix_clock::read_timespec(at)?)),
            };
            futex_pi::wait_requeue(addr, private, value, deadline, call.usize(4)).map(|()| 0)
        }
        abi::FUTEX_CMP_REQUEUE_PI => {
            if value != 1 || (call.i64(3) as i32) < 0 {
                return Err(Errno::INVAL);
            }
            futex_pi::requeue(addr, call.usize(4), private, second_count, call.u32(5))
        }
        abi::FUTEX_TRYLOCK_PI => futex_pi::lock(addr, private, None, true).map(|()| 0),
        abi::FUTEX_UNLOCK_PI => futex_pi::unlock(addr, private).map(|()| 0),
        abi::FUTEX_WAKE_OP => futex::wake_op(addr, call.usize(4), private, count, second_count, call.u32(5)),
        _ => Err(Errno::NOSYS),
    }
}

/// A time of CLOCK_REALTIME, if `wall`, or else of CLOCK_MONOTONIC.
fn absolute(wall: bool, time: u64) -> Deadline {
    if wall { Deadline::Wall(time) } else { Clock::Monotonic.deadline(time) }
}

/// futex_waitv(2).
pub fn futex_waitv(call: &Call) -> SysResult {
    /// FUTEX_WAITV_MAX.
    const MOST: usize = 128;
    /// FUTEX2_SIZE_U32 and FUTEX2_PRIVATE.
    const SIZE_32: u32 = 2;
    const PRIVATE: u32 = 128;
    /// Bytes of `struct futex_waitv`.
    const ENTRY: usize = 24;
    let (list, count) = (call.usize(0), call.u32(1) as usize);
    if call.u32(2) != 0 || count == 0 || count > MOST || list == 0 {
        return Err(Errno::INVAL);
    }
    let deadline = match call.usize(3) {
        0 => None,
        at => {
            let wall = match call.u32(4) {
                abi::CLOCK_REALTIME => true,
                abi::CLOCK_MONOTONIC => false,
                _ => return Err(Errno::INVAL),
            };
            let time = posix_clock::read_timespec(at)?;
            Some(absolute(wall, time))
        }
    };
    let mut words = Vec::new();
    words.make_room(count)?;
    for n in 0..count {
        let [expected, address, last] = user::read_words(list + n * ENTRY)?;
        let (flags, reserved) = (last as u32, last >> 32);
        if reserved != 0 || flags & !PRIVATE != SIZE_32 || expected > u64::from(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let private = flags & PRIVATE != 0;
        words.push_reserved(futex::Word { address: address as usize, private, expected: expected as u32 });
    }
    futex::wait_any(&words, deadline)
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
        tid => pid_space::thread(tid).ok_or(Errno::SRCH)?,
    };
    look_into::check(&thread.process)?;
    user::write_u64(call.usize(1), thread.robust_list.load(Relaxed) as u64)?;
    user::write_u64(call.usize(2), ROBUST_LIST_HEAD_LEN as u64)?;
    Ok(0)
}
