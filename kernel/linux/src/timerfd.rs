//! timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).
use super::call::Call;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::fs::file::OpenFile;
use coracle_core::ipc::timerfd::TimerFd;
use coracle_core::mm::user;
use coracle_core::time::clock;
use coracle_core::time::posix_clock::Clock;
use coracle_core::time::wall::Deadline;
use linux_raw_sys::general::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, O_NONBLOCK,
    O_RDWR, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET,
};

/// timerfd_create(2).
pub fn timerfd_create(call: &Call) -> SysResult {
    let clock = match call.u32(0) {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM => Clock::Realtime,
        CLOCK_MONOTONIC => Clock::Monotonic,
        CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => Clock::Boot,
        _ => return Err(Errno::INVAL),
    };
    let flags = call.u32(1);
    let wakes = matches!(call.u32(0), CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM);
    if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    if wakes {
        check_capability(capability::WAKE_ALARM)?;
    }
    let nonblock = if flags & TFD_NONBLOCK != 0 { O_NONBLOCK } else { 0 };
    let open = OpenFile::new(TimerFd::new(clock)?, O_RDWR | nonblock)?;
    call.thread().process.descriptors.insert(open, flags & TFD_CLOEXEC != 0, 0).map(|fd| fd as usize)
}

/// Runs `f` on the timer of descriptor `fd`; EINVAL if it is something else.
fn with<R>(call: &Call, fd: i32, f: impl FnOnce(&TimerFd) -> Result<R, Errno>) -> Result<R, Errno> {
    let open = call.thread().process.descriptors.get(fd)?;
    f(open.file.as_any().downcast_ref::<TimerFd>().ok_or(Errno::INVAL)?)
}

fn write_value(addr: usize, (left, interval): (u64, u64)) -> Result<(), Errno> {
    let [a, b] = clock::to_timespec(interval);
    let [c, d] = clock::to_timespec(left);
    user::write_words(addr, &[a, b, c, d])
}

/// timerfd_settime(2).
pub fn timerfd_settime(call: &Call) -> SysResult {
    let flags = call.u32(1);
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::INVAL);
    }
    let [a, b, c, d]: [u64; 4] = user::read_words(call.usize(2))?;
    let (interval, first) = (clock::timespec_ns([a, b])?, clock::timespec_ns([c, d])?);
    let value_at = call.usize(3);
    let old = with(call, call.i32(0), |timer| {
        let absolute = flags & TFD_TIMER_ABSTIME != 0;
        let at = if first == 0 {
            None
        } else if absolute {
            Some(timer.clock().deadline(first))
        } else {
            Some(Deadline::Boot(clock::monotonic_ns().saturating_add(first)))
        };
        let cancel_on_set = absolute && flags & TFD_TIMER_CANCEL_ON_SET != 0;
        timer.set(at, interval, cancel_on_set && timer.clock() == Clock::Realtime, value_at != 0)
    })?;
    if let Some(old) = old {
        write_value(value_at, old)?;
    }
    Ok(0)
}

/// timerfd_gettime(2).
pub fn timerfd_gettime(call: &Call) -> SysResult {
    let value = with(call, call.i32(0), |timer| Ok(timer.remaining()))?;
    write_value(call.usize(1), value)?;
    Ok(0)
}
