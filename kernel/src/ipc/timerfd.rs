//! timerfd_create(2): timers read from a descriptor.
use super::poll::{Events, PollSource, block_on};
use crate::errno::{Errno, SysResult};
use crate::fs::file::{File, OpenFile};
use crate::mm::user;
use crate::mm::user_buf::UserBuf;
use crate::syscall::call::Call;
use crate::time::clock::{self, Clock};
use crate::time::interval::IntervalTimer;
use crate::time::timer::Timed;
use crate::time::wall::Deadline;
use alloc::sync::{Arc, Weak};
use coracle_fallible::{NoMemory, Text, try_arc_cyclic};
use core::any::Any;
use linux_raw_sys::general::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, O_NONBLOCK,
    O_RDWR, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET, stat as Stat,
};
use spin::Mutex;

/// A timer descriptor.
pub struct TimerFd {
    clock: Clock,
    this: Weak<TimerFd>,
    source: PollSource,
    state: Mutex<State>,
}

struct State {
    interval: IntervalTimer,
    /// It is cancelled when the clock is set (TFD_TIMER_CANCEL_ON_SET).
    cancel_on_set: bool,
    /// The clock was set, and the program doesn't know yet.
    cancelled: bool,
}

impl State {
    /// ECANCELED, once, if the clock was set.
    fn report_cancelled(&mut self) -> Result<(), Errno> {
        if core::mem::take(&mut self.cancelled) { Err(Errno::CANCELED) } else { Ok(()) }
    }
}

impl TimerFd {
    fn new(clock: Clock) -> Result<Arc<TimerFd>, Errno> {
        let interval = IntervalTimer::new()?;
        Ok(try_arc_cyclic(|this| TimerFd {
            clock,
            this: this.clone(),
            source: PollSource::new(),
            state: Mutex::new(State { interval, cancel_on_set: false, cancelled: false }),
        })?)
    }

    /// Sets it to go off at `first` (none: never); gives what was left and the interval. ECANCELED, though it is set, if the
    /// clock was set since the program was told.
    fn set(
        &self,
        first: Option<Deadline>,
        interval_ns: u64,
        cancel_on_set: bool,
    ) -> Result<(u64, u64), Errno> {
        let mut state = self.state.lock();
        let old = state.interval.set(first, interval_ns, &self.this, true)?;
        state.cancel_on_set = cancel_on_set;
        state.cancelled &= cancel_on_set;
        if first.is_some() {
            state.report_cancelled()?;
        }
        Ok(old)
    }

    /// Expirations since the last read, and sets the next; EAGAIN if there are none. ECANCELED if the clock was set.
    fn take(&self) -> Result<u64, Errno> {
        let mut state = self.state.lock();
        if state.cancelled {
            state.interval.forget_expiry();
        }
        state.report_cancelled()?;
        match state.interval.restart(clock::monotonic_ns(), 0, &self.this) {
            0 => Err(Errno::AGAIN),
            expirations => Ok(expirations),
        }
    }
}

impl Timed for TimerFd {
    fn expired(&self, now_ns: u64) {
        if !self.state.lock().interval.expire(now_ns) {
            return;
        }
        self.source.notify(Events::IN | Events::RDNORM);
    }

    fn clock_was_set(&self) {
        let mut state = self.state.lock();
        state.interval.clock_was_set(&self.this, true);
        state.cancelled |= state.cancel_on_set;
        if state.cancelled {
            drop(state);
            self.source.notify(Events::IN | Events::RDNORM);
        }
    }
}

impl File for TimerFd {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() < 8 {
            return Err(Errno::INVAL);
        }
        let expirations = block_on(&self.source, nonblock, None, || self.take())?;
        dst.put(&expirations.to_le_bytes())
    }
    fn keeps_position(&self) -> bool {
        false
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(crate::fs::stat::anonymous())
    }
    fn readiness(&self) -> Events {
        let state = self.state.lock();
        if state.interval.has_expired() || state.cancelled {
            Events::IN | Events::RDNORM
        } else {
            Events::empty()
        }
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[timerfd]")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn closed(&self) {
        self.state.lock().interval.disarm();
    }
}

/// timerfd_create(2).
pub fn create(call: &Call) -> SysResult {
    let clock = match call.u32(0) {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM => Clock::Realtime,
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => Clock::Monotonic,
        _ => return Err(Errno::INVAL),
    };
    let flags = call.u32(1);
    if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
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
pub fn settime(call: &Call) -> SysResult {
    let flags = call.u32(1);
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::INVAL);
    }
    let [a, b, c, d]: [u64; 4] = user::read_words(call.usize(2))?;
    let (interval, first) = (clock::timespec_ns([a, b])?, clock::timespec_ns([c, d])?);
    let old = with(call, call.i32(0), |timer| {
        let absolute = flags & TFD_TIMER_ABSTIME != 0;
        let at = if first == 0 {
            None
        } else if absolute {
            Some(timer.clock.deadline(first)?)
        } else {
            Some(Deadline::Boot(clock::monotonic_ns().saturating_add(first)))
        };
        let cancel_on_set = absolute && flags & TFD_TIMER_CANCEL_ON_SET != 0;
        timer.set(at, interval, cancel_on_set && timer.clock == Clock::Realtime)
    })?;
    if call.usize(3) != 0 {
        write_value(call.usize(3), old)?;
    }
    Ok(0)
}

/// timerfd_gettime(2).
pub fn gettime(call: &Call) -> SysResult {
    let value = with(call, call.i32(0), |timer| Ok(timer.state.lock().interval.remaining()))?;
    write_value(call.usize(1), value)?;
    Ok(0)
}
