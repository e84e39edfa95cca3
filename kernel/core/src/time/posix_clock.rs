//! Linux's clocks by their ids (clock_gettime(2)), those of processes' and threads' CPU time among them.
use super::wall::Deadline;
use super::{clock, discipline};
use crate::errno::Errno;
use crate::mm::user;
use crate::task::time_space::{self, BOOTTIME, MONOTONIC, shown};
use crate::task::{pid_space, process, sched};
use linux_raw_sys::general as abi;

/// A clock that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Since 1970.
    Realtime,
    /// The same in TAI, without leap seconds.
    Tai,
    /// Since boot.
    Monotonic,
    /// The same, in time namespaces with an offset of its own.
    Boot,
    /// The same, never slewed.
    Raw,
    /// CPU time of a process; 0: the caller's.
    ProcessCpu(i32),
    /// CPU time of a thread; 0: the caller.
    ThreadCpu(i32),
}

impl Clock {
    /// The clock that a `clockid_t` names; EINVAL.
    pub fn from_id(id: i32) -> Result<Clock, Errno> {
        if id < 0 {
            return Self::dynamic(id);
        }
        match id as u32 {
            abi::CLOCK_REALTIME | abi::CLOCK_REALTIME_COARSE | abi::CLOCK_REALTIME_ALARM => {
                Ok(Clock::Realtime)
            }
            abi::CLOCK_TAI => Ok(Clock::Tai),
            abi::CLOCK_MONOTONIC_RAW => Ok(Clock::Raw),
            abi::CLOCK_MONOTONIC | abi::CLOCK_MONOTONIC_COARSE => Ok(Clock::Monotonic),
            abi::CLOCK_BOOTTIME | abi::CLOCK_BOOTTIME_ALARM => Ok(Clock::Boot),
            abi::CLOCK_PROCESS_CPUTIME_ID => Ok(Clock::ProcessCpu(0)),
            abi::CLOCK_THREAD_CPUTIME_ID => Ok(Clock::ThreadCpu(0)),
            _ => Err(Errno::INVAL),
        }
    }

    /// The clock that a `clockid_t` names, for a timer or a sleep. EOPNOTSUPP for those that only show the time
    /// (timer_create(2)), and for those that wake a suspended machine by its real-time clock, as Linux without one.
    pub fn for_timer(id: i32) -> Result<Clock, Errno> {
        const WITHOUT_TIMERS: [u32; 5] = [
            abi::CLOCK_MONOTONIC_RAW,
            abi::CLOCK_REALTIME_COARSE,
            abi::CLOCK_MONOTONIC_COARSE,
            abi::CLOCK_REALTIME_ALARM,
            abi::CLOCK_BOOTTIME_ALARM,
        ];
        if WITHOUT_TIMERS.contains(&(id as u32)) { Err(Errno::OPNOTSUPP) } else { Clock::from_id(id) }
    }

    /// CPU clocks of others: the complement of the id, shifted, and three bits that select one (clock_getcpuclockid(3)).
    fn dynamic(id: i32) -> Result<Clock, Errno> {
        const PER_THREAD: i32 = 4;
        const KIND: i32 = 3;
        const FD: i32 = 3;
        let owner = !(id >> 3);
        if id & KIND == FD {
            return Err(Errno::INVAL);
        }
        let owner = if owner == 0 { 0 } else { pid_space::named(owner).ok_or(Errno::INVAL)? };
        let clock = if id & PER_THREAD != 0 { Clock::ThreadCpu(owner) } else { Clock::ProcessCpu(owner) };
        clock.now().map(|_| clock)
    }

    /// Its time, in nanoseconds. EINVAL if it belongs to a process or thread that has ended.
    pub fn now(self) -> Result<u64, Errno> {
        match self {
            Clock::Realtime => Ok(clock::realtime_ns()),
            Clock::Tai => Ok(clock::realtime_ns().wrapping_add(discipline::tai_ns())),
            Clock::Monotonic => Ok(shown(MONOTONIC, clock::monotonic_ns())),
            Clock::Boot => Ok(shown(BOOTTIME, clock::monotonic_ns())),
            Clock::Raw => Ok(shown(MONOTONIC, clock::raw_ns())),
            Clock::ProcessCpu(0) => Ok(crate::this::with(|me| me.process.cpu_time_ns())),
            Clock::ProcessCpu(pid) => {
                process::by_pid(pid).map(|process| process.cpu_time_ns()).ok_or(Errno::INVAL)
            }
            Clock::ThreadCpu(0) => Ok(crate::this::with(|me| sched::cpu_time_ns(me))),
            Clock::ThreadCpu(tid) => {
                process::thread_by_tid(tid).map(|thread| sched::cpu_time_ns(&thread)).ok_or(Errno::INVAL)
            }
        }
    }

    /// Whether it shows CPU time.
    pub fn is_cpu(self) -> bool {
        matches!(self, Clock::ProcessCpu(_) | Clock::ThreadCpu(_))
    }

    /// The same clock, by whatever thread it is named.
    pub fn of_caller(self) -> Clock {
        crate::this::with(|me| match self {
            Clock::ProcessCpu(0) => Clock::ProcessCpu(me.process.pid),
            Clock::ThreadCpu(0) => Clock::ThreadCpu(me.tid()),
            other => other,
        })
    }

    /// What an absolute time of this clock, which shows no CPU time, means for a timer.
    pub fn deadline(self, absolute_ns: u64) -> Deadline {
        match self {
            Clock::Realtime => Deadline::Wall(absolute_ns),
            Clock::Tai => Deadline::Wall(absolute_ns.saturating_sub(discipline::tai_ns())),
            Clock::Boot => Deadline::Boot(time_space::machine(BOOTTIME, absolute_ns)),
            _ => Deadline::Boot(time_space::machine(MONOTONIC, absolute_ns)),
        }
    }
}

/// Reads a `struct timespec`; EFAULT, EINVAL.
pub fn read_timespec(addr: usize) -> Result<u64, Errno> {
    clock::timespec_ns(user::read_words(addr)?)
}

/// The deadline, in nanoseconds since boot, of a relative `struct timespec` at `addr`; 0 means no deadline.
pub fn read_relative_deadline(addr: usize) -> Result<Option<u64>, Errno> {
    if addr == 0 {
        return Ok(None);
    }
    Ok(Some(clock::monotonic_ns().saturating_add(read_timespec(addr)?)))
}
