//! timerfd_create(2): timers read from a descriptor.
use super::poll::{Events, PollSource, block_on};
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::mm::user_buf::UserBuf;
use crate::time::clock;
use crate::time::interval::IntervalTimer;
use crate::time::posix_clock::Clock;
use crate::time::timer::Timed;
use crate::time::wall::Deadline;
use alloc::sync::{Arc, Weak};
use coracle_fallible::{NoMemory, Text, try_arc_cyclic};
use coracle_hal::sync::Mutex;
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

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
    /// A timer that follows `clock` and is not set. ENOMEM.
    pub fn new(clock: Clock) -> Result<Arc<TimerFd>, Errno> {
        let interval = IntervalTimer::new()?;
        Ok(try_arc_cyclic(|this| TimerFd {
            clock,
            this: this.clone(),
            source: PollSource::new(),
            state: Mutex::new(State { interval, cancel_on_set: false, cancelled: false }),
        })?)
    }

    /// The clock that it follows.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What timerfd_gettime(2) gives: nanoseconds until it goes off, or 0 if it is not set, and the interval.
    pub fn remaining(&self) -> (u64, u64) {
        self.state.lock().interval.remaining(0)
    }

    /// Sets it to go off at `first` (none: never); gives what [`Self::remaining`] was, if that is `wanted`. ECANCELED, though it is
    /// set, if the clock was set since the program was told.
    pub fn set(
        &self,
        first: Option<Deadline>,
        interval_ns: u64,
        cancel_on_set: bool,
        wanted: bool,
    ) -> Result<Option<(u64, u64)>, Errno> {
        let mut state = self.state.lock();
        let old = wanted.then(|| state.interval.remaining(0));
        state.interval.set(first, interval_ns, &self.this, true)?;
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
