//! Clocks, sleeping and timers.
use super::call::Call;
use coracle_clock_discipline::Timex;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::mm::user;
use coracle_core::task::pid_space;
use coracle_core::task::sched::{self, Wake};
use coracle_core::task::signal::{self, MAX_SIGNAL};
use coracle_core::time::clock::{self, SECOND_NS, to_timespec, to_timeval};
use coracle_core::time::discipline;
use coracle_core::time::posix_clock::{self, Clock};
use coracle_core::time::posix_timer::{First, Notify};
use coracle_core::time::wall::Deadline;
use coracle_hal::cpu;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use linux_raw_sys::general as abi;

/// clock_gettime(2).
pub fn clock_gettime(call: &Call) -> SysResult {
    let now = Clock::from_id(call.i32(0))?.now()?;
    user::write_words(call.usize(1), &to_timespec(now))?;
    Ok(0)
}

/// clock_getres(2).
pub fn clock_getres(call: &Call) -> SysResult {
    let id = call.i32(0);
    Clock::from_id(id)?;
    let coarse = matches!(id as u32, abi::CLOCK_REALTIME_COARSE | abi::CLOCK_MONOTONIC_COARSE);
    if call.usize(1) != 0 {
        let resolution = if coarse { clock::COARSE_RESOLUTION_NS } else { 1 };
        user::write_words(call.usize(1), &to_timespec(resolution))?;
    }
    Ok(0)
}

/// clock_settime(2): the real-time clock only, with CAP_SYS_TIME.
pub fn clock_settime(call: &Call) -> SysResult {
    if call.u32(0) != abi::CLOCK_REALTIME {
        return Err(Errno::INVAL);
    }
    let now = posix_clock::read_timespec(call.usize(1))?;
    check_capability(capability::SYS_TIME)?;
    set_clock(now)?;
    Ok(0)
}

/// Sets the real-time clock for a program, which keeps it then.
fn set_clock(now_ns: u64) -> Result<(), Errno> {
    clock::set_realtime_ns(now_ns)?;
    discipline::leave_to_program();
    Ok(())
}

/// What settimeofday(2) set last: a `struct timezone`, minutes west of Greenwich and a kind of daylight saving time.
static TIME_ZONE: AtomicU64 = AtomicU64::new(0);
static ZONE_IS_SET: AtomicBool = AtomicBool::new(false);
const MINUTE_NS: i64 = 60 * SECOND_NS as i64;
/// 15 hours, as on Linux.
const FARTHEST_ZONE_NS: i64 = 15 * 60 * MINUTE_NS;

/// gettimeofday(2).
pub fn gettimeofday(call: &Call) -> SysResult {
    if call.usize(0) != 0 {
        user::write_words(call.usize(0), &to_timeval(clock::realtime_ns()))?;
    }
    if call.usize(1) != 0 {
        user::write_u64(call.usize(1), TIME_ZONE.load(Relaxed))?;
    }
    Ok(0)
}

/// settimeofday(2), with CAP_SYS_TIME.
pub fn settimeofday(call: &Call) -> SysResult {
    let now = match call.usize(0) {
        0 => None,
        at => Some(clock::timeval_ns(user::read_words(at)?)?),
    };
    let zone = match call.usize(1) {
        0 => None,
        at => Some(user::read_u64(at)?),
    };
    check_capability(capability::SYS_TIME)?;
    if let Some(zone) = zone {
        let west_ns = i64::from(zone as i32) * MINUTE_NS;
        if west_ns.abs() > FARTHEST_ZONE_NS {
            return Err(Errno::INVAL);
        }
        TIME_ZONE.store(zone, Relaxed);
        // The first one, set without a time, says that the hardware's clock shows local time.
        if !ZONE_IS_SET.swap(true, Relaxed) && now.is_none() && west_ns != 0 {
            return set_clock(clock::realtime_ns().saturating_add_signed(west_ns)).map(|()| 0);
        }
    }
    now.map_or(Ok(()), set_clock)?;
    Ok(0)
}

/// time(2).
pub fn time(call: &Call) -> SysResult {
    let seconds = clock::realtime_ns() / SECOND_NS;
    if call.usize(0) != 0 {
        user::write_u64(call.usize(0), seconds)?;
    }
    Ok(seconds as usize)
}

/// Sleeps until `deadline`; `remaining`: where the rest goes if a signal ends it.
fn sleep_until(deadline: Deadline, remaining: usize) -> SysResult {
    loop {
        match sched::park_until(deadline, true) {
            Wake::TimedOut => return Ok(0),
            Wake::Woken => {}
            Wake::Interrupted => {
                if remaining != 0 {
                    let left = deadline.boot_ns().saturating_sub(clock::monotonic_ns());
                    user::write_words(remaining, &to_timespec(left))?;
                }
                return Err(Errno::RESTARTNOHAND);
            }
        }
    }
}

/// Sleeps until a CPU clock shows `time`, or has advanced by that.
#[inline(never)]
fn sleep_by_cpu(clock: Clock, time: u64, absolute: bool, remaining: usize) -> SysResult {
    /// How exact that is.
    const RESOLUTION_NS: u64 = 1_000_000;
    let end = if absolute { time } else { clock.now()?.saturating_add(time) };
    loop {
        let left = end.saturating_sub(clock.now()?);
        if left == 0 {
            return Ok(0);
        }
        let rate = cpu::count() as u64;
        let look_at = clock::monotonic_ns().saturating_add((left / rate).max(RESOLUTION_NS));
        if sched::park(Some(look_at), true) == Wake::Interrupted {
            if !absolute && remaining != 0 {
                user::write_words(remaining, &to_timespec(left))?;
            }
            return Err(Errno::RESTARTNOHAND);
        }
    }
}

/// nanosleep(2).
pub fn nanosleep(call: &Call) -> SysResult {
    let time = posix_clock::read_timespec(call.usize(0))?;
    sleep_until(Deadline::Boot(clock::monotonic_ns().saturating_add(time)), call.usize(1))
}

/// clock_nanosleep(2).
pub fn clock_nanosleep(call: &Call) -> SysResult {
    let clock = Clock::for_timer(call.i32(0))?;
    if matches!(clock, Clock::ThreadCpu(_)) {
        return Err(Errno::INVAL);
    }
    let time = posix_clock::read_timespec(call.usize(2))?;
    if clock.is_cpu() {
        return sleep_by_cpu(clock, time, call.u32(1) & abi::TIMER_ABSTIME != 0, call.usize(3));
    }
    if call.u32(1) & abi::TIMER_ABSTIME != 0 {
        sleep_until(clock.deadline(time), 0)
    } else {
        sleep_until(Deadline::Boot(clock::monotonic_ns().saturating_add(time)), call.usize(3))
    }
}

fn write_interval(addr: usize, (left, interval): (u64, u64)) -> Result<(), Errno> {
    let [a, b] = to_timeval(interval);
    // What is left is never told as zero while it runs.
    let [c, d] = to_timeval(if left == 0 { 0 } else { left.max(1000) });
    user::write_words(addr, &[a, b, c, d])
}

/// getitimer(2).
pub fn getitimer(call: &Call) -> SysResult {
    let process = &call.thread().process;
    let timer = process.timers.interval(process, call.u32(0))?;
    write_interval(call.usize(1), timer.get())?;
    Ok(0)
}

/// setitimer(2).
pub fn setitimer(call: &Call) -> SysResult {
    let process = &call.thread().process;
    let timer = process.timers.interval(process, call.u32(0))?;
    let (first, interval) = match call.usize(1) {
        0 => (0, 0),
        at => {
            let [a, b, c, d]: [u64; 4] = user::read_words(at)?;
            (clock::timeval_ns([c, d])?, clock::timeval_ns([a, b])?)
        }
    };
    let old = timer.set(if first == 0 { First::Never } else { First::In(first) }, interval)?;
    if call.usize(2) != 0 {
        write_interval(call.usize(2), old)?;
    }
    Ok(0)
}

/// alarm(2).
pub fn alarm(call: &Call) -> SysResult {
    let process = &call.thread().process;
    let timer = process.timers.interval(process, abi::ITIMER_REAL)?;
    let first = match call.u32(0) {
        0 => First::Never,
        seconds => First::In(u64::from(seconds) * SECOND_NS),
    };
    let (left, _) = timer.set(first, 0)?;
    // Rounded to the nearest second, but never to 0 while it ran.
    let seconds = (left + SECOND_NS / 2) / SECOND_NS;
    Ok(if left == 0 { 0 } else { seconds.max(1) as usize })
}

/// timer_create(2).
pub fn timer_create(call: &Call) -> SysResult {
    let clock = Clock::for_timer(call.i32(0))?;
    let event = call.usize(1);
    let notify = if event == 0 {
        None
    } else {
        // struct sigevent: value, signal, how, thread.
        let value = user::read_u64(event)?;
        let signal = user::read_u32(event + 8)?;
        let how = user::read_u32(event + 12)?;
        let signal_is_fine = (1..=MAX_SIGNAL).contains(&signal);
        Some(match how {
            abi::SIGEV_NONE => Notify::Nothing,
            abi::SIGEV_SIGNAL | abi::SIGEV_THREAD if signal_is_fine => Notify::Process { signal, value },
            how if how == abi::SIGEV_THREAD_ID | abi::SIGEV_SIGNAL && signal_is_fine => {
                let tid = user::read_u32(event + 16)? as i32;
                let thread = pid_space::thread(tid).ok_or(Errno::INVAL)?;
                if thread.process.pid != call.thread().process.pid {
                    return Err(Errno::INVAL);
                }
                Notify::Thread { signal, value, tid: thread.tid() }
            }
            _ => return Err(Errno::INVAL),
        })
    };
    let process = &call.thread().process;
    let id = process.timers.create(process, clock, |id| {
        notify.unwrap_or(Notify::Process { signal: abi::SIGALRM, value: id as u64 })
    })?;
    if let Err(error) = user::write_u32(call.usize(2), id as u32) {
        process.timers.delete(id)?;
        return Err(error);
    }
    Ok(0)
}

fn write_timer(addr: usize, (left, interval): (u64, u64)) -> Result<(), Errno> {
    let [a, b] = to_timespec(interval);
    let [c, d] = to_timespec(left);
    user::write_words(addr, &[a, b, c, d])
}

/// timer_settime(2).
pub fn timer_settime(call: &Call) -> SysResult {
    if call.usize(2) == 0 {
        return Err(Errno::INVAL);
    }
    let [a, b, c, d]: [u64; 4] = user::read_words(call.usize(2))?;
    let timer = call.thread().process.timers.get(call.i32(0))?;
    let (interval, first) = (clock::timespec_ns([a, b])?, clock::timespec_ns([c, d])?);
    let first = if first == 0 {
        First::Never
    } else if call.u32(1) & abi::TIMER_ABSTIME != 0 {
        First::At(first)
    } else {
        First::In(first)
    };
    let old = timer.set(first, interval)?;
    if call.usize(3) != 0 {
        write_timer(call.usize(3), old)?;
    }
    Ok(0)
}

/// timer_gettime(2).
pub fn timer_gettime(call: &Call) -> SysResult {
    let timer = call.thread().process.timers.get(call.i32(0))?;
    write_timer(call.usize(1), timer.get())?;
    Ok(0)
}

/// timer_getoverrun(2).
pub fn timer_getoverrun(call: &Call) -> SysResult {
    Ok(call.thread().process.timers.get(call.i32(0))?.overrun() as usize)
}

/// timer_delete(2).
pub fn timer_delete(call: &Call) -> SysResult {
    let process = &call.thread().process;
    let timer = process.timers.delete(call.i32(0))?;
    signal::discard_of_timer(process, &timer);
    Ok(0)
}

/// times(2).
pub fn times(call: &Call) -> SysResult {
    const TICK_NS: u64 = SECOND_NS / coracle_core::task::exec::CLOCK_TICKS;
    let process = &call.thread().process;
    if call.usize(0) != 0 {
        let own = process.cpu_time_ns() / TICK_NS;
        let children = process.children.lock().cpu_ns / TICK_NS;
        user::write_words(call.usize(0), &[own, 0, children, 0])?;
    }
    Ok((clock::monotonic_ns() / TICK_NS) as usize)
}

/// adjtimex(2).
pub fn adjtimex(call: &Call) -> SysResult {
    adjust(call.usize(0), || Ok(()))
}

/// clock_adjtime(2): CLOCK_REALTIME only, as there are no clocks behind descriptors. EOPNOTSUPP for others.
pub fn clock_adjtime(call: &Call) -> SysResult {
    /// What Linux has no clock for.
    const SGI_CYCLE: u32 = 10;
    /// The lowest bits of an id less than 0, and what they are for a descriptor; else the clock shows CPU time.
    const KIND: i32 = 7;
    const DESCRIPTOR: i32 = 3;
    let id = call.i32(0);
    adjust(call.usize(1), || match id as u32 {
        abi::CLOCK_REALTIME => Ok(()),
        SGI_CYCLE => Err(Errno::INVAL),
        known if known <= abi::CLOCK_TAI => Err(Errno::OPNOTSUPP),
        _ if id < 0 && id & KIND != DESCRIPTOR => Err(Errno::OPNOTSUPP),
        _ => Err(Errno::INVAL),
    })
}

/// Does what the `struct timex` at `addr` asks for, if `check`, which comes after it was read, has nothing against it.
fn adjust(addr: usize, check: impl FnOnce() -> Result<(), Errno>) -> SysResult {
    let mut timex = Timex::from_words(&user::read_words(addr)?);
    check()?;
    let changes = timex.changes();
    let state = discipline::adjust(&mut timex, check_capability(capability::SYS_TIME).is_ok())?;
    if changes {
        discipline::leave_to_program();
    }
    user::write_words(addr, &timex.to_words())?;
    Ok(state)
}
