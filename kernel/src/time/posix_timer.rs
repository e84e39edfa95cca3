//! Timers that send signals: setitimer(2), alarm(2), timer_create(2).
use super::clock::Clock;
use super::interval::IntervalTimer;
use super::timer::Timed;
use crate::errno::Errno;
use crate::task::process::{self, Process};
use crate::task::signal::{self, SigInfo};
use alloc::sync::{Arc, Weak};
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general as abi;
use spin::Mutex;

/// Timers of timer_create(2) that a process may have.
const MAX_TIMERS: usize = 1024;

/// What a timer does when it goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Nothing: it is only asked (SIGEV_NONE).
    Nothing,
    /// A signal to the process (SIGEV_SIGNAL), with this value.
    Process {
        /// The signal.
        signal: u32,
        /// sigev_value.
        value: u64,
    },
    /// A signal to a thread (SIGEV_THREAD_ID).
    Thread {
        /// The signal.
        signal: u32,
        /// sigev_value.
        value: u64,
        /// The thread.
        tid: i32,
    },
    /// The plain signal of setitimer(2).
    Interval {
        /// The signal.
        signal: u32,
    },
}

/// A timer of a process.
pub struct PosixTimer {
    process: Weak<Process>,
    this: Weak<PosixTimer>,
    id: i32,
    /// The clock it follows.
    pub clock: Clock,
    notify: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    interval: IntervalTimer,
    overrun: u64,
}

impl PosixTimer {
    fn new(process: &Arc<Process>, id: i32, clock: Clock, notify: Notify) -> Arc<PosixTimer> {
        Arc::new_cyclic(|this| PosixTimer {
            process: Arc::downgrade(process),
            this: this.clone(),
            id,
            clock,
            notify,
            state: Mutex::new(State::default()),
        })
    }

    /// Sets it: `first_ns` since boot (0: disarm). Gives what was left, and the interval.
    pub fn set(&self, first_ns: u64, interval_ns: u64) -> (u64, u64) {
        let mut state = self.state.lock();
        state.overrun = 0;
        state.interval.set(first_ns, interval_ns, &self.this)
    }

    /// Nanoseconds left (0: disarmed), and the interval.
    pub fn get(&self) -> (u64, u64) {
        self.state.lock().interval.remaining()
    }

    /// Expirations that the last signal doesn't tell (timer_getoverrun(2)).
    pub fn overrun(&self) -> i32 {
        self.state.lock().overrun.min(i32::MAX as u64) as i32
    }
}

impl Timed for PosixTimer {
    fn expired(&self, now_ns: u64) {
        let Some(process) = self.process.upgrade() else { return };
        {
            let mut state = self.state.lock();
            let Some(times) = state.interval.expire(now_ns, &self.this) else { return };
            state.overrun = times - 1;
        }
        let overrun = self.overrun();
        match self.notify {
            Notify::Nothing => {}
            Notify::Interval { signal } => signal::send_to_process(&process, SigInfo::kernel(signal)),
            Notify::Process { signal, value } => {
                signal::send_to_process(&process, SigInfo::timer(signal, self.id, overrun, value));
            }
            Notify::Thread { signal, value, tid } => {
                if let Some(thread) = process::thread_by_tid(tid) {
                    signal::send_to_thread(&thread, SigInfo::timer(signal, self.id, overrun, value));
                }
            }
        }
    }
}

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers(Mutex<Timers>);

#[derive(Default)]
struct Timers {
    by_id: SortedMap<i32, Arc<PosixTimer>>,
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    intervals: [Option<Arc<PosixTimer>>; 3],
}

impl ProcessTimers {
    /// timer_create(2). EAGAIN if there are too many.
    pub fn create(
        &self,
        process: &Arc<Process>,
        clock: Clock,
        notify: impl FnOnce(i32) -> Notify,
    ) -> Result<i32, Errno> {
        let mut timers = self.0.lock();
        if timers.by_id.len() >= MAX_TIMERS {
            return Err(Errno::AGAIN);
        }
        let id = (0..).find(|id| !timers.by_id.contains_key(id)).ok_or(Errno::AGAIN)?;
        timers.by_id.insert(id, PosixTimer::new(process, id, clock, notify(id)));
        Ok(id)
    }

    /// The timer with this id; EINVAL.
    pub fn get(&self, id: i32) -> Result<Arc<PosixTimer>, Errno> {
        self.0.lock().by_id.get(&id).cloned().ok_or(Errno::INVAL)
    }

    /// timer_delete(2); EINVAL.
    pub fn delete(&self, id: i32) -> Result<(), Errno> {
        let timer = self.0.lock().by_id.remove(&id).ok_or(Errno::INVAL)?;
        timer.set(0, 0);
        Ok(())
    }

    /// The timer of setitimer(2); EINVAL.
    ///
    /// ITIMER_VIRTUAL and ITIMER_PROF follow the CPU's time only as far as it equals the clock's: they run in real time.
    pub fn interval(&self, process: &Arc<Process>, which: u32) -> Result<Arc<PosixTimer>, Errno> {
        let signal = match which {
            abi::ITIMER_REAL => abi::SIGALRM,
            abi::ITIMER_VIRTUAL => abi::SIGVTALRM,
            abi::ITIMER_PROF => abi::SIGPROF,
            _ => return Err(Errno::INVAL),
        };
        let mut timers = self.0.lock();
        let place = &mut timers.intervals[which as usize];
        Ok(place
            .get_or_insert_with(|| PosixTimer::new(process, 0, Clock::Monotonic, Notify::Interval { signal }))
            .clone())
    }

    /// Removes all that timer_create(2) made (exec(2)).
    pub fn clear_created(&self) {
        let timers = core::mem::take(&mut self.0.lock().by_id);
        timers.values().for_each(|timer| {
            timer.set(0, 0);
        });
    }

    /// Removes all (exit).
    pub fn clear(&self) {
        self.clear_created();
        let intervals = core::mem::take(&mut self.0.lock().intervals);
        intervals.iter().flatten().for_each(|timer| {
            timer.set(0, 0);
        });
    }
}
