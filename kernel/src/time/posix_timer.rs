//! Timers that send signals: setitimer(2), alarm(2), timer_create(2).
//!
//! At most one signal of a timer is pending at a time. A periodic timer continues when its signal is delivered; the expiries
//! that it missed until then are its overrun (timer_getoverrun(2)).
use super::clock::{self, Clock};
use super::interval::IntervalTimer;
use super::timer::Timed;
use super::wall::Deadline;
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::task::process::{self, Process};
use crate::task::signal::{self, Charge, Sent, SigInfo};
use alloc::sync::{Arc, Weak};
use coracle_fallible::try_arc_cyclic;
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general as abi;

/// How long a periodic timer rests at least after its signal was delivered: a program whose handler takes longer than the
/// period makes headway all the same. Expiries in this time are counted as overruns.
const REST_NS: u64 = 50_000;
/// The same if the signal is ignored, so that the timer costs little: a tick of Linux at CONFIG_HZ=250.
const IGNORED_REST_NS: u64 = 4_000_000;

/// What a timer does when it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// Nothing: it is only polled (SIGEV_NONE).
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
    /// The place of its signal among those that may wait; the timers of setitimer(2) have none of their own.
    _charge: Option<Charge>,
}

struct State {
    interval: IntervalTimer,
    /// Its signal waits.
    queued: bool,
    /// Times that it went off, set anew, while its signal still waited.
    merged: u64,
    /// Of the last signal that was delivered.
    overrun: u64,
}

impl PosixTimer {
    fn new(
        process: &Arc<Process>,
        id: i32,
        clock: Clock,
        notify: Notify,
        charge: Option<Charge>,
    ) -> Result<Arc<PosixTimer>, Errno> {
        let interval = IntervalTimer::new()?;
        Ok(try_arc_cyclic(|this| PosixTimer {
            process: Arc::downgrade(process),
            this: this.clone(),
            id,
            clock,
            notify,
            state: Mutex::new(State { interval, queued: false, merged: 0, overrun: 0 }),
            _charge: charge,
        })?)
    }

    /// Sets it to go off at `first` (none: never). Returns what was left, and the interval. ENOMEM for a time of the real-time
    /// clock.
    pub fn set(&self, first: Option<Deadline>, interval_ns: u64) -> Result<(u64, u64), Errno> {
        let mut state = self.state.lock();
        state.overrun = 0;
        state.merged = 0;
        let announce = self.notify != Notify::Nothing;
        state.interval.set(first, interval_ns, &self.this, announce)
    }

    /// It is not wanted any more.
    fn disarm(&self) {
        self.state.lock().interval.disarm();
    }

    /// Nanoseconds left (0: disarmed), and the interval.
    pub fn get(&self) -> (u64, u64) {
        self.state.lock().interval.remaining()
    }

    /// Expirations that the last signal doesn't include (timer_getoverrun(2)).
    pub fn overrun(&self) -> i32 {
        self.state.lock().overrun()
    }

    /// Its signal is delivered now: sets the next expiry; returns the overrun.
    fn delivered(&self) -> i32 {
        let mut state = self.state.lock();
        state.queued = false;
        let times = state.interval.restart(clock::monotonic_ns(), REST_NS, &self.this);
        state.overrun = times.saturating_sub(1) + core::mem::take(&mut state.merged);
        state.overrun()
    }

    /// Its signal won't be delivered: the timer continues, slowly.
    fn ignored(&self) {
        let mut state = self.state.lock();
        state.queued = false;
        state.interval.restart(clock::monotonic_ns(), IGNORED_REST_NS, &self.this);
    }
}

impl State {
    fn overrun(&self) -> i32 {
        self.overrun.min(i32::MAX as u64) as i32
    }
}

/// The signal of a timer among those that wait.
pub struct TimerSignal(Option<Arc<PosixTimer>>);

impl TimerSignal {
    /// Whether `timer` sent it.
    pub fn is_of(&self, timer: &Arc<PosixTimer>) -> bool {
        self.0.as_ref().is_some_and(|sender| Arc::ptr_eq(sender, timer))
    }
    /// It is delivered: the timer continues. Returns the overrun.
    pub fn delivered(mut self) -> i32 {
        self.0.take().map_or(0, |timer| timer.delivered())
    }
}

impl Drop for TimerSignal {
    fn drop(&mut self) {
        if let Some(timer) = self.0.take() {
            timer.ignored();
        }
    }
}

impl Timed for PosixTimer {
    fn clock_was_set(&self) {
        let announce = self.notify != Notify::Nothing;
        self.state.lock().interval.clock_was_set(&self.this, announce);
    }

    fn expired(&self, now_ns: u64) {
        let (Some(process), Some(this)) = (self.process.upgrade(), self.this.upgrade()) else { return };
        {
            let mut state = self.state.lock();
            if !state.interval.expire(now_ns) {
                return;
            }
            if state.queued {
                state.merged += 1;
                return;
            }
            state.queued = matches!(self.notify, Notify::Process { .. } | Notify::Thread { .. });
        }
        match self.notify {
            Notify::Nothing => {}
            // The delivery of any such signal restarts the timer: `ProcessTimers::signal_taken`.
            Notify::Interval { signal } => {
                if signal::send_to_process(&process, SigInfo::kernel(signal)) == Sent::Ignored {
                    self.ignored();
                }
            }
            Notify::Process { signal, value } => {
                let info = SigInfo::timer(signal, self.id, value);
                signal::send_timer(&process, None, info, TimerSignal(Some(this)));
            }
            Notify::Thread { signal, value, tid } => match process::thread_by_tid(tid) {
                Some(thread) => {
                    let info = SigInfo::timer(signal, self.id, value);
                    signal::send_timer(&process, Some(&thread), info, TimerSignal(Some(this)));
                }
                // As on Linux, the timer rests until it is set anew.
                None => self.state.lock().queued = false,
            },
        }
    }
}

/// The id after `id`.
fn next_id(id: i32) -> i32 {
    id.checked_add(1).unwrap_or(0)
}

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers(Mutex<Timers>);

#[derive(Default)]
struct Timers {
    by_id: SortedMap<i32, Arc<PosixTimer>>,
    /// For the next timer: ids aren't used again soon.
    next_id: i32,
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    intervals: [Option<Arc<PosixTimer>>; 3],
}

impl ProcessTimers {
    /// timer_create(2). EAGAIN if no more signals of the user may wait (RLIMIT_SIGPENDING): each timer keeps a place.
    pub fn create(
        &self,
        process: &Arc<Process>,
        clock: Clock,
        notify: impl FnOnce(i32) -> Notify,
    ) -> Result<i32, Errno> {
        let charge = Charge::of(process).ok_or(Errno::AGAIN)?;
        let mut timers = self.0.lock();
        while timers.by_id.contains_key(&timers.next_id) {
            timers.next_id = next_id(timers.next_id);
        }
        let id = timers.next_id;
        timers.next_id = next_id(id);
        timers.by_id.insert(id, PosixTimer::new(process, id, clock, notify(id), Some(charge))?)?;
        Ok(id)
    }

    /// The timer with this id; EINVAL.
    pub fn get(&self, id: i32) -> Result<Arc<PosixTimer>, Errno> {
        self.0.lock().by_id.get(&id).cloned().ok_or(Errno::INVAL)
    }

    /// Takes the timer with this id out and stops it; EINVAL.
    pub fn delete(&self, id: i32) -> Result<Arc<PosixTimer>, Errno> {
        let timer = self.0.lock().by_id.remove(&id).ok_or(Errno::INVAL)?;
        timer.disarm();
        Ok(timer)
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
        if let Some(timer) = place {
            return Ok(timer.clone());
        }
        let timer = PosixTimer::new(process, 0, Clock::Monotonic, Notify::Interval { signal }, None)?;
        Ok(place.insert(timer).clone())
    }

    /// A signal of the process as a whole is delivered, or won't be: a timer of setitimer(2) that waits for it continues.
    pub fn signal_taken(&self, signal: u32) {
        let which = match signal {
            abi::SIGALRM => abi::ITIMER_REAL,
            abi::SIGVTALRM => abi::ITIMER_VIRTUAL,
            abi::SIGPROF => abi::ITIMER_PROF,
            _ => return,
        };
        let timer = self.0.lock().intervals[which as usize].clone();
        if let Some(timer) = timer {
            timer.delivered();
        }
    }

    /// Removes all that timer_create(2) made (exec(2)).
    pub fn clear_created(&self) {
        let timers = core::mem::take(&mut self.0.lock().by_id);
        timers.values().for_each(|timer| timer.disarm());
    }

    /// Removes all (exit).
    pub fn clear(&self) {
        self.clear_created();
        let intervals = core::mem::take(&mut self.0.lock().intervals);
        intervals.iter().flatten().for_each(|timer| timer.disarm());
    }
}
