//! Timers that send signals: setitimer(2), alarm(2), timer_create(2).
//!
//! At most one signal of a timer is pending at a time. A periodic timer continues when its signal is delivered; the expiries
//! that it missed until then are its overrun (timer_getoverrun(2)). While its signal is ignored it rests: when there is a handler
//! again, the signal is sent with all that was missed (Linux's `posixtimer_sig_unignore`).
use super::clock::{self, SECOND_NS};
use super::cpu_timer::{CpuTimer, Reading};
use super::interval::IntervalTimer;
use super::posix_clock::Clock;
use super::timer::Timed;
use super::wall::Deadline;
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::task::process::{self, Process};
use crate::task::signal::{self, Charge, Sent, SigInfo};
use crate::task::thread::Work;
use alloc::sync::{Arc, Weak};
use coracle_fallible::try_arc_cyclic;
use coracle_hal::cpu;
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general as abi;

/// How long a periodic timer rests at least after its signal was delivered: a program whose handler takes longer than the
/// period makes headway all the same. Expiries in this time are counted as overruns.
const REST_NS: u64 = 50_000;
/// The same for a timer of setitimer(2) whose signal is ignored, so that it costs little: a tick of Linux at CONFIG_HZ=250.
const IGNORED_REST_NS: u64 = 4_000_000;

impl Reading {
    /// Reads the clock for a timer of `owner`. `None` if there is no such thread or process any more. Hold no lock.
    pub fn of(clock: Clock, owner: &Process) -> Option<Reading> {
        match clock {
            Clock::ProcessCpu(pid) if pid != owner.pid => {
                let used_ns = clock.now().ok()?;
                let threads = process::by_pid(pid)?.threads.lock().len();
                Some(Reading { used_ns, rate: threads.clamp(1, cpu::count()) as u64, rests: false })
            }
            Clock::ProcessCpu(_) => {
                // Of a process that may not be listed yet.
                let used_ns = owner.cpu_time_ns();
                let threads = owner.threads.lock();
                let sleeps = || !threads.is_empty() && threads.iter().all(|thread| thread.sched.is_parked());
                let rests = sleeps() && {
                    // A thread that goes on from here on sees the flag, or is seen not to sleep.
                    threads.iter().for_each(|thread| thread.work().set(Work::CPU_TIMER));
                    sleeps()
                };
                Some(Reading { used_ns, rate: threads.len().clamp(1, cpu::count()) as u64, rests })
            }
            _ => Some(Reading { used_ns: clock.now().ok()?, rate: 1, rests: false }),
        }
    }
}

/// RLIM_INFINITY.
const NO_LIMIT: u64 = u64::MAX;

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
    /// What RLIMIT_CPU says (getrlimit(2)): SIGXCPU in each second beyond the soft limit, SIGKILL at the hard one.
    CpuLimit,
}

/// When a timer is to go off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Not at all.
    Never,
    /// In so many nanoseconds of its clock.
    In(u64),
    /// When its clock shows this, nanoseconds.
    At(u64),
}

/// A timer of a process.
pub struct PosixTimer {
    process: Weak<Process>,
    this: Weak<PosixTimer>,
    id: i32,
    /// The clock it follows, of the thread or process that made the timer or another.
    clock: Clock,
    notify: Notify,
    state: Mutex<State>,
    /// The place of its signal among those that may wait; the timers of setitimer(2) have none of their own.
    charge: Option<Charge>,
}

/// The timer itself, by the kind of its clock.
enum Interval {
    Real(IntervalTimer),
    Cpu(CpuTimer),
}

struct State {
    interval: Interval,
    /// How often it was set or deleted: a signal that was sent before is not delivered.
    generation: u32,
    /// Its signal was ignored, and is sent when it no longer is.
    ignored: bool,
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
        let interval = if clock.is_cpu() {
            Interval::Cpu(CpuTimer::new()?)
        } else {
            Interval::Real(IntervalTimer::new()?)
        };
        Ok(try_arc_cyclic(|this| PosixTimer {
            process: Arc::downgrade(process),
            this: this.clone(),
            id,
            clock,
            notify,
            state: Mutex::new(State { interval, generation: 0, ignored: false, overrun: 0 }),
            charge,
        })?)
    }

    /// What its clock shows, if that is CPU time. EINVAL if its thread or process has ended. Hold no lock.
    fn read_cpu(&self) -> Result<Option<Reading>, Errno> {
        if !self.clock.is_cpu() {
            return Ok(None);
        }
        let process = self.process.upgrade().ok_or(Errno::INVAL)?;
        Reading::of(self.clock, &process).map(Some).ok_or(Errno::INVAL)
    }

    /// Sets it to go off at `first`, and takes back a signal of timer_create(2) that still waits. Returns what was left, and the interval.
    /// ENOMEM for a time of the real-time clock, EINVAL for the CPU time of what has ended. Hold no lock.
    pub fn set(&self, first: First, interval_ns: u64) -> Result<(u64, u64), Errno> {
        let mut had_expired = false;
        let old = self.set_only(first, interval_ns, &mut had_expired)?;
        if let (true, Some(process), Some(this)) = (had_expired, self.process.upgrade(), self.this.upgrade())
        {
            signal::discard_of_timer(&process, &this);
        }
        Ok(old)
    }

    fn set_only(&self, first: First, interval_ns: u64, had_expired: &mut bool) -> Result<(u64, u64), Errno> {
        let reading = self.read_cpu()?;
        let mut state = self.state.lock();
        let announce = self.notify != Notify::Nothing;
        // A disarmed timer has no interval, other than those of CPU time of setitimer(2) (Linux's `set_cpu_itimer`).
        let keeps_interval = self.clock.is_cpu() && matches!(self.notify, Notify::Interval { .. });
        let interval_ns = if first == First::Never && !keeps_interval { 0 } else { interval_ns };
        *had_expired = self.charge.is_some() && state.has_expired();
        let old = match (&mut state.interval, reading) {
            (Interval::Cpu(timer), Some(now)) => {
                let first = match first {
                    First::Never => None,
                    First::In(ns) => Some(now.used_ns.saturating_add(ns)),
                    First::At(ns) => Some(ns),
                };
                let old = timer.remaining(now, self.left_when_due());
                timer.set(first, interval_ns, now, &self.this);
                old
            }
            (Interval::Real(timer), _) => {
                let first = match first {
                    First::Never => None,
                    First::In(ns) => Some(Deadline::Boot(clock::monotonic_ns().saturating_add(ns))),
                    First::At(ns) => Some(self.clock.deadline(ns)),
                };
                let old = timer.remaining(self.left_when_due());
                timer.set(first, interval_ns, &self.this, announce)?;
                old
            }
            (Interval::Cpu(_), None) => return Err(Errno::INVAL),
        };
        state.overrun = 0;
        state.ignored = false;
        state.generation = state.generation.wrapping_add(1);
        Ok(old)
    }

    /// What is left of it while it is due, but has not gone off: nothing only if it is merely polled (Linux's `common_timer_get`).
    fn left_when_due(&self) -> u64 {
        u64::from(self.notify != Notify::Nothing)
    }

    /// It is not wanted any more.
    fn disarm(&self) {
        let mut state = self.state.lock();
        state.generation = state.generation.wrapping_add(1);
        state.ignored = false;
        match &mut state.interval {
            Interval::Real(timer) => timer.disarm(),
            Interval::Cpu(timer) => timer.disarm(),
        }
    }

    /// Nanoseconds left (0: disarmed), and the interval.
    pub fn get(&self) -> (u64, u64) {
        let reading = self.read_cpu();
        match (&self.state.lock().interval, reading) {
            (Interval::Real(timer), _) => timer.remaining(self.left_when_due()),
            (Interval::Cpu(timer), Ok(Some(now))) => timer.remaining(now, self.left_when_due()),
            (Interval::Cpu(_), _) => (0, 0),
        }
    }

    /// Expirations that the last signal doesn't include (timer_getoverrun(2)).
    pub fn overrun(&self) -> i32 {
        self.state.lock().overrun()
    }

    /// Its signal of `generation` is delivered: sets the next expiry; returns the overrun. Its clock shows `now`, if that is CPU time
    /// and the caller, that holds no lock then, has looked.
    fn delivered(&self, generation: u32, now: Option<Reading>) -> i32 {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.overrun = self.restart(&mut state, REST_NS, now).saturating_sub(1);
        }
        state.overrun()
    }

    /// The signal of a timer of setitimer(2) is delivered, or won't be: the timer continues.
    fn passed_on(&self, rest_ns: u64) {
        self.restart(&mut self.state.lock(), rest_ns, None);
    }

    /// Its signal of `generation` won't be delivered: a periodic timer rests until it would be.
    fn ignored(&self, generation: u32) {
        let mut state = self.state.lock();
        if state.generation != generation {
            return;
        }
        if state.interval_ns() == 0 {
            self.restart(&mut state, 0, None);
        } else {
            state.ignored = true;
        }
    }

    fn restart(&self, state: &mut State, rest_ns: u64, now: Option<Reading>) -> u64 {
        match &mut state.interval {
            Interval::Real(timer) => timer.restart(clock::monotonic_ns(), rest_ns, &self.this),
            Interval::Cpu(timer) => timer.restart(now, &self.this),
        }
    }

    /// Sends its signal, of `generation`, to `process` or a thread of it.
    fn send(&self, process: &Arc<Process>, generation: u32) {
        let Some(this) = self.this.upgrade() else { return };
        let (signal, value, thread) = match self.notify {
            Notify::Process { signal, value } => (signal, value, None),
            Notify::Thread { signal, value, tid } => match process::thread_by_tid(tid) {
                Some(thread) => (signal, value, Some(thread)),
                // As on Linux, the timer rests until it is set anew.
                None => return,
            },
            _ => return,
        };
        let info = SigInfo::timer(signal, self.id, value);
        signal::send_timer(process, thread.as_ref(), info, TimerSignal(Some(this), generation));
    }

    /// `signal` is no longer ignored by `process`.
    fn unignored(&self, process: &Arc<Process>, signal: u32) {
        match self.notify {
            Notify::Process { signal: own, .. } | Notify::Thread { signal: own, .. } if own == signal => {}
            _ => return,
        }
        let (was_ignored, generation) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.ignored), state.generation)
        };
        if was_ignored {
            self.send(process, generation);
        }
    }

    /// RLIMIT_CPU of `process` is reached: acts on it as Linux's `check_process_timers`.
    fn limit_reached(&self, process: &Arc<Process>, used_ns: u64) {
        let (soft, hard) = process.limits.get(abi::RLIMIT_CPU).unwrap_or((NO_LIMIT, NO_LIMIT));
        let used = used_ns / SECOND_NS;
        if used >= hard {
            signal::send_to_process(process, SigInfo::kernel(abi::SIGKILL));
        } else if used >= soft {
            process.limits.set(abi::RLIMIT_CPU, soft + 1, hard);
            signal::send_to_process(process, SigInfo::kernel(abi::SIGXCPU));
            let _ = self.set(First::At((soft + 1).saturating_mul(SECOND_NS)), 0);
        }
    }
}

impl State {
    fn overrun(&self) -> i32 {
        self.overrun.min(i32::MAX as u64) as i32
    }

    fn has_expired(&self) -> bool {
        match &self.interval {
            Interval::Real(timer) => timer.has_expired(),
            Interval::Cpu(timer) => timer.has_expired(),
        }
    }

    fn interval_ns(&self) -> u64 {
        match &self.interval {
            Interval::Real(timer) => timer.interval_ns(),
            Interval::Cpu(timer) => timer.interval_ns(),
        }
    }
}

/// The signal of a timer among those that wait, and the timer's generation when it was sent.
pub struct TimerSignal(Option<Arc<PosixTimer>>, u32);

impl TimerSignal {
    /// Whether its timer was set or deleted since it was sent.
    pub fn is_stale(&self) -> bool {
        self.0.as_ref().is_some_and(|timer| timer.state.lock().generation != self.1)
    }
    /// Whether `timer` sent it.
    pub fn is_of(&self, timer: &Arc<PosixTimer>) -> bool {
        self.0.as_ref().is_some_and(|sender| Arc::ptr_eq(sender, timer))
    }
    /// It is delivered: the timer continues. Returns the overrun. Hold no lock.
    pub fn delivered(mut self) -> i32 {
        self.0.take().map_or(0, |timer| timer.delivered(self.1, timer.read_cpu().ok().flatten()))
    }
}

impl Drop for TimerSignal {
    fn drop(&mut self) {
        if let Some(timer) = self.0.take() {
            timer.ignored(self.1);
        }
    }
}

impl Timed for PosixTimer {
    fn clock_was_set(&self) {
        let announce = self.notify != Notify::Nothing;
        if let Interval::Real(timer) = &mut self.state.lock().interval {
            timer.clock_was_set(&self.this, announce);
        }
    }

    fn expired(&self, now_ns: u64) {
        let Some(process) = self.process.upgrade() else { return };
        let reading = self.read_cpu().ok().flatten();
        let generation = {
            let mut state = self.state.lock();
            let expires = match (&mut state.interval, reading) {
                (Interval::Real(timer), _) => timer.expire(now_ns),
                (Interval::Cpu(timer), Some(now)) => timer.expire(now, &self.this),
                (Interval::Cpu(_), None) => false,
            };
            if !expires {
                return;
            }
            state.generation
        };
        match self.notify {
            Notify::Nothing => {}
            Notify::CpuLimit => self.limit_reached(&process, reading.map_or(0, |now| now.used_ns)),
            // The delivery of any such signal restarts the timer: `ProcessTimers::signal_taken`.
            Notify::Interval { signal } => {
                if signal::send_to_process(&process, SigInfo::kernel(signal)) == Sent::Ignored {
                    self.passed_on(IGNORED_REST_NS);
                }
            }
            Notify::Process { .. } | Notify::Thread { .. } => self.send(&process, generation),
        }
    }
}

/// The id after `id`.
fn next_id(id: i32) -> i32 {
    id.checked_add(1).unwrap_or(0)
}

/// The place of the timer for RLIMIT_CPU behind those of setitimer(2).
const CPU_LIMIT: usize = 3;

/// The timers of a process.
#[derive(Default)]
pub struct ProcessTimers(Mutex<Timers>);

#[derive(Default)]
struct Timers {
    by_id: SortedMap<i32, Arc<PosixTimer>>,
    /// For the next timer: ids aren't used again soon.
    next_id: i32,
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF, and [`CPU_LIMIT`].
    intervals: [Option<Arc<PosixTimer>>; 4],
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
        let clock = clock.of_caller();
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

    /// The timer of setitimer(2); EINVAL. ITIMER_VIRTUAL counts what the kernel does for the process, too.
    pub fn interval(&self, process: &Arc<Process>, which: u32) -> Result<Arc<PosixTimer>, Errno> {
        let (clock, signal) = match which {
            abi::ITIMER_REAL => (Clock::Monotonic, abi::SIGALRM),
            abi::ITIMER_VIRTUAL => (Clock::ProcessCpu(process.pid), abi::SIGVTALRM),
            abi::ITIMER_PROF => (Clock::ProcessCpu(process.pid), abi::SIGPROF),
            _ => return Err(Errno::INVAL),
        };
        self.at(process, which as usize, clock, Notify::Interval { signal })
    }

    fn at(
        &self,
        process: &Arc<Process>,
        which: usize,
        clock: Clock,
        notify: Notify,
    ) -> Result<Arc<PosixTimer>, Errno> {
        let mut timers = self.0.lock();
        let place = &mut timers.intervals[which];
        if let Some(timer) = place {
            return Ok(timer.clone());
        }
        let timer = PosixTimer::new(process, 0, clock, notify, None)?;
        Ok(place.insert(timer).clone())
    }

    /// Has RLIMIT_CPU of `process`, as it is now, hold. ENOMEM.
    pub fn limit_cpu(&self, process: &Arc<Process>) -> Result<(), Errno> {
        let soft = process.limits.soft(abi::RLIMIT_CPU);
        if soft == NO_LIMIT && self.0.lock().intervals[CPU_LIMIT].is_none() {
            return Ok(());
        }
        let timer = self.at(process, CPU_LIMIT, Clock::ProcessCpu(process.pid), Notify::CpuLimit)?;
        let first = if soft == NO_LIMIT { First::Never } else { First::At(soft.saturating_mul(SECOND_NS)) };
        timer.set(first, 0).map(|_| ())
    }

    /// Calls `f` for each timer of timer_create(2), without a lock.
    fn for_each_created(&self, f: &mut dyn FnMut(&PosixTimer)) {
        let mut last = None;
        loop {
            let timers = self.0.lock();
            let next = match last {
                None => timers.by_id.iter().next(),
                Some(last) => timers.by_id.after(&last),
            };
            let Some((id, timer)) = next.map(|(id, timer)| (*id, timer.clone())) else { break };
            drop(timers);
            last = Some(id);
            f(&timer);
        }
    }

    /// `process`, whose timers these are, ignores `signal` no longer (sigaction(2)). Hold no lock.
    pub fn unignored(&self, process: &Arc<Process>, signal: u32) {
        self.for_each_created(&mut |timer| timer.unignored(process, signal));
    }

    /// Looks at those that rest while all threads of the process sleep.
    #[inline(never)]
    pub fn look_at_cpu_timers(&self) {
        let now_ns = clock::monotonic_ns();
        self.for_each_created(&mut |timer| {
            if timer.clock.is_cpu() {
                timer.expired(now_ns);
            }
        });
        for which in abi::ITIMER_VIRTUAL as usize..=CPU_LIMIT {
            let timer = self.0.lock().intervals[which].clone();
            if let Some(timer) = timer {
                timer.expired(now_ns);
            }
        }
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
            timer.passed_on(REST_NS);
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
